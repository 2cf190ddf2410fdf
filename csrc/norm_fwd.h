/* norm_fwd.h: statistics and their application in one pass over memory, where a set fits in the level-1 cache.
 *
 * # Design: what a set's values are is a run of memory when nothing is outside its channels, as in layer_norm and in
 * the NCHW layout of instance_norm and group_norm. A task takes sets, finds the moments of one and maps it while it is
 * in the cache. Larger sets, and those that other sets are between, take the two passes of norm.h, with the same bits.
 */

typedef struct {
    FD(norm) norm;
    T *mean, *var, *scale; /* (sets,) */
    int64_t sets, share;   /* share: sets a task */
} FD(norm_sets);

static void FD(norm_sets_task)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    const FD(norm_sets) *s = arg;
    const FD(norm) *p = &s->norm;
    const fd_norm *n = &p->plan;
    const int64_t size = n->channels * n->inner, end = FD(least)((task + 1) * s->share, s->sets);
    for (int64_t set = task * s->share; set < end; set++) {
        const FD(moments) m = FD(moments_of_runs)(p->x + set * size, 1, size, size);
        s->mean[set] = (T)m.mean;
        s->var[set] = (T)(m.squares / m.count);
        s->scale[set] = FD(norm_scale)(s->var[set], n->eps);
        const int64_t channel = set % n->groups * n->channels;
        FD(coefficients) here = p->of;
        here.mean += set, here.scale += set, here.gamma += channel, here.beta += channel;
        if (n->inner == 1) {
            FD(norm_span)(p, set * size, size, here, 0, 0, 0, 1, FD_LINEAR);
            continue;
        }
        for (int64_t c = 0; c < n->channels; c++, here.gamma++, here.beta++)
            FD(norm_span)(p, set * size + c * n->inner, n->inner, here, 0, 0, 0, 0, FD_LINEAR);
    }
}

/* computes  mean and var as norm_stats does, and y as norm_apply does with them
 * shapes    y, x (blocks, outer, groups, channels, inner), mean, var (blocks, groups), gamma, beta (groups, channels)
 * layout    row-major
 * touches   exactly those elements
 * order     as norm_stats
 * source    as norm_stats and norm_apply */
static int FD(fd_norm_fwd)(void *y, void *mean, void *var, const void *x, const void *gamma, const void *beta,
                           const fd_norm *plan, int act, double alpha, int threads) {
    const int64_t sets = plan->blocks * plan->groups, size = plan->channels * plan->inner;
    if (plan->outer != 1 || size == 0 || size > RUN_PIECE) {
        const int error = FD(fd_norm_stats)(mean, var, x, plan, threads);
        return error != FD_OK ? error : FD(fd_norm_apply)(y, x, mean, var, gamma, beta, plan, act, alpha, threads);
    }
    FD(norm_sets) s = {.mean = mean, .var = var, .sets = sets, .share = FD(most)(1, CHUNK / size)};
    s.scale = fd_alloc((size_t)(sets + 1) * sizeof(T));
    if (s.scale == NULL) return FD_NOMEM;
    s.norm = (FD(norm)){.plan = *plan, .to = y, .x = x, .act = act, .alpha = (T)alpha};
    s.norm.of = (FD(coefficients)){mean, s.scale, s.scale, s.scale, gamma, beta}; /* slope and offset are not used */
    const int64_t work = sets * size / VL * 2 * COPY_WORK; /* moments twice, from the cache, and the map */
    const int error = fd_parallel(FD(norm_sets_task), &s, FD(pieces)(sets, s.share), 0, fd_threads_for(work, threads));
    fd_free(s.scale);
    return error;
}
