/* rows.h: passes over whole arrays: activations, sums by channel, PReLU, dropout. Memory bounds most of them.
 *
 * # Design: a task is about CHUNK elements: whole cache lines, few enough to stay in the level-1 cache where a row is
 * passed over more than once. What sums across tasks gives each its own partial sums, which one tree then adds up:
 * the number of threads has no part in the order.
 */

#define CHUNK ((1 << 14) / TBYTES)
#define COPY_WORK 8 /* of a vector, in the units of fd_threads_for */
#define EXP_WORK 32

FD_INLINE int64_t FD(pieces)(int64_t n, int64_t size) { return (n + size - 1) / size; }

/* ---- elementwise -------------------------------------------------------------------------------------------- */

/* out[i] from a[i] and b[i] for i < n; a row that needs no b gets a twice. */
typedef void FD(map_row)(T *out, const T *a, const T *b, int64_t n, int kind, T param);

typedef struct {
    FD(map_row) *row;
    T *out;
    const T *a, *b;
    int64_t n;
    int kind;
    T param;
} FD(map);

static void FD(map_task)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    const FD(map) *map = arg;
    const int64_t i = task * CHUNK;
    map->row(map->out + i, map->a + i, map->b + i, FD(least)(CHUNK, map->n - i), map->kind, map->param);
}

static int FD(map_run)(FD(map_row) *row, void *out, const void *a, const void *b, int64_t n, int kind, double param,
                       int work, int threads) {
    FD(map) map = {row, out, a, b, n, kind, (T)param};
    return fd_parallel(FD(map_task), &map, FD(pieces)(n, CHUNK), 0, fd_threads_for(n / VL * work, threads));
}

static int FD(act_work)(int act) { return act <= FD_LEAKY_RELU ? COPY_WORK : EXP_WORK; }

static void FD(act_fwd_row)(T *y, const T *x, const T *same, int64_t n, int act, T alpha) {
    (void)same;
    FD(act_pass)(y, x, n, act, alpha);
}

/* computes  y[i] = act(x[i])
 * shapes    y, x (n,)
 * layout    any, the same for both
 * touches   exactly those elements
 * order     none
 * source    vmath.h, vact */
static int FD(fd_act_fwd)(void *y, const void *x, int64_t n, int act, double alpha, int threads) {
    return FD(map_run)(FD(act_fwd_row), y, x, x, n, act, alpha, FD(act_work)(act), threads);
}

/* computes  dx[i] = dy[i] * act'(x[i])
 * shapes    dx, dy, saved (n,); saved is y, or x for gelu, gelu_tanh and silu
 * layout    any, the same for all
 * touches   exactly those elements
 * order     none
 * source    vmath.h, vact_bwd */
static int FD(fd_act_bwd)(void *dx, const void *dy, const void *saved, int64_t n, int act, double alpha, int threads) {
    return FD(map_run)(FD(act_pass_bwd), dx, dy, saved, n, act, alpha, FD(act_work)(act), threads);
}

/* ---- sums by channel ---------------------------------------------------------------------------------------- */

/* Sums over axes 0 and 2 of (outer, channels, inner). A task takes a piece of outer and of inner for a tile of the
 * channels: 256 rows of 256 channels where inner is 1, else 4096 elements of 16 channels. Where inner is 1 and
 * channels are few, several rows are taken for one: `channels` counts them all, and the tree adds up their sums. */
typedef struct {
    T *partial; /* (pieces of outer, pieces of inner, channels) */
    const T *dy, *x;
    int gated; /* what is summed: dy, or dy * x where x <= 0 */
    int64_t outer, channels, inner;
    int64_t ragged; /* elements of a last, shorter row, where several rows are taken for one */
    int64_t outer_piece, channel_tile, inner_piece; /* sizes */
    int64_t channel_tiles, inner_pieces;            /* counts */
} FD(sums);

FD_INLINE V FD(sums_term)(const T *dy, const T *x, int64_t n, int gated) {
    if (!gated) return vload_upto(dy, n);
    V at = vload_upto(x, n);
    return (V)((I)(vload_upto(dy, n) * at) & (I)(at <= VC(0)));
}

