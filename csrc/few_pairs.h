/* few_pairs.h: the gradient of the input of a 3x3 convolution with stride 2 and few input channels.
 *
 * # Design: two neighbours of dx along an axis share their pixels of dy: with i + pad = 2 * q + e,
 *
 *     e = 0: taps 0 and 2, from the pixels q and q - 1        e = 1: tap 1, from the pixel q
 *
 * A tile keeps the 2 x 2 elements of neighbouring q, of all channels, in registers, and goes once through the channels
 * of dy; so no part waits in memory, as in few_dx.h, dy is read where it lies, and no zero of the stride is multiplied.
 * Lanes and rows outside dy are zeros that no memory is read for; weights must be finite for that.
 *
 * Order of summation: bias, then channels of dy ascending and in them the columns q, q - 1, and taps ascending.
 */

#define PAIRS_CHANNELS 3                                                          /* at most */
#define PAIRS_ROWS(channels) (((channels) == 1 ? 2 : 1) * (VBYTES == 64 ? 2 : 1)) /* of a tile: registers hold them */
#define PAIRS_MOST 4
#define PAIRS_AHEAD (64 * 1024) /* up to so many bytes the next image is asked for, else the next tile */
#define PAIRS_TASKS 16          /* at least, where rows allow */

typedef struct {
    const fd_conv *p;
    T *dx;
    const T *dy, *bias;
    T *weights;                /* [o][channel][tap] */
    int64_t first[2], past[2]; /* q of the first element of dx, and past the last one */
    int64_t rows, bands;       /* of q a task */
    int act;
    T alpha;
} FD(few_pairs);

/* The elements whose lane of m is set, of which alone the memory is touched; the others are zero. */
FD_INLINE V FD(load_lanes)(const T *p, I m) {
#if FD_ISA == FD_AVX2 && TBYTES == 4
    return (V)_mm256_maskload_ps(p, (__m256i)m);
#elif FD_ISA == FD_AVX2
    return (V)_mm256_maskload_pd(p, (__m256i)m);
#else
    return vload_where(p, m); /* which on AVX-512 touches no other memory, and elsewhere is not called */
#endif
}

FD_INLINE void FD(store_lanes)(T *p, V v, I m) {
#if FD_ISA == FD_AVX512 && TBYTES == 4
    _mm512_mask_storeu_ps(p, _mm512_movepi32_mask((__m512i)m), (__m512)v);
#elif FD_ISA == FD_AVX512
    _mm512_mask_storeu_pd(p, _mm512_movepi64_mask((__m512i)m), (__m512d)v);
#elif FD_ISA == FD_AVX2 && TBYTES == 4
    _mm256_maskstore_ps(p, (__m256i)m, (__m256)v);
#elif FD_ISA == FD_AVX2
    _mm256_maskstore_pd(p, (__m256i)m, (__m256d)v);
#else
    for (int64_t i = 0; i < VL; i++)
        if (m[i]) p[i] = v[i];
#endif
}

/* acc[channel, e of row, e of column][row] += the products of one channel of dy; row[j] is the row q - 1 + j of dy. */
FD_INLINE void FD(pairs_step)(V acc[][PAIRS_MOST], const T *const row[], const I inside[2], const T *w, int channels,
                              int rows) {
#pragma GCC unroll 2
    for (int before = 0; before < 2; before++) {
        V source[PAIRS_MOST + 1];
#pragma GCC unroll 5
        for (int j = 0; j <= rows; j++) source[j] = FD(load_lanes)(row[j] - before, inside[before]);
#pragma GCC unroll 3
        for (int c = 0; c < channels; c++)
#pragma GCC unroll 3
            for (int a = 0; a < 3; a++)
#pragma GCC unroll 3
                for (int b = 0; b < 3; b++) {
                    if (b / 2 != before) continue;
                    const V weight = vset1(w[c * 9 + a * 3 + b]);
#pragma GCC unroll 4
                    for (int j = 0; j < rows; j++) {
                        V *sum = &acc[c * 4 + a % 2 * 2 + b % 2][j];
                        *sum = vfma(weight, source[a == 2 ? j : j + 1], *sum);
                    }
                }
    }
}

