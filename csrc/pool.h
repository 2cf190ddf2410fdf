/* pool.h: max and average pooling over three spatial axes, forward and backward.
 *
 * # Design: one walk serves both layouts and all four passes. It hands out blocks of up to VL outputs whose windows
 * have the same shape: neighbouring columns of one row (NCHW) or neighbouring channels of one pixel (NHWC). In both,
 * lane l of tap (d, h, w) is x[d*step[0] + h*step[1] + w*step[2] + l*lane], so a kernel is what stands between that
 * load and a store. Columns whose windows hang over an edge are blocks of one.
 *   - A task is a strip of y or, backward, of dx, which it clears; it then visits every window that reaches into the
 *     strip and scatters to the cells inside it. Tasks share no cell, so there is no race, and each cell adds up
 *     its windows in the order of the outputs.
 *   - An axis that its window fills is joined to the axis before it: global pooling becomes one long row.
 *   - Where NCHW has few columns but long windows, the lanes are neighbouring taps of one window instead.
 */

#define STRIP_BYTES (1 << 17) /* of x a task, at least: it stays in the level-2 cache while windows overlap */

/* One pooling, as its tasks see it. */
typedef struct {
    fd_pool plan;
    int64_t step[3];     /* elements from a cell to the next one on each axis of x */
    int64_t lane;        /* elements from the window of one output of a block to that of the next */
    int64_t inner[2];    /* columns inner[0] .. inner[1]-1 have their whole window inside the row */
    int64_t planes;      /* of one channel each (NCHW), or images (NHWC) */
    int64_t share;       /* planes a task */
    int64_t strips;      /* tasks a share, which cut it across axis `cut` */
    int cut;             /* the first axis, but for the depth of a two-dimensional input: strips have no gaps */
    int along_window;    /* the lanes are neighbouring taps of one window */
    int spaced;          /* average_scatter_row gathers */
    size_t scratch;      /* bytes of its scratch row */
    int64_t taps;        /* cells of a whole window */
    int64_t offset[256]; /* elements from a window's corner to each of its taps, where taps <= 256 */
    T *to;               /* y, or dx */
    const T *from;       /* x, or dy */
    void *index;         /* tap numbers: written forward, read backward; NULL when nobody wants them */
} FD(pool);

/* Where a task is: its strip, and the windows of the block at hand. */
typedef struct {
    int64_t out_begin[3], out_end[3]; /* outputs to visit */
    int64_t in_begin[3], in_end[3];   /* cells that may be touched */
    int64_t own_begin, own_end;       /* the same as elements of x */
    int64_t corner[3];                /* first cell of the window, which a pad may put before the input */
    int64_t begin[3], end[3];         /* its taps that are cells of the strip */
    int64_t counted[3];               /* cells on each axis that a mean is over */
    T *scratch;
} FD(place);

/* Outputs y ..., whose windows have their corners at x, x + lane, ...: n of them in a block, or a whole row. */
typedef void FD(pool_block)(const FD(pool) *pool, const FD(place) *at, int64_t y, int64_t x, int64_t n, int64_t lane);
typedef void FD(pool_row)(const FD(pool) *pool, FD(place) *at, int64_t y, int64_t x);

/* ---- the walk ------------------------------------------------------------------------------------------------- */

FD_INLINE void FD(pool_clip)(FD(place) *at, const fd_pool *p, int axis, int64_t out) {
    const int64_t corner = out * p->stride[axis] - p->pad_before[axis], size = p->size[axis];
    const int64_t real = p->in[axis] - corner;
    at->corner[axis] = corner;
    at->begin[axis] = FD(most)(at->in_begin[axis] - corner, 0);
    at->end[axis] = FD(least)(at->in_end[axis] - corner, size);
    at->counted[axis] = p->count_include_pad ? FD(least)(size, real + p->pad_after[axis])
                                             : FD(least)(size, real) - FD(most)(-corner, 0);
}

FD_INLINE void FD(pool_columns)(const FD(pool) *pool, FD(place) *at, int64_t y, int64_t x, int64_t lane,
                                FD(pool_block) *block) {
    for (int64_t column = 0, n; column < pool->plan.out[2]; column += n) {
        FD(pool_clip)(at, &pool->plan, 2, column);
        n = column < pool->inner[0] || column >= pool->inner[1] ? 1 : FD(least)(pool->inner[1] - column, VL);
        block(pool, at, y + column, x + at->corner[2], n, lane);
    }
}