/* computes  sum[c] = sum over row of term(dy, x)[row, c]
 * shapes    sum (channels,), dy, x (rows, channels) and one more row (ragged,)
 * layout    row-major, with a pitch
 * touches   exactly those elements
 * order     rows by fours, as (0 + 1) + (2 + 3), then ascending
 * source    none */
FD_INLINE void FD(sum_columns)(T *sum, const T *dy, const T *x, int64_t rows, int64_t channels, int64_t pitch,
                               int64_t ragged, int gated) {
    memset(sum, 0, (size_t)channels * sizeof(T));
    int64_t row = 0;
    for (; row + 4 <= rows; row += 4, dy += 4 * pitch, x += 4 * pitch)
        for (int64_t c = 0, n = channels; c < channels; c += VL, n -= VL) {
            V term[4];
            for (int i = 0; i < 4; i++) term[i] = FD(sums_term)(dy + i * pitch + c, x + i * pitch + c, n, gated);
            vstore_upto(sum + c, vload_upto(sum + c, n) + ((term[0] + term[1]) + (term[2] + term[3])), n);
        }
    for (; row <= rows; row++, dy += pitch, x += pitch)
        for (int64_t c = 0, n = row < rows ? channels : ragged; n > 0; c += VL, n -= VL)
            vstore_upto(sum + c, vload_upto(sum + c, n) + FD(sums_term)(dy + c, x + c, n, gated), n);
}

/* computes  the sum over row and i of term(dy, x)[row, i]
 * shapes    dy, x (rows, n)
 * layout    row-major, with a pitch
 * touches   exactly those elements
 * order     element i of a row into lane i % VL of vector i / VL % 4 (of vector 0 in the row's last, short round)
 * source    none */
