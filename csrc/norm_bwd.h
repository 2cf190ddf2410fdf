/* norm_bwd.h: the way back through a normalisation.
 *
 * # Design: both sums that a gradient needs, of dy and of dy * (x - mean), are made for each block and channel, and
 * say all: summed over blocks they are dbeta and dgamma, summed over a set's channels with gamma they are what mean and
 * var pass on. Rows have as many channels as elements; their first sums are made over blocks, and the second at once.
 * An activation that is a gate is gone back through on the way, in both passes; any other in a pass before them.
 */

typedef struct {
    FD(grid) grid;
    const FD(norm) *norm;
    T *straight, *tilted; /* (blocks, pieces, columns) */
} FD(slopes);

/* computes  straight = the sum of dz, tilted = the sum of dz * (x - mean)
 * shapes    dy, x (rows, n); k holds one each
 * layout    row-major, with a pitch
 * touches   exactly those elements
 * order     element i of a row into lane i % VL of vector i / VL % 4 (of vector 0 in the row's last, short round)
 * source    none */
FD_INLINE void FD(slopes_of_runs)(T *straight, T *tilted, const T *dy, const T *x, FD(coefficients) k, int64_t rows,
                                  int64_t n, int64_t pitch, T slope_below, int gate) {
    V plain[4] = {{0}}, turned[4] = {{0}};
    const V mean = vset1(*k.mean), scale = vset1(*k.scale), gamma = vset1(*k.gamma), beta = vset1(*k.beta);
    const V alpha = vset1(slope_below);
    for (int64_t row = 0; row < rows; row++, dy += pitch, x += pitch) {
        int64_t i = 0;
        for (; i + 4 * VL <= n; i += 4 * VL)
            for (int j = 0; j < 4; j++) {
                const V d = vload(x + i + j * VL) - mean;
                const V slope = FD(through_gate)(vload(dy + i + j * VL), d, scale, gamma, beta, gate, alpha);
                plain[j] += slope;
                turned[j] = vfma(slope, d, turned[j]);
            }
        for (; i < n; i += VL) {
            const V d = vload_upto(x + i, n - i) - mean;
            const V slope = FD(through_gate)(vload_upto(dy + i, n - i), d, scale, gamma, beta, gate, alpha);
            plain[0] += slope;
            turned[0] += FD(first_lanes)(slope * d, n - i);
        }
    }
    *straight = vsum((plain[0] + plain[1]) + (plain[2] + plain[3]));
    *tilted = vsum((turned[0] + turned[1]) + (turned[2] + turned[3]));
}

/* computes  straight[c] = the sum of dz[row, c], tilted[c] = the sum of dz[row, c] * (x[row, c] - mean[c])
 * shapes    straight, tilted and what k holds (n,), dy, x (rows, n); n at most COLUMN_TILE
 * layout    row-major, with a pitch
 * touches   exactly those elements
 * order     rows ascending
 * source    none */
FD_INLINE void FD(slopes_of_columns)(T *straight, T *tilted, const T *dy, const T *x, FD(coefficients) k, int64_t rows,
                                     int64_t n, int64_t pitch, T slope_below, int gate) {
    V plain[4] = {{0}}, turned[4] = {{0}}, mean[4], scale[4], gamma[4], beta[4];
    const V alpha = vset1(slope_below);
    for (int j = 0; j < 4; j++) {
        mean[j] = FD(tile_load)(k.mean, j, n), scale[j] = FD(tile_load)(k.scale, j, n);
        gamma[j] = FD(tile_load)(k.gamma, j, n), beta[j] = FD(tile_load)(k.beta, j, n);
    }
    for (int64_t row = 0; row < rows; row++, dy += pitch, x += pitch)
        for (int j = 0; j < 4; j++) {
            const V d = FD(tile_load)(x, j, n) - mean[j];
            const V slope = FD(through_gate)(FD(tile_load)(dy, j, n), d, scale[j], gamma[j], beta[j], gate, alpha);
            plain[j] += slope;
            turned[j] = vfma(slope, d, turned[j]);
        }
    for (int j = 0; j < 4; j++) {
        const int64_t left = FD(most)(0, n - j * VL);
        vstore_upto(straight + j * VL, plain[j], left);
        vstore_upto(tilted + j * VL, turned[j], left);
    }
}

