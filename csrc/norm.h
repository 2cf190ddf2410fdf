/* norm.h: batch, layer, instance and group normalisation: statistics, their application, and the way back.
 *
 * # Design: x is (blocks, outer, groups, channels, inner); a set is what has one mean, a block and group.
 * (a) Two passes over memory each way: one reduces, the other maps. Of layer_norm's rows, which are short, the first
 *     backward pass is made in the level-1 cache.
 * (b) A reduction is cut into pieces by the sizes alone. Each piece finds its own mean and then the squares about it,
 *     the second time from a cache; means of pieces and the squares between them come last. Nothing subtracts large
 *     numbers that are nearly equal, and equal values have exactly their own mean, and variance 0.
 * (c) Elements are taken in runs of neighbours where enough of them share a mean and a gamma, else by columns: lanes
 *     are channels then, and rows that do not fill vectors are folded, several into one.
 */

#define COLUMN_TILE (4 * VL)
#define COLUMN_PIECE 256 /* rows */
#define RUN_PIECE 4096   /* elements of a channel */
#define WIDE 256         /* elements of a folded row, and of a tile of the second pass */
#define TASK 65536       /* elements */
#define ROW_PIECES 16    /* of the rows of layer_norm's backward pass, at most */

/* The first n lanes of v, the others zero. */
FD_INLINE V FD(first_lanes)(V v, int64_t n) {
    if (n >= VL) return v;
    I lane;
    for (int l = 0; l < VL; l++) lane[l] = (TI)l;
    return (V)((I)v & (I)(lane < (TI)n));
}

/* ---- reductions ------------------------------------------------------------------------------------------------ */

/* From (blocks, outer, channels, inner) to (blocks, channels), in pieces. A piece has `columns` results: for each
 * channel fold * unit of them, which lie as (fold, channels, unit). */
typedef struct {
    int64_t blocks, outer, channels, inner;
    int by_columns;
    int64_t fold, unit, columns, pieces;
    int64_t outer_piece, inner_piece, inner_pieces; /* of runs: rows, elements, pieces */
    int64_t tile, tiles;                            /* columns a task, tasks a piece */
} FD(grid);

static FD(grid) FD(grid_of)(int64_t blocks, int64_t outer, int64_t channels, int64_t inner) {
    if (outer == 1) channels *= blocks, blocks = 1;
    FD(grid) g = {blocks, outer, channels, inner, outer > 1 && inner < 2 * VL, 1, 1, channels, 0, 1, 1, 1, 1, 1};
    if (blocks * outer * channels * inner == 0) return g;
    if (g.by_columns) {
        const int64_t row = channels * inner;
        g.fold = FD(most)(1, FD(least)(COLUMN_TILE / row, outer));
        g.unit = inner;
        g.columns = g.fold * row;
        g.pieces = FD(pieces)(outer / g.fold, COLUMN_PIECE) + (outer % g.fold > 0);
        g.tile = COLUMN_TILE;
    } else {
        g.inner_piece = FD(least)(inner, RUN_PIECE);
        g.outer_piece = FD(least)(outer, RUN_PIECE / g.inner_piece);
        g.inner_pieces = FD(pieces)(inner, g.inner_piece);
        g.pieces = FD(pieces)(outer, g.outer_piece) * g.inner_pieces;
        g.tile = TASK / (g.outer_piece * g.inner_piece);
    }
    g.tiles = FD(pieces)(g.columns, g.tile);
    return g;
}

/* What one task reduces: rows of n elements. By columns each of the n has a result, and columns beyond n have none;
 * else each column has rows of its own, `inner` elements after those of the column before. */
typedef struct {
    int64_t block, column, columns, entry; /* entry: where the first result goes */
    int64_t at, rows, n, pitch;
} FD(piece);

