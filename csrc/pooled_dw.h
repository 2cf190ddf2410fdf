/* pooled_dw.h: the gradient of the weights of a convolution whose output is pooled, from the gradient of the pooling.
 *
 * # Design: of each window one cell has a gradient, and the map of all cells is neither written nor multiplied. On few
 * channels a vector holds the neighbouring taps of one row of a kernel, which an image has beside one another:
 *
 *     dw[o, row of taps] += dy[o, window] * x[cell of that window's largest + row of taps ...]
 *
 * for a few rows and outputs at a time, whose sums stay in registers while the windows of an image go by. Images are
 * copied first, with their padding. Elsewhere, and where a number is not finite, whose product with the zeros of that
 * map would be NaN, the map is written (pool_max.h), and conv_dw.h has it.
 *
 * A task owns some of the images; their number is a function of the sizes.
 *
 * Order of summation: the images of a task ascending, and the windows of an image; then tasks ascending.
 */

#define POOLED_TASKS 8            /* at least, where there are images enough */
#define POOLED_IMAGES 16          /* of a task, at most */
#define POOLED_RUNS 6             /* vectors of taps at a time, for */
#define POOLED_OUTPUTS 2          /* outputs */
#define POOLED_PLANES 4           /* channels at most, where they are planes, and */
#define POOLED_CHANNELS 32        /* where they are neighbours */
#define POOLED_BYTES (384 * 1024) /* of an image: it stays in the level-2 cache */

typedef struct {
    const fd_conv *p;
    const fd_pool *pool;
    T *parts; /* [task][output][run] of vectors */
    const T *dy, *x;
    const uint8_t *index;
    int64_t dy_o, dy_w;   /* elements from one output, and from one window, to the next, of dy and index */
    int64_t outer, inner; /* channels of an image that are planes, and that are neighbours */
    int64_t size[2];      /* of a padded image */
    int64_t row, plane;   /* elements of them */
    int64_t across, runs; /* vectors a row of taps; in all */
    int64_t images;       /* of a task */
    int64_t down, right;  /* elements from one window's corner to the next */
    int64_t offset[256];  /* from there to each of its cells */
} FD(pooled_dw);

/* The image, zeros around it and a vector of them behind it. */
static void FD(pooled_copy)(T *to, const FD(pooled_dw) *g, const T *image) {
    const fd_conv *p = g->p;
    const int64_t left = p->pad[2] * g->inner, width = FD(least)(p->in[2] * g->inner, g->row - left);
    memset(to, 0, (size_t)(g->outer * g->plane + VL) * sizeof(T));
    for (int64_t c = 0; c < g->outer; c++)
        for (int64_t h = 0; h < FD(least)(p->in[1], g->size[0] - p->pad[1]); h++)
            memcpy(to + c * g->plane + (h + p->pad[1]) * g->row + left,
                   image + (c * p->in[1] + h) * p->in[2] * g->inner, (size_t)width * sizeof(T));
}

/* sum[o][run] += dy[o][window] * image[cell of the window + at[run] ...] for all windows, two outputs or one. */
FD_INLINE void FD(pooled_step)(T *sum, const FD(pooled_dw) *g, const T *const *at, const T *dy, const uint8_t *index,
                               int runs, int outputs) {
    V acc[POOLED_OUTPUTS][POOLED_RUNS];
#pragma GCC unroll 2
    for (int o = 0; o < outputs; o++)
#pragma GCC unroll 6
        for (int r = 0; r < runs; r++) acc[o][r] = vload(sum + (o * g->runs + r) * VL);
    for (int64_t h = 0; h < g->pool->out[1]; h++)
        for (int64_t w = 0; w < g->pool->out[2]; w++) {
            const int64_t window = (h * g->pool->out[2] + w) * g->dy_w, corner = h * g->down + w * g->right;
#pragma GCC unroll 2
            for (int o = 0; o < outputs; o++) {
                const int64_t cell = corner + g->offset[index[window + o * g->dy_o]];
                const V d = vset1(dy[window + o * g->dy_o]);
#pragma GCC unroll 6
                for (int r = 0; r < runs; r++) acc[o][r] = vfma(d, vload(at[r] + cell), acc[o][r]);
            }
        }
#pragma GCC unroll 2
    for (int o = 0; o < outputs; o++)
#pragma GCC unroll 6
        for (int r = 0; r < runs; r++) vstore(sum + (o * g->runs + r) * VL, acc[o][r]);
}

