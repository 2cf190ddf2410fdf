/* im2col.h: the windows of a convolution as rows of a matrix, and the adjoint. For teaching: convolution itself needs
 * neither. */

#define COL2IM_AHEAD 4     /* windows whose columns are asked for */
#define IM2COL_BYTES 40960 /* of a block of windows; where it is streamed, */
#define STREAM_BLOCK 16384 /* of one that waits in scratch */
#define FD_STREAMS (FD_ISA == FD_AVX512 || FD_ISA == FD_AVX2)
#define STREAM_BYTES (8 << 20) /* matrices from this size on are streamed: they stay in no cache anyway */

/* The taps of window `out` that are cells of the input on one axis: begin .. end-1. */
typedef struct {
    int64_t corner, begin, end;
} FD(taps);

static FD(taps) FD(taps_at)(const fd_conv *p, int axis, int64_t out) {
    const int64_t corner = out * p->stride[axis] - p->pad[axis], dilation = p->dilation[axis];
    const int64_t before = corner < 0 ? (-corner + dilation - 1) / dilation : 0;
    const int64_t inside = corner < p->in[axis] ? (p->in[axis] - corner + dilation - 1) / dilation : 0;
    return (FD(taps)){corner, FD(least)(before, p->kernel[axis]), FD(least)(inside, p->kernel[axis])};
}

typedef struct {
    const fd_conv *plan;
    T *to;
    const T *from;
    int64_t share; /* im2col: rows of windows a task; col2im: channels a task */
    int streamed;  /* im2col, from scratch */
} FD(columns);

/* Neighbouring elements of a matrix row are neighbouring taps of one channel (NCHW), or channels of one tap (NHWC). */
FD_INLINE void FD(im2col_window)(T *col, const T *image, const fd_conv *p, int64_t outer, int64_t inner, FD(taps) d,
                                 FD(taps) h, FD(taps) w) {
    const int64_t *kernel = p->kernel, *in = p->in, *dilation = p->dilation;
    for (int64_t c = 0; c < outer; c++)
        for (int64_t kd = 0; kd < kernel[0]; kd++)
            for (int64_t kh = 0; kh < kernel[1]; kh++) {
                const int real = kd >= d.begin && kd < d.end && kh >= h.begin && kh < h.end;
                const int64_t depth = c * in[0] + d.corner + kd * dilation[0], row = h.corner + kh * dilation[1];
                const int64_t corner = (depth * in[1] + row) * in[2] + w.corner;
                for (int64_t kw = 0; kw < kernel[2]; kw++, col += inner)
                    if (real && kw >= w.begin && kw < w.end)
                        for (int64_t i = 0; i < inner; i++) col[i] = image[(corner + kw * dilation[2]) * inner + i];
                    else
                        for (int64_t i = 0; i < inner; i++) col[i] = 0;
            }
}

/* Windows that are inside the input across its last axis: begin .. end-1. Their taps of one row are neighbours, unless
 * they are dilated: then there are none. */
typedef struct {
    int64_t begin, end;
} FD(inside);

static FD(inside) FD(inside_of)(const fd_conv *p) {
    const int64_t pad = p->pad[2], stride = p->stride[2], room = p->in[2] + pad - p->kernel[2];
    const int64_t begin = (pad + stride - 1) / stride, end = room < 0 ? 0 : FD(least)(room / stride + 1, p->out[2]);
    return (FD(inside)){begin, p->dilation[2] == 1 ? FD(most)(begin, end) : begin};
}

/* The body with the length of a run, of which the most usual are constants: short vectors would cost more than the
 * elements they hold. */
#define FD_WITH_RUN(body, run)   \
    do {                         \
        if ((run) == 2) {        \
            body(2);             \
        } else if ((run) == 3) { \
            body(3);             \
        } else if ((run) == 5) { \
            body(5);             \
        } else {                 \
            body(run);           \
        }                        \
    } while (0)