FD_INLINE FD(piece) FD(piece_of)(const FD(grid) *g, int64_t task) {
    const int64_t piece = task / g->tiles % g->pieces, block = task / g->tiles / g->pieces;
    const int64_t row = g->channels * g->inner, column = task % g->tiles * g->tile;
    FD(piece) p = {block, column, FD(least)(g->tile, g->columns - column), 0, block * g->outer * row, 0, 0, row};
    p.entry = (block * g->pieces + piece) * g->columns + column;
    if (!g->by_columns) {
        const int64_t outer = piece / g->inner_pieces * g->outer_piece;
        const int64_t inner = piece % g->inner_pieces * g->inner_piece;
        p.at += outer * row + column * g->inner + inner;
        p.rows = FD(least)(g->outer_piece, g->outer - outer);
        p.n = FD(least)(g->inner_piece, g->inner - inner);
    } else if (piece == g->pieces - 1 && g->outer % g->fold) { /* the rows that are too few to fold */
        p.at += g->outer / g->fold * g->columns + column;
        p.rows = g->outer % g->fold;
        p.n = FD(most)(0, FD(least)(p.columns, row - column));
    } else {
        p.at += piece * COLUMN_PIECE * g->columns + column;
        p.rows = FD(least)(COLUMN_PIECE, g->outer / g->fold - piece * COLUMN_PIECE);
        p.n = p.columns, p.pitch = g->columns;
    }
    return p;
}

static int FD(grid_run)(fd_task task, void *arg, const FD(grid) *g, int threads) {
    const int64_t work = g->blocks * g->outer * g->channels * g->inner / VL * COPY_WORK;
    return fd_parallel(task, arg, g->blocks * g->pieces * g->tiles, 0, fd_threads_for(work, threads));
}

/* Vector j of a tile's row of n elements. */
FD_INLINE V FD(tile_load)(const T *p, int j, int64_t n) {
    return n == COLUMN_TILE ? vload(p + j * VL) : vload_upto(p + j * VL, FD(most)(0, n - j * VL));
}

FD_INLINE double FD(sum_of_four)(const V v[4]) { return (double)vsum((v[0] + v[1]) + (v[2] + v[3])); }

/* ---- statistics ------------------------------------------------------------------------------------------------ */

/* Of some values: how many, their mean, and the sum of their squared distances from it. */
typedef struct {
    double count, mean, squares;
} FD(moments);

typedef struct {
    FD(grid) grid;
    const T *x;
    FD(moments) *of; /* (blocks, pieces, columns) */
} FD(stats);

/* The moments, when squares and rest are the sums of d*d and d, d being the distance from a mean that was rounded;
 * share is 1 / count. */
FD_INLINE FD(moments) FD(moments_about)(double count, double share, double mean, double rest, double squares) {
    const double centred = squares - rest * rest * share;
    return (FD(moments)){count, mean + rest * share, centred < 0 ? 0 : centred};
}

/* The sums of d and d*d, d being the distance from centre, of rows of n elements: element i of a row goes into lane
 * i % VL of vector i / VL % 4, or of vector 0 in the row's last, short round. */
FD_INLINE void FD(sums_about)(V sum[4], V squares[4], V centre, const T *x, int64_t rows, int64_t n, int64_t pitch) {
    for (int64_t row = 0; row < rows; row++, x += pitch) {
        int64_t i = 0;
        for (; i + 4 * VL <= n; i += 4 * VL)
            for (int j = 0; j < 4; j++) {
                const V d = vload(x + i + j * VL) - centre;
                sum[j] += d;
                squares[j] = vfma(d, d, squares[j]);
            }
        for (; i < n; i += VL) {
            const V d = FD(first_lanes)(vload_upto(x + i, n - i) - centre, n - i);
            sum[0] += d;
            squares[0] = vfma(d, d, squares[0]);
        }
    }
}

/* computes  the moments of all values
 * shapes    x (rows, n)
 * layout    row-major, with a pitch
 * touches   exactly those elements, twice
 * order     sums_about, then the tree of vsum
 * source    Chan, Golub and LeVeque 1983, Algorithms for computing the sample variance: two passes, corrected */
