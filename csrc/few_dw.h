/* few_dw.h: the gradient of the weights of a convolution with few channels.
 *
 * # Design: an outer product of a pixel's outputs and channels, as in conv_dw.h, fills no vector where there are one or
 * three channels. Here pixels are the lanes. With a phase for each column tap (bands.h) the source of a tap is one run
 * of elements beside that of dy, so that
 *
 *     dw[o, c, t] = dot product of dy[o, pixels of a band] and band[c, offset[t] ...]
 *
 * for MR outputs and NV pairs (c, t) at a time, and NCHW is read as it lies; with channels last dy is turned. Each
 * product has an accumulator a lane, which waits in scratch from one band to the next.
 *
 * A task owns a block of outputs for one chunk of the bands; the chunks are a function of the sizes, and their results
 * are added in ascending order.
 *
 * Order of summation: in each lane the pixels of bands ascending; then the tree of vsum; then chunks ascending.
 */

#define FEW_CHANNELS 16             /* fewer than these */
#define FEW_PIXELS (4096 / TBYTES)  /* of a group of bands: MR + NV runs of them stay in the level-1 cache */
#define FEW_SUM_BYTES (256 * 1024)  /* accumulators of a task, and */
#define FEW_BAND_BYTES (384 * 1024) /* its bands: together they stay in the level-2 cache */
#define FEW_TASKS 8                 /* at least, where there are bands enough */

typedef struct {
    FD(tap_sum) *s;       /* of the forward pass; each column tap has its phase */
    const FD(weights) *v; /* the layout of dw */
    T *dw, *parts;        /* parts: [chunk][output][channel][tap] */
    const T *dy;
    int64_t dy_n, dy_c, dy_s[3];
    int64_t images, groups;               /* images a group of bands, groups of a band's place */
    int64_t units, chunks, block, blocks; /* groups of bands in all; outputs of a block */
    int64_t pairs;                        /* channels * taps */
} FD(few_dw);

/* acc[i][j] += a[i * a_row ...] * b[j][p ...] lane by lane, of the first n lanes, for i < mr, j < nv. The rows' two
 * pointers: as in multiply_add. */
FD_INLINE void FD(dot_step)(V acc[MR][NV], const T *a, int64_t a_row, const T *const b[NV], int64_t p, int64_t n,
                            int mr, int nv) {
    const T *lower = a + mr / 2 * a_row;
    __asm__("" : "+r"(lower));
    V column[NV];
#pragma GCC unroll 4
    for (int j = 0; j < nv; j++) column[j] = n == VL ? vload(b[j] + p) : vload_tail(b[j] + p, n);
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++) {
        const T *from = i < mr / 2 ? a + i * a_row : lower + (i - mr / 2) * a_row;
        const V row = vheld(n == VL ? vload(from) : vload_tail(from, n));
#pragma GCC unroll 4
        for (int j = 0; j < nv; j++) acc[i][j] = vfma(row, column[j], acc[i][j]);
    }
}

/* computes  sum[i][j] += a[i][image][p] * b[j][image][p] in lane p % VL, for p < n of each image
 * shapes    a (rows, images, n), b (vectors, images, n), sum (rows, vectors) of vectors
 * layout    rows of a and of sum lie a_row and sum_row apart, images a_image and b_image
 * touches   exactly those elements; rows is 1, 2, MR / 2 or MR
 * order     images and p ascending, one accumulator a lane
 * source    the micro-kernel of gemm.h with both operands along k */
