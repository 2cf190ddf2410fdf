"""The compiled kernels: pointers out of arrays, the GIL released, error codes into exceptions. No arithmetic."""

# Design:
# (a) Arrays come through the buffer protocol, so that NumPy's headers are not needed to build. A buffer is given back
#     as soon as its address is known: the caller's reference keeps the memory alive, and ndarray.resize refuses an
#     array with references. Asking for a plain buffer also makes NumPy refuse an array that is not C-contiguous.
# (b) The size of one element of the first output picks the row of kernels, float32 or float64.
# (c) Sizes are not compared with arrays: shapes.py made both. None stands for a NULL pointer.
# (d) A plan is unpacked at each call: that takes a tenth of a microsecond, and there is no cache to keep right.
# (e) Signals are checked by the calling thread from within the loop in threads.c; an exception that a signal handler
#     raised stays pending until the kernel has returned.

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport INT64_MAX, int64_t, uint8_t


cdef extern from "Python.h":
    int PyErr_CheckSignals() noexcept
    void *PyErr_Occurred() noexcept


cdef extern from "fastdl.h" nogil:
    enum: FD_OK, FD_NOMEM, FD_INTERRUPTED, FD_F32, FD_F64

    ctypedef struct fd_conv:
        int64_t batch, in_channels, out_channels, groups
        int64_t in_ "in"[3]
        int64_t kernel[3]
        int64_t stride[3]
        int64_t dilation[3]
        int64_t pad[3]
        int64_t out[3]
        int64_t channels_last

    ctypedef struct fd_pool:
        int64_t batch, channels
        int64_t in_ "in"[3]
        int64_t size[3]
        int64_t stride[3]
        int64_t pad_before[3]
        int64_t pad_after[3]
        int64_t out[3]
        int64_t channels_last, count_include_pad

    ctypedef struct fd_upsample:
        int64_t batch, channels
        int64_t in_ "in"[2]
        int64_t scale[2]
        int64_t channels_last, bilinear

    ctypedef struct fd_kernels:
        const char *isa
        int (*gemm)(void *, const void *, const void *, const void *, int64_t, int64_t, int64_t,
                    int, int, int, double, int) noexcept nogil
        int (*conv_fwd)(void *, const void *, const void *, const void *, const fd_conv *, int, double, int) noexcept nogil
        int (*conv_dx)(void *, const void *, const void *, const void *, const fd_conv *, int, double, int) noexcept nogil
        int (*conv_dw)(void *, const void *, const void *, const fd_conv *, int) noexcept nogil
        int (*maxpool_fwd)(void *, void *, const void *, const fd_pool *, int) noexcept nogil
        int (*maxpool_bwd)(void *, const void *, const void *, const fd_pool *, int) noexcept nogil
        int (*avgpool_fwd)(void *, const void *, const fd_pool *, int) noexcept nogil
        int (*avgpool_bwd)(void *, const void *, const fd_pool *, int) noexcept nogil
        int (*upsample_fwd)(void *, const void *, const fd_upsample *, int) noexcept nogil
        int (*upsample_bwd)(void *, const void *, const fd_upsample *, int) noexcept nogil
        int (*im2col)(void *, const void *, const fd_conv *, int) noexcept nogil
        int (*col2im)(void *, const void *, const fd_conv *, int) noexcept nogil
        int (*bias_grad)(void *, const void *, int64_t, int64_t, int64_t, int) noexcept nogil
        int (*act_fwd)(void *, const void *, int64_t, int, double, int) noexcept nogil
        int (*act_bwd)(void *, const void *, const void *, int64_t, int, double, int) noexcept nogil
        int (*prelu_fwd)(void *, const void *, const void *, int64_t, int64_t, int64_t, int) noexcept nogil
        int (*prelu_bwd)(void *, void *, const void *, const void *, const void *, int64_t, int64_t, int64_t,
                         int) noexcept nogil
        int (*softmax_fwd)(void *, const void *, int64_t, int64_t, int64_t, int, int) noexcept nogil
        int (*softmax_bwd)(void *, const void *, const void *, int64_t, int64_t, int64_t, int, int) noexcept nogil
        int (*dropout_fwd)(void *, uint8_t *, const void *, const float *, int64_t, double, int) noexcept nogil
        int (*dropout_bwd)(void *, const void *, const uint8_t *, int64_t, double, int) noexcept nogil
        int (*softmax_xent_fwd)(void *, void *, const void *, const int64_t *, const void *, int64_t, int64_t,
                                int) noexcept nogil
        int (*softmax_xent_bwd)(void *, const void *, const int64_t *, const void *, const void *, int64_t, int64_t,
                                int) noexcept nogil
        int (*loss_fwd)(void *, const void *, const void *, int64_t, int, double, int) noexcept nogil
        int (*loss_bwd)(void *, const void *, const void *, int64_t, int, double, int) noexcept nogil
        int (*update)(void *, const void *, void **, int64_t, int, const double *, int) noexcept nogil

    const fd_kernels *fd_kernels_for(int dtype) noexcept
    int fd_threads_for(int64_t work, int threads) noexcept
    void fd_set_num_threads(int threads) noexcept
    void fd_set_interrupt_check(int (*check)() noexcept nogil) noexcept


