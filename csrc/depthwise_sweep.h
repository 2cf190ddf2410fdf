/* depthwise_sweep.h: the outputs of one reach of a depthwise convolution, from the strands that meet there.
 *
 * # Design: a sweep holds the sums of as many neighbouring outputs as registers allow, and takes a strand for all of
 * them before the next one. Three rows by three columns of NCHW, the commonest window, roll over the rows instead: what
 * is loaded of a row meets the outputs of three rows at once, and each row is stored before the next but one is read.
 *
 * Order of summation: bias, strands ascending and in them taps; where it rolls, rows and in them columns ascending.
 */

/* Outputs of a sweep that registers hold, at most. Columns one apart gain by more of them; channels, which wait for
 * memory, and second columns, which take twice the sources, do not. */
#define SWEEP_MOST (FD_ISA == FD_AVX512 ? 16 : 8)

typedef struct {
    const FD(strand) *strand;
    const T *w, *bias;
    int64_t strands, lanes;
    int64_t place, source;      /* position of output 0 and its first tap in the source, and positions there */
    int64_t from, skip;         /* added to every strand's src and w */
    int64_t taps, step, spread; /* along the sweep, as in FD(reach) */
    int64_t pitch, weight, to;  /* elements between sources, weights and outputs along it */
    int64_t kernel;             /* elements between the weights of neighbouring taps of the kernel */
    int kind;                   /* what the lanes are; weights and bias differ from channel to channel */
    int rectified;              /* through ReLU */
    int64_t ahead;              /* elements to the next plane, or row, of sources and outputs, if it is asked for */
} FD(sweep);

/* What a tile reads and writes in the next plane, or, where lanes are channels, row: the processor's own prefetching
 * begins anew with each page, and sees no stream where pixels are further apart than vectors. */
FD_INLINE void FD(sweep_ask)(const FD(sweep) *s, const T *src, const T *to, const int outputs, const int step) {
#pragma GCC unroll 16
    for (int i = 0; i < outputs * step; i++) __builtin_prefetch(src + s->ahead + i * s->pitch);
#pragma GCC unroll 16
    for (int i = 0; i < outputs; i++) __builtin_prefetch(to + s->ahead + i * s->to, 1);
}

/* Weights of VL channels, or that of one. */
FD_INLINE V FD(sweep_weight)(const T *w, const int kind) { return kind == LANES_CHANNELS ? vload(w) : vset1(*w); }

/* computes  to[q * s->to + l] = bias[l] + sum over strands and taps a of w[a][l] * src[q * step + a * spread][l]
 * shapes    `count` of `outputs` from `first` on, by n <= VL lanes from `lane` on
 * touches   n lanes of each output; VL lanes of each weight, and of the sources that exist
 * order     strands and then taps ascending, one accumulator an output
 * source    as fd_conv_fwd; taps > 0 and step are constants: they are neighbours, each load serves all that it meets,
 *           and windows may hang over the ends; with 0, all taps of all `outputs` exist */