static void FD(dot_tile)(T *restrict sum, int64_t sum_row, const T *restrict a, int64_t a_row, int64_t a_image,
                         const T *const *b, int64_t b_image, int64_t images, int64_t n, int rows, int vectors) {
    const T *columns[NV];
    for (int j = 0; j < NV; j++) columns[j] = b[j < vectors ? j : 0];
    const int64_t whole = n / VL * VL;
    V acc[MR][NV];
#define KERNEL(mr, nv)                                                                                        \
    FD(fill)(acc, sum, sum_row, mr, nv);                                                                      \
    for (int64_t image = 0; image < images; image++, a += a_image) {                                          \
        const int64_t at = image * b_image;                                                                   \
        for (int64_t p = 0; p < whole; p += VL) FD(dot_step)(acc, a + p, a_row, columns, at + p, VL, mr, nv); \
        if (whole < n) FD(dot_step)(acc, a + whole, a_row, columns, at + whole, n - whole, mr, nv);           \
    }                                                                                                         \
    FD(spill)(sum, sum_row, acc, mr, nv)
    FD_WITH_TILE(KERNEL, rows, vectors);
#undef KERNEL
}

/* Elements of the parts of a task's scratch: sums, bands of the images of a group, dy where it is turned. */
static void FD(few_dw_scratch)(int64_t part[3], const FD(few_dw) *g) {
    part[0] = g->block * g->pairs * VL;
    part[1] = g->images * FD(whole)(FD(band_size)(g->s, g->s->channels), VL);
    part[2] = g->dy_c == 1 ? g->images * g->block * g->s->rows * g->s->columns : 0;
}

static void FD(few_dw_task)(void *arg, int64_t task, void *scratch) {
    const FD(few_dw) *g = arg;
    const FD(tap_sum) *s = g->s;
    const int64_t first = task % g->blocks * g->block, chunk = task / g->blocks;
    const int64_t outputs = FD(least)(s->outputs - first, g->block), pairs = g->pairs;
    int64_t part[3];
    FD(few_dw_scratch)(part, g);
    T *sums = scratch, *bands = sums + part[0], *turned = bands + part[1];
    const int64_t band = part[1] / g->images;
    memset(sums, 0, (size_t)part[0] * sizeof(T));

    const int64_t past = (chunk + 1) * g->units / g->chunks;
    for (int64_t unit = chunk * g->units / g->chunks; unit < past && !fd_stopped(); unit++) {
        const int64_t column = unit % s->column_bands * s->columns, u = unit / s->column_bands;
        const int64_t row = u % s->row_bands * s->rows, image = u / s->row_bands * g->images;
        const int64_t images = FD(least)(s->batch - image, g->images);
        const int64_t columns = FD(least)(s->axis[2].lattice - column, s->columns);
        const int64_t n = FD(least)(s->axis[1].lattice - row, s->rows) * columns;
        const T *dy = g->dy + image * g->dy_n + first * g->dy_c + row * g->dy_s[1] + column * g->dy_s[2];
        int64_t dy_row = g->dy_c, dy_image = g->dy_n;
        for (int64_t m = 0; m < images; m++) {
            FD(copy_band)(bands + m * band, s, image + m, 0, s->channels, 0, row, column);
            if (g->dy_c == 1) FD(pack)(turned + m * outputs * n, dy + m * g->dy_n, g->dy_s[2], 1, n, outputs, n);
        }
        if (g->dy_c == 1) dy = turned, dy_row = n, dy_image = outputs * n;
        for (int64_t o = 0, rows; o < outputs; o += rows) {
            const int64_t left = outputs - o;
            rows = left >= MR ? MR : left >= MR / 2 ? MR / 2 : left >= 2 ? 2 : 1;
            for (int64_t k = 0; k < pairs; k += NV) {
                const int count = (int)FD(least)(pairs - k, NV);
                const T *at[NV] = {0};
                for (int j = 0; j < count; j++)
                    at[j] = bands + (k + j) / s->taps * s->channel + s->offset[(k + j) % s->taps];
                FD(dot_tile)(sums + (o * pairs + k) * VL, pairs * VL, dy + o * dy_row, dy_row, dy_image, at, band,
                             images, n, (int)rows, count);
            }
        }
    }
    T *to = g->parts + (chunk * s->outputs + first) * pairs;
    for (int64_t i = 0; i < outputs * pairs; i++) to[i] = vsum(vload(sums + i * VL));
}

