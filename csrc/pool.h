/* pool.h: max and average pooling over three spatial axes, forward and backward.
 *
 * # Design: one walk serves both layouts and all four passes. It hands out blocks of up to VL outputs whose windows
 * have the same shape: neighbouring columns of one row (NCHW) or neighbouring channels of one pixel (NHWC). In both,
 * lane l of tap (d, h, w) is x[d*step[0] + h*step[1] + w*step[2] + l*lane], so a kernel is what stands between that
 * load and a store. Columns whose windows hang over an edge are blocks of one.
 *   - A task is a range of channels of one image. It owns that part of dx, so backward passes clear it and scatter
 *     into it without a race, in the order of the outputs.
 *   - An axis that its window fills is joined to the axis before it: global pooling becomes one long row.
 *   - Where NCHW has few columns but long windows, the lanes are neighbouring taps of one window instead.
 */

/* One pooling, as its tasks see it. */
typedef struct {
    fd_pool plan;
    int64_t step[3];     /* elements from a cell to the next one on each axis of x */
    int64_t lane;        /* elements from the window of one output of a block to that of the next */
    int64_t inner[2];    /* columns inner[0] .. inner[1]-1 have their whole window inside the row, and may share a block */
    int64_t share;       /* channels a task */
    int64_t shares;      /* tasks an image */
    int64_t taps;        /* cells of a whole window */
    int along_window;    /* the lanes are neighbouring taps, and a block is one output */
    int64_t offset[256]; /* elements from a window's corner to each of its taps, where taps <= 256 */
    T *to;               /* y, or dx */
    const T *from;       /* x, or dy */
    void *index;         /* tap numbers: written forward, read backward; NULL when nobody wants them */
} FD(pool);

/* The windows of one block, clipped to the cells that exist. */
typedef struct {
    int64_t corner[3];      /* first cell, which a pad may put before the input */
    int64_t begin[3];       /* taps begin .. end-1 are real cells */
    int64_t end[3];
    int64_t counted[3];     /* cells on each axis that a mean is over */
} FD(window);

/* n outputs at y[at_y + l], whose windows have their corners at x[at_x + l * lane]. */
typedef void FD(pool_block)(const FD(pool) *pool, const FD(window) *window, int64_t at_y, int64_t at_x, int64_t n);

/* ---- the walk ------------------------------------------------------------------------------------------------- */

FD_INLINE void FD(pool_clip)(FD(window) *window, const fd_pool *p, int axis, int64_t out) {
    const int64_t corner = out * p->stride[axis] - p->pad_before[axis], size = p->size[axis];
    const int64_t real = p->in[axis] - corner, padded = real + p->pad_after[axis];
    window->corner[axis] = corner;
    window->begin[axis] = corner < 0 ? -corner : 0;
    window->end[axis] = size < real ? size : real;
    window->counted[axis] =
        p->count_include_pad ? (size < padded ? size : padded) : window->end[axis] - window->begin[axis];
}

FD_INLINE void FD(pool_plane)(const FD(pool) *pool, int64_t y, int64_t x, int64_t channels, FD(pool_block) *block) {
    const fd_pool *p = &pool->plan;
    const int64_t pixel = p->channels_last ? p->channels : 1;
    FD(window) window;
    for (int64_t od = 0; od < p->out[0]; od++) {
        FD(pool_clip)(&window, p, 0, od);
        for (int64_t oh = 0; oh < p->out[1]; oh++) {
            FD(pool_clip)(&window, p, 1, oh);
            const int64_t y_row = y + (od * p->out[1] + oh) * p->out[2] * pixel;
            const int64_t x_row = x + window.corner[0] * pool->step[0] + window.corner[1] * pool->step[1];
            for (int64_t ow = 0, columns; ow < p->out[2]; ow += columns) {
                FD(pool_clip)(&window, p, 2, ow);
                const int64_t at_y = y_row + ow * pixel, at_x = x_row + window.corner[2] * pool->step[2];
                columns = 1;
                if (p->channels_last) {
                    for (int64_t c = 0; c < channels; c += VL)
                        block(pool, &window, at_y + c, at_x + c, channels - c < VL ? channels - c : VL);
                } else {
                    if (ow >= pool->inner[0] && ow < pool->inner[1])
                        columns = pool->inner[1] - ow < VL ? pool->inner[1] - ow : VL;
                    block(pool, &window, at_y, at_x, columns);
                }
            }
        }
    }
}

