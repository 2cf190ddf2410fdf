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
    return 0


cdef int unpack_pool(fd_pool *p, object plan) except -1:
    p.batch, p.channels = plan.batch, plan.channels
    spatial(p.in_, plan.in_size)
    spatial(p.size, plan.size)
    spatial(p.stride, plan.stride)
    spatial(p.pad_before, plan.pad_before)
    spatial(p.pad_after, plan.pad_after)
    spatial(p.out, plan.out_size)
    p.channels_last = plan.layout == "NHWC"
    p.count_include_pad = plan.count_include_pad
    return 0


cdef int unpack_upsample(fd_upsample *u, object plan) except -1:
    u.batch, u.channels = plan.batch, plan.channels
    u.in_[0], u.in_[1] = plan.in_size
    u.scale[0], u.scale[1] = plan.scale
    u.channels_last = plan.layout == "NHWC"
    u.bilinear = plan.mode == "bilinear"
    return 0


cdef int unpack_norm(fd_norm *n, object plan) except -1:
    n.blocks, n.outer, n.groups, n.channels, n.inner = plan.split
    n.fixed, n.eps = plan.fixed, plan.eps
    return 0


cdef int unpack_rnn(fd_rnn *r, object plan, int kind) except -1:
    r.batch, r.steps, r.units = plan.batch, plan.steps, plan.units
    r.kind, r.reverse = kind, plan.reverse
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


def gemm(
    c,     # OUT
    a,     # IN
    b,     # IN
    bias,  # IN or None
    int64_t m, int64_t n, int64_t k, bint trans_a, bint trans_b, int act, double alpha, int threads,
):
    cdef Kernels kernels = kernels_of(c)
    cdef Out c_out = output(c)
    cdef In a_in = input(a), b_in = input(b), bias_in = input(bias)
    with nogil:
        finish(kernels.gemm(c_out, a_in, b_in, bias_in, m, n, k, trans_a, trans_b, act, alpha, threads))


def conv_fwd(
    y,  # OUT
    x,  # IN
    w,  # IN
    b,  # IN or None
    plan, int act, double alpha, bint strict, int threads,
):
    cdef Kernels kernels = kernels_of(y)
    cdef fd_conv sizes
    cdef Out y_out = output(y)
    cdef In x_in = input(x), w_in = input(w), b_in = input(b)
    unpack_conv(&sizes, plan, strict)
    with nogil:
        finish(kernels.conv_fwd(y_out, x_in, w_in, b_in, &sizes, act, alpha, threads))


def conv_dx(
    dx,  # OUT
    dy,  # IN
    w,   # IN
    b,   # IN or None
    plan, int act, double alpha, bint strict, int threads,
):
    cdef Kernels kernels = kernels_of(dx)
    cdef fd_conv sizes
    cdef Out dx_out = output(dx)
    cdef In dy_in = input(dy), w_in = input(w), b_in = input(b)
    unpack_conv(&sizes, plan, strict)
    with nogil:
        finish(kernels.conv_dx(dx_out, dy_in, w_in, b_in, &sizes, act, alpha, threads))


def conv_dw(
    dw,  # OUT
    dy,  # IN
    x,   # IN
    plan, int threads,
):
    cdef Kernels kernels = kernels_of(dw)
    cdef fd_conv sizes
    cdef Out dw_out = output(dw)
    cdef In dy_in = input(dy), x_in = input(x)
    unpack_conv(&sizes, plan)
    with nogil:
        finish(kernels.conv_dw(dw_out, dy_in, x_in, &sizes, threads))


def maxpool_fwd(
    y,      # OUT
    index,  # OUT or None: uint8 or int32, as the size of the window says
    x,      # IN
    plan, int threads,
):
    cdef Kernels kernels = kernels_of(y)
    cdef fd_pool sizes
    cdef Out y_out = output(y)
    cdef Out index_out = NULL if index is None else output(index)
    cdef In x_in = input(x)
    unpack_pool(&sizes, plan)
    with nogil:
        finish(kernels.maxpool_fwd(y_out, index_out, x_in, &sizes, threads))


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


