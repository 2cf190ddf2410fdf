/* loss.h: the losses of one prediction against one target, and their sums. */

/* ---- elementwise losses ------------------------------------------------------------------------------------- */

#define CLIP 1e-7 /* Keras's epsilon: probabilities are held this far from 0, and from 1 where 1 - p counts too */

/* x held inside [low, high]; NaN stays NaN. */
FD_INLINE V FD(vclip)(V x, double low, double high) { return vmin(VC(high), vmax(VC(low), x)); }

/* The loss `kind` of prediction p against target t; param is huber's delta. */
FD_INLINE V FD(vloss)(V p, V t, int kind, V param) {
    V error = p - t, size = FD(vabs)(error), margin = VC(1) - t * p, inside;
    const V missed = (V)((I)margin & ~(I)(margin <= VC(0)));
    switch (kind) {
    case FD_SQUARED: return error * error;
    case FD_ABSOLUTE: return size;
    case FD_HUBER: return vselect((I)(size > param), param * (size - VC(0.5) * param), VC(0.5) * error * error);
    case FD_HINGE: return missed;
    case FD_SQUARED_HINGE: return missed * missed;
    case FD_LOG_COSH: return size + FD(vsoftplus)(VC(-2) * size) - VC(0.6931471805599453);
    case FD_POISSON: return p - t * FD(vlog)(p + VC(CLIP));
    case FD_BINARY_CROSS_ENTROPY:
        inside = FD(vclip)(p, CLIP, 1 - CLIP);
        return -(t * FD(vlog)(inside) + (VC(1) - t) * FD(vlog1p)(-inside));
    case FD_BINARY_CROSS_ENTROPY_LOGITS: return FD(vsoftplus)(p) - p * t;
    default: inside = FD(vclip)(t, CLIP, 1); return inside * FD(vlog)(inside / FD(vclip)(p, CLIP, 1));
    }
}

/* d loss / d p; 0 at the corner of an absolute value and outside the range of a clip. */
FD_INLINE V FD(vloss_bwd)(V p, V t, int kind, V param) {
    V error = p - t, margin = VC(1) - t * p;
    switch (kind) {
    case FD_SQUARED: return VC(2) * error;
    case FD_ABSOLUTE: return vselect((I)(error > VC(0)), VC(1), vselect((I)(error < VC(0)), VC(-1), error));
    case FD_HUBER: return vmin(param, vmax(-param, error));
    case FD_HINGE: return (V)((I)(-t) & ~(I)(margin <= VC(0)));
    case FD_SQUARED_HINGE: return (V)((I)(VC(-2) * t * margin) & ~(I)(margin <= VC(0)));
    case FD_LOG_COSH: return FD(vtanh)(error);
    case FD_POISSON: return VC(1) - t / (p + VC(CLIP));
    case FD_BINARY_CROSS_ENTROPY:
        return (V)((I)(error / (p * (VC(1) - p))) & ~((I)(p < VC(CLIP)) | (I)(p > VC(1 - CLIP))));
    case FD_BINARY_CROSS_ENTROPY_LOGITS: return FD(vsigmoid)(p) - t;
    default: return (V)((I)(-FD(vclip)(t, CLIP, 1) / p) & ~((I)(p < VC(CLIP)) | (I)(p > VC(1))));
    }
}

/* row(kind) with the kind a constant. */
#define FD_WITH_LOSS(row, kind)                                                      \
    switch (kind) {                                                                  \
    case FD_SQUARED: row(FD_SQUARED); break;                                         \
    case FD_ABSOLUTE: row(FD_ABSOLUTE); break;                                       \
    case FD_HUBER: row(FD_HUBER); break;                                             \
    case FD_HINGE: row(FD_HINGE); break;                                             \
    case FD_BINARY_CROSS_ENTROPY: row(FD_BINARY_CROSS_ENTROPY); break;               \
    case FD_BINARY_CROSS_ENTROPY_LOGITS: row(FD_BINARY_CROSS_ENTROPY_LOGITS); break; \
    case FD_LOG_COSH: row(FD_LOG_COSH); break;                                       \
    case FD_SQUARED_HINGE: row(FD_SQUARED_HINGE); break;                             \
    case FD_POISSON: row(FD_POISSON); break;                                         \
    default: row(FD_KL_DIVERGENCE);                                                  \
    }

static void FD(loss_row)(T *loss, const T *p, const T *t, int64_t n, int kind, T param) {
#define ROW(kind)                                             \
    for (int64_t i = 0, left = n; i < n; i += VL, left -= VL) \
    vstore_upto(loss + i, FD(vloss)(vload_upto(p + i, left), vload_upto(t + i, left), kind, vset1(param)), left)
    FD_WITH_LOSS(ROW, kind)
#undef ROW
}