FD_INLINE void FD(depthwise_tile)(T *to, const FD(sweep) *s, int64_t first, int64_t count, int64_t lane, int64_t n,
                                  const int outputs, const int taps, const int step, const int kind, const int clips) {
    const int64_t shift = kind == LANES_CHANNELS ? lane : 0, pitch = s->pitch, place = s->place + first * s->step;
    const int64_t low = -place, high = s->source - place;
    const V bias = FD(sweep_weight)(s->bias + shift, kind);
    const int64_t first_lane = kind == LANES_SECOND_COLUMNS ? 2 * lane : lane;
    V acc[SWEEP_MOST];
#pragma GCC unroll 16
    for (int q = 0; q < outputs; q++) acc[q] = bias;
    if (s->ahead > 0)
        FD(sweep_ask)(s,
                      s->strand[kind == LANES_CHANNELS ? s->strands - 1 : 0].src + s->from +
                          (place + taps / 2) * pitch + first_lane,
                      to + first * s->to + lane, outputs, step);
    for (int64_t b = 0; b < s->strands; b++) {
        const FD(strand) *strand = &s->strand[b];
        const T *src = strand->src + s->from + place * pitch + first_lane, *w = s->w + strand->w + s->skip + shift;
        const FD(lanes) inside = FD(lanes_of)(vrange(strand->begin - lane, strand->end - lane));
        if (taps > 0) {
            V weight[8];
#pragma GCC unroll 8
            for (int a = 0; a < taps; a++) weight[a] = FD(sweep_weight)(w + a * s->weight, kind);
#pragma GCC unroll 32
            for (int i = 0; i < (outputs - 1) * step + taps; i++, src += pitch) {
                if (clips && (i < low || i >= high)) continue;
                const V v = FD(strand_load)(src, inside, kind);
#pragma GCC unroll 8
                for (int a = 0; a < taps; a++)
                    if (i >= a && (i - a) % step == 0 && (i - a) / step < outputs)
                        acc[(i - a) / step] = FD(strand_add)(weight[a], v, acc[(i - a) / step], inside, kind);
            }
        } else {
            for (int64_t a = 0; a < s->taps; a++, src += s->spread * pitch, w += s->weight) {
                const V weight = FD(sweep_weight)(w, kind);
#pragma GCC unroll 8
                for (int q = 0; q < outputs; q++) {
                    const V v = FD(strand_load)(src + q * s->step * pitch, inside, kind);
                    acc[q] = FD(strand_add)(weight, v, acc[q], inside, kind);
                }
            }
        }
    }
    to += first * s->to + lane;
    if (s->rectified) {
#pragma GCC unroll 16
        for (int q = 0; q < outputs; q++) acc[q] = FD(vact)(acc[q], FD_RELU, (V){0});
    }
    if (n == VL && count == outputs) {
#pragma GCC unroll 16
        for (int q = 0; q < outputs; q++) vstore(to + q * s->to, acc[q]);
        return;
    }
#pragma GCC unroll 16
    for (int q = 0; q < outputs; q++)
        if (q < count) vstore_upto(to + q * s->to, acc[q], n);
}

/* All outputs and lanes. Where the last tile, or vector, would be fewer, it begins early and computes some again, with
 * the same bits, but that a tile of neighbouring taps rather leaves some out. */
FD_INLINE void FD(sweep_as)(T *to, const FD(sweep) *s, int64_t outputs, const int taps, const int step,
                            const int kind) {
    const int most = kind == LANES_COLUMNS && step == 1 ? SWEEP_MOST : 8;
    const int64_t n = FD(least)(s->lanes, VL);
    for (int64_t q = 0, count; q < outputs; q += count) {
        const int64_t left = outputs - q;
        count = taps > 0 ? FD(least)(left, most) : left >= 8 ? 8 : outputs >= 4 ? 4 : 1;
        q = FD(least)(q, outputs - count);
        const int64_t place = s->place + q * step;
        const int inside = place >= 0 && place + (count - 1) * step + taps <= s->source;
        for (int64_t l = 0; l < s->lanes; l += VL) {
            const int64_t lane = FD(least)(l, s->lanes - n);
#define TILE(outputs, clips) FD(depthwise_tile)(to, s, q, count, lane, n, outputs, taps, step, kind, clips)
            if (count == most && taps > 0 && inside)
                TILE(most, 0);
            else if (count > 8 && taps > 0)
                TILE(most, 1);
            else if (count > 4)
                TILE(8, taps > 0);
            else if (count == 4 || taps > 0)
                TILE(4, taps > 0);
            else
                TILE(1, 0);
#undef TILE
        }
    }
}

static void FD(sweep_whole)(T *to, const FD(sweep) *s, int64_t outputs) {
#define SWEEP(taps, step, kind) FD(sweep_as)(to, s, outputs, taps, step, kind)
    FD_WITH_WINDOW(SWEEP, FD(window)(s->taps, s->step, s->spread, s->kind))
#undef SWEEP
}