def bias_grad(
    db,  # OUT
    dy,  # IN
    int64_t outer, int64_t channels, int64_t inner, int threads,
):
    cdef Kernels kernels = kernels_of(db)
    cdef Out db_out = output(db)
    cdef In dy_in = input(dy)
    with nogil:
        finish(kernels.bias_grad(db_out, dy_in, outer, channels, inner, threads))


def act_fwd(
    y,  # OUT
    x,  # IN
    int64_t n, int act, double alpha, int threads,
):
    cdef Kernels kernels = kernels_of(y)
    cdef Out y_out = output(y)
    cdef In x_in = input(x)
    with nogil:
        finish(kernels.act_fwd(y_out, x_in, n, act, alpha, threads))


def act_bwd(
    dx,     # OUT
    dy,     # IN
    saved,  # IN or None: x or y, as the activation needs
    int64_t n, int act, double alpha, int threads,
):
    cdef Kernels kernels = kernels_of(dx)
    cdef Out dx_out = output(dx)
    cdef In dy_in = input(dy), saved_in = input(saved)
    with nogil:
        finish(kernels.act_bwd(dx_out, dy_in, saved_in, n, act, alpha, threads))


def prelu_fwd(
    y,      # OUT
    x,      # IN
    slope,  # IN
    int64_t outer, int64_t channels, int64_t inner, int threads,
):
    cdef Kernels kernels = kernels_of(y)
    cdef Out y_out = output(y)
    cdef In x_in = input(x), slope_in = input(slope)
    with nogil:
        finish(kernels.prelu_fwd(y_out, x_in, slope_in, outer, channels, inner, threads))


def prelu_bwd(
    dx,      # OUT
    dslope,  # OUT
    dy,      # IN
    x,       # IN
    slope,   # IN
    int64_t outer, int64_t channels, int64_t inner, int threads,
):
    cdef Kernels kernels = kernels_of(dx)
    cdef Out dx_out = output(dx), dslope_out = output(dslope)
    cdef In dy_in = input(dy), x_in = input(x), slope_in = input(slope)
    with nogil:
        finish(kernels.prelu_bwd(dx_out, dslope_out, dy_in, x_in, slope_in, outer, channels, inner, threads))


def softmax_fwd(
    y,  # OUT
    x,  # IN
    int64_t outer, int64_t n, int64_t inner, bint log, int threads,
):
    cdef Kernels kernels = kernels_of(y)
    cdef Out y_out = output(y)
    cdef In x_in = input(x)
    with nogil:
        finish(kernels.softmax_fwd(y_out, x_in, outer, n, inner, log, threads))


def softmax_bwd(
    dx,  # OUT
    dy,  # IN
    y,   # IN
    int64_t outer, int64_t n, int64_t inner, bint log, int threads,
):
    cdef Kernels kernels = kernels_of(dx)
    cdef Out dx_out = output(dx)
    cdef In dy_in = input(dy), y_in = input(y)
    with nogil:
        finish(kernels.softmax_bwd(dx_out, dy_in, y_in, outer, n, inner, log, threads))


def dropout_fwd(
    y,      # OUT
    mask,   # OUT: uint8
    x,      # IN
    noise,  # IN: float32
    int64_t n, double rate, int threads,
):
    cdef Kernels kernels = kernels_of(y)
    cdef Out y_out = output(y), mask_out = output(mask)
    cdef In x_in = input(x), noise_in = input(noise)
    with nogil:
        finish(kernels.dropout_fwd(
            y_out, <uint8_t *> mask_out, x_in, <const float *> noise_in, n, rate, threads
        ))


def dropout_bwd(
    dx,    # OUT
    dy,    # IN
    mask,  # IN: uint8
    int64_t n, double rate, int threads,
):
    cdef Kernels kernels = kernels_of(dx)
    cdef Out dx_out = output(dx)
    cdef In dy_in = input(dy), mask_in = input(mask)
    with nogil:
        finish(kernels.dropout_bwd(dx_out, dy_in, <const uint8_t *> mask_in, n, rate, threads))