/* A tile's elements of one row of dx, of even and odd columns, to column `at` and beyond, which may be outside. */
FD_INLINE void FD(store_pairs)(T *row, int64_t at, int64_t width, V even, V odd) {
    const V part[2] = {vinterleave_low(even, odd), vinterleave_high(even, odd)};
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++, at += VL) {
        if (at >= 0 && at + VL <= width)
            vstore(row + at, part[i]);
        else if (at + VL > 0 && at < width)
            FD(store_lanes)(row + at, part[i], vrange(-at, width - at));
    }
}

/* Rows top .. past - 1 of a tile, or as many of them as it has. */
FD_INLINE void FD(store_tile_of_pairs)(const FD(few_pairs) *g, V acc[][PAIRS_MOST], T *dx, int64_t top, int64_t past,
                                       int64_t column, int channels, int rows) {
    const fd_conv *p = g->p;
#pragma GCC unroll 3
    for (int c = 0; c < channels; c++)
#pragma GCC unroll 4
        for (int j = 0; j < rows; j++)
#pragma GCC unroll 2
            for (int e = 0; e < 2; e++) {
                const int64_t y = 2 * (top + j) + e - p->pad[1];
                if (top + j < past && y >= 0 && y < p->in[1])
                    FD(store_pairs)(dx + (c * p->in[1] + y) * p->in[2], 2 * column - p->pad[2], p->in[2],
                                    acc[c * 4 + e * 2][j], acc[c * 4 + e * 2 + 1][j]);
            }
}

/* computes  the 2 x 2 elements of dx of the q (top .. , column .. column + VL - 1), of one image
 * shapes    dy (O, OH, OW), w (O, channels, 3, 3), bias (channels) or NULL, dx (channels, H, W)
 * touches   exactly those of dx that there are, in rows before `past`
 * order     see the file's head
 * source    the micro-kernel of gemm.h, a tile of whose rows each source meets some */
FD_INLINE void FD(pairs_tile)(const FD(few_pairs) *g, T *dx, const T *dy, int64_t top, int64_t past, int64_t column,
                              int channels, int rows) {
    static const T nothing[VL + 1] = {0};
    const fd_conv *p = g->p;
    const T *w = g->weights;
    const int64_t width = p->out[2], plane = p->out[1] * width;
    const I inside[2] = {vrange(-column, width - column), vrange(1 - column, width + 1 - column)};
    const T *row[PAIRS_MOST + 1];
    int64_t step[PAIRS_MOST + 1];
    const int64_t image = plane * p->out_channels, ahead = image * TBYTES <= PAIRS_AHEAD ? image : rows * width;
    V acc[4 * PAIRS_CHANNELS][PAIRS_MOST];
#pragma GCC unroll 5
    for (int j = 0; j <= rows; j++) {
        const int64_t y = top - 1 + j;
        const int there = y >= 0 && y < p->out[1];
        row[j] = there ? dy + y * width + column : nothing + 1;
        step[j] = there ? plane : 0;
    }
#pragma GCC unroll 12
    for (int k = 0; k < 4 * channels; k++)
#pragma GCC unroll 4
        for (int j = 0; j < rows; j++) acc[k][j] = vset1(g->bias == NULL ? 0 : g->bias[k / 4]);
    for (int64_t o = 0; o < p->out_channels; o++, w += 9 * channels) {
#pragma GCC unroll 4
        for (int j = 1; j <= rows; j++) __builtin_prefetch(row[j] + ahead, 0, 3);
        FD(pairs_step)(acc, row, inside, w, channels, rows);
#pragma GCC unroll 5
        for (int j = 0; j <= rows; j++) row[j] += step[j];
    }
    FD(store_tile_of_pairs)(g, acc, dx, top, past, column, channels, rows);
}

