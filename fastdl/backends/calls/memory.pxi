# New arrays, in memory that arrays gave back before (csrc/memory.c).

# NumPy lets an array name who frees its memory (NEP 49, https://numpy.org/neps/nep-0049-data-allocation-strategies.html).
# To set that on the array costs nothing; to make it the allocator of the thread while the array is made costs more
# than a small kernel.

cdef extern from "numpy/arrayobject.h":
    ctypedef struct PyDataMemAllocator:
        void *ctx
        void *(*malloc)(void *, size_t) noexcept nogil
        void *(*calloc)(void *, size_t, size_t) noexcept nogil
        void *(*realloc)(void *, void *, size_t) noexcept nogil
        void (*free)(void *, void *, size_t) noexcept nogil

    ctypedef struct PyDataMem_Handler:
        char name[127]
        uint8_t version
        PyDataMemAllocator allocator

    ctypedef struct PyArrayObject_fields:
        PyObject *mem_handler

    object PyDataMem_SetHandler(object handler)


cdef extern from "Python.h":
    int PyTraceMalloc_Track(unsigned int domain, size_t pointer, size_t bytes) noexcept


cdef enum:
    SMALL = 1024          # bytes up to which NumPy itself keeps the memory of arrays
    NUMPY_DATA = 389047   # NumPy's domain of tracemalloc

cdef npy_intp LARGEST = 1LL << 46  # elements: more than that NumPy refuses in its own words


cdef void *malloc_data(void *context, size_t bytes) noexcept nogil:
    return fd_alloc(bytes)


cdef void *calloc_data(void *context, size_t count, size_t bytes) noexcept nogil:
    cdef void *data = fd_alloc(count * bytes)
    return NULL if data == NULL else memset(data, 0, count * bytes)


cdef void *realloc_data(void *context, void *data, size_t bytes) noexcept nogil:
    return fd_realloc(data, bytes)


cdef void free_data(void *context, void *data, size_t bytes) noexcept nogil:
    fd_free(data)


cdef PyDataMem_Handler handler
memcpy(handler.name, b"fastdl", 7)
handler.version = 1
handler.allocator = PyDataMemAllocator(NULL, malloc_data, calloc_data, realloc_data, free_data)

cdef object handler_capsule = PyCapsule_New(&handler, "mem_handler", NULL)


cdef ndarray new_array(int ndim, npy_intp *sizes, int type_number, size_t itemsize):
    cdef int axis
    cdef npy_intp elements = 1
    for axis in range(ndim):
        if sizes[axis] <= 0 or elements > LARGEST // sizes[axis]:
            elements = 0
            break
        elements *= sizes[axis]
    cdef size_t bytes = elements * itemsize
    if bytes <= SMALL:
        return PyArray_EMPTY(ndim, sizes, type_number, 0)
    cdef void *data = fd_alloc(bytes)
    if data == NULL:
        raise MemoryError(f"fastdl: no memory left for an array of {bytes} bytes")
    cdef ndarray array = PyArray_SimpleNewFromData(ndim, sizes, type_number, data)
    (<PyArrayObject_fields *> array).mem_handler = <PyObject *> handler_capsule
    Py_INCREF(handler_capsule)
    PyArray_ENABLEFLAGS(array, NPY_ARRAY_OWNDATA)
    PyTraceMalloc_Track(NUMPY_DATA, <size_t> data, bytes)
    return array


cdef class RecycledMemory:
    """A context in which the arrays that NumPy makes, too, are in memory that was given back before."""

    cdef object before

    def __enter__(self):
        self.before = PyDataMem_SetHandler(handler_capsule)

    def __exit__(self, *exception):
        PyDataMem_SetHandler(self.before)


def empty(tuple shape, of):
    """Return a new array of that shape, of the element type of another or of a dtype: what np.empty does."""
    cdef dtype kind = (<ndarray> of).descr if PyArray_CheckExact(of) else of
    cdef npy_intp sizes[NPY_MAXDIMS]
    cdef int axis, ndim = <int> len(shape)
    if ndim > NPY_MAXDIMS:
        raise ValueError(f"an array has at most {NPY_MAXDIMS} axes")
    for axis in range(ndim):
        sizes[axis] = shape[axis]
    return new_array(ndim, sizes, kind.type_num, kind.itemsize)


def empty_as(ndarray array):
    """Return a new array of the shape and the element type of another."""
    return new_array(PyArray_NDIM(array), PyArray_DIMS(array), PyArray_TYPE(array), PyArray_ITEMSIZE(array))


def memory():
    """The number of blocks that the system gave so far, the bytes in use, and those that wait to be used again."""
    cdef int64_t blocks, in_use, waiting
    fd_memory(&blocks, &in_use, &waiting)
    return blocks, in_use, waiting