FD_INLINE T FD(sum_runs)(const T *dy, const T *x, int64_t rows, int64_t n, int64_t pitch, int gated) {
    V sum[4] = {{0}};
    for (int64_t row = 0; row < rows; row++, dy += pitch, x += pitch) {
        int64_t i = 0;
        for (; i + 4 * VL <= n; i += 4 * VL)
            for (int j = 0; j < 4; j++) sum[j] += FD(sums_term)(dy + i + j * VL, x + i + j * VL, VL, gated);
        for (; i < n; i += VL) sum[0] += FD(sums_term)(dy + i, x + i, n - i, gated);
    }
    return vsum((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

FD_INLINE void FD(sums_piece)(const FD(sums) *s, int64_t piece, int64_t channel, int gated) {
    const int64_t outer = piece / s->inner_pieces * s->outer_piece, inner = piece % s->inner_pieces * s->inner_piece;
    const int64_t rows = FD(least)(s->outer_piece, s->outer - outer);
    const int64_t channels = FD(least)(s->channel_tile, s->channels - channel);
    const int64_t first = (outer * s->channels + channel) * s->inner + inner, pitch = s->channels * s->inner;
    T *sum = s->partial + piece * s->channels + channel;
    if (s->inner == 1) {
        const int64_t ragged = outer + rows == s->outer ? s->ragged : 0;
        FD(sum_columns)(sum, s->dy + first, s->x + first, rows, channels, pitch, ragged, gated);
        return;
    }
    const int64_t n = FD(least)(s->inner_piece, s->inner - inner);
    for (int64_t c = 0; c < channels; c++)
        sum[c] = FD(sum_runs)(s->dy + first + c * s->inner, s->x + first + c * s->inner, rows, n, pitch, gated);
}

static void FD(sums_task)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    const FD(sums) *s = arg;
    const int64_t piece = task / s->channel_tiles, channel = task % s->channel_tiles * s->channel_tile;
    if (s->gated)
        FD(sums_piece)(s, piece, channel, 1);
    else
        FD(sums_piece)(s, piece, channel, 0);
}

/* partial[0] += partial[1 .. pieces-1]: neighbours first, then neighbouring pairs, and so on. */
static void FD(sums_tree)(T *partial, int64_t pieces, int64_t channels) {
    for (int64_t apart = 1; apart < pieces; apart *= 2)
        for (int64_t piece = 0; piece + apart < pieces; piece += 2 * apart) {
            T *to = partial + piece * channels;
            const T *from = to + apart * channels;
            for (int64_t c = 0; c < channels; c++) to[c] += from[c];
        }
}

static int FD(sums_run)(T *sum, const T *dy, const T *x, int gated, int64_t outer, int64_t channels, int64_t inner,
                        int threads) {
    if (channels == 0) return FD_OK;
    if (channels == 1) inner *= outer, outer = 1;
    const int64_t fold = inner == 1 ? FD(most)(1, FD(least)(256 / channels, outer)) : 1;
    FD(sums) s = {sum, dy, x, gated, outer / fold, fold * channels, inner, outer % fold * channels, 256, 256, 1, 1, 1};
    if (inner > 1) {
        s.inner_piece = FD(least)(inner, 4096);
        s.outer_piece = 4096 / s.inner_piece;
        s.channel_tile = 16;
    }
    s.channel_tiles = FD(pieces)(s.channels, s.channel_tile);
    s.inner_pieces = FD(pieces)(inner, s.inner_piece);
    const int64_t pieces = FD(pieces)(s.outer, s.outer_piece) * s.inner_pieces, sums = pieces * fold;
    if (sums == 0) memset(sum, 0, (size_t)channels * sizeof(T));
    if (sums > 1) s.partial = fd_alloc((size_t)(sums * channels) * sizeof(T));
    if (s.partial == NULL) return FD_NOMEM;
    const int64_t work = outer * channels * inner / VL * COPY_WORK;
    const int error = fd_parallel(FD(sums_task), &s, pieces * s.channel_tiles, 0, fd_threads_for(work, threads));
    if (sums > 1) {
        FD(sums_tree)(s.partial, sums, channels);
        memcpy(sum, s.partial, (size_t)channels * sizeof(T));
        fd_free(s.partial);
    }
    return error;
}

/* computes  db[c] = sum over o and i of dy[o, c, i]
 * shapes    db (channels,), dy (outer, channels, inner)
 * layout    row-major
 * touches   exactly those elements
 * order     sum_columns or sum_runs within a piece, sums_tree over the pieces
 * source    Higham 1993, The accuracy of floating point summation */
static int FD(fd_bias_grad)(void *db, const void *dy, int64_t outer, int64_t channels, int64_t inner, int threads) {
    return FD(sums_run)(db, dy, dy, 0, outer, channels, inner, threads);
}

/* ---- PReLU -------------------------------------------------------------------------------------------------- */

/* A run is one channel of one outer index where inner > 1, else all channels of one outer index. */
typedef struct {
    T *out;
    const T *value, *x, *slope;
    int64_t channels, inner, runs, length, share; /* share: runs a task */
} FD(prelu);

static void FD(prelu_task)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    const FD(prelu) *p = arg;
    const int64_t end = FD(least)((task + 1) * p->share, p->runs);
    for (int64_t run = task * p->share; run < end; run++) {
        V slope = vset1(p->slope[p->inner > 1 ? run % p->channels : 0]);
        for (int64_t i = 0; i < p->length; i += VL) {
            const int64_t at = run * p->length + i, n = p->length - i;
            if (p->inner == 1) slope = vload_upto(p->slope + i, n);
            V value = vload_upto(p->value + at, n);
            vstore_upto(p->out + at, vselect((I)(vload_upto(p->x + at, n) <= VC(0)), slope * value, value), n);
        }
    }
}

/* out = slope[c] * value where x <= 0, else value. */
static int FD(prelu_run)(T *out, const T *value, const T *x, const T *slope, int64_t outer, int64_t channels,
                         int64_t inner, int threads) {
    FD(prelu) p = {out, value, x, slope, channels, inner, outer, channels, 1};
    if (inner > 1) p.runs = outer * channels, p.length = inner;
    const int64_t n = outer * channels * inner;
    if (n == 0) return FD_OK;
    p.share = FD(most)(1, CHUNK / p.length);
    return fd_parallel(FD(prelu_task), &p, FD(pieces)(p.runs, p.share), 0, fd_threads_for(n / VL * COPY_WORK, threads));
}

/* computes  y = slope[c] * x where x <= 0, else x
 * shapes    y, x (outer, channels, inner), slope (channels,)
 * layout    row-major
 * touches   exactly those elements
 * order     none
 * source    He et al. 2015, Delving deep into rectifiers */
static int FD(fd_prelu_fwd)(void *y, const void *x, const void *slope, int64_t outer, int64_t channels, int64_t inner,
                            int threads) {
    return FD(prelu_run)(y, x, x, slope, outer, channels, inner, threads);
}

/* computes  dx = slope[c] * dy where x <= 0, else dy; dslope[c] = sum over o and i of dy * x where x <= 0
 * shapes    dx, dy, x (outer, channels, inner), dslope, slope (channels,)
 * layout    row-major
 * touches   exactly those elements
 * order     dslope as bias_grad
 * source    He et al. 2015, Delving deep into rectifiers */
static int FD(fd_prelu_bwd)(void *dx, void *dslope, const void *dy, const void *x, const void *slope, int64_t outer,
                            int64_t channels, int64_t inner, int threads) {
    const int error = FD(prelu_run)(dx, dy, x, slope, outer, channels, inner, threads);
    return error != FD_OK ? error : FD(sums_run)(dslope, dy, x, 1, outer, channels, inner, threads);
}

/* ---- dropout ------------------------------------------------------------------------------------------------ */

typedef struct {
    T *out;
    const T *in;
    uint8_t *mask;
    const uint8_t *kept;
    const float *noise;
    int64_t n;
    float rate;
    T scale;
} FD(dropout);

static void FD(dropout_task)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    const FD(dropout) *d = arg;
    const int64_t first = task * CHUNK, n = FD(least)(CHUNK, d->n - first);
    T *restrict y = d->out + first;
    uint8_t *restrict mask = d->mask + first;
    const T *restrict x = d->in + first, scale = d->scale;
    const float *restrict noise = d->noise + first, rate = d->rate;
    for (int64_t i = 0; i < n; i++) {
        const T scaled = x[i] * scale;
        mask[i] = noise[i] >= rate;
        y[i] = noise[i] >= rate ? scaled : 0;
    }
}