FD_INLINE void FD(pool_channels)(const FD(pool) *pool, FD(place) *at, int64_t y, int64_t x, FD(pool_block) *block) {
    const int64_t channels = pool->plan.channels;
    for (int64_t column = 0; column < pool->plan.out[2]; column++) {
        FD(pool_clip)(at, &pool->plan, 2, column);
        const int64_t y_pixel = y + column * channels, x_pixel = x + at->corner[2] * channels;
        int64_t c = 0;
        for (; c + VL <= channels; c += VL) block(pool, at, y_pixel + c, x_pixel + c, VL, 1);
        if (c < channels) block(pool, at, y_pixel + c, x_pixel + c, channels - c, 1);
    }
}

/* A row, block by block; the block is compiled for each of the common lanes. */
FD_INLINE void FD(pool_blocks)(const FD(pool) *pool, FD(place) *at, int64_t y, int64_t x, FD(pool_block) *block) {
    if (pool->plan.channels_last)
        FD(pool_channels)(pool, at, y, x, block);
    else if (pool->lane == 1)
        FD(pool_columns)(pool, at, y, x, 1, block);
    else if (pool->lane == 2)
        FD(pool_columns)(pool, at, y, x, 2, block);
    else
        FD(pool_columns)(pool, at, y, x, pool->lane, block);
}

FD_INLINE void FD(pool_plane)(const FD(pool) *pool, FD(place) *at, int64_t y, int64_t x, FD(pool_row) *row) {
    const fd_pool *p = &pool->plan;
    for (int64_t od = at->out_begin[0]; od < at->out_end[0]; od++) {
        FD(pool_clip)(at, p, 0, od);
        for (int64_t oh = at->out_begin[1]; oh < at->out_end[1]; oh++) {
            FD(pool_clip)(at, p, 1, oh);
            row(pool, at, y + (od * p->out[1] + oh) * p->out[2] * pool->step[2],
                x + at->corner[0] * pool->step[0] + at->corner[1] * pool->step[1]);
        }
    }
}

/* The rows of a task; backward, its part of dx is cleared first. */
FD_INLINE void FD(pool_walk)(const FD(pool) *pool, int64_t task, void *scratch, int backward, FD(pool_row) *row) {
    const fd_pool *p = &pool->plan;
    const int64_t number = task % pool->strips, strips = pool->strips;
    FD(place) at = {.scratch = scratch};
    for (int axis = 0; axis < 3; axis++) {
        const int64_t in = p->in[axis], out = p->out[axis], pad = p->pad_before[axis];
        const int cut_in = axis == pool->cut && backward, cut_out = axis == pool->cut && !backward;
        at.in_begin[axis] = cut_in ? number * in / strips : 0;
        at.in_end[axis] = cut_in ? (number + 1) * in / strips : in;
        /* Backward, from the first window that ends behind in_begin to the last that starts before in_end. */
        const int64_t behind = at.in_begin[axis] + pad - p->size[axis], before = at.in_end[axis] + pad - 1;
        at.out_begin[axis] = cut_out ? number * out / strips : behind < 0 ? 0 : behind / p->stride[axis] + 1;
        at.out_end[axis] = cut_out ? (number + 1) * out / strips : FD(least)(before / p->stride[axis] + 1, out);
    }
    const int64_t x_plane = p->in[0] * pool->step[0], y_plane = p->out[0] * p->out[1] * p->out[2] * pool->step[2];
    const int64_t first = task / strips * pool->share, last = FD(least)(first + pool->share, pool->planes);
    for (int64_t i = first; i < last; i++) {
        at.own_begin = i * x_plane + at.in_begin[pool->cut] * pool->step[pool->cut];
        at.own_end = i * x_plane + at.in_end[pool->cut] * pool->step[pool->cut];
        if (backward) memset(pool->to + at.own_begin, 0, (size_t)(at.own_end - at.own_begin) * sizeof(T));
        FD(pool_plane)(pool, &at, i * y_plane, i * x_plane, row);
    }
}

/* Elements from a window's corner to the tap of that number. */
static int64_t FD(pool_offset)(const FD(pool) *pool, int64_t tap) {
    const int64_t *size = pool->plan.size;
    return tap / (size[1] * size[2]) * pool->step[0] + tap / size[2] % size[1] * pool->step[1] +
           tap % size[2] * pool->step[2];
}