static void FD(few_pairs_task)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    const FD(few_pairs) *g = arg;
    const fd_conv *p = g->p;
    const int64_t n = task / g->bands, from = g->first[0] + task % g->bands * g->rows;
    const int64_t past = FD(least)(from + g->rows, g->past[0]), first = g->first[1];
    T *dx = g->dx + n * p->in_channels * p->in[1] * p->in[2];
    const T *dy = g->dy + n * p->out_channels * p->out[1] * p->out[2];
#define KERNEL(channels)                                                                      \
    case channels:                                                                            \
        for (int64_t top = from; top < past; top += PAIRS_ROWS(channels))                     \
            for (int64_t column = first; column < g->past[1]; column += VL)                   \
                FD(pairs_tile)(g, dx, dy, top, past, column, channels, PAIRS_ROWS(channels)); \
        break
    switch (p->in_channels) {
        KERNEL(1);
        KERNEL(2);
        KERNEL(3);
    }
#undef KERNEL
    for (int64_t y = 2 * from - p->pad[1]; g->act != FD_LINEAR && y < 2 * past - p->pad[1]; y++)
        for (int64_t c = 0; c < p->in_channels && y >= 0 && y < p->in[1]; c++) {
            T *row = dx + (c * p->in[1] + y) * p->in[2];
            FD(act_row)(row, row, p->in[2], g->act, g->alpha);
        }
}

/* w as [o][channel][tap], each times the scale of its channel; returns whether all are finite. */
static int FD(pack_pairs)(const FD(few_pairs) *g, const T *w, const T *scale) {
    const int64_t channels = g->p->in_channels, size = g->p->out_channels * channels * 9;
    T check = 0;
    for (int64_t i = 0; i < size; i++) {
        g->weights[i] = w[i] * (scale == NULL ? 1 : scale[i / 9 % channels]);
        check += g->weights[i] * 0;
    }
    return check == 0;
}

/* Whether it applies. Vectors of 16 bytes have neither registers enough nor loads of some lanes. */
static int FD(few_in_pairs)(const fd_conv *p) {
    int fits = VBYTES > 16 && !p->channels_last && p->groups == 1 && p->in_channels <= PAIRS_CHANNELS &&
               p->kernel[0] == 1 && p->in[0] == 1 && p->pad[0] == 0 && p->out[0] == 1;
    for (int i = 1; i < 3; i++) fits = fits && p->kernel[i] == 3 && p->stride[i] == 2 && p->dilation[i] == 1;
    return fits;
}

/* *done: whether dx has been computed; it is not where weights are no numbers. */
static int FD(run_few_pairs)(int *done, T *dx, const T *dy, const T *w, const T *b, const T *scale, const fd_conv *p,
                             int act, T alpha, int threads) {
    *done = 1;
    if (FD(asked)(p, FD_DIRECT)) return FD_OK;
    FD(few_pairs) g = {.p = p, .dx = dx, .dy = dy, .bias = b, .act = act, .alpha = alpha};
    for (int i = 0; i < 2; i++) {
        g.first[i] = p->pad[i + 1] / 2;
        g.past[i] = (p->in[i + 1] - 1 + p->pad[i + 1]) / 2 + 1;
    }
    const int64_t rows = g.past[0] - g.first[0], size = 9 * p->in_channels * p->out_channels;
    g.rows = rows;
    while (g.rows >= 4 * PAIRS_MOST && p->batch * FD(ceil_div)(rows, g.rows) < PAIRS_TASKS)
        g.rows = FD(whole)(g.rows / 2, PAIRS_MOST);
    g.bands = FD(ceil_div)(rows, g.rows);
    g.weights = fd_alloc((size_t)size * sizeof(T));
    if (g.weights == NULL) return FD_NOMEM;
    *done = FD(pack_pairs)(&g, w, scale);
    threads = fd_threads_for(p->batch * p->out[1] * p->out[2] / VL * size, threads);
    const int rc = *done ? fd_parallel(FD(few_pairs_task), &g, p->batch * g.bands, 0, threads) : FD_OK;
    fd_free(g.weights);
    return rc;
}
