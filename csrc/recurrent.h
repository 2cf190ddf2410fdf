/* recurrent.h: recurrences over time, forward and backward through time: plain, LSTM and GRU.
 *
 * # Design: at each step a product of what stands in front of the weights (recurrent_product.h), then the gates of
 * each row. The gradients of inputs and weights are done outside, by gemm.h, for all steps at once. k is what meets the
 * weights: h, or mask * h. Rows whose sequence has ended are computed and not used.
 */

/* ---- forward ------------------------------------------------------------------------------------------------ */

/* What a step leaves in the outputs at u of row `at`: h, and in `previous` what it was before. */
FD_INLINE void FD(rnn_leave)(const FD(rnn) *r, int64_t at, int64_t next, int64_t u, V was, V h, int64_t n) {
    const int64_t units = r->sizes.units;
    vstore_upto(r->hs + at * units + u, h, n);
    if (r->previous == NULL) return;
    vstore_upto(r->previous + at * units + u, was, n);
    FD(rnn_ask)(r->hs, units, 1, next, u);
    FD(rnn_ask)(r->previous, units, 1, next, u);
}

/* One row of units: the gates from the products z and s, then c and h in place; `at` is the row in the outputs, and
 * `next` that of the row which follows. */
static void FD(lstm_row)(const FD(rnn) *r, T *h, T *c, const T *s, int64_t at, int64_t next) {
    const int64_t units = r->sizes.units;
    const T *p = r->peepholes;
    T *kept = r->gates == NULL ? NULL : r->gates + at * 4 * units;
    for (int64_t u = 0, n = units; u < units; u += VL, n -= VL) {
        V gate[4], cell = vload(c + u);
        for (int g = 0; g < 4; g++) gate[g] = FD(rnn_sum)(r, s, r->b, g, u);
        if (p != NULL) {
            gate[0] += vload_upto(p + u, n) * cell;
            gate[1] += vload_upto(p + units + u, n) * cell;
        }
        if (kept != NULL) vstore_upto(r->previous_c + at * units + u, cell, n);
        gate[0] = FD(vsigmoid)(gate[0]);
        gate[1] = FD(vsigmoid)(gate[1]);
        gate[2] = FD(vtanh)(gate[2]);
        cell = gate[1] * cell + gate[0] * gate[2];
        if (p != NULL) gate[3] += vload_upto(p + 2 * units + u, n) * cell;
        gate[3] = FD(vsigmoid)(gate[3]);
        const V y = gate[3] * FD(vtanh)(cell);
        FD(rnn_leave)(r, at, next, u, vload(h + u), y, n);
        vstore(c + u, cell);
        vstore(h + u, y);
        if (kept == NULL) continue;
        for (int g = 0; g < 4; g++) vstore_upto(kept + g * units + u, gate[g], n);
        FD(rnn_ask)(r->gates, units, 4, next, u);
        FD(rnn_ask)(r->previous_c, units, 1, next, u);
    }
}

static void FD(plain_row)(const FD(rnn) *r, T *h, const T *s, int64_t at, int64_t next) {
    const int64_t units = r->sizes.units;
    for (int64_t u = 0, n = units; u < units; u += VL, n -= VL) {
        const V sum = FD(rnn_sum)(r, s, r->b, 0, u);
        const V y = r->sizes.kind == FD_RNN_RELU ? FD(vact)(sum, FD_RELU, (V){0}) : FD(vtanh)(sum);
        FD(rnn_leave)(r, at, next, u, vload(h + u), y, n);
        vstore(h + u, y);
    }
}

/* u and r, in the place of their sums. With reset_before also q = r * k, which meets the last columns of w_h. */
static void FD(gru_gates_row)(const FD(rnn) *r, T *q, const T *k, const T *z, T *s) {
    const int64_t units = r->sizes.units;
    for (int64_t u = 0, n = units; u < units; u += VL, n -= VL) {
        for (int g = 0; g < 2; g++) {
            const V gate = FD(vsigmoid)(vload(z + g * units + u) + FD(rnn_sum)(r, s, r->b_h, g, u));
            vstore_upto(s + g * units + u, gate, n);
            if (g == 1 && r->sizes.kind == FD_GRU_RESET_BEFORE) vstore(q + u, gate * vload(k + u));
        }
    }
}