/* While a window fills the last axis, make that axis one with the axis before it. Tap numbers stay what they are. */
static void FD(pool_join)(fd_pool *p) {
    for (int joins = 0; joins < 2; joins++) {
        const int64_t width = p->in[2];
        if (p->size[2] != width || p->pad_before[2] != 0 || p->pad_after[2] != 0 || p->out[2] != 1) return;
        int64_t *const lengths[] = {p->in, p->size, p->stride, p->pad_before, p->pad_after};
        for (int i = 0; i < 5; i++) {
            lengths[i][2] = lengths[i][1] * width;
            lengths[i][1] = lengths[i][0];
            lengths[i][0] = 1;
        }
        p->pad_before[0] = p->pad_after[0] = 0;
        p->out[2] = p->out[1];
        p->out[1] = p->out[0];
        p->out[0] = 1;
    }
}

static int FD(pool_run)(fd_task task, const fd_pool *plan, T *to, const T *from, void *index, int threads) {
    FD(pool) pool = {.plan = *plan, .to = to, .from = from, .index = index};
    fd_pool *p = &pool.plan;
    if (p->channels == 1) p->channels_last = 0; /* the two layouts are one, and rows fill vectors better */
    FD(pool_join)(p);

    pool.step[2] = p->channels_last ? p->channels : 1;
    pool.step[1] = p->in[2] * pool.step[2];
    pool.step[0] = p->in[1] * pool.step[1];
    pool.lane = p->channels_last ? 1 : p->stride[2];
    pool.taps = p->size[0] * p->size[1] * p->size[2];
    for (int64_t tap = 0; tap < pool.taps && pool.taps <= 256; tap++) pool.offset[tap] = FD(pool_offset)(&pool, tap);
    pool.along_window = !p->channels_last && p->size[2] >= VL && (p->stride[2] > 2 || p->out[2] < VL);
    const int64_t room = p->in[2] + p->pad_before[2] - p->size[2];
    if (!pool.along_window && room >= 0) {
        pool.inner[0] = (p->pad_before[2] + p->stride[2] - 1) / p->stride[2];
        pool.inner[1] = FD(least)(room / p->stride[2] + 1, p->out[2]);
    }

    /* Spaced out, each vector of a row costs its window's columns; else each output costs its window's vectors. */
    pool.spaced = !p->channels_last && p->in[2] * p->size[2] < p->out[2] * (p->size[2] + 4 * VL);
    const int64_t reach = FD(most)((p->out[2] - 1) * p->stride[2], p->in[2] + p->pad_before[2]);
    pool.scratch = pool.spaced ? (size_t)(reach + 2 * p->size[2] + VL) * sizeof(T) : 0;

    pool.cut = p->in[0] == 1;
    pool.planes = p->channels_last ? p->batch : p->batch * p->channels;
    const int64_t plane_bytes = p->in[0] * pool.step[0] * TBYTES, row_bytes = pool.step[pool.cut] * TBYTES;
    const int64_t rows = FD(most)(STRIP_BYTES / (row_bytes + 1) + 1, 2 * p->size[pool.cut]);
    pool.share = STRIP_BYTES / (plane_bytes + 1) + 1;
    pool.strips = pool.share > 1 ? 1 : FD(most)(p->in[pool.cut] / rows, 1);
    const int64_t tasks = (pool.planes + pool.share - 1) / pool.share * pool.strips;
    const int64_t outputs = p->batch * p->channels * p->out[0] * p->out[1] * p->out[2];
    const int64_t cells = p->batch * p->channels * p->in[0] * p->in[1] * p->in[2];
    return fd_parallel(task, &pool, tasks, pool.scratch, fd_threads_for((cells + outputs * pool.taps) / VL, threads));
}

/* ---- max ------------------------------------------------------------------------------------------------------ */

typedef uint8_t FD(bytes) __attribute__((vector_size(VL)));
typedef int32_t FD(words) __attribute__((vector_size(4 * VL)));

FD_INLINE void FD(index_store)(const FD(pool) *pool, int64_t y, I tap, int64_t n) {
    if (pool->index == NULL) return;
    if (pool->taps <= 256) {
        const FD(bytes) narrow = __builtin_convertvector(tap, FD(bytes));
        uint8_t *index = (uint8_t *)pool->index + y;
        if (n == VL)
            memcpy(index, &narrow, sizeof narrow);
        else
            for (int64_t l = 0; l < n; l++) index[l] = narrow[l];
    } else {
        const FD(words) narrow = __builtin_convertvector(tap, FD(words));
        memcpy((int32_t *)pool->index + y, &narrow, (size_t)n * sizeof(int32_t));
    }
}

