"""csrc/fastdl.h, for Cython: the same names in the same order."""

from libc.stdint cimport int64_t, uint8_t


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
        int64_t channels_last, strict
        int64_t *asked

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

    ctypedef struct fd_norm:
        int64_t blocks, outer, groups, channels, inner, fixed
        double eps

    ctypedef struct fd_rnn:
        int64_t batch, steps, features, units
        int64_t kind, reverse

    ctypedef struct fd_kernels:
        const char *isa
        int (*gemm)(void *, const void *, const void *, const void *, const void *, int64_t, int64_t, int64_t,
                        int, int, int, double, int) noexcept nogil
        int (*conv_fwd)(void *, const void *, const void *, const void *, const void *, const fd_conv *, int,
                        double, int) noexcept nogil
        int (*conv_dx)(void *, const void *, const void *, const void *, const void *, const fd_conv *, int,
                        double, int) noexcept nogil
        int (*conv_dw)(void *, const void *, const void *, const fd_conv *, int) noexcept nogil
        int (*conv_dw_pooled)(void *, const void *, const void *, const void *, const fd_conv *, const fd_pool *,
                              int) noexcept nogil
        int (*maxpool_fwd)(void *, void *, const void *, const fd_pool *, int) noexcept nogil
        int (*maxpool_gated)(void *, void *, uint8_t *, const void *, const fd_pool *, int) noexcept nogil
        int (*maxpool_bwd)(void *, const void *, const void *, const fd_pool *, int) noexcept nogil
        int (*maxpool_share)(void *, const void *, const void *, const void *, const fd_pool *, int) noexcept nogil
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
        int (*prelu_bwd)(void *, void *, const void *, const void *, const void *, int64_t, int64_t,
                        int64_t, int) noexcept nogil
        int (*softmax_fwd)(void *, const void *, int64_t, int64_t, int64_t, int, int) noexcept nogil
        int (*softmax_bwd)(void *, const void *, const void *, int64_t, int64_t, int64_t, int,
                        int) noexcept nogil
        int (*dropout_fwd)(void *, uint8_t *, const void *, const float *, int64_t, double,
                        int) noexcept nogil
        int (*dropout_bwd)(void *, const void *, const uint8_t *, int64_t, double, int) noexcept nogil
        int (*gate_fwd)(void *, uint8_t *, const void *, int64_t, int) noexcept nogil
        int (*gate_bwd)(void *, const uint8_t *, int64_t, int) noexcept nogil
        int (*softmax_xent_fwd)(void *, void *, const void *, const int64_t *, const void *, double, int64_t,
                        int64_t, int) noexcept nogil
        int (*softmax_xent_bwd)(void *, const void *, const int64_t *, const void *, const void *, double,
                        int64_t, int64_t, int) noexcept nogil
        int (*loss_fwd)(void *, const void *, const void *, int64_t, int, double, int) noexcept nogil
        int (*loss_bwd)(void *, const void *, const void *, int64_t, int, double, int) noexcept nogil
        int (*loss_sum)(double *, const void *, const void *, int64_t, int, double, int) noexcept nogil
        int (*norm_stats)(void *, void *, const void *, const fd_norm *, int) noexcept nogil
        int (*norm_apply)(void *, const void *, const void *, const void *, const void *, const void *,
                        const fd_norm *, int, double, int) noexcept nogil
        int (*norm_fwd)(void *, void *, void *, const void *, const void *, const void *, const fd_norm *,
                        int, double, int) noexcept nogil
        int (*norm_bwd)(void *, void *, void *, const void *, const void *, const void *, const void *,
                        const void *, const void *, const fd_norm *, int, double, int) noexcept nogil
        int (*rnn_fwd)(void *, void *, void *, void *, void *, void *, const void *, const void *, const void *,
                        const void *, const void *, const void *, const void *, const void *, const void *,
                        const int64_t *, const fd_rnn *, int) noexcept nogil
        int (*rnn_bwd)(void *, void *, void *, void *, const void *, const void *, const void *, const void *,
                        const void *, const void *, const void *, const void *, const void *,
                        const int64_t *, const fd_rnn *, int) noexcept nogil
        int64_t (*outside)(const int64_t *, int64_t, int64_t) noexcept nogil
        int (*gather)(void *, const void *, const int64_t *, int64_t, int64_t, int) noexcept nogil
        int (*scatter_add)(void *, const void *, const int64_t *, int64_t, int64_t, int) noexcept nogil
        int (*update)(void *, const void *, void **, const int64_t *, int64_t, int64_t, int, const double *,
                      int) noexcept nogil

    const fd_kernels *fd_kernels_for(int dtype) noexcept
    int fd_threads_for(int64_t work, int threads) noexcept
    void fd_set_num_threads(int threads) noexcept
    void fd_set_interrupt_check(int (*check)() noexcept nogil) noexcept
    void *fd_alloc(size_t bytes) noexcept
    void *fd_realloc(void *p, size_t bytes) noexcept
    void fd_free(void *p) noexcept
    void fd_memory(int64_t *blocks, int64_t *in_use, int64_t *waiting) noexcept
