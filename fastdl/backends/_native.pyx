"""The compiled kernels: pointers out of arrays, the GIL released, error codes into exceptions. No arithmetic."""

# Design:
# (a) An address is a field of the array's struct: a call has up to ten arrays, and each asked for its buffer costs
#     as much as a hundred vector operations. Whatever is not a C-contiguous ndarray is asked for its buffer all the
#     same, which refuses what the kernels cannot take, in NumPy's words. The caller's reference keeps the memory
#     alive, and ndarray.resize refuses an array with references.
# (b) The size of one element of the first output picks the row of kernels, float32 or float64.
# (c) Sizes are not compared with arrays: shapes.py made both. None stands for a NULL pointer.
# (d) A plan is unpacked at each call: it takes a tenth of a microsecond, and there is no cache to keep right.
# (e) The loop in threads.c asks for signals, on the thread that called. An exception that a signal handler
#     raises there stays pending until the kernel has returned.
# (f) calls/ holds one short function for each kernel, all of the same form, one file a family.

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_New
from cpython.ref cimport Py_INCREF
from cpython.unicode cimport PyUnicode_AsUTF8
from libc.stdint cimport INT64_MAX, int64_t, uint8_t
from libc.string cimport memcpy, memset
from numpy cimport (
    NPY_ARRAY_ALIGNED, NPY_ARRAY_C_CONTIGUOUS, NPY_ARRAY_OWNDATA, NPY_ARRAY_WRITEABLE, NPY_FLOAT32, NPY_FLOAT64,
    NPY_MAXDIMS, PyArray_CheckExact, PyArray_CHKFLAGS, PyArray_DATA, PyArray_DescrFromType, PyArray_DIMS,
    PyArray_EMPTY, PyArray_ENABLEFLAGS, PyArray_ITEMSIZE, PyArray_NDIM, PyArray_SimpleNewFromData, PyArray_TYPE,
    dtype, import_array, ndarray, npy_intp,
)


import_array()


ctypedef const fd_kernels *Kernels
ctypedef const void *In
ctypedef void *Out


cdef extern from "Python.h":
    int PyErr_CheckSignals() noexcept
    void *PyErr_Occurred() noexcept


cdef int signal_pending() noexcept with gil:
    return PyErr_CheckSignals()  # does nothing but on the main thread


fd_set_interrupt_check(&signal_pending)


cdef int finish(int code) except -1 nogil:
    """Turn the error code of a kernel into an exception."""
    if code == FD_OK:
        return 0
    with gil:
        if code == FD_NOMEM:
            raise MemoryError("fastdl: no memory left for scratch space")
        if PyErr_Occurred() == NULL:  # a signal handler forked: the child has lost the workers' shares
            raise RuntimeError("fastdl: the process was forked in the middle of this call")
    return -1


cdef void *buffer(object array, int flags) except NULL:
    cdef Py_buffer view
    PyObject_GetBuffer(array, &view, flags)
    PyBuffer_Release(&view)
    return view.buf


cdef inline bint plain(object array, int flags):
    return PyArray_CheckExact(array) and PyArray_CHKFLAGS(<ndarray> array, flags)


cdef inline Out output(object array) except NULL:
    """The address of an array to write."""
    if plain(array, NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_WRITEABLE):
        return PyArray_DATA(<ndarray> array)
    return buffer(array, PyBUF_SIMPLE | PyBUF_WRITABLE)


cdef Out optional_output(object array) except? NULL:
    """The address of an array to write, NULL for None."""
    return NULL if array is None else output(array)


cdef inline In input(object array) except? NULL:
    """The address of an array to read, NULL for None."""
    if array is None:
        return NULL
    if plain(array, NPY_ARRAY_C_CONTIGUOUS):
        return PyArray_DATA(<ndarray> array)
    return buffer(array, PyBUF_SIMPLE)


cdef Kernels kernels_of(object array) except NULL:
    """The kernels for an array's element type."""
    cdef Py_buffer view
    if plain(array, 0):
        return fd_kernels_for(FD_F64 if PyArray_ITEMSIZE(<ndarray> array) == 8 else FD_F32)
    PyObject_GetBuffer(array, &view, PyBUF_SIMPLE)
    PyBuffer_Release(&view)
    return fd_kernels_for(FD_F64 if view.itemsize == 8 else FD_F32)


cdef dtype FLOAT32 = PyArray_DescrFromType(NPY_FLOAT32), FLOAT64 = PyArray_DescrFromType(NPY_FLOAT64)


def common_dtype(str names, tuple values):
    """Return the dtype that all `values` have, when a kernel takes them as they are; else None.

    That is: plain arrays of float32, or of float64, in native byte order, C-contiguous and aligned. A value
    may be None where its name, of those with spaces between, has parentheses.
    """
    cdef const char *name = PyUnicode_AsUTF8(names)
    cdef dtype came, common = None
    for value in values:
        if value is not None:
            if not plain(value, NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED):
                return None
            came = (<ndarray> value).descr
            if common is None:
                common = came
            if came is not common:
                return None
        elif name[0] != c"(":
            return None
        while name[0] != 0 and name[0] != c" ":
            name += 1
        name += name[0] == c" "
    return common if common is FLOAT32 or common is FLOAT64 else None


cdef int spatial(int64_t *sizes, tuple values) except -1:
    """Three sizes of a plan, in the order depth, height, width."""
    sizes[0], sizes[1], sizes[2] = values[0], values[1], values[2]
    return 0


def isa():
    """The instruction set in use: generic, avx2, avx512 or neon."""
    return fd_kernels_for(FD_F32).isa.decode()


def num_threads(int threads):
    """The number of threads a large call has when it asks for so many; 0 stands for the automatic number."""
    return fd_threads_for(INT64_MAX, threads)


def set_num_threads(int threads):
    """Use so many threads at most; 0 goes back to the automatic number."""
    fd_set_num_threads(threads)


include "calls/memory.pxi"
include "calls/dense.pxi"
include "calls/conv.pxi"
include "calls/pool.pxi"
include "calls/norm.pxi"
include "calls/recurrent.pxi"
include "calls/embedding.pxi"
include "calls/pointwise.pxi"
include "calls/loss.pxi"
include "calls/optimizer.pxi"