/* The outputs of one reach over `source` positions, which changes the fields of s that depend on them. */
static void FD(sweep_reach)(T *to, FD(sweep) *s, const FD(reach) *r, int64_t source) {
    if (FD(has_lattices)(r)) {
        for (int64_t i = 0; i < r->spread && i < r->outputs; i++) {
            int64_t first, size = source;
            const FD(reach) lattice = FD(lattice)(r, i, &first, &size);
            FD(sweep) part = *s;
            part.from += first * s->pitch;
            part.pitch *= r->spread;
            part.to *= r->spread;
            FD(sweep_reach)(to + i * s->to, &part, &lattice, size);
        }
        return;
    }
    FD(portion) part = {0};
    s->source = source;
    s->step = r->step;
    s->spread = r->spread;
    s->weight = r->next * s->kernel;
    while (FD(next_portion)(&part, r, source, s->kind)) {
        s->taps = part.taps;
        s->place = part.place;
        s->skip = r->first * s->kernel + part.tap * s->weight;
        FD(sweep_whole)(to + part.output * s->to, s, part.outputs);
    }
}

#define ROLLS_ABREAST (FD_ISA == FD_AVX512 ? 2 : 1) /* vectors of a row: memory is met line by line then */

/* What rolls over the rows of a source: the sums of three outputs, of which each row begins one and ends one. */
typedef struct {
    const T *src; /* of the row of the moment, at the first of three strands */
    T *to;        /* of the output that ends with it */
    int64_t row, rows, low, high, pitch, next, apart, n, ahead;
    int rectified;
    I inside[ROLLS_ABREAST][3]; /* lanes of each strand */
    V weight[9], bias;
} FD(roll);

/* Three rows; `sure`: all exist, and each ends outputs of whole vectors. */
FD_INLINE void FD(roll_rows)(FD(roll) *r, V sum[ROLLS_ABREAST][3], const int vectors, const int sure) {
    const T *src = r->src;
    T *to = r->to;
#pragma GCC unroll 3
    for (int oldest = 0; oldest < 3; oldest++) {
        const int middle = (oldest + 1) % 3, newest = (oldest + 2) % 3;
        if (!sure && r->row + oldest >= r->rows) break;
        if (r->ahead > 0)
#pragma GCC unroll 2
            for (int b = 0; b < vectors; b++) {
                __builtin_prefetch(src + b * r->apart + r->ahead);
                __builtin_prefetch(to + b * r->apart + r->ahead, 1);
            }
        const int exists = sure || (r->row + oldest >= r->low && r->row + oldest < r->high);
#pragma GCC unroll 2
        for (int b = 0; b < vectors; b++) sum[b][newest] = r->bias;
        if (exists)
#pragma GCC unroll 3
            for (int j = 0; j < 3; j++)
#pragma GCC unroll 2
                for (int b = 0; b < vectors; b++) {
                    const V v = vheld(vload_where(src + b * r->apart + j, r->inside[b][j]));
                    sum[b][oldest] = vfma(r->weight[6 + j], v, sum[b][oldest]);
                    sum[b][middle] = vfma(r->weight[3 + j], v, sum[b][middle]);
                    sum[b][newest] = vfma(r->weight[j], v, sum[b][newest]);
                }
        if (sure || r->row + oldest >= 2)
#pragma GCC unroll 2
            for (int b = 0; b < vectors; b++) {
                V y = sum[b][oldest];
                if (r->rectified) y = FD(vact)(y, FD_RELU, (V){0});
                vstore_upto(to + b * r->apart, y, sure || vectors > 1 ? VL : r->n);
            }
        src += r->pitch;
        to += r->next;
        __asm__("" : "+r"(src), "+r"(to)); /* GCC would have a pointer for each of the rows, and no registers left */
    }
    r->src = src;
    r->to = to;
    r->row += 3;
}