FD_INLINE void FD(slopes_of_piece)(const FD(slopes) *s, int64_t task, int gate) {
    const FD(grid) *g = &s->grid;
    const fd_norm *n = &s->norm->plan;
    const FD(coefficients) *k = &s->norm->of;
    const T alpha = s->norm->alpha;
    const FD(piece) p = FD(piece_of)(g, task);
    T *straight = s->straight + p.entry, *tilted = s->tilted + p.entry;
    const T *dy = s->norm->dy + p.at, *x = s->norm->x + p.at;
    if (!g->by_columns) {
        for (int64_t c = 0; c < p.columns; c++, dy += g->inner, x += g->inner) {
            const int64_t result = p.block * g->channels + p.column + c, set = result / n->channels;
            const int64_t channel = result % (n->groups * n->channels);
            const FD(coefficients) here = {
                .mean = k->mean + set, .scale = k->scale + set, .gamma = k->gamma + channel, .beta = k->beta + channel};
            FD(slopes_of_runs)(straight + c, tilted + c, dy, x, here, p.rows, p.n, p.pitch, alpha, gate);
        }
        return;
    }
    T mean[COLUMN_TILE], scale[COLUMN_TILE], gamma[COLUMN_TILE], beta[COLUMN_TILE];
    const FD(coefficients) here = {.mean = mean, .scale = scale, .gamma = gamma, .beta = beta};
    FD(norm_place) at = FD(norm_place_of)(n, p.block, p.column);
    for (int64_t c = 0; c < p.columns; c++, FD(norm_place_next)(&at, n)) {
        mean[c] = k->mean[at.set], scale[c] = k->scale[at.set];
        gamma[c] = k->gamma[at.channel], beta[c] = k->beta[at.channel];
    }
    if (p.n == COLUMN_TILE) {
        FD(slopes_of_columns)(straight, tilted, dy, x, here, p.rows, COLUMN_TILE, p.pitch, alpha, gate);
    } else {
        memset(straight, 0, (size_t)p.columns * sizeof(T));
        memset(tilted, 0, (size_t)p.columns * sizeof(T));
        FD(slopes_of_columns)(straight, tilted, dy, x, here, p.rows, p.n, p.pitch, alpha, gate);
    }
}

static void FD(slopes_task)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    const FD(slopes) *s = arg;
    FD_WITH_GATE(FD(slopes_of_piece), s->norm->act, s, task)
}

/* The sum over a channel's pieces. */
static double FD(sum_of_pieces)(const FD(grid) *g, const T *of, int64_t block, int64_t channel) {
    const T *first = of + (block * g->pieces * g->columns + channel * g->unit);
    double sum = 0;
    for (int64_t piece = 0; piece < g->pieces * g->fold; piece++)
        for (int64_t u = 0; u < g->unit; u++) sum += (double)first[piece * g->channels * g->unit + u];
    return sum;
}

/* What mean and var pass on of a set's gradient, as coefficients of the second pass, from the sums over the set of
 * gamma * dy and gamma * dy * (x - mean). */
FD_INLINE void FD(slope_and_offset)(T *slope, T *offset, double straight, double tilted, double scale, double count) {
    *slope = (T)(-scale * scale * scale * (tilted / count));
    *offset = (T)(-scale * (straight / count));
}

