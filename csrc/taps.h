/* taps.h: what convolution forward and its gradient with respect to the input have in common.
 *
 * # Design: both passes (conv.h) are one thing, a *tap sum* over a lattice of outputs:
 *
 *     out[o, i] = bias[o] + sum over channels c and taps t of w[o, c, t] * src[c, i * step + edge[t]]
 *
 * The forward pass has step = stride and edge = tap * dilation - pad. The gradient with respect to the input is one
 * such sum for each residue of the input coordinate modulo the stride: step = 1, and only the taps that meet that
 * residue. So neither pass, nor a transposed convolution, ever multiplies by a stuffed zero.
 *
 * A task copies one band of the padded source into scratch (bands.h), where each tap of VL neighbouring outputs is VL
 * neighbouring elements at a fixed offset; the micro-kernel of gemm.h reads it there. Where rows are short, vectors run
 * across row ends ("flat") and the lanes between rows are dropped at the store.
 *
 * Order of summation: bias, then channels ascending and in them taps ascending, one accumulator an output.
 */

/* Where the lanes of a tile go: VL neighbours each, the first valid[j] of vector j to to[j] of the first output. */
typedef struct {
    T *to[NV];
    int64_t valid[NV], pitch; /* pitch: from one output to the next */
    int outputs, rectified;   /* rectified: through ReLU */
} FD(target);

FD_INLINE void FD(store)(const FD(target) *target, V acc[MR][NV], int mr, int nv) {
    const V least = vset1(target->rectified ? 0 : -(T)INFINITY);
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++) {
        if (i >= target->outputs) return;
#pragma GCC unroll 4
        for (int j = 0; j < nv; j++)
            vstore_upto(target->to[j] + i * target->pitch, vselect((I)(acc[i][j] <= least), least, acc[i][j]),
                        target->valid[j]);
    }
}

/* computes  out[i][lane of vector j] = bias[i] + sum over c, t of w[c][t][i] * b[j][c * channel + offset[t] + lane]
 * shapes    a (1 + channels * taps, MR) with the bias first; out is target, or where that is NULL tile (rows, vectors *
 *           VL) with pitch NR
 * touches   exactly those elements
 * order     see the file's head
 * source    the micro-kernel of gemm.h with a table of offsets in place of a pitch (indirection: Dukhan 2019) */
static void FD(tap_tile)(T *restrict tile, const FD(target) *target, const T *restrict a, const T *const *b,
                         const FD(tap_sum) *s, int rows, int vectors) {
    const T *columns[NV];
    for (int j = 0; j < NV; j++) columns[j] = b[j < vectors ? j : 0];
    const int64_t *const offset = s->offset, taps = s->taps, past = s->channels * s->channel;
    V acc[MR][NV];
#define KERNEL(mr, nv)                                                                                        \
    FD(begin)(acc, a, mr, nv);                                                                                \
    for (int64_t c = 0; c < past; c += s->channel)                                                            \
        for (int64_t t = 0; t < taps; t++) FD(multiply_add)(acc, a += MR, 1, columns, c + offset[t], mr, nv); \
    if (target != NULL)                                                                                       \
        FD(store)(target, acc, mr, nv);                                                                       \
    else                                                                                                      \
        FD(spill)(tile, NR, acc, mr, nv)
    FD_WITH_TILE(KERNEL, rows, vectors);
#undef KERNEL
}

/* The same with each product left out where the source has no element: inside[j] is not 0 where it has one. Plain,
 * since only a network that has lost its weights to NaN or Inf comes here. */
static void FD(tap_tile_inside)(T *tile, const T *a, const T *const *b, const T *const *inside, const FD(tap_sum) *s,
                                int rows, int vectors) {
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < vectors; j++) {
            const T *weight = a + i;
            V acc = vset1(*weight);
            for (int64_t c = 0; c < s->channels; c++)
                for (int64_t t = 0; t < s->taps; t++) {
                    const V source = vload(b[j] + c * s->channel + s->offset[t]), one = vload(inside[j] + s->offset[t]);
                    acc = vselect((I)(one != 0), vfma(vset1(*(weight += MR)), source, acc), acc);
                }
            vstore(tile + i * NR + j * VL, acc);
        }
}

/* A position in a band as its lanes are walked: row and column, with `pitch` lanes a row. */
typedef struct {
    int64_t row, column, pitch;
} FD(cursor);

