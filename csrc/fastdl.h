/* fastdl.h: the whole C interface of fastdl and its contract.
 *
 * Contract
 *   - Every size has been checked by fastdl/shapes.py before a pointer exists: kernels never check again.
 *   - Arrays are C-contiguous, aligned to their element and in native byte order; outputs never overlap inputs.
 *   - No byte outside an array is read or written, not even under a mask.
 *   - Outputs come first, then inputs, then sizes; the last argument is the largest number of threads to use.
 *   - Work is cut into tasks that are a function of the sizes only (or of no consequence, which the kernel then says),
 *     and each output has one fixed order of summation: the same inputs on the same instruction set give the same bits
 *     for any number of threads.
 *   - A kernel returns FD_OK, FD_NOMEM or FD_INTERRUPTED; after an error its outputs hold unspecified values.
 */
#ifndef FASTDL_H
#define FASTDL_H

#include <stddef.h>
#include <stdint.h>

enum { FD_OK = 0, FD_NOMEM = 1, FD_INTERRUPTED = 2 };
enum { FD_F32 = 0, FD_F64 = 1 };

/* Activation kinds, in the order of shapes.ACTIVATIONS. */
enum {
    FD_LINEAR,
    FD_RELU,
    FD_LEAKY_RELU,
    FD_ELU,
    FD_SELU,
    FD_SIGMOID,
    FD_TANH,
    FD_SOFTPLUS,
    FD_GELU,
    FD_GELU_TANH,
    FD_SILU
};

/* Elementwise loss kinds, in the order of shapes.LOSSES. */
enum {
    FD_SQUARED,
    FD_ABSOLUTE,
    FD_HUBER,
    FD_HINGE,
    FD_BINARY_CROSS_ENTROPY,
    FD_BINARY_CROSS_ENTROPY_LOGITS,
    FD_KL_DIVERGENCE,
    FD_LOG_COSH,
    FD_SQUARED_HINGE,
    FD_POISSON
};

/* Optimizer kinds, in the order of shapes.UPDATES. */
enum { FD_SGD, FD_MOMENTUM, FD_NESTEROV, FD_ADAGRAD, FD_ADADELTA, FD_RMSPROP, FD_ADAM };

/* Recurrence kinds, in the order of shapes_recurrent.RECURRENCES. */
enum { FD_RNN_TANH, FD_RNN_RELU, FD_LSTM, FD_GRU, FD_GRU_RESET_BEFORE };

/* What computes a convolution, in the order of shapes.CONV_ALGORITHMS. */
enum { FD_NOTHING, FD_DIRECT, FD_DIRECT_NHWC, FD_DEPTHWISE, FD_WINOGRAD, FD_IM2COL, FD_GEMM };

/* A convolution over three spatial axes (depth, height, width); the missing ones have size 1. */
typedef struct {
    int64_t batch, in_channels, out_channels, groups;
    int64_t in[3], kernel[3], stride[3], dilation[3], pad[3], out[3]; /* pad: before the first element */
    int64_t channels_last;                                            /* 0: NCHW + OIHW, 1: NHWC + HWIO */
    int64_t strict;                                                   /* 1: each product is computed, no Winograd */
    int64_t *asked; /* NULL, or where to put the algorithm that would serve; no array is touched then */
} fd_conv;

/* A pooling over three spatial axes. */
typedef struct {
    int64_t batch, channels;
    int64_t in[3], size[3], stride[3], pad_before[3], pad_after[3], out[3];
    int64_t channels_last, count_include_pad;
} fd_pool;

/* An upsampling by whole factors over two spatial axes. */
typedef struct {
    int64_t batch, channels;
    int64_t in[2], scale[2];
    int64_t channels_last, bilinear;
} fd_upsample;

/* A normalisation of (blocks, outer, groups, channels, inner): mean and var (blocks, groups), gamma and beta (groups,
 * channels). */
typedef struct {
    int64_t blocks, outer, groups, channels, inner;
    int64_t fixed; /* 1: mean and var are given, and no functions of x */
    double eps;
} fd_norm;

/* A recurrence over the steps of `batch` sequences of `features`, with a state of `units`. */
typedef struct {
    int64_t batch, steps, features, units;
    int64_t kind, reverse;
} fd_rnn;

/* One row of the dispatch table: every kernel for one instruction set and one element type.
 * Pointers are to that element type unless named otherwise. */