/* h, from the gates and from what the last columns of w_h gave. */
static void FD(gru_state_row)(const FD(rnn) *r, T *h, const T *z, const T *s, const T *last, int64_t at, int64_t next) {
    const int64_t units = r->sizes.units, parts = RNN_KEPT(r->sizes.kind);
    const int after = r->sizes.kind == FD_GRU;
    T *kept = r->gates == NULL ? NULL : r->gates + at * parts * units;
    for (int64_t u = 0, n = units; u < units; u += VL, n -= VL) {
        const V update = vload(s + u), reset = vload(s + units + u), was = vload(h + u);
        V sum = vload(last + u);
        if (r->b_h != NULL) sum += vload_upto(r->b_h + 2 * units + u, n);
        const V candidate = FD(vtanh)(vload(z + 2 * units + u) + (after ? reset * sum : sum));
        const V y = update * was + (VC(1) - update) * candidate;
        FD(rnn_leave)(r, at, next, u, was, y, n);
        vstore(h + u, y);
        if (kept == NULL) continue;
        vstore_upto(kept + u, update, n);
        vstore_upto(kept + units + u, reset, n);
        vstore_upto(kept + 2 * units + u, candidate, n);
        if (after) vstore_upto(kept + 3 * units + u, sum, n);
        FD(rnn_ask)(r->gates, units, parts, next, u);
    }
}

/* What a step keeps of a sequence that has ended. */
static void FD(rnn_leave_nothing)(const FD(rnn) *r, int64_t at) {
    const int64_t units = r->sizes.units, kept = RNN_KEPT(r->sizes.kind) * units;
    const size_t row_bytes = (size_t)units * sizeof(T);
    memset(r->hs + at * units, 0, row_bytes);
    if (r->previous != NULL) memset(r->previous + at * units, 0, row_bytes);
    if (r->previous_c != NULL) memset(r->previous_c + at * units, 0, row_bytes);
    if (r->gates != NULL) memset(r->gates + at * kept, 0, (size_t)kept * sizeof(T));
}

