"""Stand-ins for numpy-ml (https://github.com/ddbourgin/numpy-ml, GPL-3): `numpy_ml.neural_nets`.

Served are its convolutions and the moves of data under them, pooling, the gradients of softmax and embedding,
recurrent cells, and optimizers. Images are (N, H, W, C), kernels (KH, KW, I, O), and a dilation of d means d
zeros between two taps. The classes here hold methods only: they are set on the originals, whose constructors
they need.
"""