typedef struct {
    const char *isa;

    /* gemm.h, gemm_small.h */
    int (*gemm)(void *c, const void *a, const void *b, const void *bias, const void *scale, int64_t m, int64_t n,
                int64_t k, int trans_a, int trans_b, int act, double alpha, int threads);

    /* conv.h, conv_dw.h, pooled_dw.h */
    int (*conv_fwd)(void *y, const void *x, const void *w, const void *b, const void *scale, const fd_conv *plan,
                    int act, double alpha, int threads);
    int (*conv_dx)(void *dx, const void *dy, const void *w, const void *b, const void *scale, const fd_conv *plan,
                   int act, double alpha, int threads);
    int (*conv_dw)(void *dw, const void *dy, const void *x, const fd_conv *plan, int threads);
    int (*conv_dw_pooled)(void *dw, const void *dy, const void *index, const void *x, const fd_conv *plan,
                          const fd_pool *pool, int threads);

    /* pool.h; index is uint8_t when a window has at most 256 cells, else int32_t, and may be NULL */
    int (*maxpool_fwd)(void *y, void *index, const void *x, const fd_pool *plan, int threads);
    int (*maxpool_gated)(void *y, void *index, uint8_t *closed, const void *x, const fd_pool *plan, int threads);
    int (*maxpool_bwd)(void *dx, const void *dy, const void *index, const fd_pool *plan, int threads);
    int (*maxpool_share)(void *dx, const void *dy, const void *x, const void *y, const fd_pool *plan, int threads);
    int (*avgpool_fwd)(void *y, const void *x, const fd_pool *plan, int threads);
    int (*avgpool_bwd)(void *dx, const void *dy, const fd_pool *plan, int threads);
    int (*upsample_fwd)(void *y, const void *x, const fd_upsample *plan, int threads);
    int (*upsample_bwd)(void *dx, const void *dy, const fd_upsample *plan, int threads);
    int (*im2col)(void *cols, const void *x, const fd_conv *plan, int threads);
    int (*col2im)(void *dx, const void *cols, const fd_conv *plan, int threads);

    /* rows.h */
    int (*bias_grad)(void *db, const void *dy, int64_t outer, int64_t channels, int64_t inner, int threads);
    int (*act_fwd)(void *y, const void *x, int64_t n, int act, double alpha, int threads);
    int (*act_bwd)(void *dx, const void *dy, const void *saved, int64_t n, int act, double alpha, int threads);
    int (*prelu_fwd)(void *y, const void *x, const void *slope, int64_t outer, int64_t channels, int64_t inner,
                     int threads);
    int (*prelu_bwd)(void *dx, void *dslope, const void *dy, const void *x, const void *slope, int64_t outer,
                     int64_t channels, int64_t inner, int threads);
    int (*dropout_fwd)(void *y, uint8_t *mask, const void *x, const float *noise, int64_t n, double rate, int threads);
    int (*dropout_bwd)(void *dx, const void *dy, const uint8_t *mask, int64_t n, double rate, int threads);

    /* gate.h; gate_bwd writes into dy */
    int (*gate_fwd)(void *y, uint8_t *closed, const void *x, int64_t n, int threads);
    int (*gate_bwd)(void *dy, const uint8_t *closed, int64_t n, int threads);

    /* softmax.h; a cross-entropy has labels (int64 class numbers; rows with one below 0 count for nothing), of which
     * smoothing goes to all classes alike, or else target (rows of probabilities) */
    int (*softmax_fwd)(void *y, const void *x, int64_t outer, int64_t n, int64_t inner, int log, int threads);
    int (*softmax_bwd)(void *dx, const void *dy, const void *y, int64_t outer, int64_t n, int64_t inner, int log,
                       int threads);
    int (*softmax_xent_fwd)(void *losses, void *probs, const void *logits, const int64_t *labels, const void *target,
                            double smoothing, int64_t rows, int64_t n, int threads);
    int (*softmax_xent_bwd)(void *dlogits, const void *probs, const int64_t *labels, const void *target,
                            const void *scale, double smoothing, int64_t rows, int64_t n, int threads);

    /* loss.h; loss_sum without a target is the sum of pred */
    int (*loss_fwd)(void *loss, const void *pred, const void *target, int64_t n, int kind, double param, int threads);
    int (*loss_bwd)(void *dpred, const void *pred, const void *target, int64_t n, int kind, double param, int threads);
    int (*loss_sum)(double *sum, const void *pred, const void *target, int64_t n, int kind, double param, int threads);

    /* norm.h, norm_fwd.h, norm_bwd.h; norm_fwd is norm_stats and norm_apply in one */
    int (*norm_stats)(void *mean, void *var, const void *x, const fd_norm *plan, int threads);
    int (*norm_apply)(void *y, const void *x, const void *mean, const void *var, const void *gamma, const void *beta,
                      const fd_norm *plan, int act, double alpha, int threads);
    int (*norm_fwd)(void *y, void *mean, void *var, const void *x, const void *gamma, const void *beta,
                    const fd_norm *plan, int act, double alpha, int threads);
    int (*norm_bwd)(void *dx, void *dgamma, void *dbeta, const void *dy, const void *x, const void *mean,
                    const void *var, const void *gamma, const void *beta, const fd_norm *plan, int act, double alpha,
                    int threads);

    /* recurrent.h; previous, gates and previous_c are what backward needs, all NULL where nothing is kept */
    int (*rnn_fwd)(void *hs, void *h, void *c, void *previous, void *gates, void *previous_c, const void *x,
                   const void *w_x, const void *b, const void *h0, const void *c0, const void *w_h, const void *b_h,
                   const void *peepholes, const void *mask, const int64_t *lengths, const fd_rnn *plan, int threads);
    int (*rnn_bwd)(void *dz, void *ds, void *dh0, void *dc0, const void *dhs, const void *dh, const void *dc,
                   const void *previous, const void *gates, const void *previous_c, const void *w_h,
                   const void *peepholes, const void *mask, const int64_t *lengths, const fd_rnn *plan, int threads);

    /* embedding.h; outside finds the first id that is no row, or -1; scatter_add adds into sum */
    int64_t (*outside)(const int64_t *ids, int64_t count, int64_t rows);
    int (*gather)(void *y, const void *table, const int64_t *ids, int64_t count, int64_t width, int threads);
    int (*scatter_add)(void *sum, const void *dy, const int64_t *ids, int64_t count, int64_t width, int threads);

    /* update.h; hyper in the order of step_vector there; rows may be NULL, and are different ones */
    int (*update)(void *p, const void *g, void *const *slots, const int64_t *rows, int64_t count, int64_t width,
                  int kind, const double *hyper, int threads);
} fd_kernels;

