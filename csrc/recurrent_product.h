/* recurrent_product.h: what a recurrence has in common in both directions: its tasks, and the product of each step.
 *
 * # Design: weights are packed once, all of them, and serve every step. Where there is one step only, the task that
 * multiplies packs a panel at a time: it is in the cache then, and goes to memory no more.
 *   - A task is a few rows of the batch with all their steps: threads never meet, and a row's bits depend neither on
 *     the other rows nor on the threads.
 *   - A gate's units are filled up to whole vectors, so no vector holds units of two gates. A product is left in
 *     panels as the micro-kernel writes them, and read from there (rnn_at) while it is in the level-1 cache.
 */

#define RNN_GATES(kind) ((kind) == FD_LSTM ? 4 : (kind) >= FD_GRU ? 3 : 1)
#define RNN_NEAR_BYTES (1024 * 1024) /* of weights that a level-2 cache may keep from step to step */
#define RNN_FAR_ROWS 64              /* a task at most where there are more */
#define RNN_ONCE_ROWS 256            /* the same where there is one step */
#define RNN_KEPT(kind) ((kind) < FD_LSTM ? 1 : (kind) == FD_GRU_RESET_BEFORE ? 3 : 4) /* the plain ones keep hs */

/* Weights in panels, or NULL: k rows of vectors * VL columns, from `gate` on. */
typedef struct {
    T *panels;
    int64_t vectors, k, gate;
} FD(rnn_weights);

/* What all tasks share. The outer product of FD_GRU_RESET_BEFORE is over two gates, the inner one over the last. */
typedef struct {
    fd_rnn sizes;
    int64_t columns, padded, vectors, rows; /* columns of w_h; units in whole vectors, and their number; rows a task */
    int64_t near; /* elements at the begin of a task's scratch, for the one panel of weights that is in use */
    FD(rnn_weights) outer, inner;
    const T *w_h, *mask;
    const int64_t *lengths;
    T *hs, *h, *c, *previous, *gates, *previous_c; /* outputs of forward */
    const T *z, *h0, *c0, *b_h, *peepholes;        /* its inputs */
    T *dz, *ds, *dh0, *dc0;                        /* outputs of backward */
    const T *dhs, *dh, *dc, *was, *gated, *was_c;  /* its inputs; the last three are what forward kept */
} FD(rnn);

/* Vector `vector` of row i of a product of `rows` rows. */
FD_INLINE T *FD(rnn_at)(T *product, int64_t rows, int64_t i, int64_t vector) {
    return product + (vector / NV * rows + i) * NR + vector % NV * VL;
}

/* Vector v of gate `gate` in row i of the product, and its bias. */
FD_INLINE V FD(rnn_sum)(const FD(rnn) *r, T *product, int64_t i, int64_t gate, int64_t v) {
    const int64_t u = v * VL;
    V sum = vload(FD(rnn_at)(product, r->rows, i, gate * r->vectors + v));
    if (r->b_h != NULL) sum += vload_upto(r->b_h + gate * r->sizes.units + u, r->sizes.units - u);
    return sum;
}

static int64_t FD(rnn_panels)(int64_t vectors) { return FD(ceil_div)(vectors, NV); }

/* One panel of w_h: of its gates side by side; transposed for backward. */
static void FD(rnn_pack)(const FD(rnn) *r, const FD(rnn_weights) *w, T *to, int64_t panel) {
    const int64_t units = r->sizes.units;
    if (r->dz != NULL) {
        const int64_t column = panel * NR;
        FD(pack)(to, r->w_h + column * r->columns + w->gate * units, r->columns, 1, FD(least)(NR, units - column), w->k,
                 NR);
        return;
    }
    for (int64_t j = 0; j < NV && panel * NV + j < w->vectors; j++) {
        const int64_t vector = panel * NV + j, unit = vector % r->vectors * VL;
        const T *from = r->w_h + (w->gate + vector / r->vectors) * units + unit;
        for (int64_t p = 0; p < w->k; p++)
            vstore(to + p * NR + j * VL, vload_upto(from + p * r->columns, units - unit));
    }
}

static void FD(rnn_pack_task)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    const FD(rnn) *r = arg;
    const int64_t outer = FD(rnn_panels)(r->outer.vectors), panel = task < outer ? task : task - outer;
    const FD(rnn_weights) *w = task < outer ? &r->outer : &r->inner;
    FD(rnn_pack)(r, w, w->panels + panel * w->k * NR, panel);
}

/* What the next step will read of each row: n elements, with a pitch from row to row. Rows of one step are far apart,
 * so the processor does not see it coming. */
typedef struct {
    const T *from;
    int64_t pitch, n;
} FD(rnn_ahead);

/* computes  product = a w for `count` rows of a
 * shapes    a (count, k), w (k, vectors * VL), product in panels of r->rows rows
 * layout    a row-major with pitch, in memory of whole tiles
 * touches   of a, up to MR - 1 rows more, whose products are not used; asks for what is `ahead`, a part a tile; `near`
 *           where the weights are packed only now
 * order     as gemm_tile
 * source    gemm.h */