/* Everything of y and x that belongs to a task. */
FD_INLINE void FD(pool_walk)(const FD(pool) *pool, int64_t task, FD(pool_block) *block) {
    const fd_pool *p = &pool->plan;
    const int64_t x_plane = p->in[0] * p->in[1] * p->in[2], y_plane = p->out[0] * p->out[1] * p->out[2];
    const int64_t image = task / pool->shares * p->channels, first = task % pool->shares * pool->share;
    const int64_t last = p->channels - first < pool->share ? p->channels : first + pool->share;
    if (p->channels_last)
        FD(pool_plane)(pool, image * y_plane + first, image * x_plane + first, last - first, block);
    else
        for (int64_t c = image + first; c < image + last; c++) FD(pool_plane)(pool, c * y_plane, c * x_plane, 1, block);
}

static void FD(pool_clear)(const FD(pool) *pool, int64_t task) {
    const fd_pool *p = &pool->plan;
    const int64_t cells = p->in[0] * p->in[1] * p->in[2];
    const int64_t image = task / pool->shares, first = task % pool->shares * pool->share;
    const int64_t channels = p->channels - first < pool->share ? p->channels - first : pool->share;
    T *dx = pool->to + image * p->channels * cells;
    if (!p->channels_last || channels == p->channels)
        memset(dx + first * cells, 0, (size_t)(channels * cells) * sizeof(T));
    else
        for (int64_t i = 0; i < cells; i++) memset(dx + i * p->channels + first, 0, (size_t)channels * sizeof(T));
}

/* Elements from a window's corner to the tap of that number. */
static int64_t FD(pool_offset)(const FD(pool) *pool, int64_t tap) {
    const int64_t *size = pool->plan.size;
    return tap / (size[1] * size[2]) * pool->step[0] + tap / size[2] % size[1] * pool->step[1] +
           tap % size[2] * pool->step[2];
}

