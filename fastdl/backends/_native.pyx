"""The compiled kernels: pointers out of arrays, the GIL released, error codes into exceptions. No arithmetic."""

# Design:
# (a) Arrays come through the buffer protocol, so that building needs no headers of NumPy. A buffer is given
#     back as soon as its address is known: the caller's reference keeps the memory alive, and ndarray.resize
#     refuses an array with references. A plain buffer also means that NumPy refuses what is not C-contiguous.
# (b) The size of one element of the first output picks the row of kernels, float32 or float64.
# (c) Sizes are not compared with arrays: shapes.py made both. None stands for a NULL pointer.
# (d) A plan is unpacked at each call: it takes a tenth of a microsecond, and there is no cache to keep right.
# (e) The loop in threads.c asks for signals, on the thread that called. An exception that a signal handler
#     raises there stays pending until the kernel has returned.
# (f) calls/ holds one short function for each kernel, all of the same form, one file a family.

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport INT64_MAX, int64_t, uint8_t


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


cdef void *address(object array, int flags) except NULL:
    cdef Py_buffer view
    PyObject_GetBuffer(array, &view, flags)
    PyBuffer_Release(&view)
    return view.buf


cdef Out output(object array) except NULL:
    """The address of an array to write."""
    return address(array, PyBUF_SIMPLE | PyBUF_WRITABLE)


cdef Out optional_output(object array) except? NULL:
    """The address of an array to write, NULL for None."""
    return NULL if array is None else output(array)


cdef In input(object array) except? NULL:
    """The address of an array to read, NULL for None."""
    return NULL if array is None else address(array, PyBUF_SIMPLE)


cdef Kernels kernels_of(object array) except NULL:
    """The kernels for an array's element type."""
    cdef Py_buffer view
    PyObject_GetBuffer(array, &view, PyBUF_SIMPLE)
    PyBuffer_Release(&view)
    return fd_kernels_for(FD_F64 if view.itemsize == 8 else FD_F32)


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


include "calls/dense.pxi"
include "calls/conv.pxi"
include "calls/pool.pxi"
include "calls/norm.pxi"
include "calls/recurrent.pxi"
include "calls/embedding.pxi"
include "calls/pointwise.pxi"
include "calls/loss.pxi"
include "calls/optimizer.pxi"