def softmax_xent_fwd(
    losses,  # OUT
    probs,   # OUT
    logits,  # IN
    labels,  # IN or None: int64
    target,  # IN or None
    double smoothing, int64_t rows, int64_t n, int threads,
):
    cdef Kernels kernels = kernels_of(losses)
    cdef Out losses_out = output(losses), probs_out = output(probs)
    cdef In logits_in = input(logits), labels_in = input(labels), target_in = input(target)
    with nogil:
        finish(kernels.softmax_xent_fwd(
            losses_out, probs_out, logits_in, <const int64_t *> labels_in, target_in, smoothing, rows, n, threads
        ))


def softmax_xent_bwd(
    dlogits,  # OUT
    probs,    # IN
    labels,   # IN or None: int64
    target,   # IN or None
    scale,    # IN
    double smoothing, int64_t rows, int64_t n, int threads,
):
    cdef Kernels kernels = kernels_of(dlogits)
    cdef Out dlogits_out = output(dlogits)
    cdef In probs_in = input(probs), scale_in = input(scale)
    cdef In labels_in = input(labels), target_in = input(target)
    with nogil:
        finish(kernels.softmax_xent_bwd(
            dlogits_out, probs_in, <const int64_t *> labels_in, target_in, scale_in, smoothing, rows, n, threads
        ))


def loss_fwd(
    loss,    # OUT
    pred,    # IN
    target,  # IN
    int64_t n, int kind, double param, int threads,
):
    cdef Kernels kernels = kernels_of(loss)
    cdef Out loss_out = output(loss)
    cdef In pred_in = input(pred), target_in = input(target)
    with nogil:
        finish(kernels.loss_fwd(loss_out, pred_in, target_in, n, kind, param, threads))


def loss_bwd(
    dpred,   # OUT
    pred,    # IN
    target,  # IN
    int64_t n, int kind, double param, int threads,
):
    cdef Kernels kernels = kernels_of(dpred)
    cdef Out dpred_out = output(dpred)
    cdef In pred_in = input(pred), target_in = input(target)
    with nogil:
        finish(kernels.loss_bwd(dpred_out, pred_in, target_in, n, kind, param, threads))


def gather(
    y,      # OUT
    table,  # IN
    ids,    # IN: int64
    int64_t count, int64_t width, int threads,
):
    cdef Kernels kernels = kernels_of(y)
    cdef Out y_out = output(y)
    cdef In table_in = input(table), ids_in = input(ids)
    with nogil:
        finish(kernels.gather(y_out, table_in, <const int64_t *> ids_in, count, width, threads))


def scatter_add(
    sum,  # IN and OUT
    dy,   # IN
    ids,  # IN: int64
    int64_t count, int64_t width, int threads,
):
    cdef Kernels kernels = kernels_of(sum)
    cdef Out sum_out = output(sum)
    cdef In dy_in = input(dy), ids_in = input(ids)
    with nogil:
        finish(kernels.scatter_add(sum_out, dy_in, <const int64_t *> ids_in, count, width, threads))


def update(
    p,      # IN and OUT
    g,      # IN
    slots,  # IN and OUT: at most three arrays
    int64_t n, int kind, hyper, int threads,
):
    cdef Kernels kernels = kernels_of(p)
    cdef void *slots_out[3]
    cdef double values[8]
    cdef int i
    cdef Out p_out = output(p)
    cdef In g_in = input(g)
    if len(slots) > 3 or len(hyper) > 8:
        raise ValueError("update takes at most 3 slots and 8 hyperparameters")
    for i in range(len(slots)):
        slots_out[i] = output(slots[i])
    for i in range(len(hyper)):
        values[i] = hyper[i]
    with nogil:
        finish(kernels.update(p_out, g_in, slots_out, n, kind, values, threads))


def norm_stats(
    mean,  # OUT
    var,   # OUT
    x,     # IN
    plan, int threads,
):
    cdef Kernels kernels = kernels_of(mean)
    cdef fd_norm sizes
    cdef Out mean_out = output(mean), var_out = output(var)
    cdef In x_in = input(x)
    unpack_norm(&sizes, plan)
    with nogil:
        finish(kernels.norm_stats(mean_out, var_out, x_in, &sizes, threads))