/* The next run of lanes of one row, at most `lanes` long; *valid of them are outputs. */
static int64_t FD(next_run)(FD(cursor) *at, int64_t lanes, int64_t columns, int64_t *valid) {
    const int64_t left = at->pitch - at->column, run = FD(least)(lanes, left);
    const int64_t inside = columns - at->column;
    *valid = inside < 0 ? 0 : FD(least)(inside, run);
    at->column += run;
    if (at->column == at->pitch) {
        at->column = 0;
        at->row++;
    }
    return run;
}

/* out[lane] = tile[lane] for the outputs among a tile's lanes; out points at the band's first output. */
static void FD(store_tile)(T *out, const T *tile, const FD(tap_sum) *s, FD(cursor) *at, int64_t rows, int64_t columns,
                           int outputs, int vectors) {
    const int64_t sh = s->out_s[1], sw = s->out_s[2];
    for (int64_t lane = 0, run; lane < vectors * VL && at->row < rows; lane += run) {
        int64_t valid;
        T *first = out + at->row * sh + at->column * sw;
        const int64_t rest = VL - lane % VL;
        run = FD(next_run)(at, rest, columns, &valid);
        if (valid == 0) continue;
        for (int i = 0; i < outputs; i++) {
            T *to = first + i * s->out_c;
            const T *from = tile + i * NR + lane;
            vstore_step(to, vload_upto(from, valid), sw, valid);
        }
    }
}

static void FD(tap_sum_task)(void *arg, int64_t task, void *scratch) {
    const FD(tap_sum) *s = arg;
    const int64_t column = task % s->column_bands * s->columns, a = task / s->column_bands;
    const int64_t row = a % s->row_bands * s->rows, b = a / s->row_bands;
    const int64_t depth = b % s->axis[0].lattice, c = b / s->axis[0].lattice;
    const int64_t group = c % s->groups, n = c / s->groups;
    int64_t rows = FD(least)(s->axis[1].lattice - row, s->rows);
    int64_t columns = FD(least)(s->axis[2].lattice - column, s->columns);
    FD(join_rows)(s, &rows, &columns);
    const int64_t pitch = FD(lane_pitch)(s, rows, columns), flat = pitch == s->pitch && rows > 1;
    const int64_t lanes = flat ? (rows - 1) * pitch + columns : rows * pitch;
    const int64_t vectors = FD(ceil_div)(lanes, VL), panels = FD(ceil_div)(s->outputs, MR);
    const int64_t depth_of_panel = (1 + s->channels * s->taps) * MR;
    const int direct = !flat && s->out_s[2] == 1 && !s->masked && (s->act == FD_LINEAR || s->act == FD_RELU);
    const T *panel = s->panels + group * panels * depth_of_panel;
    T *out = s->out + n * s->out_n + group * s->outputs * s->out_c + depth * s->out_s[0] + row * s->out_s[1] +
             column * s->out_s[2];
    T tile[MR * NR] __attribute__((aligned(64)));

    FD(copy_band)(scratch, s, n, group * s->channels, s->channels, depth, row, column);
    const T *inside = (const T *)scratch + FD(band_size)(s, s->channels);
    if (s->masked) {
        const T one = 1;
        FD(tap_sum) ones = *s;
        ones.src = &one;
        ones.src_n = ones.src_c = ones.src_s[0] = ones.src_s[1] = ones.src_s[2] = 0;
        FD(copy_band)((T *)scratch + FD(band_size)(s, s->channels), &ones, 0, 0, 1, depth, row, column);
    }
    for (int64_t first = 0; first < s->outputs && !fd_stopped();
         first += MR, panel += depth_of_panel, out += MR * s->out_c) {
        const int outputs = (int)FD(least)(s->outputs - first, MR);
        FD(cursor) at = {0, 0, pitch};
        int64_t r = 0, q = 0; /* of a vector, where it begins anew with each row */
        for (int64_t v = 0; v < vectors; v += NV) {
            const int count = (int)FD(least)(vectors - v, NV);
            const T *sources[NV] = {0}, *insides[NV] = {0};
            FD(target) target = {.pitch = s->out_c, .outputs = outputs, .rectified = s->act == FD_RELU};
            for (int j = 0; j < count; j++) {
                const int64_t start = flat ? (v + j) * VL : r * s->pitch + q;
                sources[j] = (const T *)scratch + start;
                insides[j] = inside + start;
                target.to[j] = out + r * s->out_s[1] + q;
                target.valid[j] = columns - q;
                q += VL;
                if (q == pitch) q = 0, r++;
            }
            if (direct) {
                FD(tap_tile)(tile, &target, panel, sources, s, outputs, count);
                continue;
            }
            if (s->masked)
                FD(tap_tile_inside)(tile, panel, sources, insides, s, outputs, count);
            else
                FD(tap_tile)(tile, NULL, panel, sources, s, outputs, count);
            if (s->act != FD_LINEAR)
                for (int i = 0; i < outputs; i++)
                    FD(act_row)(tile + i * NR, tile + i * NR, count * VL, s->act, s->alpha);
            FD(store_tile)(out, tile, s, &at, rows, columns, outputs, count);
        }
    }
}