/* dgamma and dbeta, and of each set slope and offset, from the sums of each block and channel. */
static void FD(slopes_finish)(const FD(slopes) *s, T *dgamma, T *dbeta, const T *gamma, const T *scale, T *slope,
                              T *offset) {
    const fd_norm *n = &s->norm->plan;
    const FD(grid) *g = &s->grid;
    const double count = (double)(n->outer * n->channels * n->inner);
    for (int64_t group = 0; group < n->groups; group++) {
        T *dg = dgamma + group * n->channels, *db = dbeta + group * n->channels;
        for (int64_t block = 0; block < n->blocks; block++) {
            const int64_t set = block * n->groups + group;
            double straight = 0, tilted = 0;
            for (int64_t c = 0; c < n->channels; c++) {
                const int64_t result = set * n->channels + c;
                const double plain = FD(sum_of_pieces)(g, s->straight, result / g->channels, result % g->channels);
                const double turned = FD(sum_of_pieces)(g, s->tilted, result / g->channels, result % g->channels);
                straight += (double)gamma[group * n->channels + c] * plain;
                tilted += (double)gamma[group * n->channels + c] * turned;
                db[c] += (T)plain;
                dg[c] += (T)(turned * (double)scale[set]);
            }
            FD(slope_and_offset)(slope + set, offset + set, straight, tilted, (double)scale[set], count);
        }
    }
}

static int FD(norm_bwd_by_channels)(FD(norm) *p, T *dgamma, T *dbeta, T *slope, T *offset, int threads) {
    const fd_norm *n = &p->plan;
    const int64_t channels = n->groups * n->channels;
    FD(slopes) s = {FD(grid_of)(n->blocks, n->outer, channels, n->inner), p, NULL, NULL};
    const int64_t results = s.grid.blocks * s.grid.pieces * s.grid.columns;
    s.straight = fd_alloc((size_t)(2 * results) * sizeof(T));
    if (s.straight == NULL) return FD_NOMEM;
    s.tilted = s.straight + results;
    int error = FD(grid_run)(FD(slopes_task), &s, &s.grid, threads);
    if (error == FD_OK) FD(slopes_finish)(&s, dgamma, dbeta, p->of.gamma, p->of.scale, slope, offset);
    fd_free(s.straight);
    return error == FD_OK ? FD(norm_run)(p, threads) : error;
}

/* ---- rows ------------------------------------------------------------------------------------------------------ */

typedef struct {
    const FD(norm) *norm;
    T *partial;    /* (pieces, 2, groups, channels): dgamma and dbeta of the piece */
    int64_t piece; /* blocks */
} FD(row_slopes);

/* One row of n: dx, and dgamma and dbeta to add to. */
FD_INLINE void FD(row_bwd)(T *dx, T *dgamma, T *dbeta, const T *dy, const T *x, const T *gamma, T mean, T scale,
                           int64_t n) {
    V straight = {0}, tilted = {0};
    for (int64_t i = 0, left = n; i < n; i += VL, left -= VL) {
        const V slope = vload_upto(dy + i, left), hat = (vload_upto(x + i, left) - mean) * scale;
        const V weighed = slope * vload_upto(gamma + i, left), turned = FD(first_lanes)(slope * hat, left);
        straight += weighed;
        tilted += FD(first_lanes)(weighed * hat, left);
        vstore_upto(dgamma + i, vload_upto(dgamma + i, left) + turned, left);
        vstore_upto(dbeta + i, vload_upto(dbeta + i, left) + slope, left);
    }
    T slope, offset;
    FD(slope_and_offset)(&slope, &offset, (double)vsum(straight), (double)vsum(tilted) / (double)scale, (double)scale,
                         (double)n);
    for (int64_t i = 0, left = n; i < n; i += VL, left -= VL) {
        const V d = vload_upto(x + i, left) - mean, rest = vfma(d, vset1(slope), vset1(offset));
        vstore_upto(dx + i, vload_upto(dy + i, left) * (scale * vload_upto(gamma + i, left)) + rest, left);
    }
}

static void FD(row_slopes_task)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    const FD(row_slopes) *r = arg;
    const FD(norm) *p = r->norm;
    const fd_norm *n = &p->plan;
    const int64_t channels = n->groups * n->channels, end = FD(least)((task + 1) * r->piece, n->blocks);
    T *dgamma = r->partial + task * 2 * channels, *dbeta = dgamma + channels;
    memset(dgamma, 0, (size_t)(2 * channels) * sizeof(T));
    for (int64_t set = task * r->piece * n->groups; set < end * n->groups; set++) {
        const int64_t at = set * n->channels, first = set % n->groups * n->channels;
        FD(row_bwd)(p->to + at, dgamma + first, dbeta + first, p->dy + at, p->x + at, p->of.gamma + first,
                    p->of.mean[set], p->of.scale[set], n->channels);
    }
}