cdef int signal_pending() noexcept with gil:
    return PyErr_CheckSignals()  # does nothing but on the main thread


fd_set_interrupt_check(&signal_pending)


cdef int finish(int code) except -1:
    if code == FD_NOMEM:
        raise MemoryError("fastdl: no memory left for scratch space")
    if code == FD_INTERRUPTED:
        if PyErr_Occurred() == NULL:  # a signal handler forked: the child has lost the other threads' share
            raise RuntimeError("fastdl: the process was forked in the middle of this call")
        return -1
    return 0


cdef void *output(object array, const fd_kernels **kernels) except NULL:
    """The address of an array to write; the kernels for its element type when asked."""
    cdef Py_buffer view
    PyObject_GetBuffer(array, &view, PyBUF_SIMPLE | PyBUF_WRITABLE)
    if kernels != NULL:
        kernels[0] = fd_kernels_for(FD_F64 if view.itemsize == 8 else FD_F32)
    cdef void *address = view.buf
    PyBuffer_Release(&view)
    return address


cdef const void *input(object array) except? NULL:
    """The address of an array to read, NULL for None."""
    cdef Py_buffer view
    if array is None:
        return NULL
    PyObject_GetBuffer(array, &view, PyBUF_SIMPLE)
    cdef const void *address = view.buf
    PyBuffer_Release(&view)
    return address


cdef int spatial(int64_t *sizes, tuple values) except -1:
    """Three sizes of a plan, in the order depth, height, width."""
    sizes[0], sizes[1], sizes[2] = values[0], values[1], values[2]
    return 0


cdef int unpack_conv(fd_conv *c, object plan) except -1:
    c.batch, c.groups = plan.batch, plan.groups
    c.in_channels, c.out_channels = plan.in_channels, plan.out_channels
    spatial(c.in_, plan.in_size)
    spatial(c.kernel, plan.kernel)
    spatial(c.stride, plan.stride)
    spatial(c.dilation, plan.dilation)
    spatial(c.pad, plan.pad_before)
    spatial(c.out, plan.out_size)
    c.channels_last = plan.layout == "NHWC"
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
    cdef const fd_kernels *kernels
    cdef void *c_out = output(c, &kernels)
    cdef const void *a_in = input(a)
    cdef const void *b_in = input(b)
    cdef const void *bias_in = input(bias)
    cdef int code
    with nogil:
        code = kernels.gemm(c_out, a_in, b_in, bias_in, m, n, k, trans_a, trans_b, act, alpha, threads)
    finish(code)


def conv_fwd(
    y,  # OUT
    x,  # IN
    w,  # IN
    b,  # IN or None
    plan, int act, double alpha, int threads,
):
    cdef const fd_kernels *kernels
    cdef fd_conv sizes
    cdef void *y_out = output(y, &kernels)
    cdef const void *x_in = input(x)
    cdef const void *w_in = input(w)
    cdef const void *b_in = input(b)
    cdef int code
    unpack_conv(&sizes, plan)
    with nogil:
        code = kernels.conv_fwd(y_out, x_in, w_in, b_in, &sizes, act, alpha, threads)
    finish(code)


