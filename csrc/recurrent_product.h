/* recurrent_product.h: what a recurrence has in common in both directions: its tasks, and the products of each step.
 *
 * # Design: weights are packed once, all of them, and serve every step. Where there is one step only, the task that
 * multiplies packs a panel at a time: it is in the cache then, and goes to memory no more.
 *   - A task is a few rows of the batch with all their steps: threads never meet, and a row's bits depend neither on
 *     the other rows nor on the threads.
 *   - An output of the plain ones and of LSTM is one sum, over the inputs and then the state. Where all weights stay
 *     near and the rows of a step fill a tile, inputs and state stand side by side and are one product; its sums become
 *     gates a few rows at a time: in the level-1 cache where a tile asks for the weights, which come again then.
 *   - Elsewhere what the inputs give is computed by the same task, for a few steps at a time, just before these need
 *     it: the sums of all steps would be several times as large as x, and come back from memory. Each tile of the
 *     state's product begins with them, so that the bits are the same.
 *   - A product's columns stand as those of the weights. The vector that holds the last units of a gate begins with
 *     them, and what else is in it is computed and not used.
 */

#define RNN_GATES(kind) ((kind) == FD_LSTM ? 4 : (kind) >= FD_GRU ? 3 : 1)
#define RNN_NEAR_BYTES (1024 * 1024)       /* of weights that a level-2 cache may keep from step to step */
#define RNN_JOINED_BYTES (512 * 1024)      /* the same where each few rows of a step read all of them again */
#define RNN_FAR_ROWS 64                    /* a task at most where there are more */
#define RNN_ONCE_ROWS 256                  /* the same where there is one step */
#define RNN_LIES (GEMM_ASKS ? 4 * MR : MR) /* rows for which weights that serve one step are not worth packing */
#define RNN_GROUP_BYTES ((GEMM_ASKS ? 16 : 64) * 1024) /* of sums that stay near until they become gates */
#define RNN_SUMS_BYTES (256 * 1024) /* of what the inputs give, for some steps; more where their weights are more */
#define RNN_KEPT(kind) ((kind) < FD_LSTM ? 1 : (kind) == FD_GRU_RESET_BEFORE ? 3 : 4) /* the plain ones keep hs */

/* Weights, and panels of them or NULL: k rows of n columns, of which the first k_above lie at `above`. A row of a
 * product with them has `pitch` elements: as many as a whole vector from any column on needs. */
typedef struct {
    const T *from, *above;
    T *panels;
    int64_t k, k_above, n, pitch, far;
} FD(rnn_weights);

/* What all tasks share. The outer product of FD_GRU_RESET_BEFORE is over two gates, the inner one over the last. */
typedef struct {
    fd_rnn sizes;
    int64_t columns, padded, rows; /* columns of w_h; units in whole vectors; rows a task */
    int64_t near;         /* elements at the begin of a task's scratch, for the one panel of weights that is in use */
    int64_t lanes, chunk; /* rows of a task that there can be; steps whose inputs are multiplied together */
    int joined;           /* the inputs of a step stand before the state and meet the weights with it */
    int64_t across;       /* elements from row to row of what meets the weights */
    int64_t group;        /* rows whose gates follow on their product; all of a task's, unless joined */
    FD(rnn_weights) input, outer, inner;
    const T *mask;
    const int64_t *lengths;
    T *hs, *h, *c, *previous, *gates, *previous_c; /* outputs of forward */
    const T *x, *b, *h0, *c0, *b_h, *peepholes;    /* its inputs */
    T *dz, *ds, *dh0, *dc0;                        /* outputs of backward */
    const T *dhs, *dh, *dc, *was, *gated, *was_c;  /* its inputs; the last three are what forward kept */
} FD(rnn);

/* The vector at unit u of gate `gate` in a row of sums, with a bias that these do not have yet, or NULL. */
FD_INLINE V FD(rnn_sum)(const FD(rnn) *r, const T *s, const T *bias, int64_t gate, int64_t u) {
    const int64_t at = gate * r->sizes.units + u;
    V sum = vload(s + at);
    if (bias != NULL) sum += vload_upto(bias + at, r->sizes.units - u);
    return sum;
}

static int64_t FD(rnn_panels)(const FD(rnn_weights) *w) { return FD(ceil_div)(w->n, NR); }

/* One panel of weights; transposed for backward. */
static void FD(rnn_pack)(const FD(rnn) *r, const FD(rnn_weights) *w, T *to, int64_t panel) {
    const int64_t column = panel * NR, step = r->dz == NULL ? 1 : r->columns, other = r->dz == NULL ? r->columns : 1;
    const int64_t columns = FD(least)(NR, w->n - column);
    if (w->k_above > 0) FD(pack)(to, w->above + column * step, step, other, columns, w->k_above, NR);
    FD(pack)(to + w->k_above * NR, w->from + column * step, step, other, columns, w->k - w->k_above, NR);
}