/* A view of the weights: w[(group * outputs + o) * out + c * in + t * tap], plus group * group_in for the inputs. Where
 * there is a scale, each is multiplied by that of its output. */
typedef struct {
    const T *w, *bias, *scale;
    const FD(tap_sum) *s;
    T *panels;
    int64_t group, out, in, tap, kernel[3];
    int finite;
} FD(weights);

/* Note in v where one of n packed weights is not finite. */
static void FD(check_weights)(FD(weights) *v, const T *packed, int64_t n) {
    V check = {0};
    for (int64_t i = 0; i < n; i += VL) check += vload_upto(packed + i, n - i) * (V){0};
    if (!(vsum(check) == 0)) __atomic_store_n(&v->finite, 0, __ATOMIC_RELAXED);
}

/* The weights of some outputs of a group: to[c][tap][i] is that of output first + i, and 0 for outputs <= i < width. */
static void FD(pack_panel)(T *to, FD(weights) *v, const FD(tap_sum) *s, int64_t group, int64_t first, int64_t outputs,
                           int64_t width) {
    const FD(axis) *d = &s->axis[0], *h = &s->axis[1], *w = &s->axis[2];
    const T *from = v->w + group * v->group + first * v->out;
    const int64_t depth = s->channels * s->taps, all_taps = v->kernel[0] * v->kernel[1] * v->kernel[2];
    if (v->tap == 1 && v->in == s->taps && s->taps == all_taps) /* [c][tap] lies as it is wanted */
        FD(pack)(to, from, v->out, 1, outputs, depth, width);
    else if (all_taps == 1)
        FD(pack)(to, from, v->out, v->in, outputs, depth, width);
    else
        for (int64_t c = 0, k = 0; c < s->channels; c++)
            for (int64_t a = 0; a < d->taps; a++)
                for (int64_t b = 0; b < h->taps; b++)
                    for (int64_t e = 0; e < w->taps; e++, k++) {
                        const int64_t t = (d->tap[a] * v->kernel[1] + h->tap[b]) * v->kernel[2] + w->tap[e];
                        for (int64_t i = 0; i < width; i++)
                            to[k * width + i] = i < outputs ? from[c * v->in + t * v->tap + i * v->out] : (T)0;
                    }
    for (int64_t k = 0; v->scale != NULL && k < depth; k++)
        for (int64_t i = 0; i < outputs; i++) to[k * width + i] *= v->scale[group * s->outputs + first + i];
    FD(check_weights)(v, to, depth * width);
}

static void FD(pack_weights)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    FD(weights) *v = arg;
    const FD(tap_sum) *s = v->s;
    const int64_t count = FD(ceil_div)(s->outputs, MR), group = task / count, first = task % count * MR;
    const int64_t outputs = FD(least)(s->outputs - first, MR);
    T *to = v->panels + task * (1 + s->channels * s->taps) * MR;
    for (int64_t i = 0; i < MR; i++)
        *to++ = v->bias != NULL && i < outputs ? v->bias[group * s->outputs + first + i] : (T)0;
    FD(pack_panel)(to, v, s, group, first, outputs, MR);
}

/* The strides of w, and of dw. */
static void FD(forward_weights)(FD(weights) *v, const FD(tap_sum) *s, int64_t taps, const fd_conv *p) {
    v->out = p->channels_last ? 1 : s->channels * taps;
    v->in = p->channels_last ? p->out_channels : taps;
    v->tap = p->channels_last ? s->channels * p->out_channels : 1;
    v->group = s->outputs * v->out;
}