static void FD(rnn_fwd_task)(void *arg, int64_t task, void *scratch) {
    const FD(rnn) *r = arg;
    const int64_t units = r->sizes.units, padded = r->padded, first = task * r->rows, kind = r->sizes.kind;
    const int64_t count = FD(least)(r->rows, r->sizes.batch - first), across = r->across, inputs = r->input.k;
    const int64_t before = across - padded;        /* inputs that stand before a state */
    const int begun = kind < FD_GRU && !r->joined; /* the state's product goes on where the inputs' ended */
    const size_t row_bytes = (size_t)units * sizeof(T);
    T *near = scratch, *met = near + r->near, *h = met + before, *k = h + r->rows * across, *c = k + r->rows * across;
    T *q = c + r->rows * padded, *s = q + r->rows * padded, *last = s + r->rows * r->outer.pitch;
    T *z = last + r->rows * r->inner.pitch, *x = z + (r->chunk * r->lanes + MR) * r->input.pitch;
    memset(met, 0, (size_t)(2 * r->rows * (across + padded)) * sizeof(T));
    for (int64_t i = 0; i < count; i++) {
        memcpy(h + i * across, r->h0 + (first + i) * units, row_bytes);
        if (kind == FD_LSTM) memcpy(c + i * padded, r->c0 + (first + i) * units, row_bytes);
    }
    if (r->mask == NULL) k = h;
    for (int64_t order = 0; order < r->sizes.steps; order++) {
        if (fd_stopped()) return;
        const int64_t t = FD(rnn_step)(r, order), step = order % r->chunk;
        T *now = z + step * r->lanes * r->input.pitch;
        if (step == 0 && !r->joined)
            FD(rnn_inputs)(r, near, z, x, first, count, order, FD(least)(r->chunk, r->sizes.steps - order));
        if (r->mask != NULL) FD(rnn_mask)(r, k, h, first, count);
        for (int64_t i = 0; i < count && r->joined; i++)
            memcpy(k + i * across - before, r->x + ((first + i) * r->sizes.steps + t) * inputs,
                   (size_t)inputs * sizeof(T));
        for (int64_t begin = 0; begin < count; begin += r->group) {
            const int64_t past = FD(least)(begin + r->group, count);
            T *const sums = begun ? now : s;
            FD(rnn_multiply)(r, near, sums, k + begin * across - before, across, &r->outer, past - begin,
                             kind >= FD_GRU ? NULL : r->b_h, begun);
            if (kind >= FD_GRU) {
                for (int64_t i = 0; i < count; i++)
                    FD(gru_gates_row)(r, q + i * padded, k + i * padded, now + i * r->input.pitch,
                                      s + i * r->outer.pitch);
                FD(rnn_multiply)(r, near, last, q, padded, &r->inner, count, NULL, 0);
            }
            for (int64_t i = begin; i < past; i++) {
                const int64_t at = (first + i) * r->sizes.steps + t;
                const int64_t next = FD(rnn_next)(r, at, i + 1 < count ? 0 : count, t, r->sizes.reverse ? -1 : 1);
                const T *zi = now + i * r->input.pitch, *si = sums + (i - begin) * r->outer.pitch;
                T *hi = h + i * across, *ci = c + i * padded;
                if (!FD(rnn_running)(r, first + i, t))
                    FD(rnn_leave_nothing)(r, at);
                else if (kind == FD_LSTM)
                    FD(lstm_row)(r, hi, ci, si, at, next);
                else if (kind >= FD_GRU)
                    FD(gru_state_row)(r, hi, zi, si, kind == FD_GRU ? si + 2 * units : last + i * r->inner.pitch, at,
                                      next);
                else
                    FD(plain_row)(r, hi, si, at, next);
            }
        }
    }
    for (int64_t i = 0; i < count; i++) {
        memcpy(r->h + (first + i) * units, h + i * across, row_bytes);
        if (kind == FD_LSTM) memcpy(r->c + (first + i) * units, c + i * padded, row_bytes);
    }
}

/* computes  a recurrence over x, by the formulas of backends/naive/recurrent.py
 * shapes    hs, previous, previous_c (N, T, H), h, c, h0, c0, mask (N, H), gates (N, T, 4 H or 3 H), x (N, T, D),
 *           w_x (D, G H), w_h (H, G H), b, b_h (G H), peepholes (3, H), lengths (N); G gates; NULL: not kept, or not
 *           there
 * layout    row-major
 * touches   every element
 * order     of each product as gemm_tile; of GRU then (x w_x + b) + (s + b_h); of the others one product
 *           of inputs and state, + b_h, + b, then peepholes
 * source    Hochreiter and Schmidhuber 1997; Cho et al. 2014; Elman 1990 */
static int FD(fd_rnn_fwd)(void *hs, void *h, void *c, void *previous, void *gates, void *previous_c, const void *x,
                          const void *w_x, const void *b, const void *h0, const void *c0, const void *w_h,
                          const void *b_h, const void *peepholes, const void *mask, const int64_t *lengths,
                          const fd_rnn *sizes, int threads) {
    FD(rnn) r = {.sizes = *sizes, .mask = mask, .lengths = lengths, .hs = hs, .h = h, .c = c};
    r.previous = previous, r.gates = gates, r.previous_c = previous_c;
    r.x = x, r.b = b, r.h0 = h0, r.c0 = c0, r.b_h = b_h, r.peepholes = peepholes;
    r.input.from = w_x, r.input.k = sizes->features, r.outer.from = w_h;
    return FD(rnn_run)(&r, FD(rnn_fwd_task), 2, threads);
}

