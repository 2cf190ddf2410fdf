"""Stands in for *deep-learning-from-scratch*, the code of the book of that name.

https://github.com/oreilly-japan/deep-learning-from-scratch, MIT licence. Its folder ``common`` is served:
``layers``, ``functions``, ``util`` and ``optimizer``, in the notebooks' copies too; and the classes that the
notebooks of https://github.com/ywchiu/tibamedl (no licence) define in their cells: `course`. The modules here
have the names of the originals, and work as plain modules as well::

    from fastdl.compat.dlfs1.layers import *

Some things differ by design. A convolution's gradient and, in the fast tier, its output are C-contiguous, and
so is the output of a pooling, where the originals are views of padded or transposed memory. ``col``,
``arg_max`` and other private notes of a forward pass are not left on the layers. The fast `Convolution` takes
no snapshot of its input: one that is written to between ``forward`` and ``backward`` changes the gradient of
the weights.
"""