def conv_dx(
    dx,  # OUT
    dy,  # IN
    w,   # IN
    b,   # IN or None
    plan, int act, double alpha, int threads,
):
    cdef const fd_kernels *kernels
    cdef fd_conv sizes
    cdef void *dx_out = output(dx, &kernels)
    cdef const void *dy_in = input(dy)
    cdef const void *w_in = input(w)
    cdef const void *b_in = input(b)
    cdef int code
    unpack_conv(&sizes, plan)
    with nogil:
        code = kernels.conv_dx(dx_out, dy_in, w_in, b_in, &sizes, act, alpha, threads)
    finish(code)


def conv_dw(
    dw,  # OUT
    dy,  # IN
    x,   # IN
    plan, int threads,
):
    cdef const fd_kernels *kernels
    cdef fd_conv sizes
    cdef void *dw_out = output(dw, &kernels)
    cdef const void *dy_in = input(dy)
    cdef const void *x_in = input(x)
    cdef int code
    unpack_conv(&sizes, plan)
    with nogil:
        code = kernels.conv_dw(dw_out, dy_in, x_in, &sizes, threads)
    finish(code)


def maxpool_fwd(
    y,      # OUT
    index,  # OUT or None: uint8 or int32, as the size of the window says
    x,      # IN
    plan, int threads,
):
    cdef const fd_kernels *kernels
    cdef fd_pool sizes
    cdef void *y_out = output(y, &kernels)
    cdef void *index_out = NULL if index is None else output(index, NULL)
    cdef const void *x_in = input(x)
    cdef int code
    unpack_pool(&sizes, plan)
    with nogil:
        code = kernels.maxpool_fwd(y_out, index_out, x_in, &sizes, threads)
    finish(code)


def maxpool_bwd(
    dx,     # OUT
    dy,     # IN
    index,  # IN
    plan, int threads,
):
    cdef const fd_kernels *kernels
    cdef fd_pool sizes
    cdef void *dx_out = output(dx, &kernels)
    cdef const void *dy_in = input(dy)
    cdef const void *index_in = input(index)
    cdef int code
    unpack_pool(&sizes, plan)
    with nogil:
        code = kernels.maxpool_bwd(dx_out, dy_in, index_in, &sizes, threads)
    finish(code)


def avgpool_fwd(
    y,  # OUT
    x,  # IN
    plan, int threads,
):
    cdef const fd_kernels *kernels
    cdef fd_pool sizes
    cdef void *y_out = output(y, &kernels)
    cdef const void *x_in = input(x)
    cdef int code
    unpack_pool(&sizes, plan)
    with nogil:
        code = kernels.avgpool_fwd(y_out, x_in, &sizes, threads)
    finish(code)


def avgpool_bwd(
    dx,  # OUT
    dy,  # IN
    plan, int threads,
):
    cdef const fd_kernels *kernels
    cdef fd_pool sizes
    cdef void *dx_out = output(dx, &kernels)
    cdef const void *dy_in = input(dy)
    cdef int code
    unpack_pool(&sizes, plan)
    with nogil:
        code = kernels.avgpool_bwd(dx_out, dy_in, &sizes, threads)
    finish(code)


def upsample_fwd(
    y,  # OUT
    x,  # IN
    plan, int threads,
):
    cdef const fd_kernels *kernels
    cdef fd_upsample sizes
    cdef void *y_out = output(y, &kernels)
    cdef const void *x_in = input(x)
    cdef int code
    unpack_upsample(&sizes, plan)
    with nogil:
        code = kernels.upsample_fwd(y_out, x_in, &sizes, threads)
    finish(code)


def upsample_bwd(
    dx,  # OUT
    dy,  # IN
    plan, int threads,
):
    cdef const fd_kernels *kernels
    cdef fd_upsample sizes
    cdef void *dx_out = output(dx, &kernels)
    cdef const void *dy_in = input(dy)
    cdef int code
    unpack_upsample(&sizes, plan)
    with nogil:
        code = kernels.upsample_bwd(dx_out, dy_in, &sizes, threads)
    finish(code)