/* Such windows `begin` .. `end` - 1 of one row, tap row by tap row: what they have of one row of the image is a run
 * each. Their part of the matrix stays in the level-1 cache. */
FD_INLINE void FD(im2col_inside)(T *col, const T *image, const fd_conv *p, int64_t outer, int64_t inner, FD(taps) d,
                                 FD(taps) h, int64_t begin, int64_t end, int64_t run) {
    const int64_t *kernel = p->kernel, *in = p->in, *dilation = p->dilation;
    const int64_t length = outer * kernel[0] * kernel[1] * run, across = p->stride[2] * inner;
    const int64_t corner = (begin * p->stride[2] - p->pad[2]) * inner;
    for (int64_t c = 0; c < outer; c++)
        for (int64_t kd = 0; kd < kernel[0]; kd++)
            for (int64_t kh = 0; kh < kernel[1]; kh++, col += run) {
                const int real = kd >= d.begin && kd < d.end && kh >= h.begin && kh < h.end;
                const int64_t row = (c * in[0] + d.corner + kd * dilation[0]) * in[1] + h.corner + kh * dilation[1];
                int64_t from = row * in[2] * inner + corner;
                T *to = col;
                if (real)
                    for (int64_t ow = begin; ow < end; ow++, to += length, from += across)
#pragma GCC unroll 8
                        for (int64_t i = 0; i < run; i++) to[i] = image[from + i];
                else
                    for (int64_t ow = begin; ow < end; ow++, to += length)
#pragma GCC unroll 8
                        for (int64_t i = 0; i < run; i++) to[i] = 0;
            }
}

/* Copies of what is in scratch, which go to memory past the caches: nothing is read there before it is written. */
static void FD(stream)(T *to, const T *from, int64_t n) {
    int64_t i = 0;
#if FD_STREAMS
    const int64_t head = FD(least)(n, (int64_t)(-(uintptr_t)to % VBYTES / TBYTES));
    for (; i < head; i++) to[i] = from[i];
#if FD_ISA == FD_AVX512
    for (; i + VL <= n; i += VL) _mm512_stream_si512((void *)(to + i), (__m512i)vload(from + i));
#else
    for (; i + VL <= n; i += VL) _mm256_stream_si256((void *)(to + i), (__m256i)vload(from + i));
#endif
#endif
    for (; i < n; i++) to[i] = from[i];
}

static void FD(im2col_runs)(T *col, const T *image, const fd_conv *p, int64_t outer, int64_t inner, FD(taps) d,
                            FD(taps) h, int64_t begin, int64_t end) {
#define RUN(run) FD(im2col_inside)(col, image, p, outer, inner, d, h, begin, end, run)
    FD_WITH_RUN(RUN, p->kernel[2] * inner);
#undef RUN
}

static void FD(im2col_task)(void *arg, int64_t task, void *scratch) {
    const FD(columns) *g = arg;
    const fd_conv *p = g->plan;
    const int64_t rows = p->batch * p->out[0] * p->out[1], first = task * g->share;
    const int64_t length = p->in_channels * p->kernel[0] * p->kernel[1] * p->kernel[2];
    const int64_t image = p->in_channels * p->in[0] * p->in[1] * p->in[2];
    const int64_t inner = p->channels_last ? p->in_channels : 1, outer = p->in_channels / inner;
    const FD(inside) inside = FD(inside_of)(p);
    const int64_t block = FD(most)((g->streamed ? STREAM_BLOCK : IM2COL_BYTES) / (length * TBYTES + 1), 1);
    for (int64_t row = first; row < rows && row < first + g->share; row++) {
        const FD(taps) d = FD(taps_at)(p, 0, row / p->out[1] % p->out[0]), h = FD(taps_at)(p, 1, row % p->out[1]);
        const T *x = g->from + row / (p->out[0] * p->out[1]) * image;
        for (int64_t ow = 0; ow < p->out[2]; ow++) {
            T *col = g->to + (row * p->out[2] + ow) * length;
            if (ow >= inside.begin && ow < inside.end) {
                const int64_t end = FD(least)(inside.end, ow + block);
                FD(im2col_runs)(g->streamed ? scratch : col, x, p, outer, inner, d, h, ow, end);
                if (g->streamed) FD(stream)(col, scratch, (end - ow) * length);
                ow = end - 1;
                continue;
            }
            const FD(taps) w = FD(taps_at)(p, 2, ow);
            if (p->channels_last)
                FD(im2col_window)(col, x, p, 1, p->in_channels, d, h, w);
            else
                FD(im2col_window)(col, x, p, p->in_channels, 1, d, h, w);
        }
    }
#if FD_STREAMS
    _mm_sfence(); /* before another thread is told that this is done */
#endif
}

