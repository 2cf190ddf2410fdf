"""Stand-ins for ML-From-Scratch (https://github.com/eriklindernoren/ML-From-Scratch, MIT): `deep_learning`.

Served are its convolution and the column matrices under it, the recurrent layer, batch normalisation, up-sampling,
activations with exponentials, and optimizers. Images are (N, C, H, W); weights are updated inside `backward_pass`.
"""
