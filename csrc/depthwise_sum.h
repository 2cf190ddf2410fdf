/* depthwise_sum.h: convolution of each channel on its own, forward and with respect to the input, as tap sums (taps.h)
 * along the strands of depthwise.h. The gradient with respect to the input is one sum for each residue of the stride,
 * so no stuffed zero is multiplied; residues of a row, and in NHWC outputs of a channel, are put side by side at the
 * end.
 *
 * Three rows by three columns of NCHW, the commonest window, roll over the rows instead: what is loaded of a row meets
 * the outputs of three rows at once, and each row is stored before the next but one is read.
 *
 * Order of summation: bias; in the gradient the outputs of a channel ascending, in them depths, in them columns (NCHW,
 * unless it rolls) or rows (NHWC) and in them rows or columns, sources ascending; one accumulator an output.
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

#define SWEEP_ASKS (4096 / TBYTES) /* elements of a plane; before smaller ones memory is not waited for */
#define SWEEP_FAR (2 << 20)        /* bytes of all outputs in NHWC; fewer may be in a cache */

/* What a tile reads and writes in the next plane, or, where lanes are channels, row: the processor's own prefetching
 * begins anew with each page, and sees no stream where pixels are further apart than vectors. */
FD_INLINE void FD(sweep_ask)(const FD(sweep) *s, const T *src, const T *to, const int outputs, const int step) {
#pragma GCC unroll 16
    for (int i = 0; i < outputs * step; i++) __builtin_prefetch(src + s->ahead + i * s->pitch);
#pragma GCC unroll 16
    for (int i = 0; i < outputs; i++) __builtin_prefetch(to + s->ahead + i * s->to, 1);
}

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
    const V bias = vload(s->bias + shift);
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
            for (int a = 0; a < taps; a++) weight[a] = vload(w + a * s->weight);
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
                const V weight = vload(w);
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
        for (int q = 0; q < outputs; q++) acc[q] = vselect((I)(acc[q] <= VC(0)), VC(0), acc[q]);
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
                V *const done = &sum[b][oldest];
                if (r->rectified) *done = vselect((I)(*done <= VC(0)), VC(0), *done);
                vstore_upto(to + b * r->apart, *done, sure || vectors > 1 ? VL : r->n);
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
    r.bias = vload(s->bias);
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

/* NCHW: the outputs of one reach, whose weights are w[row * across + column * next ...], where it and columns are three
 * neighbouring taps each. A function of its own: where GCC puts it into its caller, the other windows are slower. */
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

/* out[i * ways + j] = from[j * pitch + i], n elements in all: residues of a stride, or outputs of a channel. */
static void FD(interleave)(T *restrict out, const T *restrict from, int64_t ways, int64_t pitch, int64_t n) {
    for (int64_t i = 0; ways == 2 && i < n; i += 2 * VL) {
        const V a = vload(from + i / 2), b = vload(from + pitch + i / 2);
        vstore_upto(out + i, vinterleave_low(a, b), n - i);
        if (n - i > VL) vstore_upto(out + i + VL, vinterleave_high(a, b), n - i - VL);
    }
    for (int64_t j = 0; ways != 2 && j < ways; j++)
        for (int64_t i = 0; i * ways + j < n; i++) out[i * ways + j] = from[j * pitch + i];
}

/* The activation of n elements of out, where the sweep has not applied it. */
static void FD(activate)(T *out, int64_t n, const FD(depthwise) *g) {
    if (g->act != FD_LINEAR && g->act != FD_RELU) FD(act_row)(out, out, n, g->act, g->alpha);
}

