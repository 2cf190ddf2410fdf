"""DeZero, the framework that *Deep Learning from Scratch 3* builds step by step.

The original is https://github.com/oreilly-japan/deep-learning-from-scratch-3, under the MIT licence. Served
are the functions on arrays and the `forward` methods that compute, the optimizers' `update_one`, and the walk
through the graph. Every other `backward` stays the original's own: it calls functions of DeZero, so that
gradients can be differentiated again, and these are served in their turn.
"""