/* ---- backward ----------------------------------------------------------------------------------------------- */

/* One row: dz, there and near, from dh and dc; dc becomes that of the step before, and dh what reaches it other than by
 * the weights. */
static void FD(lstm_row_bwd)(const FD(rnn) *r, T *near, T *dh, T *dc, int64_t at, int64_t next) {
    const int64_t units = r->sizes.units;
    const T *gates = r->gated + at * 4 * units, *was_c = r->was_c + at * units;
    T *dz = r->dz + at * 4 * units;
    const T *p = r->peepholes;
    for (int64_t u = 0, n = units; u < units; u += VL, n -= VL) {
        const V i = vload_upto(gates + u, n), f = vload_upto(gates + units + u, n);
        const V g = vload_upto(gates + 2 * units + u, n), o = vload_upto(gates + 3 * units + u, n);
        const V c = vload_upto(was_c + u, n), tanh_c = FD(vtanh)(f * c + i * g), into = vload(dh + u);
        const V dz_o = FD(vact_bwd)(into * tanh_c, o, FD_SIGMOID, c);
        V dcell = vload(dc + u) + FD(vact_bwd)(into * o, tanh_c, FD_TANH, c);
        if (p != NULL) dcell += vload_upto(p + 2 * units + u, n) * dz_o;
        const V dz_i = FD(vact_bwd)(dcell * g, i, FD_SIGMOID, c), dz_f = FD(vact_bwd)(dcell * c, f, FD_SIGMOID, c);
        const V all[4] = {dz_i, dz_f, FD(vact_bwd)(dcell * i, g, FD_TANH, c), dz_o};
        for (int gate = 0; gate < 4; gate++) {
            vstore_upto(dz + gate * units + u, all[gate], n);
            vstore_upto(near + gate * units + u, all[gate], n);
        }
        dcell *= f;
        if (p != NULL) dcell += vload_upto(p + u, n) * dz_i + vload_upto(p + units + u, n) * dz_f;
        vstore(dc + u, dcell);
        vstore(dh + u, (V){0});
        FD(rnn_ask)(r->gated, units, 4, next, u);
        FD(rnn_ask)(r->was_c, units, 1, next, u);
        FD(rnn_ask)(r->dz, units, 4, next, u);
        if (r->dhs != NULL) FD(rnn_ask)(r->dhs, units, 1, next, u);
    }
}

static void FD(plain_row_bwd)(const FD(rnn) *r, T *dz, T *dh, const T *y) {
    const int act = r->sizes.kind == FD_RNN_RELU ? FD_RELU : FD_TANH;
    FD(act_row_bwd)(dz, dh, y, r->sizes.units, act, 0);
    memset(dh, 0, (size_t)r->sizes.units * sizeof(T));
}

static void FD(gru_row_bwd)(const FD(rnn) *r, T *dz, T *ds, T *dh, int64_t at, int64_t next) {
    const int64_t units = r->sizes.units, parts = RNN_KEPT(r->sizes.kind);
    const T *gates = r->gated + at * parts * units, *was = r->was + at * units;
    for (int64_t u = 0, n = units; u < units; u += VL, n -= VL) {
        const V update = vload_upto(gates + u, n), reset = vload_upto(gates + units + u, n);
        const V candidate = vload_upto(gates + 2 * units + u, n), into = vload(dh + u);
        const V dz_u = FD(vact_bwd)(into * (vload_upto(was + u, n) - candidate), update, FD_SIGMOID, into);
        const V dz_g = FD(vact_bwd)(into * (VC(1) - update), candidate, FD_TANH, into);
        vstore_upto(dz + u, dz_u, n);
        vstore_upto(dz + 2 * units + u, dz_g, n);
        vstore(dh + u, into * update);
        FD(rnn_ask)(r->gated, units, parts, next, u);
        FD(rnn_ask)(r->was, units, 1, next, u);
        FD(rnn_ask)(r->dz, units, 3, next, u);
        if (r->dhs != NULL) FD(rnn_ask)(r->dhs, units, 1, next, u);
        if (ds == NULL) continue;
        const V dz_r = FD(vact_bwd)(dz_g * vload_upto(gates + 3 * units + u, n), reset, FD_SIGMOID, into);
        vstore_upto(dz + units + u, dz_r, n);
        vstore_upto(ds + u, dz_u, n);
        vstore_upto(ds + units + u, dz_r, n);
        vstore_upto(ds + 2 * units + u, dz_g * reset, n);
        FD(rnn_ask)(r->ds, units, 3, next, u);
    }
}