/* The row that serves this machine: the best its CPU has, capped by FASTDL_CPU = generic | avx2 | avx512. */
const fd_kernels *fd_kernels_for(int dtype);

/* ---- threads.c ---------------------------------------------------------------------------------------------- */

/* One task of a parallel loop. scratch is 64-byte aligned, private to the running thread, of the size asked for,
 * and holds unspecified values. */
typedef void (*fd_task)(void *arg, int64_t task, void *scratch);

/* Run tasks 0 .. tasks-1 on at most `threads` threads (the caller is one of them): thread t of T takes the fixed
 * range [t*tasks/T, (t+1)*tasks/T). Nested or concurrent calls run on their caller alone. */
int fd_parallel(fd_task fn, void *arg, int64_t tasks, size_t scratch, int threads);

/* Whether the loop is to end early. For tasks that take long: they return then, and their results are not looked at. */
int fd_stopped(void);

/* As many of `threads` as `work` (about one unit a simple vector operation) pays for: 1 below the threshold. */
int fd_threads_for(int64_t work, int threads);

int fd_get_num_threads(void); /* the number used when a call passes threads = 0 */
/* At most so many from here on, whatever a call asks for; 0: back to FASTDL_NUM_THREADS, or else what cgroup and
 * affinity allow. */
void fd_set_num_threads(int threads);

/* Called by the thread that runs fd_parallel, about every 50 ms; a non-zero answer ends the loop early. */
void fd_set_interrupt_check(int (*check)(void));

/* Memory on a cache line, for arrays and scratch, from blocks that were given back before (memory.c): NULL when there
 * is none left. Any thread may call these. */
void *fd_alloc(size_t bytes);
void *fd_realloc(void *p, size_t bytes);
void fd_free(void *p);

/* How many blocks the system has been asked for so far, the bytes in use, and those that wait to be used again. */
void fd_memory(int64_t *blocks, int64_t *in_use, int64_t *waiting);

#endif