def im2col(
    cols,  # OUT
    x,     # IN
    plan, int threads,
):
    cdef const fd_kernels *kernels
    cdef fd_conv sizes
    cdef void *cols_out = output(cols, &kernels)
    cdef const void *x_in = input(x)
    cdef int code
    unpack_conv(&sizes, plan)
    with nogil:
        code = kernels.im2col(cols_out, x_in, &sizes, threads)
    finish(code)


def col2im(
    dx,    # OUT
    cols,  # IN
    plan, int threads,
):
    cdef const fd_kernels *kernels
    cdef fd_conv sizes
    cdef void *dx_out = output(dx, &kernels)
    cdef const void *cols_in = input(cols)
    cdef int code
    unpack_conv(&sizes, plan)
    with nogil:
        code = kernels.col2im(dx_out, cols_in, &sizes, threads)
    finish(code)


def bias_grad(
    db,  # OUT
    dy,  # IN
    int64_t outer, int64_t channels, int64_t inner, int threads,
):
    cdef const fd_kernels *kernels
    cdef void *db_out = output(db, &kernels)
    cdef const void *dy_in = input(dy)
    cdef int code
    with nogil:
        code = kernels.bias_grad(db_out, dy_in, outer, channels, inner, threads)
    finish(code)


def act_fwd(
    y,  # OUT
    x,  # IN
    int64_t n, int act, double alpha, int threads,
):
    cdef const fd_kernels *kernels
    cdef void *y_out = output(y, &kernels)
    cdef const void *x_in = input(x)
    cdef int code
    with nogil:
        code = kernels.act_fwd(y_out, x_in, n, act, alpha, threads)
    finish(code)


def act_bwd(
    dx,     # OUT
    dy,     # IN
    saved,  # IN or None: x or y, as the activation needs
    int64_t n, int act, double alpha, int threads,
):
    cdef const fd_kernels *kernels
    cdef void *dx_out = output(dx, &kernels)
    cdef const void *dy_in = input(dy)
    cdef const void *saved_in = input(saved)
    cdef int code
    with nogil:
        code = kernels.act_bwd(dx_out, dy_in, saved_in, n, act, alpha, threads)
    finish(code)


def prelu_fwd(
    y,      # OUT
    x,      # IN
    slope,  # IN
    int64_t outer, int64_t channels, int64_t inner, int threads,
):
    cdef const fd_kernels *kernels
    cdef void *y_out = output(y, &kernels)
    cdef const void *x_in = input(x)
    cdef const void *slope_in = input(slope)
    cdef int code
    with nogil:
        code = kernels.prelu_fwd(y_out, x_in, slope_in, outer, channels, inner, threads)
    finish(code)


def prelu_bwd(
    dx,      # OUT
    dslope,  # OUT
    dy,      # IN
    x,       # IN
    slope,   # IN
    int64_t outer, int64_t channels, int64_t inner, int threads,
):
    cdef const fd_kernels *kernels
    cdef void *dx_out = output(dx, &kernels)
    cdef void *dslope_out = output(dslope, NULL)
    cdef const void *dy_in = input(dy)
    cdef const void *x_in = input(x)
    cdef const void *slope_in = input(slope)
    cdef int code
    with nogil:
        code = kernels.prelu_bwd(dx_out, dslope_out, dy_in, x_in, slope_in, outer, channels, inner, threads)
    finish(code)


def softmax_fwd(
    y,  # OUT
    x,  # IN
    int64_t outer, int64_t n, int64_t inner, bint log, int threads,
):
    cdef const fd_kernels *kernels
    cdef void *y_out = output(y, &kernels)
    cdef const void *x_in = input(x)
    cdef int code
    with nogil:
        code = kernels.softmax_fwd(y_out, x_in, outer, n, inner, log, threads)
    finish(code)


def softmax_bwd(
    dx,  # OUT
    dy,  # IN
    y,   # IN
    int64_t outer, int64_t n, int64_t inner, bint log, int threads,
):
    cdef const fd_kernels *kernels
    cdef void *dx_out = output(dx, &kernels)
    cdef const void *dy_in = input(dy)
    cdef const void *y_in = input(y)
    cdef int code
    with nogil:
        code = kernels.softmax_bwd(dx_out, dy_in, y_in, outer, n, inner, log, threads)
    finish(code)