static void FD(pooled_runs)(T *sum, const FD(pooled_dw) *g, const T *const *at, const T *dy, const uint8_t *index,
                            int64_t runs, int64_t outputs) {
#define STEP(r)                                                        \
    case r:                                                            \
        if (outputs == POOLED_OUTPUTS)                                 \
            FD(pooled_step)(sum, g, at, dy, index, r, POOLED_OUTPUTS); \
        else                                                           \
            FD(pooled_step)(sum, g, at, dy, index, r, 1);              \
        break
    switch (runs) {
        STEP(1);
        STEP(2);
        STEP(3);
        STEP(4);
        STEP(5);
        STEP(6);
    }
#undef STEP
}

static void FD(pooled_dw_task)(void *arg, int64_t task, void *scratch) {
    const FD(pooled_dw) *g = arg;
    const fd_conv *p = g->p;
    const int64_t outputs = p->out_channels, windows = g->pool->out[1] * g->pool->out[2];
    const int64_t x_image = p->in_channels * p->in[1] * p->in[2], past = FD(least)((task + 1) * g->images, p->batch);
    const int64_t blocks = FD(ceil_div)(g->runs, POOLED_RUNS), most = FD(ceil_div)(g->runs, blocks);
    T *const sums = g->parts + task * outputs * g->runs * VL, *const image = scratch;
    memset(sums, 0, (size_t)(outputs * g->runs * VL) * sizeof(T));
    for (int64_t n = task * g->images; n < past && !fd_stopped(); n++) {
        FD(pooled_copy)(image, g, g->x + n * x_image);
        for (int64_t first = 0, runs; first < g->runs; first += runs) {
            runs = FD(least)(g->runs - first, most);
            const T *at[POOLED_RUNS];
            for (int64_t r = 0; r < runs; r++) {
                const int64_t row = (first + r) / g->across, c = row / p->kernel[1], h = row % p->kernel[1];
                at[r] = image + c * g->plane + h * p->dilation[1] * g->row + (first + r) % g->across * VL;
            }
            for (int64_t o = 0; o < outputs; o += POOLED_OUTPUTS) {
                const int64_t from = n * outputs * windows + o * g->dy_o;
                FD(pooled_runs)(sums + (o * g->runs + first) * VL, g, at, g->dy + from, g->index + from, runs,
                                FD(least)(outputs - o, POOLED_OUTPUTS));
            }
        }
    }
}

/* dw = the sum of the tasks' parts. */
static void FD(pooled_dw_sum)(T *dw, const FD(pooled_dw) *g, int64_t tasks) {
    const fd_conv *p = g->p;
    const int64_t outputs = p->out_channels, taps = p->kernel[2] * g->inner, part = outputs * g->runs * VL;
    for (int64_t o = 0; o < outputs; o++)
        for (int64_t row = 0; row < g->runs / g->across; row++)
            for (int64_t tap = 0; tap < taps; tap++) {
                const T *from = g->parts + (o * g->runs + row * g->across) * VL + tap;
                T sum = *from;
                for (int64_t task = 1; task < tasks; task++) sum += from[task * part];
                const int64_t at = row * taps + tap;
                dw[p->channels_last ? at * outputs + o : o * (g->runs / g->across) * taps + at] = sum;
            }
}

/* Sizes, which are functions of the plans alone; 0 where rows of taps are no runs, or so many, or so short, that the
 * whole map costs less. */
