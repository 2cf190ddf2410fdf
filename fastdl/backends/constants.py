"""Numbers that every engine uses; the C kernels hold the same ones in csrc/."""

SELU_SCALE = 1.0507009873554805
SELU_ALPHA = 1.6732632423543772
"""Klambauer et al., Self-Normalizing Neural Networks (2017), to double precision."""

GELU_SCALE = 0.7978845608028654
GELU_CUBE = 0.044715
"""tanh(GELU_SCALE·(x + GELU_CUBE·x³)), with √(2/π), stands in for erf(x/√2): Hendrycks and Gimpel (2016)."""

CLIP = 1e-7
"""Keras's epsilon: probabilities are held this far from 0 and 1 under a logarithm."""