def norm_apply(
    y,      # OUT
    x,      # IN
    mean,   # IN
    var,    # IN
    gamma,  # IN
    beta,   # IN
    plan, int act, double alpha, int threads,
):
    cdef Kernels kernels = kernels_of(y)
    cdef fd_norm sizes
    cdef Out y_out = output(y)
    cdef In x_in = input(x), mean_in = input(mean), var_in = input(var)
    cdef In gamma_in = input(gamma), beta_in = input(beta)
    unpack_norm(&sizes, plan)
    with nogil:
        finish(kernels.norm_apply(
            y_out, x_in, mean_in, var_in, gamma_in, beta_in, &sizes, act, alpha, threads
        ))


def norm_bwd(
    dx,      # OUT
    dgamma,  # OUT
    dbeta,   # OUT
    dy,      # IN
    x,       # IN
    mean,    # IN
    var,     # IN
    gamma,   # IN
    plan, int threads,
):
    cdef Kernels kernels = kernels_of(dx)
    cdef fd_norm sizes
    cdef Out dx_out = output(dx), dgamma_out = output(dgamma), dbeta_out = output(dbeta)
    cdef In dy_in = input(dy), x_in = input(x), mean_in = input(mean), var_in = input(var)
    cdef In gamma_in = input(gamma)
    unpack_norm(&sizes, plan)
    with nogil:
        finish(kernels.norm_bwd(
            dx_out, dgamma_out, dbeta_out, dy_in, x_in, mean_in, var_in, gamma_in, &sizes, threads
        ))


def rnn_fwd(
    hs,          # OUT
    h,           # OUT
    c,           # OUT or None
    previous,    # OUT or None
    gates,       # OUT or None
    previous_c,  # OUT or None
    z,           # IN
    h0,          # IN
    c0,          # IN or None
    w_h,         # IN
    b_h,         # IN or None
    peepholes,   # IN or None
    mask,        # IN or None
    lengths,     # IN or None: int64
    plan, int kind, int threads,
):
    cdef Kernels kernels = kernels_of(hs)
    cdef fd_rnn sizes
    cdef Out hs_out = output(hs), h_out = output(h), c_out = optional_output(c)
    cdef Out previous_out = optional_output(previous), gates_out = optional_output(gates)
    cdef Out previous_c_out = optional_output(previous_c)
    cdef In z_in = input(z), h0_in = input(h0), c0_in = input(c0), w_h_in = input(w_h), b_h_in = input(b_h)
    cdef In peepholes_in = input(peepholes), mask_in = input(mask), lengths_in = input(lengths)
    unpack_rnn(&sizes, plan, kind)
    with nogil:
        finish(kernels.rnn_fwd(
            hs_out, h_out, c_out, previous_out, gates_out, previous_c_out, z_in, h0_in, c0_in, w_h_in, b_h_in,
            peepholes_in, mask_in, <const int64_t *> lengths_in, &sizes, threads
        ))


def rnn_bwd(
    dz,          # OUT
    ds,          # OUT or None
    dh0,         # OUT
    dc0,         # OUT or None
    dhs,         # IN or None
    dh,          # IN or None
    dc,          # IN or None
    previous,    # IN
    gates,       # IN
    previous_c,  # IN or None
    w_h,         # IN
    peepholes,   # IN or None
    mask,        # IN or None
    lengths,     # IN or None: int64
    plan, int kind, int threads,
):
    cdef Kernels kernels = kernels_of(dz)
    cdef fd_rnn sizes
    cdef Out dz_out = output(dz), ds_out = optional_output(ds)
    cdef Out dh0_out = output(dh0), dc0_out = optional_output(dc0)
    cdef In dhs_in = input(dhs), dh_in = input(dh), dc_in = input(dc), previous_in = input(previous)
    cdef In gates_in = input(gates), previous_c_in = input(previous_c), w_h_in = input(w_h)
    cdef In peepholes_in = input(peepholes), mask_in = input(mask), lengths_in = input(lengths)
    unpack_rnn(&sizes, plan, kind)
    with nogil:
        finish(kernels.rnn_bwd(
            dz_out, ds_out, dh0_out, dc0_out, dhs_in, dh_in, dc_in, previous_in, gates_in, previous_c_in, w_h_in,
            peepholes_in, mask_in, <const int64_t *> lengths_in, &sizes, threads
        ))
