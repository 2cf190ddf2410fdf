/* gate.h: relu that says in bytes where it is closed, and what such bytes let through. Memory bounds both: each is one
 * pass. */

typedef struct {
    T *out;
    const T *in;
    uint8_t *closed;
    const uint8_t *mask;
    int64_t n;
} FD(gate);

static void FD(gate_fwd_task)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    const FD(gate) *g = arg;
    const int64_t first = task * CHUNK, n = FD(least)(CHUNK, g->n - first);
    const T *x = g->in + first;
    T *y = g->out == NULL ? NULL : g->out + first;
    uint8_t *closed = g->closed + first;
    int64_t i = 0;
    for (; i + VL <= n; i += VL) {
        FD(ask_ahead)(x + i);
        const V v = vload(x + i);
        FD(gate_store)(closed + i, v, VL);
        if (y == NULL) continue;
        FD(ask_ahead)(y + i);
        vstore(y + i, FD(vact)(v, FD_RELU, (V){0}));
    }
    for (; i < n; i++) {
        closed[i] = x[i] <= 0;
        if (y != NULL) y[i] = x[i] <= 0 ? 0 : x[i];
    }
}

static void FD(gate_bwd_task)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    const FD(gate) *g = arg;
    const int64_t first = task * CHUNK, n = FD(least)(CHUNK, g->n - first);
    T *dy = g->out + first;
    const uint8_t *mask = g->mask + first;
    int64_t i = 0;
    for (; i + VL <= n; i += VL) {
        vstore(dy + i, vload_where(dy + i, (I)(vwide(mask + i) == 0)));
    }
    for (; i < n; i++) dy[i] = mask[i] ? 0 : dy[i];
}

static int FD(gate_run)(fd_task task, FD(gate) g, int threads) {
    return fd_parallel(task, &g, FD(pieces)(g.n, CHUNK), 0, fd_threads_for(g.n / VL * COPY_WORK, threads));
}

/* computes  closed[i] = x[i] <= 0, y[i] = 0 where closed[i], else x[i]
 * shapes    y, or NULL, and x (n,), closed (n,) of uint8, 0 or 1
 * layout    any, the same for all
 * touches   exactly those elements
 * order     none
 * source    Nair and Hinton 2010, Rectified linear units improve restricted Boltzmann machines */
static int FD(fd_gate_fwd)(void *y, uint8_t *closed, const void *x, int64_t n, int threads) {
    const FD(gate) g = {y, x, closed, NULL, n};
    return FD(gate_run)(FD(gate_fwd_task), g, threads);
}

/* computes  dy[i] = 0 where closed[i]
 * shapes    dy (n,), closed (n,) of uint8
 * layout    any, the same for both
 * touches   exactly those elements
 * order     none
 * source    the adjoint of gate_fwd */
static int FD(fd_gate_bwd)(void *dy, const uint8_t *closed, int64_t n, int threads) {
    const FD(gate) g = {dy, NULL, NULL, closed, n};
    return FD(gate_run)(FD(gate_bwd_task), g, threads);
}
