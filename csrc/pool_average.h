/* pool_average.h: the mean of each window, and its gradient. */

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

/* As average_columns. */
FD_INLINE void FD(average_whole)(const FD(pool) *pool, int64_t y, int64_t x, int64_t columns, int64_t width,
                                 int64_t lane) {
    const int64_t *size = pool->plan.size, *step = pool->step;
    const T cells = (T)pool->taps;
    for (int64_t c = 0; c < columns; c += VL) {
        const int64_t n = FD(least)(columns - c, VL);
        V sum = {0};
        for (int64_t d = 0; d < size[0]; d++)
            for (int64_t h = 0; h < size[1]; h++) {
                const T *row = pool->from + x + d * step[0] + h * step[1] + c * lane;
#pragma GCC unroll 3
                for (int64_t w = 0; w < width; w++) sum += vload_step(row + w, lane, n);
            }
        vstore_upto(pool->to + y + c, sum / cells, n);
    }
}

static void FD(average_whole_row)(const FD(pool) *pool, int64_t y, int64_t x, int64_t columns) {
#define ROW(width, lane) FD(average_whole)(pool, y, x, columns, width, lane)
    FD_WITH_POOLING(ROW, pool->plan.size[2], pool->lane);
#undef ROW
}

/* Windows that are planes, four at a time: as average_window. */
static void FD(average_planes)(const FD(pool) *pool, int64_t task) {
    const int64_t first = task * pool->share, last = FD(least)(first + pool->share, pool->planes), n = pool->taps;
    for (int64_t i = first; i < last; i += 4) {
        const T *plane[4];
        V sum[4] = {{0}};
        T total[4];
        for (int j = 0; j < 4; j++) plane[j] = pool->from + FD(least)(i + j, last - 1) * n;
        for (int64_t k = 0; k < n; k += VL)
            for (int j = 0; j < 4; j++) sum[j] += vload_upto(plane[j] + k, n - k);
        vsum_four(total, sum);
        for (int64_t j = 0; j < FD(least)(last - i, 4); j++) pool->to[i + j] = total[j] / (T)n;
    }
}

static void FD(avgpool_fwd_task)(void *arg, int64_t task, void *scratch) {
    const FD(pool) *pool = arg;
    if (pool->planar && pool->strips == 1)
        FD(average_planes)(pool, task);
    else if (pool->whole && !pool->along_window)
        FD(pool_whole)(pool, task, FD(average_whole_row));
    else
        FD(pool_walk)(pool, task, scratch, 0, FD(average_row));
}

/* computes  y[n, c, o] = sum over the real cells k of window o of x[n, c, o*stride + k - pad], divided by their number,
 *           or, with count_include_pad, by the number of cells inside the padded input
 * shapes    y (N, C, OD, OH, OW); x (N, C, D, H, W)
 * layout    NCHW or NHWC
 * touches   all of y, all of x that a window covers
 * order     taps ascending; in NCHW of long windows, and of those that are all of a plane, every VL-th tap ascending,
 *           then the tree of vsum
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

/* A row whose windows tile x in pairs of columns: each cell has one share, and is written once. */
static void FD(average_pairs)(const FD(pool) *pool, int64_t y, int64_t x, int64_t columns) {
    const int64_t *size = pool->plan.size, *step = pool->step;
    const T cells = (T)pool->taps;
    for (int64_t c = 0; c < columns; c += VL) {
        const int64_t n = FD(least)(columns - c, VL);
        const V share = (V){0} + vload_upto(pool->from + y + c, n) / cells; /* from zero: -0 becomes 0 */
        const V low = vinterleave_low(share, share), high = vinterleave_high(share, share);
        for (int64_t d = 0; d < size[0]; d++)
            for (int64_t h = 0; h < size[1]; h++) {
                T *row = pool->to + x + d * step[0] + h * step[1] + 2 * c;
                vstore_upto(row, low, 2 * n);
                if (2 * n > VL) vstore_upto(row + VL, high, 2 * n - VL);
            }
    }
}

static void FD(avgpool_bwd_task)(void *arg, int64_t task, void *scratch) {
    const FD(pool) *pool = arg;
    if (pool->paired) {
        FD(pool_whole)(pool, task, FD(average_pairs));
        return;
    }
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