static void FD(rnn_pack_task)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    const FD(rnn) *r = arg;
    const FD(rnn_weights) *all[] = {&r->input, &r->outer, &r->inner}, **w = all;
    while (task >= FD(rnn_panels)(*w)) task -= FD(rnn_panels)(*w++);
    FD(rnn_pack)(r, *w, (*w)->panels + task * (*w)->k * NR, task);
}

/* computes  product = a w + bias for `count` rows of a; or, where it has `begun`, product + a w + bias
 * shapes    a (count, k), w (k, n), bias (n) or NULL, product (count, w->pitch), of which n are written
 * layout    a row-major with pitch, in memory of whole tiles, and so is what has begun
 * touches   of a, up to MR - 1 rows more, whose products are not used; asks for weights from far away, a part a tile;
 *           `near` where weights are packed only now
 * order     as gemm_tile
 * source    gemm.h */
static void FD(rnn_multiply)(const FD(rnn) *r, T *near, T *product, const T *a, int64_t pitch, const FD(rnn_weights) *w,
                             int64_t count, const T *bias, int begun) {
    const int64_t panels = FD(rnn_panels)(w);
    int64_t parts = 16; /* of the panel that follows; a power of two */
    while (parts > 1 && parts > count / MR) parts /= 2;
    for (int64_t panel = 0; panel < panels; panel++) {
        const T *b = near, *next = w->from + (panel + 1) * NR;
        const int64_t columns = FD(least)(w->n - panel * NR, NR);
        int64_t step = r->columns, b_row = NR;
        if (w->panels != NULL) {
            b = w->panels + panel * w->k * NR, next = w->panels + (panel + 1) % panels * w->k * NR, step = NR;
            if (!w->far) step = 0;
        } else if (r->dz == NULL && count <= (r->columns <= GEMM_PAGE ? RNN_LIES : MR) && columns % VL == 0) {
            b = w->from + panel * NR, b_row = r->columns, step = 0; /* what is read few times is read where it lies */
        } else {
            FD(rnn_pack)(r, w, near, panel);
            if (r->dz != NULL || panel + 1 == panels) next = near, step = 0; /* rows end to end need no asking */
        }
        FD(tile_end) end = {.pitch = w->pitch, .columns = columns, .begun = begun};
        if (bias != NULL) end.bias = bias + panel * NR;
        for (int64_t row = 0; row < count; row += MR) {
            const int asks = step != 0 && row / MR < parts;
            const FD(tile_ahead) part = {next + row / MR * step, parts * step, asks ? parts : INT64_MAX, asks};
            const int64_t rows = FD(least)(count - row, MR);
            end.c = product + row * w->pitch + panel * NR;
            end.rows = (int)rows;
            FD(gemm_tile)(&end, a + row * pitch, pitch, 1, b, b_row, w->k, part);
        }
    }
}

static int FD(rnn_running)(const FD(rnn) *r, int64_t n, int64_t t) { return r->lengths == NULL || t < r->lengths[n]; }

/* The step that is the i-th in the order of time. */
static int64_t FD(rnn_step)(const FD(rnn) *r, int64_t i) { return r->sizes.reverse ? r->sizes.steps - 1 - i : i; }

/* The row that comes after row `at` of step t: that of the next lane, or, after the last of `lanes` lanes, of the step
 * onward; row `at` where there is none. */
static int64_t FD(rnn_next)(const FD(rnn) *r, int64_t at, int64_t lanes, int64_t t, int64_t onward) {
    if (lanes == 0) return at + r->sizes.steps;
    return t + onward < 0 || t + onward >= r->sizes.steps ? at : at + onward - (lanes - 1) * r->sizes.steps;
}

/* Ask for a vector's share of a row of `parts` * units, while the vector at u of the row before is at work: line by
 * line in order, though the row is read or written at `parts` places at a time, which the processor does not follow. */
FD_INLINE void FD(rnn_ask)(const T *array, int64_t units, int64_t parts, int64_t row, int64_t u) {
    const T *from = array + parts * (row * units + u);
    for (int64_t j = 0; j < parts * VL; j += LINE) __builtin_prefetch(from + j);
}

/* What the inputs give at `steps` steps, the first of which is the i-th in the order of time. They are copied to x,
 * whose rows are as close as a tile's should be. */
static void FD(rnn_inputs)(const FD(rnn) *r, T *near, T *z, T *x, int64_t first, int64_t count, int64_t i,
                           int64_t steps) {
    const int64_t k = r->input.k;
    for (int64_t row = 0; row < count; row++)
        for (int64_t step = 0; step < steps; step++)
            memcpy(x + (step * r->lanes + row) * k,
                   r->x + ((first + row) * r->sizes.steps + FD(rnn_step)(r, i + step)) * k, (size_t)k * sizeof(T));
    const T *bias = r->sizes.kind >= FD_GRU ? r->b : NULL; /* the others add it to the whole sum */
    FD(rnn_multiply)(r, near, z, x, k, &r->input, (steps - 1) * r->lanes + count, bias, 0);
}