static void FD(pool_join)(fd_pool *p) {
    for (int joins = 0; joins < 2; joins++) {
        const int64_t width = p->in[2];
        if (p->size[2] != width || p->pad_before[2] != 0 || p->pad_after[2] != 0 || p->out[2] != 1) return;
        int64_t *const axes[] = {p->in, p->size, p->stride, p->pad_before, p->pad_after};
        for (int i = 0; i < 5; i++) {
            axes[i][2] = axes[i][1] * width;
            axes[i][1] = axes[i][0];
            axes[i][0] = i < 3;
        }
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

    const int64_t pixel = p->channels_last ? p->channels : 1;
    const int64_t cells = p->in[0] * p->in[1] * p->in[2], outputs = p->out[0] * p->out[1] * p->out[2];
    pool.step[0] = p->in[1] * p->in[2] * pixel;
    pool.step[1] = p->in[2] * pixel;
    pool.step[2] = pixel;
    pool.lane = p->channels_last ? 1 : p->stride[2];
    pool.taps = p->size[0] * p->size[1] * p->size[2];
    pool.along_window = !p->channels_last && p->size[2] >= VL && (p->stride[2] > 2 || p->out[2] < VL);
    if (!pool.along_window) {
        const int64_t room = p->in[2] + p->pad_before[2] - p->size[2];
        pool.inner[0] = (p->pad_before[2] + p->stride[2] - 1) / p->stride[2];
        pool.inner[1] = room < 0 ? 0 : room / p->stride[2] + 1;
        if (pool.inner[1] > p->out[2]) pool.inner[1] = p->out[2];
    }
    for (int64_t tap = 0; tap < pool.taps && pool.taps <= 256; tap++) pool.offset[tap] = FD(pool_offset)(&pool, tap);

    /* Enough tasks for the threads of today, each of 16 KiB or more and, in NHWC, of whole cache lines. */
    const int64_t line = p->channels_last ? 64 / TBYTES : 1;
    const int64_t wanted = 32 / (p->batch + 1) + 1;
    const int64_t spread = (p->channels + wanted - 1) / wanted, least = 16384 / TBYTES / cells + 1;
    pool.share = ((spread > least ? spread : least) + line - 1) / line * line;
    pool.shares = (p->channels + pool.share - 1) / pool.share;
    const int64_t work = p->batch * p->channels * (cells + outputs * pool.taps) / VL;
    return fd_parallel(task, &pool, p->batch * pool.shares, 0, fd_threads_for(work, threads));
}

/* ---- max ------------------------------------------------------------------------------------------------------ */

typedef uint8_t FD(bytes) __attribute__((vector_size(VL)));
typedef int32_t FD(words) __attribute__((vector_size(4 * VL)));

/* index[at + l] = tap[l] for l < n. */
FD_INLINE void FD(index_store)(const FD(pool) *pool, int64_t at, I tap, int64_t n) {
    if (pool->index == NULL) return;
    if (pool->taps <= 256) {
        const FD(bytes) narrow = __builtin_convertvector(tap, FD(bytes));
        uint8_t *index = (uint8_t *)pool->index + at;
        if (n == VL)
            memcpy(index, &narrow, sizeof narrow);
        else
            for (int64_t l = 0; l < n; l++) index[l] = narrow[l];
    } else {
        const FD(words) narrow = __builtin_convertvector(tap, FD(words));
        memcpy((int32_t *)pool->index + at, &narrow, (size_t)n * sizeof(int32_t));
    }
}

/* Lanes where v takes the place of an earlier best: it is larger, or the first NaN. */
FD_INLINE I FD(max_wins)(V v, V best) { return ~(I)(v <= best) & (I)(best == best); }

/* One window a lane. */
FD_INLINE void FD(max_columns)(const FD(pool) *pool, const FD(window) *window, int64_t at_y, int64_t at_x, int64_t n,
                               int64_t lane) {
    const int64_t *size = pool->plan.size, *step = pool->step, *begin = window->begin, *end = window->end;
    const T *x = pool->from;
    V best = {0};
    I winner = {0};
    int first = 1;
    for (int64_t d = begin[0]; d < end[0]; d++)
        for (int64_t h = begin[1]; h < end[1]; h++)
            for (int64_t w = begin[2]; w < end[2]; w++) {
                const V v = vload_step(x + (at_x + d * step[0] + h * step[1] + w * step[2]), lane, n);
                const I tap = (TI)((d * size[1] + h) * size[2] + w) - (I){0};
                const I wins = first ? ~(I){0} : FD(max_wins)(v, best);
                best = vselect(wins, v, best);
                winner = (I)vselect(wins, (V)tap, (V)winner);
                first = 0;
            }
    if (n == VL)
        vstore(pool->to + at_y, best);
    else
        vstore_tail(pool->to + at_y, best, n);
    FD(index_store)(pool, at_y, winner, n);
}

/* One window, its taps spread over the lanes: lane by lane first, then over the lanes. */
static void FD(max_window)(const FD(pool) *pool, const FD(window) *window, int64_t at_y, int64_t at_x) {
    const int64_t *size = pool->plan.size, *step = pool->step, *begin = window->begin, *end = window->end;
    const T *x = pool->from + (at_x + begin[2]);
    I lanes;
    for (int l = 0; l < VL; l++) lanes[l] = (TI)l;
    /* Every lane starts from the first cell: an equal one later does not win, so none of its copies does harm. */
    V best = vset1(x[begin[0] * step[0] + begin[1] * step[1]]);
    I winner = (TI)((begin[0] * size[1] + begin[1]) * size[2] + begin[2]) - (I){0};
    for (int64_t d = begin[0]; d < end[0]; d++)
        for (int64_t h = begin[1]; h < end[1]; h++) {
            const T *row = x + (d * step[0] + h * step[1]);
            const int64_t tap = (d * size[1] + h) * size[2] + begin[2], width = end[2] - begin[2];
            for (int64_t w = 0; w < width; w += VL) {
                V v;
                I wins;
                if (width - w >= VL) {
                    v = vload(row + w);
                    wins = FD(max_wins)(v, best);
                } else {
                    v = vload_tail(row + w, width - w);
                    wins = FD(max_wins)(v, best) & (I)(lanes < (TI)(width - w));
                }
                best = vselect(wins, v, best);
                winner = (I)vselect(wins, (V)(lanes + (TI)(tap + w)), (V)winner);
            }
        }
    T top = best[0];
    TI at = winner[0];
    for (int l = 1; l < VL; l++) {
        const int same = best[l] == top || (best[l] != best[l] && top != top);
        if (same ? winner[l] < at : !(best[l] <= top) && top == top) {
            top = best[l];
            at = winner[l];
        }
    }
    pool->to[at_y] = top;
    FD(index_store)(pool, at_y, at - (I){0}, 1);
}

FD_INLINE void FD(max_block)(const FD(pool) *pool, const FD(window) *window, int64_t at_y, int64_t at_x, int64_t n) {
    if (pool->along_window)
        FD(max_window)(pool, window, at_y, at_x);
    else if (pool->lane == 1)
        FD(max_columns)(pool, window, at_y, at_x, n, 1);
    else if (pool->lane == 2)
        FD(max_columns)(pool, window, at_y, at_x, n, 2);
    else
        FD(max_columns)(pool, window, at_y, at_x, n, pool->lane);
}

static void FD(maxpool_fwd_task)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    FD(pool_walk)(arg, task, FD(max_block));
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

FD_INLINE void FD(max_scatter)(const FD(pool) *pool, const FD(window) *window, int64_t at_y, int64_t at_x, int64_t n) {
    (void)window;
    T *dx = pool->to + at_x;
    const T *dy = pool->from + at_y;
    if (pool->taps <= 256) {
        const uint8_t *index = (const uint8_t *)pool->index + at_y;
        for (int64_t l = 0; l < n; l++) dx[l * pool->lane + pool->offset[index[l]]] += dy[l];
    } else {
        const int32_t *index = (const int32_t *)pool->index + at_y;
        for (int64_t l = 0; l < n; l++) dx[l * pool->lane + FD(pool_offset)(pool, index[l])] += dy[l];
    }
}

static void FD(maxpool_bwd_task)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    FD(pool_clear)(arg, task);
    FD(pool_walk)(arg, task, FD(max_scatter));
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

FD_INLINE T FD(average_cells)(const FD(window) *window) {
    return (T)(window->counted[0] * window->counted[1] * window->counted[2]);
}

/* One window a lane. */
FD_INLINE void FD(average_columns)(const FD(pool) *pool, const FD(window) *window, int64_t at_y, int64_t at_x,
                                   int64_t n, int64_t lane) {
    const int64_t *step = pool->step, *begin = window->begin, *end = window->end;
    const T *x = pool->from;
    V sum = {0};
    for (int64_t d = begin[0]; d < end[0]; d++)
        for (int64_t h = begin[1]; h < end[1]; h++)
            for (int64_t w = begin[2]; w < end[2]; w++)
                sum += vload_step(x + (at_x + d * step[0] + h * step[1] + w * step[2]), lane, n);
    const V mean = sum / FD(average_cells)(window);
    if (n == VL)
        vstore(pool->to + at_y, mean);
    else
        vstore_tail(pool->to + at_y, mean, n);
}

/* One window, its taps spread over the lanes. */
static void FD(average_window)(const FD(pool) *pool, const FD(window) *window, int64_t at_y, int64_t at_x) {
    const int64_t *step = pool->step, *begin = window->begin, *end = window->end;
    V sum = {0};
    for (int64_t d = begin[0]; d < end[0]; d++)
        for (int64_t h = begin[1]; h < end[1]; h++) {
            const T *row = pool->from + (at_x + d * step[0] + h * step[1]);
            int64_t w = begin[2];
            for (; w + VL <= end[2]; w += VL) sum += vload(row + w);
            sum += vload_tail(row + w, end[2] - w);
        }
    pool->to[at_y] = vsum(sum) / FD(average_cells)(window);
}

FD_INLINE void FD(average_block)(const FD(pool) *pool, const FD(window) *window, int64_t at_y, int64_t at_x,
                                 int64_t n) {
    if (pool->along_window)
        FD(average_window)(pool, window, at_y, at_x);
    else if (pool->lane == 1)
        FD(average_columns)(pool, window, at_y, at_x, n, 1);
    else if (pool->lane == 2)
        FD(average_columns)(pool, window, at_y, at_x, n, 2);
    else
        FD(average_columns)(pool, window, at_y, at_x, n, pool->lane);
}

static void FD(avgpool_fwd_task)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    FD(pool_walk)(arg, task, FD(average_block));
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

FD_INLINE void FD(average_scatter)(const FD(pool) *pool, const FD(window) *window, int64_t at_y, int64_t at_x,
                                   int64_t n) {
    const int64_t *step = pool->step, *begin = window->begin, *end = window->end;
    T *dx = pool->to;
    const V share = (n == VL ? vload(pool->from + at_y) : vload_tail(pool->from + at_y, n)) / FD(average_cells)(window);
    for (int64_t d = begin[0]; d < end[0]; d++)
        for (int64_t h = begin[1]; h < end[1]; h++) {
            T *row = dx + (at_x + d * step[0] + h * step[1]);
            if (pool->along_window) {
                for (int64_t w = begin[2]; w < end[2]; w++) row[w] += share[0];
            } else {
                /* The last tap of an earlier column comes before the first tap of a later one. */
                for (int64_t w = end[2] - 1; w >= begin[2]; w--) vadd_step(row + w * step[2], share, pool->lane, n);
            }
        }
}

static void FD(avgpool_bwd_task)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    FD(pool_clear)(arg, task);
    FD(pool_walk)(arg, task, FD(average_scatter));
}

/* computes  dx[n, c, o*stride + k - pad] += dy[n, c, o] / cells for the real cells k of window o, from zero
 * shapes    dx (N, C, D, H, W); dy (N, C, OD, OH, OW)
 * layout    NCHW or NHWC
 * touches   all of dx and dy
 * order     outputs ascending
 * source    the adjoint of avgpool_fwd */
static int FD(fd_avgpool_bwd)(void *dx, const void *dy, const fd_pool *plan, int threads) {
    return FD(pool_run)(FD(avgpool_bwd_task), plan, dx, dy, NULL, threads);
}
