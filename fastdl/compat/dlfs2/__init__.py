"""*Deep Learning from Scratch 2* (Goki Saito, O'Reilly Japan): word vectors, recurrent networks, attention.

https://github.com/oreilly-japan/deep-learning-from-scratch-2, MIT licence.

Served are the layers and the sequence layers of its folder `common`, the functions, optimizers and helpers
beside them, what the trainers call between two steps, negative sampling of chapter 4 and the attention of
chapter 8. The modules here have the names of the book's and may be imported in their place.
"""
