"""Stands in for *deep-learning-from-scratch*, the code of the book of that name.

https://github.com/oreilly-japan/deep-learning-from-scratch, MIT licence. Its folder ``common`` is served:
``layers``, ``functions``, ``util`` and ``optimizer``, in the notebooks' copies too; and the classes that the
notebooks of https://github.com/ywchiu/tibamedl (no licence) define in their cells: `course`. The modules here have the
names of the originals, and work as plain modules as well::

    from fastdl.compat.dlfs1.layers import *

What differs from the originals by design: a convolution's gradient and the output of a pooling are C-contiguous, where
the originals are views of padded or transposed memory; ``col``, ``arg_max`` and other private notes of a forward pass
are not left on the layers; `Convolution` takes no snapshot of its input, so that an input which is written to between
``forward`` and ``backward`` changes the gradient of the weights.
"""