static int FD(norm_bwd_by_rows)(FD(norm) *p, T *dgamma, T *dbeta, int threads) {
    const fd_norm *n = &p->plan;
    const int64_t channels = n->groups * n->channels;
    FD(row_slopes) r = {p, NULL, FD(most)(FD(pieces)(n->blocks, ROW_PIECES), FD(pieces)(TASK / 4, channels))};
    const int64_t pieces = FD(pieces)(n->blocks, r.piece), work = n->blocks * channels / VL * COPY_WORK;
    r.partial = fd_alloc((size_t)(2 * pieces * channels) * sizeof(T));
    if (r.partial == NULL) return FD_NOMEM;
    const int error = fd_parallel(FD(row_slopes_task), &r, pieces, 0, fd_threads_for(work, threads));
    FD(sums_tree)(r.partial, pieces, 2 * channels);
    memcpy(dgamma, r.partial, (size_t)channels * sizeof(T));
    memcpy(dbeta, r.partial + channels, (size_t)channels * sizeof(T));
    fd_free(r.partial);
    return error;
}

/* computes  with hat = (x - mean) * scale, scale = 1 / sqrt(var + eps), dz = dy * act'(hat * gamma + beta):
 *           dgamma = sum of dz * hat and dbeta = sum of dz over blocks, outer and inner; dx = scale * gamma * dz, less,
 *           unless mean and var are fixed, scale * (the set's mean of gamma * dz + hat * that of gamma * dz * hat)
 * shapes    dx, dy, x (blocks, outer, groups, channels, inner), mean, var (blocks, groups), dgamma, dbeta, gamma, beta
 *           (groups, channels)
 * layout    row-major
 * touches   exactly those elements
 * order     slopes_of_runs or slopes_of_columns within a piece, then pieces ascending, in double precision; of rows
 *           ascending within a piece, then sums_tree
 * source    Ioffe and Szegedy 2015, Batch normalization, section 3 */
static int FD(fd_norm_bwd)(void *dx, void *dgamma, void *dbeta, const void *dy, const void *x, const void *mean,
                           const void *var, const void *gamma, const void *beta, const fd_norm *plan, int act,
                           double alpha, int threads) {
    const int64_t sets = plan->blocks * plan->groups, channels = plan->groups * plan->channels;
    memset(dgamma, 0, (size_t)channels * sizeof(T));
    memset(dbeta, 0, (size_t)channels * sizeof(T));
    if (sets * plan->outer * plan->channels * plan->inner == 0) return FD_OK;
    T *scale = fd_alloc((size_t)(3 * sets) * sizeof(T));
    if (scale == NULL) return FD_NOMEM;
    T *slope = scale + sets, *offset = slope + sets;
    FD(norm_scales)(scale, var, plan);
    FD(norm) p = {.plan = *plan, .to = dx, .x = x, .dy = dy, .act = act, .alpha = (T)alpha};
    p.of = (FD(coefficients)){mean, scale, slope, offset, gamma, beta};
    const int by_rows = FD(norm_has_rows)(plan);
    int error = FD_OK;
    if (!FD(is_gate)(act) || (by_rows && act != FD_LINEAR)) { /* dx holds dz until it is overwritten */
        error = FD(norm_run)(&p, threads);
        p.dy = dx, p.act = FD_LINEAR;
    }
    p.backward = 1;
    if (error == FD_OK)
        error = by_rows ? FD(norm_bwd_by_rows)(&p, dgamma, dbeta, threads)
                        : FD(norm_bwd_by_channels)(&p, dgamma, dbeta, slope, offset, threads);
    fd_free(scale);
    return error;
}

#undef FD_WITH_GATE
#undef COLUMN_TILE
#undef COLUMN_PIECE
#undef RUN_PIECE
#undef WIDE
#undef TASK
#undef ROW_PIECES