FD_INLINE FD(moments) FD(moments_of_runs)(const T *x, int64_t rows, int64_t n, int64_t pitch) {
    const double count = (double)(rows * n), share = 1 / count;
    V first[4] = {{0}}, sum[4] = {{0}}, squares[4] = {{0}}, unused[4] = {{0}};
    FD(sums_about)(first, unused, vset1(*x), x, rows, n, pitch);
    const T centre = *x + (T)(FD(sum_of_four)(first) * share);
    FD(sums_about)(sum, squares, vset1(centre), x, rows, n, pitch);
    return FD(moments_about)(count, share, (double)centre, FD(sum_of_four)(sum), FD(sum_of_four)(squares));
}

/* computes  the moments of each column
 * shapes    of (n,), x (rows, n); n at most COLUMN_TILE
 * layout    row-major, with a pitch
 * touches   exactly those elements, twice
 * order     rows ascending
 * source    as moments_of_runs */
FD_INLINE void FD(moments_of_columns)(FD(moments) *of, const T *x, int64_t rows, int64_t n, int64_t pitch) {
    V centre[4], sum[4], squares[4];
    for (int j = 0; j < 4; j++) centre[j] = FD(tile_load)(x, j, n);
    for (int pass = 0; pass < 2; pass++) {
        memset(sum, 0, sizeof sum);
        memset(squares, 0, sizeof squares);
        for (int64_t row = 0; row < rows; row++)
            for (int j = 0; j < 4; j++) {
                const V d = FD(tile_load)(x + row * pitch, j, n) - centre[j];
                sum[j] += d;
                squares[j] = vfma(d, d, squares[j]);
            }
        for (int j = 0; j < 4 && pass == 0; j++) centre[j] += sum[j] / (T)rows;
    }
    for (int64_t c = 0; c < n; c++)
        of[c] = FD(moments_about)((double)rows, 1 / (double)rows, (double)centre[c / VL][c % VL],
                                  (double)sum[c / VL][c % VL], (double)squares[c / VL][c % VL]);
}

static void FD(stats_task)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    const FD(stats) *s = arg;
    const FD(piece) p = FD(piece_of)(&s->grid, task);
    FD(moments) *of = s->of + p.entry;
    if (!s->grid.by_columns)
        for (int64_t c = 0; c < p.columns; c++)
            of[c] = FD(moments_of_runs)(s->x + p.at + c * s->grid.inner, p.rows, p.n, p.pitch);
    else if (p.n == COLUMN_TILE)
        FD(moments_of_columns)(of, s->x + p.at, p.rows, COLUMN_TILE, p.pitch);
    else {
        memset(of, 0, (size_t)p.columns * sizeof *of);
        if (p.n > 0) FD(moments_of_columns)(of, s->x + p.at, p.rows, p.n, p.pitch);
    }
}

/* The moments of a channel, from those of its pieces: about the first one's mean, then about the mean of all. */
static FD(moments) FD(moments_of_pieces)(const FD(grid) *g, const FD(moments) *of, int64_t block, int64_t channel) {
    const FD(moments) *first = of + (block * g->pieces * g->columns + channel * g->unit);
    if (g->pieces * g->fold * g->unit == 1) return *first;
    FD(moments) all = {0, first->mean, 0};
    for (int pass = 0; pass < 2; pass++) {
        double count = 0, sum = 0, squares = 0;
        for (int64_t piece = 0; piece < g->pieces * g->fold; piece++)
            for (int64_t u = 0; u < g->unit; u++) {
                const FD(moments) *m = first + piece * g->channels * g->unit + u;
                const double d = m->mean - all.mean;
                if (m->count == 0) continue;
                count += m->count;
                sum += m->count * d;
                squares += m->squares + m->count * d * d;
            }
        all = FD(moments_about)(count, 1 / count, all.mean, sum, squares);
    }
    return all;
}

/* computes  mean[b, g] and var[b, g] of x over outer, channels and inner; var is biased, and nothing has zeros
 * shapes    mean, var (blocks, groups), x (blocks, outer, groups, channels, inner)
 * layout    row-major
 * touches   exactly those elements
 * order     moments_of_runs or moments_of_columns within a piece, then pieces ascending, in double precision
 * source    as moments_of_runs */