/* computes  cols[(n, o), (c, k)] = x[n, c, o*stride + k*dilation - pad], zero outside the input
 * shapes    cols (N*OD*OH*OW, C*KD*KH*KW); x (N, C, D, H, W)
 * layout    NCHW: columns in the order c, k; NHWC: in the order k, c
 * touches   all of cols, all of x that a window covers
 * order     no sums
 * source    Chellapilla et al., "High Performance Convolutional Neural Networks for Document Processing", 2006 */
static int FD(fd_im2col)(void *cols, const void *x, const fd_conv *plan, int threads) {
    const int64_t window = plan->in_channels * plan->kernel[0] * plan->kernel[1] * plan->kernel[2];
    const int64_t rows = plan->batch * plan->out[0] * plan->out[1], length = window * plan->out[2];
    FD(columns) g = {.plan = plan, .to = cols, .from = x, .share = 16384 / (length * TBYTES + 1) + 1};
    g.streamed = FD_STREAMS && rows * length * TBYTES >= STREAM_BYTES && window * TBYTES <= STREAM_BLOCK;
    return fd_parallel(FD(im2col_task), &g, (rows + g.share - 1) / g.share, g.streamed ? STREAM_BLOCK : 0,
                       fd_threads_for(rows * length, threads));
}

FD_INLINE void FD(col2im_window)(T *image, const T *col, const fd_conv *p, int64_t outer, int64_t inner, FD(taps) d,
                                 FD(taps) h, FD(taps) w) {
    const int64_t *kernel = p->kernel, *in = p->in, *dilation = p->dilation;
    for (int64_t c = 0; c < outer; c++)
        for (int64_t kd = d.begin; kd < d.end; kd++)
            for (int64_t kh = h.begin; kh < h.end; kh++) {
                const int64_t depth = c * in[0] + d.corner + kd * dilation[0], row = h.corner + kh * dilation[1];
                T *cells = image + ((depth * in[1] + row) * in[2] + w.corner) * inner;
                const T *taps = col + ((c * kernel[0] + kd) * kernel[1] + kh) * kernel[2] * inner;
                for (int64_t kw = w.begin; kw < w.end; kw++)
                    for (int64_t i = 0; i < inner; i++) cells[kw * dilation[2] * inner + i] += taps[kw * inner + i];
            }
}

FD_INLINE void FD(col2im_inside)(T *image, const T *col, const fd_conv *p, int64_t outer, int64_t inner, FD(taps) d,
                                 FD(taps) h, int64_t w, int64_t run) {
    const int64_t *kernel = p->kernel, *in = p->in, *dilation = p->dilation;
    for (int64_t c = 0; c < outer; c++)
        for (int64_t kd = d.begin; kd < d.end; kd++) {
            const int64_t depth = c * in[0] + d.corner + kd * dilation[0], down = dilation[1] * in[2] * inner;
            const T *taps = col + ((c * kernel[0] + kd) * kernel[1] + h.begin) * run;
            T *cells = image + ((depth * in[1] + h.corner + h.begin * dilation[1]) * in[2] + w) * inner;
            for (int64_t kh = h.begin; kh < h.end; kh++, taps += run, cells += down)
#pragma GCC unroll 8
                for (int64_t i = 0; i < run; i++) cells[i] += taps[i];
        }
}

