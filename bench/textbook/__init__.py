"""The operations as a course on NumPy writes them: whole arrays, no loop over pixels, im2col and argmax.

A file a family. `OPERATIONS` there gives, for some operations, three functions: infer, forward with what
backward needs, and backward. What a function has no argument for, the textbook cannot do.
"""