static int FD(fd_norm_stats)(void *mean, void *var, const void *x, const fd_norm *plan, int threads) {
    FD(stats) s = {FD(grid_of)(plan->blocks, plan->outer, plan->groups, plan->channels * plan->inner), x, NULL};
    const FD(grid) *g = &s.grid;
    const int64_t sets = plan->blocks * plan->groups;
    if (g->pieces == 0) {
        memset(mean, 0, (size_t)sets * sizeof(T));
        memset(var, 0, (size_t)sets * sizeof(T));
        return FD_OK;
    }
    s.of = fd_alloc((size_t)(g->blocks * g->pieces * g->columns) * sizeof *s.of);
    if (s.of == NULL) return FD_NOMEM;
    const int error = FD(grid_run)(FD(stats_task), &s, g, threads);
    for (int64_t set = 0; set < sets && error == FD_OK; set++) {
        const FD(moments) m = FD(moments_of_pieces)(g, s.of, set / g->channels, set % g->channels);
        ((T *)mean)[set] = (T)m.mean;
        ((T *)var)[set] = (T)(m.squares / m.count);
    }
    fd_free(s.of);
    return error;
}

/* ---- the second pass ------------------------------------------------------------------------------------------- */

/* Forward, to = act(z), z = (x - mean) * scale * gamma + beta. Backward, to = dz * scale * gamma with dz = dy *
 * act'(z), and, unless mean and var are fixed, (x - mean) * slope + offset more. gamma and beta belong to a channel,
 * the others to a set. */
typedef struct {
    const T *mean, *scale, *slope, *offset, *gamma, *beta;
} FD(coefficients);

typedef struct {
    fd_norm plan;
    int backward;
    T *to;
    const T *x, *dy;
    FD(coefficients) of;
    int act;
    T alpha;
    int by_rows, by_columns;
    int64_t length, runs, share; /* of runs and rows: elements, how many, how many a task */
    int64_t width, tiles, piece; /* of columns: elements of a folded row, its tiles, rows a task */
    int64_t pieces;
} FD(norm);

/* Where a column belongs. */
typedef struct {
    int64_t set, channel, i;
} FD(norm_place);

FD_INLINE FD(norm_place) FD(norm_place_of)(const fd_norm *n, int64_t block, int64_t column) {
    const int64_t channel = column / n->inner % (n->groups * n->channels);
    return (FD(norm_place)){block * n->groups + channel / n->channels, channel, column % n->inner};
}

/* The place of the next column. */
FD_INLINE void FD(norm_place_next)(FD(norm_place) *at, const fd_norm *n) {
    if (++at->i < n->inner) return;
    at->i = 0;
    if (++at->channel % n->channels == 0) at->set++;
    if (at->channel == n->groups * n->channels) at->channel = 0, at->set -= n->groups;
}

/* dz, for a gate: an activation whose slope the sign of z says, so that z, made again as forward made it, costs less
 * than memory that holds it. d is x - mean. */
FD_INLINE V FD(through_gate)(V dy, V d, V scale, V gamma, V beta, int gate, V alpha) {
    return gate == FD_LINEAR ? dy : FD(vact_bwd)(dy, vfma(d * scale, gamma, beta), gate, alpha);
}

FD_INLINE int FD(is_gate)(int act) { return act == FD_LINEAR || act == FD_RELU || act == FD_LEAKY_RELU; }

/* call(..., gate) with the gate a constant. */
#define FD_WITH_GATE(call, gate, ...)                            \
    switch (gate) {                                              \
    case FD_RELU: call(__VA_ARGS__, FD_RELU); break;             \
    case FD_LEAKY_RELU: call(__VA_ARGS__, FD_LEAKY_RELU); break; \
    default: call(__VA_ARGS__, FD_LINEAR);                       \
    }

/* n elements with the coefficients k: of sets and of channels either one for all of them, or one for each. The gate is
 * that of the way back. */