/* k = mask * h for `count` rows. */
static void FD(rnn_mask)(const FD(rnn) *r, T *k, const T *h, int64_t first, int64_t count) {
    const int64_t units = r->sizes.units;
    for (int64_t i = 0; i < count; i++)
        for (int64_t u = 0; u < units; u++)
            k[i * r->across + u] = r->mask[(first + i) * units + u] * h[i * r->across + u];
}

/* Pack the weights, and run the tasks. */
static int FD(rnn_run)(FD(rnn) *r, fd_task task, int64_t tiles_a_row, int threads) {
    const fd_rnn *sizes = &r->sizes;
    const int before = sizes->kind == FD_GRU_RESET_BEFORE, gates = RNN_GATES(sizes->kind);
    r->columns = gates * sizes->units;
    r->padded = FD(whole)(sizes->units, VL);
    threads = fd_threads_for(sizes->batch * sizes->steps * r->columns / VL * (sizes->units + r->input.k), threads);
    /* 16 tasks where the batch has them; but where one thread has all of it, or the weights come from far away, few
     * enough that each panel of them serves many rows. The bits are the same either way. */
    const int once = sizes->steps == 1, far = r->columns * sizes->units * TBYTES > RNN_NEAR_BYTES;
    const int64_t share = FD(least)(FD(ceil_div)(sizes->batch, threads), once ? RNN_ONCE_ROWS : RNN_FAR_ROWS);
    const int64_t rows = FD(most)(1, once || far || threads == 1 ? share : 1);
    r->rows = FD(whole)(once ? rows : FD(most)(rows, FD(ceil_div)(sizes->batch, 16)), MR);
    r->lanes = FD(least)(r->rows, sizes->batch);
    const int plain = r->dz == NULL && sizes->kind < FD_GRU; /* nothing stands between inputs and state */
    const int64_t weights = r->columns * (sizes->units + r->input.k) * TBYTES;
    r->joined = plain && !once && sizes->batch >= MR && weights <= RNN_JOINED_BYTES;
    r->across = r->padded + (r->joined ? r->input.k : 0);
    r->group = r->rows;
    if (r->joined) {
        r->group = FD(most)(1, RNN_GROUP_BYTES / TBYTES / r->columns / MR) * MR;
        r->outer.above = r->input.from, r->outer.k_above = r->input.k;
    }
    const int outer = before ? 2 : gates, inner = before ? 1 : 0, transposed = r->dz != NULL;
    r->input.n = transposed || r->joined ? 0 : r->columns;
    r->outer.k = transposed ? outer * sizes->units : sizes->units + r->outer.k_above;
    r->outer.n = transposed ? sizes->units : outer * sizes->units;
    r->inner.from = r->outer.from + outer * sizes->units;
    r->inner.k = sizes->units;
    r->inner.n = inner * sizes->units;
    r->near = once ? FD(most)(r->input.k, FD(most)(r->outer.k, r->inner.k)) * NR : 0;
    FD(rnn_weights) *all[] = {&r->input, &r->outer, &r->inner};
    int64_t panels = 0, elements = 0;
    for (int i = 0; i < 3; i++) {
        const int64_t more = FD(rnn_panels)(all[i]);
        panels += more;
        elements += more * all[i]->k * NR;
        all[i]->pitch = more == 0 ? 0 : FD(whole)(all[i]->n + VL - 1, VL);
        all[i]->far = more * all[i]->k * NR * TBYTES > RNN_NEAR_BYTES;
    }
    const int64_t inputs = r->lanes * r->input.pitch; /* of one step */
    const int64_t kept = FD(most)(RNN_SUMS_BYTES / TBYTES, r->columns * r->input.k);
    const int64_t chunks = FD(ceil_div)(sizes->steps, FD(most)(1, kept / FD(most)(1, inputs)));
    r->chunk = r->joined ? 1 : FD(ceil_div)(sizes->steps, chunks);
    const int64_t row = tiles_a_row * r->padded + 2 * r->across + r->columns + r->outer.pitch + r->inner.pitch;
    const int64_t ahead = r->chunk * (inputs + r->lanes * r->input.k) + MR * (r->input.k + r->input.pitch);
    const size_t scratch = (size_t)(r->near + r->rows * row + ahead) * sizeof(T);
    if (once) return fd_parallel(task, r, FD(ceil_div)(sizes->batch, r->rows), scratch, threads);
    T *memory = fd_alloc((size_t)elements * sizeof(T)), *next = memory;
    if (memory == NULL) return FD_NOMEM;
    for (int i = 0; i < 3; i++) {
        all[i]->panels = next;
        next += FD(rnn_panels)(all[i]) * all[i]->k * NR;
    }
    int rc = fd_parallel(FD(rnn_pack_task), r, panels, 0, threads);
    if (rc == FD_OK) rc = fd_parallel(task, r, FD(ceil_div)(sizes->batch, r->rows), scratch, threads);
    fd_free(memory);
    return rc;
}