static void FD(rnn_multiply)(const FD(rnn) *r, T *near, T *product, const T *a, int64_t pitch, const FD(rnn_weights) *w,
                             int64_t count, FD(rnn_ahead) ahead) {
    const int64_t panels = FD(rnn_panels)(w->vectors);
    int64_t parts = 16; /* of the panel that follows; a power of two */
    while (parts > 1 && parts > count / MR) parts /= 2;
    for (int64_t panel = 0; panel < panels; panel++) {
        const T *b = near, *next = r->w_h + w->gate * r->sizes.units + (panel + 1) * NR;
        int64_t step = r->columns;
        if (w->panels == NULL) {
            FD(rnn_pack)(r, w, near, panel);
            if (r->dz != NULL || panel + 1 == panels) next = near, step = 0; /* rows end to end need no asking */
        } else {
            b = w->panels + panel * w->k * NR, next = w->panels + (panel + 1) % panels * w->k * NR, step = NR;
        }
        for (int64_t row = 0; row < count; row += MR) {
            const FD(tile_ahead) part = {next + row / MR * step, row / MR < parts ? step : 0, parts};
            const int64_t rows = FD(least)(count - row, MR), past = ahead.n * (panel + 1) / panels;
            for (int64_t i = row; i < row + rows; i++)
                for (int64_t j = ahead.n * panel / panels; j < past; j += 64 / TBYTES)
                    __builtin_prefetch(ahead.from + i * ahead.pitch + j);
            FD(tile_end) end = {.c = product + (panel * r->rows + row) * NR, .pitch = NR, .rows = (int)rows};
            end.columns = FD(least)(w->vectors - panel * NV, NV) * VL;
            FD(gemm_tile)(&end, a + row * pitch, pitch, 1, b, NR, w->k, part);
        }
    }
}

static int FD(rnn_running)(const FD(rnn) *r, int64_t n, int64_t t) { return r->lengths == NULL || t < r->lengths[n]; }

/* The step that is the i-th in the order of time. */
static int64_t FD(rnn_step)(const FD(rnn) *r, int64_t i) { return r->sizes.reverse ? r->sizes.steps - 1 - i : i; }

/* k = mask * h for `count` rows. */
static void FD(rnn_mask)(const FD(rnn) *r, T *k, const T *h, int64_t first, int64_t count) {
    const int64_t units = r->sizes.units;
    for (int64_t i = 0; i < count; i++)
        for (int64_t u = 0; u < units; u++)
            k[i * r->padded + u] = r->mask[(first + i) * units + u] * h[i * r->padded + u];
}

/* The n elements a row that the i-th step in the order of time has in an array (N, T, n); none past the last one. */
static FD(rnn_ahead) FD(rnn_at_step)(const FD(rnn) *r, const T *array, int64_t n, int64_t first, int64_t i) {
    if (i < 0 || i >= r->sizes.steps) return (FD(rnn_ahead)){array, 0, 0};
    return (FD(rnn_ahead)){array + (first * r->sizes.steps + FD(rnn_step)(r, i)) * n, r->sizes.steps * n, n};
}

/* Pack the weights, and run the tasks. */
static int FD(rnn_run)(FD(rnn) *r, fd_task task, int64_t tiles_a_row, int threads) {
    const fd_rnn *sizes = &r->sizes;
    const int before = sizes->kind == FD_GRU_RESET_BEFORE, gates = RNN_GATES(sizes->kind);
    r->columns = gates * sizes->units;
    r->vectors = FD(ceil_div)(sizes->units, VL);
    r->padded = r->vectors * VL;
    threads = fd_threads_for(sizes->batch * sizes->steps * r->columns / VL * sizes->units, threads);
    /* 16 tasks where the batch has them; but where one thread has all of it, or the weights come from far away, few
     * enough that each panel of them serves many rows. The bits are the same either way. */
    const int once = sizes->steps == 1, far = r->columns * sizes->units * TBYTES > RNN_NEAR_BYTES;
    const int64_t share = FD(least)(FD(ceil_div)(sizes->batch, threads), once ? RNN_ONCE_ROWS : RNN_FAR_ROWS);
    const int64_t rows = FD(most)(1, once || far || threads == 1 ? share : 1);
    r->rows = FD(whole)(once ? rows : FD(most)(rows, FD(ceil_div)(sizes->batch, 16)), MR);
    const int outer = before ? 2 : gates, inner = before ? 1 : 0, transposed = r->dz != NULL;
    r->outer.k = transposed ? outer * sizes->units : sizes->units;
    r->inner.k = sizes->units;
    r->outer.vectors = transposed ? r->vectors : outer * r->vectors;
    r->inner.vectors = inner * r->vectors;
    r->inner.gate = 2;
    r->near = once ? FD(most)(r->outer.k, r->inner.k) * NR : 0;
    const int64_t panels = FD(rnn_panels)(r->outer.vectors), more = FD(rnn_panels)(r->inner.vectors);
    const int64_t row = tiles_a_row * r->padded + r->columns + (panels + more) * NR;
    const size_t scratch = (size_t)(r->near + r->rows * row) * sizeof(T);
    if (once) return fd_parallel(task, r, FD(ceil_div)(sizes->batch, r->rows), scratch, threads);
    T *memory = fd_alloc((size_t)((panels * r->outer.k + more * r->inner.k) * NR) * sizeof(T));
    if (memory == NULL) return FD_NOMEM;
    r->outer.panels = memory;
    r->inner.panels = memory + panels * r->outer.k * NR;
    int rc = fd_parallel(FD(rnn_pack_task), r, panels + more, 0, threads);
    if (rc == FD_OK) rc = fd_parallel(task, r, FD(ceil_div)(sizes->batch, r->rows), scratch, threads);
    fd_free(memory);
    return rc;
}