FD_INLINE void FD(norm_span)(const FD(norm) *p, int64_t at, int64_t n, FD(coefficients) k, int backward, int through,
                             int each_set, int each_channel, int gate) {
#define ONE(p, used) ((used) ? vset1(*(p)) : VC(0))
#define NEXT(p, one, each, used) ((each) && (used) ? vload_upto((p) + i, left) : (one))
    const int shifted = !backward || gate != FD_LINEAR;
    const V mean_ = ONE(k.mean, 1), scale_ = ONE(k.scale, 1), gamma_ = ONE(k.gamma, 1), beta_ = ONE(k.beta, shifted);
    const V slope_ = ONE(k.slope, through), offset_ = ONE(k.offset, through);
    for (int64_t i = 0, left = n; i < n; i += VL, left -= VL) {
        const V mean = NEXT(k.mean, mean_, each_set, 1), scale = NEXT(k.scale, scale_, each_set, 1);
        const V gamma = NEXT(k.gamma, gamma_, each_channel, 1), beta = NEXT(k.beta, beta_, each_channel, shifted);
        const V d = vload_upto(p->x + at + i, left) - mean;
        V to;
        if (backward)
            to = FD(through_gate)(vload_upto(p->dy + at + i, left), d, scale, gamma, beta, gate, vset1(p->alpha)) *
                 (scale * gamma);
        else
            to = vfma(d * scale, gamma, beta);
        if (through) to += vfma(d, NEXT(k.slope, slope_, each_set, 1), NEXT(k.offset, offset_, each_set, 1));
        vstore_upto(p->to + at + i, to, left);
    }
#undef ONE
#undef NEXT
    if (backward || p->act == FD_LINEAR) return;
    if (p->dy == NULL || !FD(act_keeps_x)(p->act)) FD(act_row)(p->to + at, p->to + at, n, p->act, p->alpha);
    if (p->dy != NULL) FD(act_row_bwd)(p->to + at, p->dy + at, p->to + at, n, p->act, p->alpha);
}

FD_INLINE void FD(norm_share_of_runs)(const FD(norm) *p, int64_t task, int by_rows, int backward, int through,
                                      int gate) {
    const fd_norm *n = &p->plan;
    const FD(coefficients) *k = &p->of;
    const int64_t channels = n->groups * n->channels, end = FD(least)((task + 1) * p->share, p->runs);
    for (int64_t run = task * p->share; run < end; run++) {
        const int64_t block = run / (by_rows ? n->groups : n->outer * channels);
        const int64_t channel = by_rows ? run % n->groups * n->channels : run % channels;
        const int64_t set = block * n->groups + channel / n->channels;
        const FD(coefficients) here = {k->mean + set,   k->scale + set,     k->slope + set,
                                       k->offset + set, k->gamma + channel, k->beta + channel};
        FD(norm_span)(p, run * p->length, p->length, here, backward, through, 0, by_rows, gate);
    }
}

FD_INLINE void FD(norm_share_of_columns)(const FD(norm) *p, int64_t task, T *scratch, int backward, int through,
                                         int gate) {
    const fd_norm *n = &p->plan;
    const int64_t size = n->outer * n->groups * n->channels * n->inner, column = task % p->tiles * WIDE;
    const int64_t block = task / p->tiles / p->pieces, first = task / p->tiles % p->pieces * p->piece;
    const int64_t wide = FD(least)(WIDE, p->width - column);
    T *mean = scratch, *scale = mean + WIDE, *slope = scale + WIDE, *offset = slope + WIDE, *gamma = offset + WIDE;
    T *beta = gamma + WIDE;
    FD(norm_place) at = FD(norm_place_of)(n, block, column);
    for (int64_t c = 0; c < wide; c++, FD(norm_place_next)(&at, n)) {
        mean[c] = p->of.mean[at.set], scale[c] = p->of.scale[at.set];
        gamma[c] = p->of.gamma[at.channel], beta[c] = p->of.beta[at.channel];
        if (through) slope[c] = p->of.slope[at.set], offset[c] = p->of.offset[at.set];
    }
    const FD(coefficients) here = {mean, scale, slope, offset, gamma, beta};
    for (int64_t row = first; row < first + p->piece; row++) {
        const int64_t start = row * p->width + column, length = FD(least)(wide, size - start); /* the last is short */
        if (length <= 0) return;
        FD(norm_span)(p, block * size + start, length, here, backward, through, 1, 1, gate);
    }
}

