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
 *   - Forward in NCHW most often no window hangs over an edge: rows then need no clipping (pool_whole), and those of
 *     planes that lie behind one another without a gap are one row.
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
    int whole;           /* NCHW, and every window is inside its plane */
    int planar;          /* and is all of it */
    int paired;          /* NCHW, and windows two columns wide tile x */
    int spaced;          /* average_scatter_row gathers */
    size_t scratch;      /* bytes of its scratch row */
    int64_t taps;        /* cells of a whole window */
    int64_t offset[256]; /* elements from a window's corner to each of its taps, where taps <= 256 */
    T *to;               /* y, or dx */
    const T *from;       /* x, or dy */
    void *index;         /* tap numbers: written forward, read backward; NULL when nobody wants them */
    uint8_t *closed;     /* written forward: where x is at most 0; NULL when nobody wants it */
    const T *x, *y;      /* of the forward pass, where the backward pass reads them */
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

/* The rows of a task, where windows are whole; backward, where they tile x: a strip of outputs is one of cells then. */
typedef void FD(whole_row)(const FD(pool) *pool, int64_t y, int64_t x, int64_t columns);

FD_INLINE void FD(pool_whole)(const FD(pool) *pool, int64_t task, FD(whole_row) *row) {
    const fd_pool *p = &pool->plan;
    const int64_t number = task % pool->strips, first = task / pool->strips * pool->share;
    const int64_t last = FD(least)(first + pool->share, pool->planes), x_plane = p->in[0] * pool->step[0];
    const int64_t y_plane = p->out[0] * p->out[1] * p->out[2];
    /* Planes of one row, which ends where the step of its last window does, are a row together. */
    if (x_plane == p->out[2] * p->stride[2] && y_plane == p->out[2] && pool->strips == 1) {
        row(pool, first * y_plane, first * x_plane, (last - first) * p->out[2]);
        return;
    }
    int64_t begin[2] = {0, 0}, end[2] = {p->out[0], p->out[1]};
    begin[pool->cut] = number * p->out[pool->cut] / pool->strips;
    end[pool->cut] = (number + 1) * p->out[pool->cut] / pool->strips;
    for (int64_t i = first; i < last; i++)
        for (int64_t od = begin[0]; od < end[0]; od++)
            for (int64_t oh = begin[1]; oh < end[1]; oh++)
                row(pool, i * y_plane + (od * p->out[1] + oh) * p->out[2],
                    i * x_plane + od * p->stride[0] * pool->step[0] + oh * p->stride[1] * pool->step[1], p->out[2]);
}

/* row(width, lane) with the sizes that most poolings have as constants. */
#define FD_WITH_POOLING(row, width, lane)         \
    do {                                          \
        if ((lane) == 2 && (width) == 2) {        \
            row(2, 2);                            \
        } else if ((lane) == 2 && (width) == 3) { \
            row(3, 2);                            \
        } else if ((lane) == 1) {                 \
            row(width, 1);                        \
        } else {                                  \
            row(width, lane);                     \
        }                                         \
    } while (0)

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

static int FD(pool_run_with)(fd_task task, FD(pool) pool, int threads) {
    void *const index = pool.index;
    fd_pool *p = &pool.plan;
    if (p->channels == 1) p->channels_last = 0; /* the two layouts are one, and rows fill vectors better */
    FD(pool_join)(p);

    pool.step[2] = p->channels_last ? p->channels : 1;
    pool.step[1] = p->in[2] * pool.step[2];
    pool.step[0] = p->in[1] * pool.step[1];
    pool.lane = p->channels_last ? 1 : p->stride[2];
    pool.taps = p->size[0] * p->size[1] * p->size[2];
    for (int64_t tap = 0; index != NULL && tap < pool.taps && pool.taps <= 256; tap++)
        pool.offset[tap] = FD(pool_offset)(&pool, tap);
    pool.along_window = !p->channels_last && p->size[2] >= VL && (p->stride[2] > 2 || p->out[2] < VL);
    pool.whole = pool.planar = !p->channels_last;
    int tiles = 1;
    for (int axis = 0; axis < 3; axis++) {
        const int64_t past = (p->out[axis] - 1) * p->stride[axis] + p->size[axis];
        pool.whole &= p->pad_before[axis] == 0 && past <= p->in[axis];
        pool.planar &= pool.whole && p->size[axis] == p->in[axis];
        tiles &= pool.whole && p->size[axis] == p->stride[axis] && past == p->in[axis];
    }
    pool.paired = tiles && p->size[2] == 2 && pool.taps <= 256;
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
    const int64_t work = (cells + outputs * pool.taps) / VL * 4; /* most of it comes from memory */
    return fd_parallel(task, &pool, tasks, pool.scratch, fd_threads_for(work, threads));
}

static int FD(pool_run)(fd_task task, const fd_pool *plan, T *to, const T *from, void *index, int threads) {
    const FD(pool) pool = {.plan = *plan, .to = to, .from = from, .index = index};
    return FD(pool_run_with)(task, pool, threads);
}