/* Lanes where v takes the place of the best of all later taps. Downwards, the first NaN and the first of the largest
 * are the last to win, and one comparison with `best` decides: it is all that an iteration waits for. */
FD_INLINE I FD(max_wins)(V v, V best) { return (I)(v >= best) | (I)(v != v); }

/* One window a lane. */
FD_INLINE void FD(max_columns)(const FD(pool) *pool, const FD(place) *at, int64_t y, int64_t x, int64_t n,
                               int64_t lane) {
    const int64_t *size = pool->plan.size, *step = pool->step, *begin = at->begin, *end = at->end;
    V best = vset1(-(T)INFINITY);
    I winner = {0};
    for (int64_t d = end[0] - 1; d >= begin[0]; d--)
        for (int64_t h = end[1] - 1; h >= begin[1]; h--) {
            const int64_t row = x + d * step[0] + h * step[1], tap = (d * size[1] + h) * size[2];
            for (int64_t w = end[2] - 1; w >= begin[2]; w--) {
                const V v = vload_step(pool->from + (row + w * step[2]), lane, n);
                const I wins = FD(max_wins)(v, best);
                best = vselect(wins, v, best);
                winner = (wins & (TI)(tap + w)) | (winner & ~wins);
            }
        }
    vstore_upto(pool->to + y, best, n);
    FD(index_store)(pool, y, winner, n);
}

/* One window, its taps spread over the lanes: lane by lane first, then over the lanes. */
static void FD(max_window)(const FD(pool) *pool, const FD(place) *at, int64_t y, int64_t x) {
    const int64_t *size = pool->plan.size, *step = pool->step, *begin = at->begin, *end = at->end;
    const int64_t width = end[2] - begin[2];
    I lanes;
    for (int l = 0; l < VL; l++) lanes[l] = (TI)l;
    V best = vset1(-(T)INFINITY);
    I winner = (TI)pool->taps - (I){0}; /* behind every tap, for lanes that never meet one */
    for (int64_t d = end[0] - 1; d >= begin[0]; d--)
        for (int64_t h = end[1] - 1; h >= begin[1]; h--) {
            const int64_t row = x + d * step[0] + h * step[1] + begin[2], tap = (d * size[1] + h) * size[2] + begin[2];
            for (int64_t w = (width - 1) / VL * VL; w >= 0; w -= VL) {
                const V v = vload_upto(pool->from + (row + w), width - w);
                const I wins = FD(max_wins)(v, best) & (I)(lanes < (TI)FD(least)(width - w, VL));
                best = vselect(wins, v, best);
                winner = (wins & (lanes + (TI)(tap + w))) | (winner & ~wins);
            }
        }
    for (int half = VL / 2; half > 0; half /= 2) {
        const V a = vinterleave_low(best, best), b = vinterleave_high(best, best);
        const I tap_a = (I)vinterleave_low((V)winner, (V)winner), tap_b = (I)vinterleave_high((V)winner, (V)winner);
        const I nan_a = a != a, nan_b = b != b, same = (I)(a == b) | (nan_a & nan_b);
        const I wins = (I)(b > a) | (nan_b & ~nan_a) | (same & (I)(tap_b < tap_a));
        best = vselect(wins, b, a);
        winner = (wins & tap_b) | (tap_a & ~wins);
    }
    vstore_tail(pool->to + y, best, 1);
    FD(index_store)(pool, y, winner, 1);
}

FD_INLINE void FD(max_block)(const FD(pool) *pool, const FD(place) *at, int64_t y, int64_t x, int64_t n, int64_t lane) {
    if (pool->along_window)
        FD(max_window)(pool, at, y, x);
    else
        FD(max_columns)(pool, at, y, x, n, lane);
}

FD_INLINE void FD(max_row)(const FD(pool) *pool, FD(place) *at, int64_t y, int64_t x) {
    FD(pool_blocks)(pool, at, y, x, FD(max_block));
}

static void FD(maxpool_fwd_task)(void *arg, int64_t task, void *scratch) {
    FD(pool_walk)(arg, task, scratch, 0, FD(max_row));
}

/* computes  y[n, c, o] = max over the real cells k of window o of x[n, c, o*stride + k - pad], and the k that won:
 *           the first NaN, or else the first of the largest
 * shapes    y, index (N, C, OD, OH, OW); x (N, C, D, H, W)
 * layout    NCHW or NHWC; index uint8_t when a window has at most 256 cells, else int32_t, or NULL
 * touches   all of y and index, all of x that a window covers
 * order     taps ascending; no sums
 * source    Ranzato et al., "Unsupervised Learning of Invariant Feature Hierarchies", 2007 */