/* NCHW: one band of rows of one channel of the source, and its outputs. */
static void FD(plane_band)(const FD(depthwise) *g, int64_t band_number, void *scratch) {
    const fd_conv *p = g->p;
    const int64_t a = FD(over)(band_number, g->bands), first = (band_number - a * g->bands) * g->rows;
    const int64_t number = FD(over)(a, g->target[0]), depth = a - number * g->target[0];
    const int64_t channel = number % p->in_channels;
    const int64_t last = FD(least)(first + g->rows, g->target[1]), width = g->target[2];
    T *table = scratch, *band = table + g->table, *merge = band + g->band, bias[VL];
    FD(strand) *strands = (FD(strand) *)(merge + g->merge);
    const FD(origin) from = FD(plane_origin)(g, number, depth, first, last, band);
    /* The weights of a channel lie together, whichever pass it is. */
    const T *w = g->w + channel * g->multiplier * g->taps;
    for (int64_t t = 0; t < g->multiplier * g->taps && !g->rolls; t++) vstore(table + t * VL, vset1(w[t]));

    const int64_t ways = g->residues[2], line = ways > 1 ? g->merge_pitch : width;
    const int64_t plane = g->source[1] * g->source[2];
    const int same = g->target[1] == g->source[1] && width == g->source[2] && g->inputs * g->outputs == 1;
    for (int64_t o = 0; o < g->outputs; o++) {
        T *out = g->out + ((number * g->outputs + o) * g->target[0] + depth) * g->target[1] * width + first * width;
        T *to = ways > 1 ? merge : out;
        vstore(bias, vset1(g->bias == NULL ? 0 : g->bias[channel * g->outputs + o]));
        for (int64_t c = 0; c < ways && c < width; c++) {
            FD(sweep) s = {.strand = strands, .w = table, .bias = bias, .rectified = g->act == FD_RELU};
            s.strands = FD(plane_strands)(strands, g, &from, c, o);
            s.lanes = line; /* whole vectors of a row to merge: the next load waits for no part of one */
            s.pitch = from.pitch;
            s.kind = from.kind;
            s.kernel = p->kernel[2] * VL;
            s.to = g->residues[1] * ways * line;
            if (plane >= SWEEP_ASKS && same && from.band == NULL) s.ahead = plane;
            for (int64_t r = 0; r < g->residues[1] && first + r < last; r++) {
                FD(reach) h = g->reach[1][r];
                h.edge += FD(over)(first, g->residues[1]) * h.step - from.low;
                h.outputs = FD(over)(last - first - r + g->residues[1] - 1, g->residues[1]);
                T *rows = to + (r * ways + c) * line;
                if (g->rolls)
                    FD(roll_whole)(rows, &s, &h, w + g->reach[2]->first, g->reach[2]->next, from.high - from.low);
                else if (g->along && s.lanes >= VL)
                    FD(sweep_along)(rows, &s, &h, from.high - from.low);
                else
                    FD(sweep_reach)(rows, &s, &h, from.high - from.low);
            }
        }
        for (int64_t y = 0; y < last - first && ways > 1; y++)
            FD(interleave)(out + y * width, merge + y * ways * line, ways, line, width);
        FD(activate)(out, (last - first) * width, g);
    }
}

/* NCHW: g->share bands, as plane_band counts them. */
static void FD(depthwise_planes_task)(void *arg, int64_t task, void *scratch) {
    const FD(depthwise) *g = arg;
    const int64_t all = g->p->batch * g->p->in_channels * g->target[0] * g->bands;
    for (int64_t i = task * g->share; i < all && i < (task + 1) * g->share; i++) FD(plane_band)(g, i, scratch);
}

/* NHWC: rows first .. last - 1 of one image, all channels. */
static void FD(depthwise_pixels_task)(void *arg, int64_t task, void *scratch) {
    const FD(depthwise) *g = arg;
    const int64_t first = task % g->bands * g->rows, a = task / g->bands, channels = g->p->in_channels;
    const int64_t depth = a % g->target[0], n = a / g->target[0], line = g->target[2] * channels;
    const int64_t last = FD(least)(first + g->rows, g->target[1]), width = line * g->outputs;
    const int64_t kernel = (1 + g->taps) * g->pitch;
    T *band = scratch, *merge = band + g->band;
    T *out = g->out + ((n * g->target[0] + depth) * g->target[1] + first) * width;
    FD(strand) *strands = (FD(strand) *)(merge + g->merge);
    const FD(origin) from = FD(pixel_origin)(g, n, depth, first, last, band);
    const int same = g->target[1] == g->source[1] && g->target[2] == g->source[2] && g->inputs * g->outputs == 1;
    /* A vector is a line of the cache, or too many ask. */
    const int asks = VBYTES == 64 && same && from.band == NULL &&
                     g->p->batch * g->target[0] * g->target[1] * line * TBYTES > SWEEP_FAR;

    for (int64_t y = 0; y < last - first && !fd_stopped(); y++) {
        FD(sweep) s = {.strand = strands, .lanes = channels, .kind = from.kind};
        s.strands = FD(row_strands)(strands, g, &from, first + y);
        s.rectified = g->act == FD_RELU;
        s.pitch = channels;
        s.ahead = asks ? line : 0;
        s.to = g->residues[2] * channels;
        s.kernel = g->pitch;
        for (int64_t o = 0; o < g->outputs; o++) {
            T *to = g->outputs > 1 ? merge + o * line : out + y * width;
            s.w = s.bias = g->w + o * kernel;
            for (int64_t c = 0; c < g->residues[2] && c < g->target[2]; c++)
                FD(sweep_reach)(to + c * channels, &s, &g->reach[2][c], g->source[2]);
        }
        if (g->outputs > 1) FD(interleave)(out + y * width, merge, g->outputs, line, width);
    }
    FD(activate)(out, (last - first) * width, g);
}