def dropout_fwd(
    y,      # OUT
    mask,   # OUT: uint8
    x,      # IN
    noise,  # IN: float32
    int64_t n, double rate, int threads,
):
    cdef const fd_kernels *kernels
    cdef void *y_out = output(y, &kernels)
    cdef void *mask_out = output(mask, NULL)
    cdef const void *x_in = input(x)
    cdef const void *noise_in = input(noise)
    cdef int code
    with nogil:
        code = kernels.dropout_fwd(y_out, <uint8_t *> mask_out, x_in, <const float *> noise_in, n, rate, threads)
    finish(code)


def dropout_bwd(
    dx,    # OUT
    dy,    # IN
    mask,  # IN: uint8
    int64_t n, double rate, int threads,
):
    cdef const fd_kernels *kernels
    cdef void *dx_out = output(dx, &kernels)
    cdef const void *dy_in = input(dy)
    cdef const void *mask_in = input(mask)
    cdef int code
    with nogil:
        code = kernels.dropout_bwd(dx_out, dy_in, <const uint8_t *> mask_in, n, rate, threads)
    finish(code)


def softmax_xent_fwd(
    losses,  # OUT
    probs,   # OUT
    logits,  # IN
    labels,  # IN or None: int64
    target,  # IN or None
    int64_t rows, int64_t n, int threads,
):
    cdef const fd_kernels *kernels
    cdef void *losses_out = output(losses, &kernels)
    cdef void *probs_out = output(probs, NULL)
    cdef const void *logits_in = input(logits)
    cdef const void *labels_in = input(labels)
    cdef const void *target_in = input(target)
    cdef int code
    with nogil:
        code = kernels.softmax_xent_fwd(
            losses_out, probs_out, logits_in, <const int64_t *> labels_in, target_in, rows, n, threads
        )
    finish(code)


def softmax_xent_bwd(
    dlogits,  # OUT
    probs,    # IN
    labels,   # IN or None: int64
    target,   # IN or None
    scale,    # IN
    int64_t rows, int64_t n, int threads,
):
    cdef const fd_kernels *kernels
    cdef void *dlogits_out = output(dlogits, &kernels)
    cdef const void *probs_in = input(probs)
    cdef const void *labels_in = input(labels)
    cdef const void *target_in = input(target)
    cdef const void *scale_in = input(scale)
    cdef int code
    with nogil:
        code = kernels.softmax_xent_bwd(
            dlogits_out, probs_in, <const int64_t *> labels_in, target_in, scale_in, rows, n, threads
        )
    finish(code)


def loss_fwd(
    loss,    # OUT
    pred,    # IN
    target,  # IN
    int64_t n, int kind, double param, int threads,
):
    cdef const fd_kernels *kernels
    cdef void *loss_out = output(loss, &kernels)
    cdef const void *pred_in = input(pred)
    cdef const void *target_in = input(target)
    cdef int code
    with nogil:
        code = kernels.loss_fwd(loss_out, pred_in, target_in, n, kind, param, threads)
    finish(code)


def loss_bwd(
    dpred,   # OUT
    pred,    # IN
    target,  # IN
    int64_t n, int kind, double param, int threads,
):
    cdef const fd_kernels *kernels
    cdef void *dpred_out = output(dpred, &kernels)
    cdef const void *pred_in = input(pred)
    cdef const void *target_in = input(target)
    cdef int code
    with nogil:
        code = kernels.loss_bwd(dpred_out, pred_in, target_in, n, kind, param, threads)
    finish(code)


def update(
    p,      # IN and OUT
    g,      # IN
    slots,  # IN and OUT: at most three arrays
    int64_t n, int kind, hyper, int threads,
):
    cdef const fd_kernels *kernels
    cdef void *slots_out[3]
    cdef double values[8]
    cdef int i, code
    cdef void *p_out = output(p, &kernels)
    cdef const void *g_in = input(g)
    if len(slots) > 3 or len(hyper) > 8:
        raise ValueError("update takes at most 3 slots and 8 hyperparameters")
    for i in range(len(slots)):
        slots_out[i] = output(slots[i], NULL)
    for i in range(len(hyper)):
        values[i] = hyper[i]
    with nogil:
        code = kernels.update(p_out, g_in, slots_out, n, kind, values, threads)
    finish(code)