static int FD(fd_maxpool_fwd)(void *y, void *index, const void *x, const fd_pool *plan, int threads) {
    return FD(pool_run)(FD(maxpool_fwd_task), plan, y, x, index, threads);
}

FD_INLINE void FD(max_scatter)(const FD(pool) *pool, const FD(place) *at, int64_t y, int64_t x, int64_t n,
                               int64_t lane) {
    const int narrow = pool->taps <= 256;
    for (int64_t l = 0; l < n; l++) {
        const int64_t offset = narrow ? pool->offset[((const uint8_t *)pool->index)[y + l]]
                                      : FD(pool_offset)(pool, ((const int32_t *)pool->index)[y + l]);
        const int64_t cell = x + l * lane + offset;
        const int own = cell >= at->own_begin && cell < at->own_end; /* at random: a branch would be guessed wrong */
        pool->to[own ? cell : at->own_begin] += own ? pool->from[y + l] : 0;
    }
}

FD_INLINE void FD(max_scatter_row)(const FD(pool) *pool, FD(place) *at, int64_t y, int64_t x) {
    FD(pool_blocks)(pool, at, y, x, FD(max_scatter));
}

static void FD(maxpool_bwd_task)(void *arg, int64_t task, void *scratch) {
    FD(pool_walk)(arg, task, scratch, 1, FD(max_scatter_row));
}

/* computes  dx[n, c, o*stride + index[n, c, o] - pad] += dy[n, c, o], from zero
 * shapes    dx (N, C, D, H, W); dy, index (N, C, OD, OH, OW)
 * layout    NCHW or NHWC; index as maxpool_fwd wrote it
 * touches   all of dx, dy and index
 * order     outputs ascending
 * source    the adjoint of maxpool_fwd */
static int FD(fd_maxpool_bwd)(void *dx, const void *dy, const void *index, const fd_pool *plan, int threads) {
    return FD(pool_run)(FD(maxpool_bwd_task), plan, dx, dy, (void *)index, threads);
}

/* ---- average -------------------------------------------------------------------------------------------------- */

FD_INLINE T FD(average_cells)(const FD(place) *at) { return (T)(at->counted[0] * at->counted[1] * at->counted[2]); }

/* One window a lane. */
FD_INLINE void FD(average_columns)(const FD(pool) *pool, const FD(place) *at, int64_t y, int64_t x, int64_t n,
                                   int64_t lane) {
    const int64_t *step = pool->step, *begin = at->begin, *end = at->end;
    V sum = {0};
    for (int64_t d = begin[0]; d < end[0]; d++)
        for (int64_t h = begin[1]; h < end[1]; h++) {
            const int64_t row = x + d * step[0] + h * step[1];
            for (int64_t w = begin[2]; w < end[2]; w++) sum += vload_step(pool->from + (row + w * step[2]), lane, n);
        }
    vstore_upto(pool->to + y, sum / FD(average_cells)(at), n);
}

/* One window, its taps spread over the lanes. */
static void FD(average_window)(const FD(pool) *pool, const FD(place) *at, int64_t y, int64_t x) {
    const int64_t *step = pool->step, *begin = at->begin, *end = at->end;
    V sum = {0};
    for (int64_t d = begin[0]; d < end[0]; d++)
        for (int64_t h = begin[1]; h < end[1]; h++) {
            const T *row = pool->from + (x + d * step[0] + h * step[1]);
            for (int64_t w = begin[2]; w < end[2]; w += VL) sum += vload_upto(row + w, end[2] - w);
        }
    pool->to[y] = vsum(sum) / FD(average_cells)(at);
}

FD_INLINE void FD(average_block)(const FD(pool) *pool, const FD(place) *at, int64_t y, int64_t x, int64_t n,
                                 int64_t lane) {
    if (pool->along_window)
        FD(average_window)(pool, at, y, x);
    else
        FD(average_columns)(pool, at, y, x, n, lane);
}

FD_INLINE void FD(average_row)(const FD(pool) *pool, FD(place) *at, int64_t y, int64_t x) {
    FD(pool_blocks)(pool, at, y, x, FD(average_block));
}

static void FD(avgpool_fwd_task)(void *arg, int64_t task, void *scratch) {
    FD(pool_walk)(arg, task, scratch, 0, FD(average_row));
}

