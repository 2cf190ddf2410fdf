"""The assignments of Stanford's cs231n, *Deep Learning for Computer Vision* (https://cs231n.github.io).

Every student writes the bodies, so that names, parameters and the keys of dicts are all that can be
recognised; the course itself wrote `fast_layers`. Served are the convolutions and poolings, naive and fast,
the recurrent layers, losses, optimizers, and the loops of the first assignment. The solutions looked at are
those of https://github.com/FortiLeiZhang/cs231n, which has no licence, and nothing of them is here.

The modules are also complete in themselves: ``from fastdl.compat.cs231n.fast_layers import *`` serves an
assignment. `im2col_cython` takes the place of the extension that the course has its students compile.
"""