static void FD(col2im_runs)(T *image, const T *col, const fd_conv *p, int64_t outer, int64_t inner, FD(taps) d,
                            FD(taps) h, int64_t w) {
#define RUN(run) FD(col2im_inside)(image, col, p, outer, inner, d, h, w, run)
    FD_WITH_RUN(RUN, p->kernel[2] * inner);
#undef RUN
}

/* Windows descending: the taps that meet in a cell are then added in ascending order. */
static void FD(col2im_task)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    const FD(columns) *g = arg;
    const fd_conv *p = g->plan;
    const int64_t shares = (p->in_channels + g->share - 1) / g->share, n = task / shares;
    const int64_t first = task % shares * g->share, channels = FD(least)(p->in_channels - first, g->share);
    const int64_t cells = p->in[0] * p->in[1] * p->in[2], taps = p->kernel[0] * p->kernel[1] * p->kernel[2];
    const int64_t inner = p->channels_last ? channels : 1, outer = channels / inner;
    const FD(inside) inside = FD(inside_of)(p);
    T *image = g->to + (n * p->in_channels + first) * cells;
    memset(image, 0, (size_t)(channels * cells) * sizeof(T));
    for (int64_t od = p->out[0] - 1; od >= 0; od--)
        for (int64_t oh = p->out[1] - 1; oh >= 0; oh--)
            for (int64_t ow = p->out[2] - 1; ow >= 0; ow--) {
                const int64_t row = ((n * p->out[0] + od) * p->out[1] + oh) * p->out[2] + ow;
                const T *col = g->from + (row * p->in_channels + first) * taps;
                const FD(taps) d = FD(taps_at)(p, 0, od), h = FD(taps_at)(p, 1, oh);
                if (row >= COL2IM_AHEAD) /* what goes backwards is not foreseen */
                    for (int64_t i = 0; i < channels * taps; i += 64 / TBYTES)
                        __builtin_prefetch(col - COL2IM_AHEAD * p->in_channels * taps + i);
                if (ow >= inside.begin && ow < inside.end) {
                    FD(col2im_runs)(image, col, p, outer, inner, d, h, ow * p->stride[2] - p->pad[2]);
                    continue;
                }
                const FD(taps) w = FD(taps_at)(p, 2, ow);
                if (p->channels_last)
                    FD(col2im_window)(image, col, p, 1, channels, d, h, w);
                else
                    FD(col2im_window)(image, col, p, channels, 1, d, h, w);
            }
}

/* computes  dx[n, c, o*stride + k*dilation - pad] += cols[(n, o), (c, k)], from zero
 * shapes    dx (N, C, D, H, W); cols (N*OD*OH*OW, C*KD*KH*KW)
 * layout    NCHW: columns in the order c, k; NHWC: in the order k, c
 * touches   all of dx, all of cols that is over the input
 * order     taps ascending
 * source    the adjoint of im2col */
static int FD(fd_col2im)(void *dx, const void *cols, const fd_conv *plan, int threads) {
    const int64_t cells = plan->in[0] * plan->in[1] * plan->in[2], channels = plan->in_channels;
    const int64_t fit = 24576 / (cells * TBYTES + 1) + 1; /* planes that stay in the level-1 cache */
    const int64_t parts = FD(most)(FD(ceil_div)(channels, fit), 1);
    FD(columns) g = {.plan = plan, .to = dx, .from = cols};
    g.share = plan->channels_last ? channels : FD(ceil_div)(channels, parts);
    const int64_t tasks = channels == 0 ? 0 : plan->batch * ((channels + g.share - 1) / g.share);
    const int64_t windows = plan->batch * plan->out[0] * plan->out[1] * plan->out[2];
    const int64_t work = windows * channels * plan->kernel[0] * plan->kernel[1] * plan->kernel[2];
    return fd_parallel(FD(col2im_task), &g, tasks, 0, fd_threads_for(work, threads));
}