/* The weights, each times the scale of its output: NCHW as they lie; NHWC [output of a channel][bias, then
 * taps][lanes], lanes filled up with zeros. */
static void FD(pack_depthwise)(T *to, const FD(depthwise) *g, const T *w, const T *scale) {
    const int64_t channels = g->p->in_channels, multiplier = g->multiplier, all = channels * multiplier;
    const int last = (int)g->p->channels_last;
    for (int64_t c = 0; c < channels; c++)
        for (int64_t m = 0; m < multiplier; m++) {
            const int64_t o = c * multiplier + m;
            const T factor = scale != NULL ? scale[g->backward ? c : o] : 1;
            for (int64_t t = 0; t < g->taps && !last; t++) to[o * g->taps + t] = w[o * g->taps + t] * factor;
            for (int64_t t = 0; t < g->taps && last; t++)
                to[(m * (1 + g->taps) + 1 + t) * g->pitch + c] = w[t * all + o] * factor;
        }
    for (int64_t m = 0; m < multiplier && last; m++)
        for (int64_t c = 0; c < channels && g->bias != NULL; c++)
            to[m * (1 + g->taps) * g->pitch + c] = g->bias[g->backward ? c : c * multiplier + m];
}

/* computes  as fd_conv_fwd, or backward as fd_conv_dx, into *rc, where plan is depthwise and every weight finite;
 *           0 where it is not
 * shapes    out, src: y and x, or dx and dy
 * layout    as fd_conv_fwd
 * touches   every element of out; scratch of DEPTHWISE_BAND_BYTES or four times that a thread where a row allows, and
 *           the packed weights
 * order     see the file's head
 * source    Zhang, Lo and Lu, "High Performance Depthwise and Pointwise Convolutions on Mobile Devices", 2020 */
static int FD(run_depthwise)(int *rc, void *out, const void *src, const void *w, const void *bias, const void *scale,
                             const fd_conv *p, int backward, int act, double alpha, int threads) {
    const int last = (int)p->channels_last;
    if (!FD(is_depthwise)(p)) return 0;
    *rc = FD_OK;
    if (FD(asked)(p, FD_DEPTHWISE)) return 1;
    FD(depthwise) g = {.out = out, .src = src, .bias = bias, .p = p, .backward = backward, .act = act};
    g.alpha = (T)alpha;
    const int64_t taps = p->kernel[0] * p->kernel[1] * p->kernel[2], multiplier = p->out_channels / p->groups;
    const int64_t packed = last ? multiplier * (1 + taps) * FD(whole)(p->in_channels, VL) : p->out_channels * taps;
    T *memory;
    *rc = FD(plan_depthwise)(&g, packed, &memory);
    if (*rc != FD_OK) return 1;
    memset(memory, 0, (size_t)packed * sizeof(T));
    FD(pack_depthwise)(memory, &g, w, scale);
    g.w = memory;
    const int finite = FD(all_finite)(memory, packed);
    const int64_t strands = g.inputs * p->kernel[0] * p->kernel[last ? 1 : 2];
    const int64_t bands = p->batch * (last ? 1 : p->in_channels) * g.target[0] * g.bands;
    const int64_t pixels = g.target[0] * g.target[1] * g.target[2];
    if (finite)
        *rc =
            fd_parallel(last ? FD(depthwise_pixels_task) : FD(depthwise_planes_task), &g, FD(ceil_div)(bands, g.share),
                        (size_t)(g.table + g.band + g.merge) * sizeof(T) + (size_t)strands * sizeof(FD(strand)),
                        fd_threads_for(p->batch * p->out_channels * taps * (pixels / VL + 1), threads));
    fd_free(memory);
    return finite;
}