/* computes  as depthwise_tile, all outputs of one vector of lanes, or of two
 * shapes    `outputs` by n <= VL lanes from `lane` on, or by two whole vectors, of which the second may begin early;
 *           three strands of neighbouring columns, weights [row][column]
 * touches   n lanes of each output; VL lanes of the sources that exist
 * order     rows and in them columns ascending, one accumulator an output
 * source    as fd_conv_fwd */
FD_INLINE void FD(roll_columns)(T *to, const FD(sweep) *s, const T *weights, int64_t outputs, int64_t lane, int64_t n,
                                const int vectors) {
    FD(roll) r = {.rows = outputs + 2, .low = -s->place, .high = s->source - s->place, .n = n};
    r.src = s->strand->src + s->from + s->place * s->pitch + lane;
    r.to = to + lane - 2 * s->to;
    r.pitch = s->pitch;
    r.next = s->to;
    r.ahead = s->ahead;
    r.rectified = s->rectified;
    r.apart = vectors > 1 ? FD(least)(VL, s->lanes - VL - lane) : 0;
    r.bias = vset1(s->bias[0]);
    V sum[ROLLS_ABREAST][3];
#pragma GCC unroll 9
    for (int t = 0; t < 9; t++) r.weight[t] = vset1(weights[t]);
#pragma GCC unroll 2
    for (int b = 0; b < vectors; b++)
#pragma GCC unroll 3
        for (int j = 0; j < 3; j++) {
            const int64_t first = lane + b * r.apart;
            r.inside[b][j] = vrange(s->strand[j].begin - first, s->strand[j].end - first);
            sum[b][j] = r.bias;
        }
    const int64_t past = n == VL ? FD(least)(r.rows, r.high) : 0;
    while (r.row < r.rows)
        if (r.row >= FD(most)(r.low, 2) && r.row + 3 <= past)
            FD(roll_rows)(&r, sum, vectors, 1);
        else
            FD(roll_rows)(&r, sum, vectors, 0);
}

/* NCHW: the outputs of one reach, where it and columns are three neighbouring taps each: w[row * 3 + column * next],
 * the rows in the order of the reach. A function of its own: where GCC puts it into its caller, the other windows are
 * slower. */
__attribute__((noinline)) static void FD(roll_whole)(T *to, FD(sweep) *s, const FD(reach) *r, const T *w, int64_t next,
                                                     int64_t source) {
    const int64_t n = FD(least)(s->lanes, VL);
    T weights[9];
    for (int64_t t = 0; t < 9; t++) weights[t] = w[(r->first + t / 3 * r->next) * 3 + t % 3 * next];
    s->place = r->edge;
    s->source = source;
    int64_t l = 0;
    for (; ROLLS_ABREAST > 1 && l + VL < s->lanes; l += 2 * VL)
        FD(roll_columns)(to, s, weights, r->outputs, l, VL, ROLLS_ABREAST);
    for (; l < s->lanes; l += VL) FD(roll_columns)(to, s, weights, r->outputs, FD(least)(l, s->lanes - n), n, 1);
}

/* NCHW, a kernel of one row: along the rows of one reach. */
static void FD(sweep_along)(T *to, const FD(sweep) *columns, const FD(reach) *r, int64_t source) {
    FD(sweep) s = *columns;
    s.taps = s.step = s.spread = 1;
    s.lanes = s.pitch = s.to = VL;
    s.source = columns->lanes;
    for (int64_t i = 0; i < r->outputs; i++, to += columns->to) {
        const int64_t y = i * r->step + r->edge;
        if (r->taps == 0 || y < 0 || y >= source) s.strands = 0;
        s.from = y * columns->pitch;
        FD(sweep_whole)(to, &s, columns->lanes / VL);
        s.from += columns->lanes - VL;
        if (columns->lanes % VL > 0) FD(sweep_whole)(to + columns->lanes - VL, &s, 1);
        s.strands = columns->strands;
    }
}