/* dw = the sum of the chunks, for one output. */
static void FD(few_dw_sum_task)(void *arg, int64_t o, void *scratch) {
    (void)scratch;
    const FD(few_dw) *g = arg;
    const FD(tap_sum) *s = g->s;
    for (int64_t k = 0; k < g->pairs; k++) {
        const T *from = g->parts + o * g->pairs + k;
        T sum = *from;
        for (int64_t i = 1; i < g->chunks; i++) sum += from[i * s->outputs * g->pairs];
        g->dw[o * g->v->out + k / s->taps * g->v->in + k % s->taps * g->v->tap] = sum;
    }
}

/* Bands, groups of them and blocks; functions of the sizes only. */
static void FD(plan_few_dw)(FD(few_dw) *g) {
    FD(tap_sum) *s = g->s;
    const FD(axis) *h = &s->axis[1], *w = &s->axis[2];
    g->pairs = s->channels * s->taps;
    FD(part_taps)(&s->axis[2]);
    s->rows = h->lattice;
    s->columns = w->lattice;
    for (;;) {
        FD(lay_band)(s);
        const int large = s->rows * s->columns > FEW_PIXELS || FD(band_size)(s, s->channels) * TBYTES > FEW_BAND_BYTES;
        if (s->rows > 1 && large)
            s->rows = (s->rows + 1) / 2;
        else if (s->columns > VL && large)
            s->columns = FD(whole)(s->columns / 2, VL);
        else
            break;
    }
    const int64_t size = FD(band_size)(s, s->channels) * TBYTES;
    const int64_t many = FD(least)(FEW_PIXELS / (s->rows * s->columns), FEW_BAND_BYTES / size);
    g->images = FD(most)(FD(least)(many, FD(ceil_div)(s->batch, FEW_TASKS)), 1);
    g->units = FD(ceil_div)(s->batch, g->images) * s->row_bands * s->column_bands;
    const int64_t most = FD(most)(FEW_SUM_BYTES / (g->pairs * VL * TBYTES) / MR, 1) * MR;
    g->blocks = FD(ceil_div)(s->outputs, most);
    g->block = FD(least)(FD(whole)(FD(ceil_div)(s->outputs, g->blocks), MR), s->outputs);
    g->chunks = FD(least)(FD(ceil_div)(FEW_TASKS, g->blocks), g->units);
}

/* Whether there are few channels, whose pairs with column taps fill vectors badly, and pixels enough for the lanes. */
static int FD(few_channels)(const fd_conv *p) {
    const int64_t neighbours = p->in_channels * p->kernel[2];
    return p->groups == 1 && p->in_channels < FEW_CHANNELS && p->kernel[1] * p->kernel[2] > 1 &&
           10 * FD(whole)(neighbours, VL) >= 13 * neighbours && p->kernel[0] == 1 && p->in[0] == 1 && p->pad[0] == 0 &&
           p->out[0] == 1 && p->out[1] * p->out[2] >= 2 * VL;
}

static int FD(run_few_dw)(FD(few_dw) *g, int threads) {
    FD(tap_sum) *s = g->s;
    if (FD(asked)(s->p, FD_DIRECT)) return FD_OK;
    FD(plan_few_dw)(g);
    g->parts = fd_alloc((size_t)(g->chunks * s->outputs * g->pairs) * sizeof(T));
    if (g->parts == NULL) return FD_NOMEM;
    int64_t part[3];
    FD(few_dw_scratch)(part, g);
    const int64_t pixels = s->batch * s->axis[1].lattice * s->axis[2].lattice;
    threads = fd_threads_for(pixels / VL * s->outputs * g->pairs, threads);
    int rc = fd_parallel(FD(few_dw_task), g, g->chunks * g->blocks, (size_t)(part[0] + part[1] + part[2]) * sizeof(T),
                         threads);
    if (rc == FD_OK) rc = fd_parallel(FD(few_dw_sum_task), g, s->outputs, 0, threads);
    fd_free(g->parts);
    return rc;
}
