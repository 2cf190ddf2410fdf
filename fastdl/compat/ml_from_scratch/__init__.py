"""Stand-ins for ML-From-Scratch (https://github.com/eriklindernoren/ML-From-Scratch, MIT): `deep_learning`.

Served are its convolution and the column matrices under it, the recurrent layer, batch normalisation,
activations, and optimizers. Images are (N, C, H, W); weights are updated inside `backward_pass`. The classes
here hold methods only: they are set on the originals, whose constructors they need.
"""