static void FD(norm_task)(void *arg, int64_t task, void *scratch) {
    const FD(norm) *p = arg;
#define SHARE(backward, through, gate)                                        \
    if (p->by_columns)                                                        \
        FD(norm_share_of_columns)(p, task, scratch, backward, through, gate); \
    else if (p->by_rows)                                                      \
        FD(norm_share_of_runs)(p, task, 1, backward, through, gate);          \
    else                                                                      \
        FD(norm_share_of_runs)(p, task, 0, backward, through, gate)
    if (!p->backward) {
        SHARE(0, 0, FD_LINEAR);
    } else if (p->plan.fixed) {
        FD_WITH_GATE(SHARE, p->act, 1, 0)
    } else {
        FD_WITH_GATE(SHARE, p->act, 1, 1)
    }
#undef SHARE
}

/* Whether the channels of a set are a row, whose elements have one gamma each and one mean. */
FD_INLINE int FD(norm_has_rows)(const fd_norm *n) { return n->outer == 1 && n->inner == 1 && n->channels > 1; }

static int FD(norm_run)(FD(norm) *p, int threads) {
    const fd_norm *n = &p->plan;
    const int64_t row = n->groups * n->channels * n->inner, size = n->blocks * n->outer * row;
    if (size == 0) return FD_OK;
    int64_t tasks;
    p->by_rows = FD(norm_has_rows)(n);
    p->by_columns = !p->by_rows && (n->inner == 1 || (n->outer > 1 && n->inner < 2 * VL));
    if (p->by_columns) {
        p->width = row * FD(most)(1, FD(least)(WIDE / row, n->outer));
        p->tiles = FD(pieces)(p->width, WIDE);
        p->piece = TASK / FD(least)(p->width, WIDE);
        p->pieces = FD(pieces)(FD(pieces)(n->outer * row, p->width), p->piece);
        tasks = n->blocks * p->pieces * p->tiles;
    } else {
        p->length = p->by_rows ? n->channels : n->inner;
        p->runs = size / p->length;
        p->share = FD(most)(1, TASK / p->length);
        tasks = FD(pieces)(p->runs, p->share);
    }
    return fd_parallel(FD(norm_task), p, tasks, 6 * WIDE * sizeof(T), fd_threads_for(size / VL * COPY_WORK, threads));
}

/* 1 / sqrt(var + eps), in double precision and rounded once. */
FD_INLINE T FD(norm_scale)(T var, double eps) { return (T)(1 / sqrt((double)var + eps)); }

static void FD(norm_scales)(T *scale, const T *var, const fd_norm *n) {
    for (int64_t set = 0; set < n->blocks * n->groups; set++) scale[set] = FD(norm_scale)(var[set], n->eps);
}

/* computes  y = act((x - mean) / sqrt(var + eps) * gamma + beta)
 * shapes    y, x (blocks, outer, groups, channels, inner), mean, var (blocks, groups), gamma, beta (groups, channels)
 * layout    row-major
 * touches   exactly those elements
 * order     none
 * source    Ioffe and Szegedy 2015, Batch normalization */
static int FD(fd_norm_apply)(void *y, const void *x, const void *mean, const void *var, const void *gamma,
                             const void *beta, const fd_norm *plan, int act, double alpha, int threads) {
    T *scale = fd_alloc((size_t)(plan->blocks * plan->groups + 1) * sizeof(T));
    if (scale == NULL) return FD_NOMEM;
    FD(norm_scales)(scale, var, plan);
    FD(norm) p = {.plan = *plan, .to = y, .x = x, .act = act, .alpha = (T)alpha};
    p.of = (FD(coefficients)){mean, scale, scale, scale, gamma, beta}; /* slope and offset are not used */
    const int error = FD(norm_run)(&p, threads);
    fd_free(scale);
    return error;
}
