/* recurrent.h: recurrences over time, forward and backward through time: plain, LSTM and GRU.
 *
 * # Design: what does not depend on the step before is done outside, by gemm.h, for all steps at once. Here is what
 * is left: at each step one product of the state with weights that were packed once, then the gates of each row.
 *   - A task is a few rows of the batch with all their steps: threads never meet, and a row's bits depend neither on
 *     the other rows nor on the threads.
 *   - A gate's units are filled up to whole vectors, so no vector holds units of two gates. A product is left in
 *     panels as the micro-kernel writes them, and read from there (rnn_at) while it is in the level-1 cache.
 *   - k is what meets the weights: h, or mask * h. Rows whose sequence has ended are computed and not used.
 */

#define RNN_GATES(kind) ((kind) == FD_LSTM ? 4 : (kind) >= FD_GRU ? 3 : 1)
#define RNN_NEAR_BYTES (1024 * 1024) /* of weights that a level-2 cache may keep from step to step */
#define RNN_FAR_ROWS 64              /* a task at most where there are more */
#define RNN_KEPT(kind) ((kind) < FD_LSTM ? 1 : (kind) == FD_GRU_RESET_BEFORE ? 3 : 4) /* the plain ones keep hs */

/* Weights in panels: k rows of vectors * VL columns. */
typedef struct {
    T *panels;
    int64_t vectors, k;
} FD(rnn_weights);

/* What all tasks share. The outer product of FD_GRU_RESET_BEFORE is over two gates, the inner one over the last. */
typedef struct {
    fd_rnn sizes;
    int64_t columns, padded, vectors, rows; /* columns of w_h; units in whole vectors, and their number; rows a task */
    FD(rnn_weights) outer, inner;
    const T *w_h, *mask;
    const int64_t *lengths;
    T *hs, *h, *c, *previous, *gates, *previous_c; /* outputs of forward */
    const T *z, *h0, *c0, *b_h, *peepholes;        /* its inputs */
    T *dz, *ds, *dh0, *dc0;                        /* outputs of backward */
    const T *dhs, *dh, *dc, *was, *gated, *was_c;  /* its inputs; the last three are what forward kept */
} FD(rnn);

/* ---- products ----------------------------------------------------------------------------------------------- */

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

/* One panel of w_h: of its gates side by side, or transposed. */
static void FD(rnn_pack)(const FD(rnn) *r, const FD(rnn_weights) *w, int64_t panel, int64_t first_gate,
                         int transposed) {
    const int64_t units = r->sizes.units;
    T *to = w->panels + panel * w->k * NR;
    if (transposed) {
        const int64_t column = panel * NR;
        FD(pack)(to, r->w_h + column * r->columns + first_gate * units, r->columns, 1, FD(least)(NR, units - column),
                 w->k, NR);
        return;
    }
    for (int64_t j = 0; j < NV && panel * NV + j < w->vectors; j++) {
        const int64_t vector = panel * NV + j, unit = vector % r->vectors * VL;
        const T *from = r->w_h + (first_gate + vector / r->vectors) * units + unit;
        for (int64_t p = 0; p < w->k; p++)
            vstore(to + p * NR + j * VL, vload_upto(from + p * r->columns, units - unit));
    }
}

static void FD(rnn_pack_task)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    const FD(rnn) *r = arg;
    const int transposed = r->dz != NULL;
    const int64_t outer = FD(rnn_panels)(r->outer.vectors);
    if (task < outer)
        FD(rnn_pack)(r, &r->outer, task, 0, transposed);
    else
        FD(rnn_pack)(r, &r->inner, task - outer, 2, transposed);
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
 * touches   of a, up to MR - 1 rows more, whose products are not used; asks for what is `ahead`, a part a tile
 * order     as gemm_tile
 * source    gemm.h */
