/* update.h: one step of an optimizer, in place and in one pass over memory. */

typedef struct {
    T *p, *slot[3]; /* a slot that is not used is not touched */
    const T *g;
    int64_t n;
    const int64_t *rows;  /* NULL: all of them, n elements */
    int64_t count, share; /* of rows: how many, how many a task */
    int kind;
    T hyper[6], rest[6]; /* rest: 1 - hyper, rounded once */
} FD(step);

FD_INLINE V FD(slot)(const FD(step) *s, int slot, int64_t i) {
    if (s->rows == NULL) FD(ask_ahead)(s->slot[slot] + i);
    return vload_upto(s->slot[slot] + i, s->n - i);
}

/* Returns what it stores. */
FD_INLINE V FD(keep)(const FD(step) *s, int slot, int64_t i, V v) {
    vstore_upto(s->slot[slot] + i, v, s->n - i);
    return v;
}

/* computes  p and its slots, elements i to i + VL - 1, by the rule `kind`; h holds
 *             sgd lr | momentum, nesterov lr m | adagrad lr eps | adadelta lr rho eps
 *             rmsprop lr rho eps m centered | adam rate beta_1 beta_2 eps amsgrad decay
 * shapes    p, g, slots (n,)
 * layout    any, the same for all
 * touches   exactly those of these elements that exist
 * order     none
 * source    Keras 3, keras/src/optimizers */
FD_INLINE void FD(step_vector)(const FD(step) *s, int64_t i, int kind) {
    const T *h = s->hyper, *rest = s->rest;
    V p = vload_upto(s->p + i, s->n - i), g = vload_upto(s->g + i, s->n - i), v, m, d;
    if (s->rows == NULL) FD(ask_ahead)(s->p + i), FD(ask_ahead)(s->g + i);
    switch (kind) {
    case FD_SGD: p -= h[0] * g; break;
    case FD_MOMENTUM: p += FD(keep)(s, 0, i, h[1] * FD(slot)(s, 0, i) - h[0] * g); break;
    case FD_NESTEROV:
        v = FD(keep)(s, 0, i, h[1] * FD(slot)(s, 0, i) - h[0] * g);
        p += h[1] * v - h[0] * g;
        break;
    case FD_ADAGRAD:
        v = FD(keep)(s, 0, i, FD(slot)(s, 0, i) + g * g);
        p -= h[0] * g / vsqrt(v + h[1]);
        break;
    case FD_ADADELTA:
        v = FD(keep)(s, 0, i, h[1] * FD(slot)(s, 0, i) + rest[1] * g * g);
        m = FD(slot)(s, 1, i);
        d = -vsqrt(m + h[2]) / vsqrt(v + h[2]) * g;
        FD(keep)(s, 1, i, h[1] * m + rest[1] * d * d);
        p += h[0] * d;
        break;
    case FD_RMSPROP:
        v = FD(keep)(s, 0, i, h[1] * FD(slot)(s, 0, i) + rest[1] * g * g);
        if (h[4] != 0) {
            m = FD(keep)(s, 1, i, h[1] * FD(slot)(s, 1, i) + rest[1] * g);
            v -= m * m;
        }
        d = h[0] * g / vsqrt(v + h[2]);
        p -= h[3] > 0 ? FD(keep)(s, 2, i, h[3] * FD(slot)(s, 2, i) + d) : d;
        break;
    default: /* FD_ADAM; the caller has put the two corrections of bias into the rate */
        if (h[5] != 0) p -= h[5] * p;
        m = FD(slot)(s, 0, i);
        m = FD(keep)(s, 0, i, m + (g - m) * rest[1]);
        v = FD(slot)(s, 1, i);
        v = FD(keep)(s, 1, i, v + (g * g - v) * rest[2]);
        if (h[4] != 0) v = FD(keep)(s, 2, i, vmax_nan(FD(slot)(s, 2, i), v));
        p -= h[0] * m / (vsqrt(v) + h[3]);
    }
    vstore_upto(s->p + i, p, s->n - i);
}

/* Elements begin to end - 1; s is a copy, so that stores to p cannot change it. */
static void FD(step_run)(FD(step) s, int64_t begin, int64_t end) {
#define RULE(kind) \
    for (int64_t i = begin; i < end; i += VL) FD(step_vector)(&s, i, kind)
    switch (s.kind) {
    case FD_SGD: RULE(FD_SGD); break;
    case FD_MOMENTUM: RULE(FD_MOMENTUM); break;
    case FD_NESTEROV: RULE(FD_NESTEROV); break;
    case FD_ADAGRAD: RULE(FD_ADAGRAD); break;
    case FD_ADADELTA: RULE(FD_ADADELTA); break;
    case FD_RMSPROP: RULE(FD_RMSPROP); break;
    default: RULE(FD_ADAM);
    }
#undef RULE
}

static void FD(step_task)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    const FD(step) *s = arg;
    if (s->rows == NULL) {
        FD(step_run)(*s, task * CHUNK, FD(least)((task + 1) * CHUNK, s->n));
        return;
    }
    const int64_t end = FD(least)((task + 1) * s->share, s->count);
    for (int64_t row = task * s->share; row < end; row++) {
        const int64_t at = s->rows[row] * s->n;
        FD(step) here = *s;
        here.p += at, here.g += row * s->n;
        for (int i = 0; i < 3; i++)
            if (here.slot[i] != NULL) here.slot[i] += at;
        FD(step_run)(here, 0, s->n);
    }
}

/* computes  p and its slots after one step, whole or in some rows; see step_vector
 * shapes    g (count, width), rows (count,); p, slots (at least rows[r] + 1 for each r, width), without rows as g
 * layout    row-major
 * touches   exactly g and those rows of p and of the slots that the kind uses
 * order     none: elements are independent, so that any division into tasks gives the same bits
 * source    Keras 3, keras/src/optimizers */
static int FD(fd_update)(void *p, const void *g, void *const *slots, const int64_t *rows, int64_t count, int64_t width,
                         int kind, const double *hyper, int threads) {
    static const int slot_count[] = {0, 1, 1, 1, 2, 3, 3}, hyper_count[] = {1, 2, 2, 2, 3, 5, 6};
    const int64_t n = count * width;
    FD(step) s = {.p = p, .g = g, .n = rows == NULL ? n : width, .rows = rows, .count = count, .kind = kind};
    s.share = FD(most)(1, CHUNK / FD(most)(1, width));
    for (int i = 0; i < slot_count[kind]; i++) s.slot[i] = slots[i];
    for (int i = 0; i < hyper_count[kind]; i++) {
        s.hyper[i] = (T)hyper[i];
        s.rest[i] = (T)(1 - hyper[i]);
    }
    const int64_t tasks = rows == NULL ? FD(pieces)(n, CHUNK) : FD(pieces)(count, s.share);
    return fd_parallel(FD(step_task), &s, tasks, 0, fd_threads_for(n / VL * 2 * COPY_WORK, threads));
}

#undef CHUNK
#undef BLOCK
#undef COLUMNS
#undef COPY_WORK
#undef EXP_WORK