static int FD(plan_pooled_dw)(FD(pooled_dw) *g) {
    const fd_conv *p = g->p;
    const fd_pool *pool = g->pool;
    const int64_t last = p->channels_last, taps = p->in_channels * p->kernel[1] * p->kernel[2];
    if (p->groups != 1 || p->dilation[2] != 1 || p->kernel[0] != 1 || p->in[0] != 1 || p->out[0] != 1 ||
        p->pad[0] != 0 || pool->size[0] != 1 || pool->out[0] != 1 || pool->size[1] * pool->size[2] > 256)
        return 0;
    g->inner = last ? p->in_channels : 1;
    g->outer = p->in_channels / g->inner;
    for (int i = 0; i < 2; i++)
        g->size[i] = (p->out[1 + i] - 1) * p->stride[1 + i] + (p->kernel[1 + i] - 1) * p->dilation[1 + i] + 1;
    g->row = g->size[1] * g->inner;
    g->plane = g->size[0] * g->row;
    g->across = FD(ceil_div)(p->kernel[2] * g->inner, VL);
    g->runs = g->outer * p->kernel[1] * g->across;
    g->dy_o = last ? 1 : pool->out[1] * pool->out[2];
    g->dy_w = last ? p->out_channels : 1;
    g->images = FD(most)(FD(least)(FD(ceil_div)(p->batch, POOLED_TASKS), POOLED_IMAGES), 1);
    const int64_t cell[2] = {p->stride[1] * g->row, p->stride[2] * g->inner};
    const int64_t before = pool->pad_before[1] * cell[0] + pool->pad_before[2] * cell[1];
    g->down = pool->stride[1] * cell[0];
    g->right = pool->stride[2] * cell[1];
    for (int64_t tap = 0; tap < pool->size[1] * pool->size[2]; tap++)
        g->offset[tap] = tap / pool->size[2] * cell[0] + tap % pool->size[2] * cell[1] - before;
    const int filled = g->outer == 1 || 10 * p->kernel[2] >= 3 * g->across * VL;
    return taps > 0 && filled && g->outer <= POOLED_PLANES && g->inner <= POOLED_CHANNELS &&
           (g->outer * g->plane + VL) * TBYTES <= POOLED_BYTES;
}

/* computes  dw with respect to w of y = x * w, of which the largest of each window was taken: dy goes to the cell that
 *           index tells
 * shapes    dy, index (N, O, pooled OH, pooled OW); x (N, C, D, H, W), dw (O, C/groups, KD, KH, KW)
 * layout    as fd_conv_dw; index as maxpool_fwd wrote it
 * touches   every element
 * order     see the file's head
 * source    the chain rule over maxpool_bwd and conv_dw */
static int FD(fd_conv_dw_pooled)(void *dw, const void *dy, const void *index, const void *x, const fd_conv *p,
                                 const fd_pool *pool, int threads) {
    FD(pooled_dw) g = {.p = p, .pool = pool, .dy = dy, .x = x, .index = index};
    const int64_t windows = pool->out[0] * pool->out[1] * pool->out[2] * p->batch * p->out_channels;
    if (FD(plan_pooled_dw)(&g) && FD(all_finite)(x, p->batch * p->in_channels * p->in[1] * p->in[2]) &&
        FD(all_finite)(dy, windows)) {
        const int64_t tasks = FD(most)(FD(ceil_div)(p->batch, g.images), 1); /* of no images dw is 0 */
        g.parts = fd_alloc((size_t)(tasks * p->out_channels * g.runs) * VBYTES);
        if (g.parts == NULL) return FD_NOMEM;
        const int rc = fd_parallel(FD(pooled_dw_task), &g, tasks, (size_t)(g.outer * g.plane + VL) * sizeof(T),
                                   fd_threads_for(windows * g.runs, threads));
        if (rc == FD_OK) FD(pooled_dw_sum)(dw, &g, tasks);
        fd_free(g.parts);
        return rc;
    }
    T *map = fd_alloc((size_t)(p->batch * p->out_channels * p->out[0] * p->out[1] * p->out[2]) * sizeof(T));
    if (map == NULL) return FD_NOMEM;
    int rc = FD(fd_maxpool_bwd)(map, dy, index, pool, threads);
    if (rc == FD_OK) rc = FD(fd_conv_dw)(dw, map, x, p, threads);
    fd_free(map);
    return rc;
}