static void FD(rnn_multiply)(const FD(rnn) *r, T *product, const T *a, int64_t pitch, const FD(rnn_weights) *w,
                             int64_t count, FD(rnn_ahead) ahead) {
    const int64_t panels = FD(rnn_panels)(w->vectors);
    int64_t parts = 16; /* of the panel that follows; a power of two */
    while (parts > count / MR) parts /= 2;
    for (int64_t panel = 0; panel < panels; panel++)
        for (int64_t row = 0; row < count; row += MR) {
            const T *next = w->panels + (panel + 1) % panels * w->k * NR;
            const FD(tile_ahead) part = {next + row / MR * NR, row / MR < parts ? NR : 0, -parts};
            const int64_t rows = FD(least)(count - row, MR), past = ahead.n * (panel + 1) / panels;
            for (int64_t i = row; i < row + rows; i++)
                for (int64_t j = ahead.n * panel / panels; j < past; j += 64 / TBYTES)
                    __builtin_prefetch(ahead.from + i * ahead.pitch + j);
            FD(tile_end) end = {.c = product + (panel * r->rows + row) * NR, .pitch = NR, .rows = (int)rows};
            end.columns = FD(least)(w->vectors - panel * NV, NV) * VL;
            FD(gemm_tile)(&end, a + row * pitch, pitch, 1, w->panels + panel * w->k * NR, NR, w->k, part);
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
    /* 16 tasks where the batch has them; but where the weights come from far away, few enough that each panel of them
     * serves many rows. The bits are the same either way. */
    const int far = r->columns * sizes->units * TBYTES > RNN_NEAR_BYTES;
    const int64_t rows = far ? FD(least)(FD(ceil_div)(sizes->batch, threads), RNN_FAR_ROWS) : 1;
    r->rows = FD(whole)(FD(most)(rows, FD(ceil_div)(sizes->batch, 16)), MR);
    const int outer = before ? 2 : gates, inner = before ? 1 : 0, transposed = r->dz != NULL;
    r->outer.k = transposed ? outer * sizes->units : sizes->units;
    r->inner.k = sizes->units;
    r->outer.vectors = transposed ? r->vectors : outer * r->vectors;
    r->inner.vectors = inner * r->vectors;
    const int64_t panels = FD(rnn_panels)(r->outer.vectors), more = FD(rnn_panels)(r->inner.vectors);
    T *memory = fd_alloc((size_t)((panels * r->outer.k + more * r->inner.k) * NR) * sizeof(T));
    if (memory == NULL) return FD_NOMEM;
    r->outer.panels = memory;
    r->inner.panels = memory + panels * r->outer.k * NR;
    const size_t scratch =
        (size_t)(r->rows * (tiles_a_row * r->padded + r->columns + (panels + more) * NR)) * sizeof(T);
    int rc = fd_parallel(FD(rnn_pack_task), r, panels + more, 0, threads);
    if (rc == FD_OK) rc = fd_parallel(task, r, FD(ceil_div)(sizes->batch, r->rows), scratch, threads);
    fd_free(memory);
    return rc;
}

/* ---- forward ------------------------------------------------------------------------------------------------ */

/* One row of units: the gates from z and the product s, then c and h in place; the gates are kept where asked. */
static void FD(lstm_row)(const FD(rnn) *r, T *h, T *c, T *s, int64_t i, const T *z, T *kept) {
    const int64_t units = r->sizes.units;
    const T *p = r->peepholes;
    for (int64_t v = 0; v < r->vectors; v++) {
        const int64_t u = v * VL, n = units - u;
        V gate[4], cell = vload(c + u);
        for (int g = 0; g < 4; g++) gate[g] = vload_upto(z + g * units + u, n) + FD(rnn_sum)(r, s, i, g, v);
        if (p != NULL) {
            gate[0] += vload_upto(p + u, n) * cell;
            gate[1] += vload_upto(p + units + u, n) * cell;
        }
        gate[0] = FD(vsigmoid)(gate[0]);
        gate[1] = FD(vsigmoid)(gate[1]);
        gate[2] = FD(vtanh)(gate[2]);
        cell = gate[1] * cell + gate[0] * gate[2];
        if (p != NULL) gate[3] += vload_upto(p + 2 * units + u, n) * cell;
        gate[3] = FD(vsigmoid)(gate[3]);
        vstore(c + u, cell);
        vstore(h + u, gate[3] * FD(vtanh)(cell));
        for (int g = 0; g < 4 && kept != NULL; g++) vstore_upto(kept + g * units + u, gate[g], n);
    }
}

static void FD(plain_row)(const FD(rnn) *r, T *h, T *s, int64_t i, const T *z) {
    for (int64_t v = 0; v < r->vectors; v++) {
        const V sum = vload_upto(z + v * VL, r->sizes.units - v * VL) + FD(rnn_sum)(r, s, i, 0, v);
        if (r->sizes.kind == FD_RNN_RELU)
            vstore(h + v * VL, FD(vact)(sum, FD_RELU, (V){0}));
        else
            vstore(h + v * VL, FD(vtanh)(sum));
    }
}

/* u and r, in the place of their sums. With reset_before also q = r * k, which meets the last columns of w_h. */
static void FD(gru_gates_row)(const FD(rnn) *r, T *q, const T *k, T *s, int64_t i, const T *z) {
    const int64_t units = r->sizes.units;
    for (int64_t v = 0; v < r->vectors; v++) {
        const int64_t u = v * VL, n = units - u;
        for (int g = 0; g < 2; g++) {
            const V gate = FD(vsigmoid)(vload_upto(z + g * units + u, n) + FD(rnn_sum)(r, s, i, g, v));
            vstore(FD(rnn_at)(s, r->rows, i, g * r->vectors + v), gate);
            if (g == 1 && r->sizes.kind == FD_GRU_RESET_BEFORE) vstore(q + u, gate * vload(k + u));
        }
    }
}

/* h, from the gates and from what the last columns of w_h gave. */
static void FD(gru_state_row)(const FD(rnn) *r, T *h, T *s, T *s_last, int64_t i, const T *z, T *kept) {
    const int64_t units = r->sizes.units;
    const int after = r->sizes.kind == FD_GRU;
    for (int64_t v = 0; v < r->vectors; v++) {
        const int64_t u = v * VL, n = units - u;
        const V update = vload(FD(rnn_at)(s, r->rows, i, v)), reset = vload(FD(rnn_at)(s, r->rows, i, r->vectors + v));
        V sum = vload(after ? FD(rnn_at)(s, r->rows, i, 2 * r->vectors + v) : FD(rnn_at)(s_last, r->rows, i, v));
        if (r->b_h != NULL) sum += vload_upto(r->b_h + 2 * units + u, n);
        const V candidate = FD(vtanh)(vload_upto(z + 2 * units + u, n) + (after ? reset * sum : sum));
        vstore(h + u, update * vload(h + u) + (VC(1) - update) * candidate);
        if (kept == NULL) continue;
        vstore_upto(kept + u, update, n);
        vstore_upto(kept + units + u, reset, n);
        vstore_upto(kept + 2 * units + u, candidate, n);
        if (after) vstore_upto(kept + 3 * units + u, sum, n);
    }
}

static void FD(rnn_fwd_task)(void *arg, int64_t task, void *scratch) {
    const FD(rnn) *r = arg;
    const int64_t units = r->sizes.units, padded = r->padded, first = task * r->rows, kind = r->sizes.kind;
    const int64_t count = FD(least)(r->rows, r->sizes.batch - first), state = r->rows * padded;
    const size_t row_bytes = (size_t)units * sizeof(T);
    T *h = scratch, *c = h + state, *q = c + state, *k = q + state, *s = k + state;
    T *s_last = s + r->rows * FD(rnn_panels)(r->outer.vectors) * NR;
    memset(h, 0, (size_t)(4 * state) * sizeof(T));
    for (int64_t i = 0; i < count; i++) {
        memcpy(h + i * padded, r->h0 + (first + i) * units, row_bytes);
        if (kind == FD_LSTM) memcpy(c + i * padded, r->c0 + (first + i) * units, row_bytes);
    }
    if (r->mask == NULL) k = h;
    for (int64_t order = 0; order < r->sizes.steps; order++) {
        if (fd_stopped()) return;
        const int64_t t = FD(rnn_step)(r, order);
        if (r->mask != NULL) FD(rnn_mask)(r, k, h, first, count);
        FD(rnn_multiply)(r, s, k, padded, &r->outer, count, FD(rnn_at_step)(r, r->z, r->columns, first, order + 1));
        if (kind >= FD_GRU) {
            for (int64_t i = 0; i < count; i++)
                FD(gru_gates_row)(r, q + i * padded, k + i * padded, s, i,
                                  r->z + ((first + i) * r->sizes.steps + t) * r->columns);
            FD(rnn_multiply)(r, s_last, q, padded, &r->inner, count, (FD(rnn_ahead)){r->z, 0, 0});
        }
        for (int64_t i = 0; i < count; i++) {
            const int64_t at = (first + i) * r->sizes.steps + t;
            T *hi = h + i * padded, *ci = c + i * padded;
            T *kept = r->gates == NULL ? NULL : r->gates + at * RNN_KEPT(kind) * units;
            if (!FD(rnn_running)(r, first + i, t)) {
                memset(r->hs + at * units, 0, row_bytes);
                if (r->previous != NULL) memset(r->previous + at * units, 0, row_bytes);
                if (r->previous_c != NULL) memset(r->previous_c + at * units, 0, row_bytes);
                if (kept != NULL) memset(kept, 0, (size_t)RNN_KEPT(kind) * row_bytes);
                continue;
            }
            if (r->previous != NULL) memcpy(r->previous + at * units, hi, row_bytes);
            if (r->previous_c != NULL) memcpy(r->previous_c + at * units, ci, row_bytes);
            const T *z = r->z + at * r->columns;
            if (kind == FD_LSTM)
                FD(lstm_row)(r, hi, ci, s, i, z, kept);
            else if (kind >= FD_GRU)
                FD(gru_state_row)(r, hi, s, s_last, i, z, kept);
            else
                FD(plain_row)(r, hi, s, i, z);
            memcpy(r->hs + at * units, hi, row_bytes);
        }
    }
    for (int64_t i = 0; i < count; i++) {
        memcpy(r->h + (first + i) * units, h + i * padded, row_bytes);
        if (kind == FD_LSTM) memcpy(r->c + (first + i) * units, c + i * padded, row_bytes);
    }
}

/* computes  a recurrence over z = x w_x + b, by the formulas of backends/naive/recurrent.py
 * shapes    hs, previous, previous_c (N, T, H), h, c, h0, c0, mask (N, H), gates (N, T, 4 H or 3 H), z (N, T, G H),
 *           w_h (H, G H), b_h (G H), peepholes (3, H), lengths (N); G gates; NULL: not kept, or not there
 * layout    row-major
 * touches   every element; of z none past a length
 * order     of each product as gemm_tile; then z + (s + b_h), then peepholes
 * source    Hochreiter and Schmidhuber 1997; Cho et al. 2014; Elman 1990 */
static int FD(fd_rnn_fwd)(void *hs, void *h, void *c, void *previous, void *gates, void *previous_c, const void *z,
                          const void *h0, const void *c0, const void *w_h, const void *b_h, const void *peepholes,
                          const void *mask, const int64_t *lengths, const fd_rnn *sizes, int threads) {
    FD(rnn) r = {.sizes = *sizes, .w_h = w_h, .mask = mask, .lengths = lengths, .hs = hs, .h = h, .c = c};
    r.previous = previous, r.gates = gates, r.previous_c = previous_c;
    r.z = z, r.h0 = h0, r.c0 = c0, r.b_h = b_h, r.peepholes = peepholes;
    return FD(rnn_run)(&r, FD(rnn_fwd_task), 4, threads);
}

/* ---- backward ----------------------------------------------------------------------------------------------- */

/* One row: dz from dh and dc; dc becomes that of the step before, and dh what reaches it other than by the weights. */
static void FD(lstm_row_bwd)(const FD(rnn) *r, T *dz, T *dh, T *dc, const T *gates, const T *was_c) {
    const int64_t units = r->sizes.units;
    const T *p = r->peepholes;
    for (int64_t u = 0, n = units; u < units; u += VL, n -= VL) {
        const V i = vload_upto(gates + u, n), f = vload_upto(gates + units + u, n);
        const V g = vload_upto(gates + 2 * units + u, n), o = vload_upto(gates + 3 * units + u, n);
        const V c = vload_upto(was_c + u, n), tanh_c = FD(vtanh)(f * c + i * g), into = vload(dh + u);
        const V dz_o = FD(vact_bwd)(into * tanh_c, o, FD_SIGMOID, c);
        V dcell = vload(dc + u) + FD(vact_bwd)(into * o, tanh_c, FD_TANH, c);
        if (p != NULL) dcell += vload_upto(p + 2 * units + u, n) * dz_o;
        const V dz_i = FD(vact_bwd)(dcell * g, i, FD_SIGMOID, c), dz_f = FD(vact_bwd)(dcell * c, f, FD_SIGMOID, c);
        vstore_upto(dz + u, dz_i, n);
        vstore_upto(dz + units + u, dz_f, n);
        vstore_upto(dz + 2 * units + u, FD(vact_bwd)(dcell * i, g, FD_TANH, c), n);
        vstore_upto(dz + 3 * units + u, dz_o, n);
        dcell *= f;
        if (p != NULL) dcell += vload_upto(p + u, n) * dz_i + vload_upto(p + units + u, n) * dz_f;
        vstore(dc + u, dcell);
        vstore(dh + u, (V){0});
    }
}

static void FD(plain_row_bwd)(const FD(rnn) *r, T *dz, T *dh, const T *y) {
    const int act = r->sizes.kind == FD_RNN_RELU ? FD_RELU : FD_TANH;
    FD(act_row_bwd)(dz, dh, y, r->sizes.units, act, 0);
    memset(dh, 0, (size_t)r->sizes.units * sizeof(T));
}

static void FD(gru_row_bwd)(const FD(rnn) *r, T *dz, T *ds, T *dh, const T *gates, const T *was) {
    const int64_t units = r->sizes.units;
    for (int64_t u = 0, n = units; u < units; u += VL, n -= VL) {
        const V update = vload_upto(gates + u, n), reset = vload_upto(gates + units + u, n);
        const V candidate = vload_upto(gates + 2 * units + u, n), into = vload(dh + u);
        const V dz_u = FD(vact_bwd)(into * (vload_upto(was + u, n) - candidate), update, FD_SIGMOID, into);
        const V dz_g = FD(vact_bwd)(into * (VC(1) - update), candidate, FD_TANH, into);
        vstore_upto(dz + u, dz_u, n);
        vstore_upto(dz + 2 * units + u, dz_g, n);
        vstore(dh + u, into * update);
        if (ds == NULL) continue;
        const V dz_r = FD(vact_bwd)(dz_g * vload_upto(gates + 3 * units + u, n), reset, FD_SIGMOID, into);
        vstore_upto(dz + units + u, dz_r, n);
        vstore_upto(ds + u, dz_u, n);
        vstore_upto(ds + units + u, dz_r, n);
        vstore_upto(ds + 2 * units + u, dz_g * reset, n);
    }
}

/* With reset_before: dz of r, and the part of dh that comes by way of q, from dq in `product`. */
static void FD(gru_reset_row_bwd)(const FD(rnn) *r, T *dz, T *dh, T *product, int64_t i, const T *gates, const T *was,
                                  const T *mask) {
    const int64_t units = r->sizes.units;
    for (int64_t v = 0; v < r->vectors; v++) {
        const int64_t u = v * VL, n = units - u;
        const V dq = vload(FD(rnn_at)(product, r->rows, i, v)), reset = vload_upto(gates + units + u, n);
        const V factor = mask == NULL ? VC(1) : vload_upto(mask + u, n);
        vstore_upto(dz + units + u, FD(vact_bwd)(dq * (factor * vload_upto(was + u, n)), reset, FD_SIGMOID, dq), n);
        vstore(dh + u, vload(dh + u) + factor * (dq * reset));
    }
}

static void FD(rnn_bwd_task)(void *arg, int64_t task, void *scratch) {
    const FD(rnn) *r = arg;
    const int64_t units = r->sizes.units, padded = r->padded, first = task * r->rows, kind = r->sizes.kind;
    const int64_t count = FD(least)(r->rows, r->sizes.batch - first), state = r->rows * padded;
    const size_t row_bytes = (size_t)units * sizeof(T), dz_bytes = (size_t)r->columns * sizeof(T);
    const int64_t kept = RNN_KEPT(kind) * units;
    T *dh = scratch, *dc = dh + state, *a = dc + state, *product = a + r->rows * r->columns;
    memset(scratch, 0, (size_t)(2 * state + r->rows * r->columns) * sizeof(T));
    for (int64_t i = 0; i < count; i++) {
        if (r->dh != NULL) memcpy(dh + i * padded, r->dh + (first + i) * units, row_bytes);
        if (r->dc != NULL) memcpy(dc + i * padded, r->dc + (first + i) * units, row_bytes);
    }
    for (int64_t order = r->sizes.steps - 1; order >= 0; order--) {
        if (fd_stopped()) return;
        const int64_t t = FD(rnn_step)(r, order);
        for (int64_t i = 0; i < count; i++) {
            const int64_t at = (first + i) * r->sizes.steps + t;
            T *dhi = dh + i * padded, *dz = r->dz + at * r->columns;
            T *ds = r->ds == NULL ? NULL : r->ds + at * r->columns;
            if (!FD(rnn_running)(r, first + i, t)) {
                memset(dz, 0, dz_bytes);
                if (ds != NULL) memset(ds, 0, dz_bytes);
                memset(a + i * r->columns, 0, dz_bytes);
                continue;
            }
            for (int64_t u = 0; r->dhs != NULL && u < units; u++) dhi[u] += r->dhs[at * units + u];
            const T *gates = r->gated + at * kept;
            if (kind == FD_LSTM)
                FD(lstm_row_bwd)(r, dz, dhi, dc + i * padded, gates, r->was_c + at * units);
            else if (kind >= FD_GRU)
                FD(gru_row_bwd)(r, dz, ds, dhi, gates, r->was + at * units);
            else
                FD(plain_row_bwd)(r, dz, dhi, gates);
            memcpy(a + i * r->columns, ds == NULL ? dz : ds, dz_bytes);
        }
        if (kind == FD_GRU_RESET_BEFORE) {
            FD(rnn_multiply)(r, product, a + 2 * units, r->columns, &r->inner, count,
                             FD(rnn_at_step)(r, r->was, units, first, order - 1));
            for (int64_t i = 0; i < count; i++) {
                const int64_t at = (first + i) * r->sizes.steps + t;
                if (!FD(rnn_running)(r, first + i, t)) continue;
                T *dz = r->dz + at * r->columns;
                FD(gru_reset_row_bwd)(r, dz, dh + i * padded, product, i, r->gated + at * kept, r->was + at * units,
                                      r->mask == NULL ? NULL : r->mask + (first + i) * units);
                memcpy(a + i * r->columns + units, dz + units, row_bytes);
            }
        }
        FD(rnn_multiply)(r, product, a, r->columns, &r->outer, count,
                         FD(rnn_at_step)(r, r->gated, kept, first, order - 1));
        for (int64_t i = 0; i < count; i++) {
            if (!FD(rnn_running)(r, first + i, t)) continue;
            for (int64_t v = 0; v < r->vectors; v++) {
                T *to = dh + i * padded + v * VL;
                V dk = vload(FD(rnn_at)(product, r->rows, i, v));
                if (r->mask != NULL) dk *= vload_upto(r->mask + (first + i) * units + v * VL, units - v * VL);
                vstore(to, vload(to) + dk);
            }
        }
    }
    for (int64_t i = 0; i < count; i++) {
        memcpy(r->dh0 + (first + i) * units, dh + i * padded, row_bytes);
        if (kind == FD_LSTM) memcpy(r->dc0 + (first + i) * units, dc + i * padded, row_bytes);
    }
}

/* computes  dz, ds, dh0 and dc0 of a recurrence, by the formulas of backends/naive/recurrent.py
 * shapes    dz, ds (N, T, G H), dh0, dc0, dh, dc (N, H), dhs (N, T, H); previous, gates, previous_c as forward kept
 *           them, gates being hs for the plain ones; the others as forward; NULL: not wanted, or 0, or not there
 * layout    row-major
 * touches   every element
 * order     as forward; to dh first dhs, then what comes past the weights, then what comes through them
 * source    Werbos 1990, Backpropagation through time */
static int FD(fd_rnn_bwd)(void *dz, void *ds, void *dh0, void *dc0, const void *dhs, const void *dh, const void *dc,
                          const void *previous, const void *gates, const void *previous_c, const void *w_h,
                          const void *peepholes, const void *mask, const int64_t *lengths, const fd_rnn *sizes,
                          int threads) {
    FD(rnn) r = {.sizes = *sizes, .w_h = w_h, .mask = mask, .lengths = lengths, .peepholes = peepholes};
    r.dz = dz, r.ds = ds, r.dh0 = dh0, r.dc0 = dc0, r.dhs = dhs, r.dh = dh, r.dc = dc;
    r.was = previous, r.gated = gates, r.was_c = previous_c;
    return FD(rnn_run)(&r, FD(rnn_bwd_task), 2, threads);
}

#undef RNN_GATES
#undef RNN_KEPT
#undef RNN_NEAR_BYTES
#undef RNN_FAR_ROWS
