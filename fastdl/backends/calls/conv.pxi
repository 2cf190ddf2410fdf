# Convolution: forward, and with respect to the input and to the weights; windows as rows.


cdef int unpack_conv(fd_conv *c, object plan, bint strict=False) except -1:
    c.batch, c.groups = plan.batch, plan.groups
    c.in_channels, c.out_channels = plan.in_channels, plan.out_channels
    spatial(c.in_, plan.in_size)
    spatial(c.kernel, plan.kernel)
    spatial(c.stride, plan.stride)
    spatial(c.dilation, plan.dilation)
    spatial(c.pad, plan.pad_before)
    spatial(c.out, plan.out_size)
    c.channels_last = plan.layout == "NHWC"
    c.strict = strict
    c.asked = NULL
    return 0


def conv_fwd(
    y,      # OUT
    x,      # IN
    w,      # IN
    b,      # IN or None
    scale,  # IN or None
    plan, int act, double alpha, bint strict, int threads,
):
    cdef Kernels kernels = kernels_of(y)
    cdef fd_conv sizes
    cdef Out y_out = output(y)
    cdef In x_in = input(x), w_in = input(w), b_in = input(b), scale_in = input(scale)
    unpack_conv(&sizes, plan, strict)
    with nogil:
        finish(kernels.conv_fwd(y_out, x_in, w_in, b_in, scale_in, &sizes, act, alpha, threads))


def conv_dx(
    dx,     # OUT
    dy,     # IN
    w,      # IN
    b,      # IN or None
    scale,  # IN or None
    plan, int act, double alpha, bint strict, int threads,
):
    cdef Kernels kernels = kernels_of(dx)
    cdef fd_conv sizes
    cdef Out dx_out = output(dx)
    cdef In dy_in = input(dy), w_in = input(w), b_in = input(b), scale_in = input(scale)
    unpack_conv(&sizes, plan, strict)
    with nogil:
        finish(kernels.conv_dx(dx_out, dy_in, w_in, b_in, scale_in, &sizes, act, alpha, threads))


def conv_dw(
    dw,  # OUT
    dy,  # IN
    x,   # IN
    plan, bint strict, int threads,
):
    cdef Kernels kernels = kernels_of(dw)
    cdef fd_conv sizes
    cdef Out dw_out = output(dw)
    cdef In dy_in = input(dy), x_in = input(x)
    unpack_conv(&sizes, plan, strict)
    with nogil:
        finish(kernels.conv_dw(dw_out, dy_in, x_in, &sizes, threads))


def conv_dw_pooled(
    dw,     # OUT
    dy,     # IN
    index,  # IN
    x,      # IN
    plan, pool, bint strict, int threads,
):
    cdef Kernels kernels = kernels_of(dw)
    cdef fd_conv sizes
    cdef fd_pool windows
    cdef Out dw_out = output(dw)
    cdef In dy_in = input(dy), index_in = input(index), x_in = input(x)
    unpack_conv(&sizes, plan, strict)
    unpack_pool(&windows, pool)
    with nogil:
        finish(kernels.conv_dw_pooled(dw_out, dy_in, index_in, x_in, &sizes, &windows, threads))


def conv_algorithm(str primitive, int dtype, plan, bint strict):
    """Return the algorithm that serves plan in conv_fwd, conv_dx or conv_dw; no array is touched."""
    cdef const fd_kernels *kernels = fd_kernels_for(dtype)
    cdef fd_conv sizes
    cdef int64_t algorithm = 0
    unpack_conv(&sizes, plan, strict)
    sizes.asked = &algorithm
    if primitive == "conv_fwd":
        finish(kernels.conv_fwd(NULL, NULL, NULL, NULL, NULL, &sizes, 0, 0, 1))
    elif primitive == "conv_dx":
        finish(kernels.conv_dx(NULL, NULL, NULL, NULL, NULL, &sizes, 0, 0, 1))
    else:
        finish(kernels.conv_dw(NULL, NULL, NULL, &sizes, 1))
    return algorithm


def im2col(
    cols,  # OUT
    x,     # IN
    plan, int threads,
):
    cdef Kernels kernels = kernels_of(cols)
    cdef fd_conv sizes
    cdef Out cols_out = output(cols)
    cdef In x_in = input(x)
    unpack_conv(&sizes, plan)
    with nogil:
        finish(kernels.im2col(cols_out, x_in, &sizes, threads))


def col2im(
    dx,    # OUT
    cols,  # IN
    plan, int threads,
):
    cdef Kernels kernels = kernels_of(dx)
    cdef fd_conv sizes
    cdef Out dx_out = output(dx)
    cdef In cols_in = input(cols)
    unpack_conv(&sizes, plan)
    with nogil:
        finish(kernels.col2im(dx_out, cols_in, &sizes, threads))