static void FD(dropout_bwd_task)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    const FD(dropout) *d = arg;
    const int64_t first = task * CHUNK, n = FD(least)(CHUNK, d->n - first);
    T *restrict dx = d->out + first;
    const uint8_t *restrict kept = d->kept + first;
    const T *restrict dy = d->in + first, scale = d->scale;
    for (int64_t i = 0; i < n; i++) {
        const T scaled = dy[i] * scale;
        dx[i] = kept[i] ? scaled : 0;
    }
}

static int FD(dropout_run)(fd_task task, FD(dropout) d, int threads) {
    return fd_parallel(task, &d, FD(pieces)(d.n, CHUNK), 0, fd_threads_for(d.n / VL * COPY_WORK, threads));
}

/* computes  mask[i] = noise[i] >= rate, y[i] = x[i] / (1 - rate) where mask[i], else 0
 * shapes    y, x (n,), mask (n,) of uint8, noise (n,) of float32
 * layout    any, the same for all
 * touches   exactly those elements
 * order     none
 * source    Srivastava et al. 2014, Dropout */
static int FD(fd_dropout_fwd)(void *y, uint8_t *mask, const void *x, const float *noise, int64_t n, double rate,
                              int threads) {
    const FD(dropout) d = {y, x, mask, NULL, noise, n, (float)rate, (T)(1 / (1 - rate))};
    return FD(dropout_run)(FD(dropout_task), d, threads);
}

/* computes  dx[i] = dy[i] / (1 - rate) where mask[i], else 0
 * shapes    dx, dy (n,), mask (n,) of uint8
 * layout    any, the same for all
 * touches   exactly those elements
 * order     none
 * source    Srivastava et al. 2014, Dropout */
static int FD(fd_dropout_bwd)(void *dx, const void *dy, const uint8_t *mask, int64_t n, double rate, int threads) {
    const FD(dropout) d = {dx, dy, NULL, mask, NULL, n, (float)rate, (T)(1 / (1 - rate))};
    return FD(dropout_run)(FD(dropout_bwd_task), d, threads);
}
