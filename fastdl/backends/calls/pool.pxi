# Largest and mean of windows; enlargement.


cdef int unpack_pool(fd_pool *p, object plan) except -1:
    cdef tuple sizes = plan.sizes
    cdef int64_t *of = <int64_t *> p  # it has no other fields than sizes
    cdef int i
    if len(sizes) * sizeof(int64_t) != sizeof(fd_pool):
        raise ValueError("the sizes of a pooling are not those of fd_pool")
    for i in range(<int> len(sizes)):
        of[i] = sizes[i]
    return 0


cdef int unpack_upsample(fd_upsample *u, object plan) except -1:
    u.batch, u.channels = plan.batch, plan.channels
    u.in_[0], u.in_[1] = plan.in_size
    u.scale[0], u.scale[1] = plan.scale
    u.channels_last = plan.layout == "NHWC"
    u.bilinear = plan.mode == "bilinear"
    return 0


def maxpool_fwd(
    y,      # OUT
    index,  # OUT or None: uint8 or int32, as the size of the window says
    x,      # IN
    plan, int threads,
):
    cdef Kernels kernels = kernels_of(y)
    cdef fd_pool sizes
    cdef Out y_out = output(y)
    cdef Out index_out = optional_output(index)
    cdef In x_in = input(x)
    unpack_pool(&sizes, plan)
    with nogil:
        finish(kernels.maxpool_fwd(y_out, index_out, x_in, &sizes, threads))


def maxpool_gated(
    y,       # OUT
    index,   # OUT: uint8 or int32, as the size of the window says
    closed,  # OUT: bool
    x,       # IN
    plan, int threads,
):
    cdef Kernels kernels = kernels_of(y)
    cdef fd_pool sizes
    cdef Out y_out = output(y), index_out = output(index), closed_out = output(closed)
    cdef In x_in = input(x)
    unpack_pool(&sizes, plan)
    with nogil:
        finish(kernels.maxpool_gated(y_out, index_out, <uint8_t *> closed_out, x_in, &sizes, threads))


def maxpool_bwd(
    dx,     # OUT
    dy,     # IN
    index,  # IN
    plan, int threads,
):
    cdef Kernels kernels = kernels_of(dx)
    cdef fd_pool sizes
    cdef Out dx_out = output(dx)
    cdef In dy_in = input(dy), index_in = input(index)
    unpack_pool(&sizes, plan)
    with nogil:
        finish(kernels.maxpool_bwd(dx_out, dy_in, index_in, &sizes, threads))


def maxpool_share(
    dx,  # OUT
    dy,  # IN
    x,   # IN
    y,   # IN
    plan, int threads,
):
    cdef Kernels kernels = kernels_of(dx)
    cdef fd_pool sizes
    cdef Out dx_out = output(dx)
    cdef In dy_in = input(dy), x_in = input(x), y_in = input(y)
    unpack_pool(&sizes, plan)
    with nogil:
        finish(kernels.maxpool_share(dx_out, dy_in, x_in, y_in, &sizes, threads))


def avgpool_fwd(
    y,  # OUT
    x,  # IN
    plan, int threads,
):
    cdef Kernels kernels = kernels_of(y)
    cdef fd_pool sizes
    cdef Out y_out = output(y)
    cdef In x_in = input(x)
    unpack_pool(&sizes, plan)
    with nogil:
        finish(kernels.avgpool_fwd(y_out, x_in, &sizes, threads))


def avgpool_bwd(
    dx,  # OUT
    dy,  # IN
    plan, int threads,
):
    cdef Kernels kernels = kernels_of(dx)
    cdef fd_pool sizes
    cdef Out dx_out = output(dx)
    cdef In dy_in = input(dy)
    unpack_pool(&sizes, plan)
    with nogil:
        finish(kernels.avgpool_bwd(dx_out, dy_in, &sizes, threads))


def upsample_fwd(
    y,  # OUT
    x,  # IN
    plan, int threads,
):
    cdef Kernels kernels = kernels_of(y)
    cdef fd_upsample sizes
    cdef Out y_out = output(y)
    cdef In x_in = input(x)
    unpack_upsample(&sizes, plan)
    with nogil:
        finish(kernels.upsample_fwd(y_out, x_in, &sizes, threads))


def upsample_bwd(
    dx,  # OUT
    dy,  # IN
    plan, int threads,
):
    cdef Kernels kernels = kernels_of(dx)
    cdef fd_upsample sizes
    cdef Out dx_out = output(dx)
    cdef In dy_in = input(dy)
    unpack_upsample(&sizes, plan)
    with nogil:
        finish(kernels.upsample_bwd(dx_out, dy_in, &sizes, threads))