static void FD(loss_row_bwd)(T *dp, const T *p, const T *t, int64_t n, int kind, T param) {
#define ROW(kind)                                             \
    for (int64_t i = 0, left = n; i < n; i += VL, left -= VL) \
    vstore_upto(dp + i, FD(vloss_bwd)(vload_upto(p + i, left), vload_upto(t + i, left), kind, vset1(param)), left)
    FD_WITH_LOSS(ROW, kind)
#undef ROW
}

/* ---- sums of losses ----------------------------------------------------------------------------------------- */

/* The sum of all losses, or of all of `p` where t is NULL, each task's in a place of its own. */
typedef struct {
    const T *p, *t;
    double *partial; /* (tasks,) */
    int64_t n;
    int kind;
    T param;
} FD(loss_sums);

static double FD(loss_sum_row)(const T *p, const T *t, int64_t n, int kind, T param) {
    FD(fd_wide) sum = {{{0}}};
#define ROW(kind)                                                                                 \
    for (int64_t i = 0, left = n; i < n; i += VL, left -= VL) {                                   \
        V loss = FD(vloss)(vload_upto(p + i, left), vload_upto(t + i, left), kind, vset1(param)); \
        if (left < VL) loss = (V)((I)loss & vrange(0, left));                                     \
        vadd_wide(&sum, loss);                                                                    \
    }
    if (t != NULL) {
        FD_WITH_LOSS(ROW, kind)
    } else
        for (int64_t i = 0; i < n; i += VL) vadd_wide(&sum, vload_upto(p + i, n - i));
#undef ROW
    return vsum_wide(sum);
}

static void FD(loss_sum_task)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    const FD(loss_sums) *s = arg;
    const int64_t i = task * CHUNK, n = FD(least)(CHUNK, s->n - i);
    s->partial[task] = FD(loss_sum_row)(s->p + i, s->t == NULL ? NULL : s->t + i, n, s->kind, s->param);
}

static int FD(loss_work)(int kind) { return kind <= FD_HINGE ? COPY_WORK : EXP_WORK; }

/* computes  loss[i] of pred[i] against target[i]
 * shapes    loss, pred, target (n,)
 * layout    any, the same for all
 * touches   exactly those elements
 * order     none
 * source    Keras 3, keras/src/losses/losses.py */
static int FD(fd_loss_fwd)(void *loss, const void *pred, const void *target, int64_t n, int kind, double param,
                           int threads) {
    return FD(map_run)(FD(loss_row), loss, pred, target, n, kind, param, FD(loss_work)(kind), threads);
}

/* computes  dpred[i] = d loss[i] / d pred[i]
 * shapes    dpred, pred, target (n,)
 * layout    any, the same for all
 * touches   exactly those elements
 * order     none
 * source    Keras 3, keras/src/losses/losses.py */
static int FD(fd_loss_bwd)(void *dpred, const void *pred, const void *target, int64_t n, int kind, double param,
                           int threads) {
    return FD(map_run)(FD(loss_row_bwd), dpred, pred, target, n, kind, param, FD(loss_work)(kind), threads);
}

/* computes  sum = the sum over i of loss[i], or of pred[i] where target is NULL
 * shapes    pred, target (n,)
 * layout    any, the same for both
 * touches   exactly those elements
 * order     of a task lane i % VL, then the lanes; neighbouring tasks, then neighbouring pairs, and so on; in double
 *           precision
 * source    Keras 3, keras/src/losses/losses.py */
static int FD(fd_loss_sum)(double *sum, const void *pred, const void *target, int64_t n, int kind, double param,
                           int threads) {
    const int64_t tasks = FD(pieces)(n, CHUNK);
    *sum = 0;
    FD(loss_sums) s = {pred, target, sum, n, kind, (T)param};
    if (tasks > 1) s.partial = fd_alloc((size_t)tasks * sizeof(double));
    if (s.partial == NULL) return FD_NOMEM;
    const int work = target == NULL ? COPY_WORK : FD(loss_work)(kind);
    const int error = fd_parallel(FD(loss_sum_task), &s, tasks, 0, fd_threads_for(n / VL * work, threads));
    for (int64_t apart = 1; apart < tasks; apart *= 2)
        for (int64_t task = 0; task + apart < tasks; task += 2 * apart) s.partial[task] += s.partial[task + apart];
    *sum = s.partial[0];
    if (tasks > 1) fd_free(s.partial);
    return error;
}

#undef CLIP
#undef FD_WITH_LOSS