/* computes  y[n, c, o] = sum over the real cells k of window o of x[n, c, o*stride + k - pad], divided by their number,
 *           or, with count_include_pad, by the number of cells inside the padded input
 * shapes    y (N, C, OD, OH, OW); x (N, C, D, H, W)
 * layout    NCHW or NHWC
 * touches   all of y, all of x that a window covers
 * order     taps ascending; of long windows in NCHW every VL-th tap ascending, then the tree of vsum
 * source    LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998 */
static int FD(fd_avgpool_fwd)(void *y, const void *x, const fd_pool *plan, int threads) {
    return FD(pool_run)(FD(avgpool_fwd_task), plan, y, x, NULL, threads);
}

/* Add each output's share to every cell of its window: channels are lanes, or one output is at hand. */
FD_INLINE void FD(average_scatter)(const FD(pool) *pool, const FD(place) *at, int64_t y, int64_t x, int64_t n,
                                   int64_t lane) {
    const int64_t *step = pool->step, *begin = at->begin, *end = at->end;
    const V share = vload_upto(pool->from + y, n) / FD(average_cells)(at);
    for (int64_t d = begin[0]; d < end[0]; d++)
        for (int64_t h = begin[1]; h < end[1]; h++) {
            T *row = pool->to + (x + d * step[0] + h * step[1]);
            if (pool->plan.channels_last)
                for (int64_t w = begin[2]; w < end[2]; w++) {
                    T *cells = row + w * step[2];
                    vstore_upto(cells, vload_upto(cells, n) + share, n);
                }
            else
                for (int64_t l = 0; l < n; l++)
                    for (int64_t w = begin[2]; w < end[2]; w++) row[l * lane + w] += share[l];
        }
}

/* Put each output's share into the scratch row, at the corner of its window. */
FD_INLINE void FD(average_space)(const FD(pool) *pool, const FD(place) *at, int64_t y, int64_t x, int64_t n,
                                 int64_t lane) {
    (void)x;
    const fd_pool *p = &pool->plan;
    const V share = vload_upto(pool->from + y, n) / FD(average_cells)(at);
    T *spaced = at->scratch + (p->size[2] - 1 + p->pad_before[2] + at->corner[2]);
    if (lane == 1)
        vstore_upto(spaced, share, n);
    else
        for (int64_t l = 0; l < n; l++) spaced[l * lane] = share[l];
}

/* Windows of neighbouring columns overlap, and an addition that reads half of what the last one wrote waits for it.
 * So shares are spaced out over a scratch row, whose other elements stay zero, and its cells gather them. */
FD_INLINE void FD(average_scatter_row)(const FD(pool) *pool, FD(place) *at, int64_t y, int64_t x) {
    const fd_pool *p = &pool->plan;
    if (!pool->spaced) {
        FD(pool_blocks)(pool, at, y, x, FD(average_scatter));
        return;
    }
    FD(pool_blocks)(pool, at, y, x, FD(average_space));
    const T *spaced = at->scratch + p->pad_before[2];
    for (int64_t i = 0; i < p->in[2]; i += VL) {
        const int64_t n = FD(least)(p->in[2] - i, VL);
        V sum = {0};
        for (int64_t k = 0; k < p->size[2]; k++) sum += vload(spaced + i + k);
        for (int64_t d = at->begin[0]; d < at->end[0]; d++)
            for (int64_t h = at->begin[1]; h < at->end[1]; h++) {
                T *cells = pool->to + (x + d * pool->step[0] + h * pool->step[1] + i);
                vstore_upto(cells, vload_upto(cells, n) + sum, n);
            }
    }
}

static void FD(avgpool_bwd_task)(void *arg, int64_t task, void *scratch) {
    const FD(pool) *pool = arg;
    if (pool->spaced) memset(scratch, 0, pool->scratch);
    FD(pool_walk)(pool, task, scratch, 1, FD(average_scatter_row));
}

/* computes  dx[n, c, o*stride + k - pad] += dy[n, c, o] / cells for the real cells k of window o, from zero
 * shapes    dx (N, C, D, H, W); dy (N, C, OD, OH, OW)
 * layout    NCHW or NHWC
 * touches   all of dx and dy
 * order     outputs ascending; in NCHW those of one row first, then the rows
 * source    the adjoint of avgpool_fwd */
static int FD(fd_avgpool_bwd)(void *dx, const void *dy, const fd_pool *plan, int threads) {
    return FD(pool_run)(FD(avgpool_bwd_task), plan, dx, dy, NULL, threads);
}

#undef STRIP_BYTES
