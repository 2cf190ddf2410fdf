/* embedding.h: rows of a table, taken by their numbers, and sums of rows put there by their numbers. */

#define GATHER_AHEAD 4 /* rows: no processor sees in time where the next one lies */

typedef struct {
    T *out;
    const T *in;
    const int64_t *ids;
    int64_t count, width, share; /* share: rows a task forward, columns a task backward */
} FD(rows);

static void FD(gather_task)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    const FD(rows) *s = arg;
    const int64_t end = FD(least)((task + 1) * s->share, s->count), width = s->width;
    for (int64_t i = task * s->share; i < end; i++) {
        T *y = s->out + i * width;
        const T *row = s->in + s->ids[i] * width;
        const T *later = s->in + s->ids[FD(least)(i + GATHER_AHEAD, s->count - 1)] * width;
        for (int64_t k = 0; width > LINE && k < width; k += LINE) {
            __builtin_prefetch(later + k);
            __builtin_prefetch(y + GATHER_AHEAD * width + k);
        }
        if (width <= 4 * VL) /* calling memcpy would take as long as what it does */
            for (int64_t k = 0; k < width; k += VL) vstore_upto(y + k, vload_upto(row + k, width - k), width - k);
        else
            memcpy(y, row, (size_t)width * sizeof(T));
    }
}

static void FD(scatter_task)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    const FD(rows) *s = arg;
    const int64_t begin = task * s->share, end = FD(least)(begin + s->share, s->width);
    for (int64_t i = 0; i < s->count; i++) {
        if (i % CHUNK == 0 && fd_stopped()) return;
        T *sum = s->out + s->ids[i] * s->width;
        const T *dy = s->in + i * s->width;
        for (int64_t k = begin; k < end; k += VL) {
            V total = vload_upto(sum + k, end - k) + vload_upto(dy + k, end - k);
            vstore_upto(sum + k, total, end - k);
        }
    }
}

/* computes  the first i with an ids[i] that is not in [0, rows), or -1
 * shapes    ids (count,) of int64
 * layout    contiguous
 * touches   exactly those elements
 * order     none
 * source    none */
static int64_t FD(fd_outside)(const int64_t *ids, int64_t count, int64_t rows) {
    for (int64_t first = 0; first < count; first += 256) {
        const int64_t end = FD(least)(first + 256, count);
        int64_t outside = 0; /* below 0 where one is, of either kind; without a branch, so that vectors do it */
        for (int64_t i = first; i < end; i++) outside |= ids[i] | (int64_t)((uint64_t)rows - 1 - (uint64_t)ids[i]);
        for (int64_t i = first; i < end && outside < 0; i++)
            if (ids[i] < 0 || ids[i] >= rows) return i;
    }
    return -1;
}

/* computes  y[i, k] = table[ids[i], k]
 * shapes    y (count, width), table (rows, width), ids (count,) of int64 in [0, rows)
 * layout    row-major
 * touches   exactly y and those rows
 * order     none
 * source    none */
static int FD(fd_gather)(void *y, const void *table, const int64_t *ids, int64_t count, int64_t width, int threads) {
    if (count * width == 0) return FD_OK;
    FD(rows) s = {y, table, ids, count, width, FD(most)(1, CHUNK / width)};
    return fd_parallel(FD(gather_task), &s, FD(pieces)(count, s.share), 0,
                       fd_threads_for(count * FD(pieces)(width, VL) * COPY_WORK, threads));
}

/* computes  sum[ids[i], k] += dy[i, k] for all i
 * shapes    sum (rows, width), dy (count, width), ids (count,) of int64 in [0, rows)
 * layout    row-major
 * touches   exactly dy and those rows
 * order     i ascending, for every element: tasks share the columns out, in whole cache lines, and however many
 *           there are the bits are the same. One thread walks along whole rows; columns rather than rows are
 *           shared because a few words of a text are most of it
 * source    none */
static int FD(fd_scatter_add)(void *sum, const void *dy, const int64_t *ids, int64_t count, int64_t width,
                              int threads) {
    if (count * width == 0) return FD_OK;
    const int64_t line = 64 / TBYTES, lines = FD(pieces)(width, line);
    threads = fd_threads_for(count * FD(pieces)(width, VL) * COPY_WORK, threads);
    FD(rows) s = {sum, dy, ids, count, width, FD(pieces)(lines, threads) * line};
    return fd_parallel(FD(scatter_task), &s, FD(pieces)(width, s.share), 0, threads);
}

#undef GATHER_AHEAD