/* With reset_before: dz of r, and the part of dh that comes by way of q, from dq in `product`. */
static void FD(gru_reset_row_bwd)(const FD(rnn) *r, T *dz, T *dh, const T *product, const T *gates, const T *was,
                                  const T *mask) {
    const int64_t units = r->sizes.units;
    for (int64_t u = 0, n = units; u < units; u += VL, n -= VL) {
        const V dq = vload(product + u), reset = vload_upto(gates + units + u, n);
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
    T *near = scratch, *dh = near + r->near, *dc = dh + state, *a = dc + state, *product = a + r->rows * r->columns;
    memset(dh, 0, (size_t)(2 * state + r->rows * r->columns) * sizeof(T));
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
            const int64_t next = FD(rnn_next)(r, at, i + 1 < count ? 0 : count, t, r->sizes.reverse ? 1 : -1);
            if (kind == FD_LSTM) {
                FD(lstm_row_bwd)(r, a + i * r->columns, dhi, dc + i * padded, at, next);
                continue;
            }
            if (kind >= FD_GRU)
                FD(gru_row_bwd)(r, dz, ds, dhi, at, next);
            else
                FD(plain_row_bwd)(r, dz, dhi, r->gated + at * kept);
            memcpy(a + i * r->columns, ds == NULL ? dz : ds, dz_bytes);
        }
        if (kind == FD_GRU_RESET_BEFORE) {
            FD(rnn_multiply)(r, near, product, a + 2 * units, r->columns, &r->inner, count, NULL, 0);
            for (int64_t i = 0; i < count; i++) {
                const int64_t at = (first + i) * r->sizes.steps + t;
                if (!FD(rnn_running)(r, first + i, t)) continue;
                T *dz = r->dz + at * r->columns;
                FD(gru_reset_row_bwd)(r, dz, dh + i * padded, product + i * r->inner.pitch, r->gated + at * kept,
                                      r->was + at * units, r->mask == NULL ? NULL : r->mask + (first + i) * units);
                memcpy(a + i * r->columns + units, dz + units, row_bytes);
            }
        }
        FD(rnn_multiply)(r, near, product, a, r->columns, &r->outer, count, NULL, 0);
        for (int64_t i = 0; i < count; i++) {
            if (!FD(rnn_running)(r, first + i, t)) continue;
            for (int64_t u = 0; u < units; u += VL) {
                T *to = dh + i * padded + u;
                V dk = vload(product + i * r->outer.pitch + u);
                if (r->mask != NULL) dk *= vload_upto(r->mask + (first + i) * units + u, units - u);
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
    FD(rnn) r = {.sizes = *sizes, .mask = mask, .lengths = lengths, .peepholes = peepholes};
    r.dz = dz, r.ds = ds, r.dh0 = dh0, r.dc0 = dc0, r.dhs = dhs, r.dh = dh, r.dc = dc;
    r.was = previous, r.gated = gates, r.was_c = previous_c, r.outer.from = w_h;
    return FD(rnn_run)(&r, FD(rnn_bwd_task), 2, threads);
}

#undef RNN_GATES
#undef RNN_GROUP_BYTES
#undef RNN_JOINED_BYTES
#undef RNN_KEPT
#undef RNN_LIES
#undef RNN_NEAR_BYTES
#undef RNN_SUMS_BYTES
#undef RNN_FAR_ROWS
#undef RNN_ONCE_ROWS
