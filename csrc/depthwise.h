/* depthwise.h: what the passes of a convolution of each channel on its own have in common: where a tap finds its
 * source.
 *
 * # Design: with one source channel an output there is nothing to share but the source itself, so the inner kernels
 * (depthwise_sum.h, depthwise_dw.h) sweep along one axis and keep neighbouring outputs in registers: what they load
 * meets every tap of that axis. Taps on the other axes are strands of the sweep.
 *
 *   layout   lanes of a vector      axis of the sweep   strands
 *   NCHW     columns of one row     rows                the rows, shifted by a column tap
 *   NHWC     channels of one pixel  columns             rows
 *
 * The source is read where it lies. Where the vectors of a plane would leave the array, or lanes are more than two
 * elements apart, a band of it is copied into scratch first: NCHW split by stride, NHWC one output of a channel apart.
 * What lies outside the source is left out, or met as zeros, and both are the same where weights, or dy, are finite;
 * where they are not, the kernels of conv.h and conv_dw.h compute the convolution.
 */

#define DEPTHWISE_BAND_BYTES (16 * 1024) /* of the source a task in NCHW: it stays in the level-1 cache; NHWC: four */
#define DEPTHWISE_MOST 4                 /* outputs a channel: more of them share their loads better in conv.h */

/* The taps that meet outputs r, r + residues, r + 2 * residues ... of an axis, sources ascending: tap first + a * next
 * of output i meets source i * step + edge + a * spread. */
typedef struct {
    int64_t outputs, taps, first, next, edge, spread, step;
} FD(reach);

static FD(reach) FD(reach_of)(const fd_conv *p, int axis, int64_t residue, int backward) {
    const int64_t stride = p->stride[axis], dilation = p->dilation[axis], pad = p->pad[axis];
    if (!backward)
        return (FD(reach)){.outputs = p->out[axis],
                           .taps = p->kernel[axis],
                           .next = 1,
                           .edge = -pad,
                           .spread = dilation,
                           .step = stride};
    FD(reach) r = {.outputs = FD(ceil_div)(p->in[axis] - residue, stride), .spread = 1, .step = 1};
    for (int64_t t = 0; t < p->kernel[axis]; t++) {
        const int64_t source = residue + pad - t * dilation;
        if (source % stride != 0) continue;
        if (r.taps++ > 0) {
            r.next = r.first - t;
            r.spread = r.edge - source / stride;
        }
        r.first = t;
        r.edge = source / stride;
    }
    return r;
}

/* What the lanes of a sweep are: the channels of a pixel, or columns, 1 or 2 elements apart in the source. */
#define LANES_CHANNELS 0
#define LANES_COLUMNS 1
#define LANES_SECOND_COLUMNS 2

/* Windows whose taps are neighbours and which the sweeps know as constants: call(taps, step, lanes), or taps 0 for any
 * other. */
FD_INLINE int64_t FD(window)(int64_t taps, int64_t step, int64_t spread, int lanes) {
    return taps > 7 || step > 2 || spread != 1 ? lanes : taps * 16 + step * 4 + lanes;
}

#define FD_WINDOW(call, taps, step, lanes) \
    case taps * 16 + step * 4 + lanes: call(taps, step, lanes); break;
#define FD_WITH_WINDOW(call, window)  \
    switch (window) {                 \
        FD_WINDOW(call, 1, 1, 0)      \
        FD_WINDOW(call, 2, 1, 0)      \
        FD_WINDOW(call, 3, 1, 0)      \
        FD_WINDOW(call, 5, 1, 0)      \
        FD_WINDOW(call, 7, 1, 0)      \
        FD_WINDOW(call, 3, 2, 0)      \
        FD_WINDOW(call, 5, 2, 0)      \
        FD_WINDOW(call, 1, 1, 1)      \
        FD_WINDOW(call, 2, 1, 1)      \
        FD_WINDOW(call, 3, 1, 1)      \
        FD_WINDOW(call, 5, 1, 1)      \
        FD_WINDOW(call, 7, 1, 1)      \
        FD_WINDOW(call, 3, 2, 2)      \
        FD_WINDOW(call, 5, 2, 2)      \
    default:                          \
        switch ((window) % 4) {       \
        case 0: call(0, 0, 0); break; \
        case 1: call(0, 0, 1); break; \
        default: call(0, 0, 2);       \
        }                             \
    }

/* Taps further apart than outputs are neighbours on a lattice of every spread-th position: whether r has such lattices,
 * one for each of its first `spread` outputs. */
static int FD(has_lattices)(const FD(reach) *r) { return r->step == 1 && r->spread > 1 && r->taps > 0; }

/* The lattice of output `number` of r, and its first position and size in a source of *size positions. */
static FD(reach) FD(lattice)(const FD(reach) *r, int64_t number, int64_t *first, int64_t *size) {
    FD(reach) part = *r;
    const int64_t edge = r->edge + number;
    *first = (edge % r->spread + r->spread) % r->spread;
    *size = FD(ceil_div)(*size - *first, r->spread);
    part.outputs = FD(ceil_div)(r->outputs - number, r->spread);
    part.edge = (edge - *first) / r->spread;
    part.spread = 1;
    return part;
}

/* Neighbouring outputs of a reach that one sweep computes: all, where it knows the window; else those whose window lies
 * inside the source, or one. place: where the first of the taps finds its source. */
typedef struct {
    int64_t output, outputs, tap, taps, place;
} FD(portion);

static int FD(knows)(const FD(reach) *r, int lanes) {
#define KNOWN(taps, step, lanes) known = (taps) > 0
    int known;
    FD_WITH_WINDOW(KNOWN, FD(window)(r->taps, r->step, r->spread, lanes))
#undef KNOWN
    return known;
}

/* The next portion over `source` positions, beginning from zeros; 0 past the last one. */
static int FD(next_portion)(FD(portion) *part, const FD(reach) *r, int64_t source, int lanes) {
    part->output += part->outputs;
    if (part->output >= r->outputs) return 0;
    const int64_t place = part->output * r->step + r->edge;
    if (part->output == 0 && FD(knows)(r, lanes)) {
        *part = (FD(portion)){.outputs = r->outputs, .taps = r->taps, .place = place};
        return 1;
    }
    part->tap = FD(least)(FD(most)(FD(ceil_div)(-place, r->spread), 0), r->taps);
    part->taps = FD(most)(FD(least)(FD(ceil_div)(source - place, r->spread), r->taps) - part->tap, 0);
    part->place = part->taps > 0 ? place + part->tap * r->spread : 0;
    part->outputs = 1;
    if (part->taps == r->taps) {
        const int64_t past = FD(ceil_div)(source - r->edge - (r->taps - 1) * r->spread, r->step);
        part->outputs = FD(most)(FD(least)(past, r->outputs) - part->output, 1);
    }
    return 1;
}

/* A run of source elements along the sweep, and where the weights, or sums, of its taps begin. In lanes other than
 * begin .. end - 1, which are counted from output lane 0, it holds zeros, whatever lies there. */
typedef struct {
    const T *src;
    int64_t w, begin, end;
} FD(strand);

/* Which lanes of a vector are inside the source. AVX-512 leaves the others out of an addition at no cost; elsewhere
 * they are loaded as zeros. */
#if FD_ISA == FD_AVX512 && TBYTES == 4
typedef __mmask16 FD(lanes);
#elif FD_ISA == FD_AVX512
typedef __mmask8 FD(lanes);
#else
typedef I FD(lanes);
#endif

FD_INLINE FD(lanes) FD(lanes_of)(I inside) {
#if FD_ISA == FD_AVX512 && TBYTES == 4
    return _mm512_movepi32_mask((__m512i)inside);
#elif FD_ISA == FD_AVX512
    return _mm512_movepi64_mask((__m512i)inside);
#else
    return inside;
#endif
}

/* v, for strand_add. */
FD_INLINE V FD(strand_inside)(V v, FD(lanes) inside) {
#if FD_ISA == FD_AVX512
    (void)inside;
    return v;
#else
    return (V)((I)v & inside);
#endif
}

/* VL lanes of a source, for strand_add; channels are all inside. */
FD_INLINE V FD(strand_load)(const T *src, FD(lanes) inside, int kind) {
    const V v = kind == LANES_SECOND_COLUMNS ? vload_step(src, 2, VL) : vload(src);
    return vheld(kind == LANES_CHANNELS ? v : FD(strand_inside)(v, inside));
}

/* acc + weight * v where v is inside. */
FD_INLINE V FD(strand_add)(V weight, V v, V acc, FD(lanes) inside, int kind) {
#if FD_ISA == FD_AVX512 && TBYTES == 4
    if (kind != LANES_CHANNELS) return (V)_mm512_mask3_fmadd_ps((__m512)weight, (__m512)v, (__m512)acc, inside);
#elif FD_ISA == FD_AVX512
    if (kind != LANES_CHANNELS) return (V)_mm512_mask3_fmadd_pd((__m512d)weight, (__m512d)v, (__m512d)acc, inside);
#else
    (void)inside, (void)kind;
#endif
    return vfma(weight, v, acc);
}

typedef struct {
    T *out;
    const T *src, *w, *bias; /* w: packed, see pack_depthwise */
    const fd_conv *p;
    int backward, act;
    T alpha;
    int64_t multiplier, taps;           /* outputs a channel; of the whole kernel */
    int64_t inputs, outputs;            /* source channels an output, and outputs a source channel */
    const int64_t *source, *target;     /* sizes of the source and of out */
    int64_t residues[3];                /* of each axis of out */
    FD(reach) *reach[3];                /* of each residue */
    int64_t rows, bands, share;         /* rows of out a band; bands a task, or in dw channels */
    int64_t pitch;                      /* NHWC: lanes of w */
    int64_t apart;                      /* NCHW: elements between the sources of two lanes */
    int64_t before, after;              /* elements that vectors may reach beyond a plane, or the last pixel of NHWC */
    int along;                          /* NCHW: the sweep goes along a row, from vector to vector */
    int plain;                          /* NCHW: a band is a plane, and has one reach, in every axis */
    int rolls;                          /* NCHW: three rows of three columns, see depthwise_sweep.h */
    int halves;                         /* NCHW: the same with stride 2, see depthwise_halve.h */
    int copied;                         /* the source always goes through scratch */
    int64_t phases, columns, left;      /* NCHW scratch is [row][phase][column]; left: the first source column */
    int64_t merge_pitch;                /* elements of a row to merge */
    int64_t height, table, band, merge; /* of scratch: rows of source; elements of sums (dw), source, rows to merge */
} FD(depthwise);

/* The source of one task. */
typedef struct {
    const FD(reach) *depth;
    int64_t z, low, high; /* where the first depth tap finds its source; rows that are met */
    const T *image;       /* the plane, or image, at depth 0 */
    T *band;              /* its copy, or NULL */
    int64_t pitch;        /* from one place of the sweep to the next */
    int kind;             /* of lanes */
} FD(origin);

/* Source coordinates [*low, *high) that outputs first .. last of an axis meet, whether they exist or not. */
static void FD(depthwise_span)(const FD(depthwise) *g, int axis, int64_t first, int64_t last, int64_t *low,
                               int64_t *high) {
    const fd_conv *p = g->p;
    const int64_t stride = p->stride[axis], window = (p->kernel[axis] - 1) * p->dilation[axis], pad = p->pad[axis];
    *low = g->backward ? FD(ceil_div)(first + pad - window, stride) : first * stride - pad;
    *high = g->backward ? FD(ceil_div)(last + pad + 1, stride) : last * stride - pad + window + 1;
}

/* The same of rows, those that exist. */
static void FD(depthwise_rows)(const FD(depthwise) *g, int64_t first, int64_t last, int64_t *low, int64_t *high) {
    FD(depthwise_span)(g, 1, first, last, low, high);
    *low = FD(least)(FD(most)(*low, 0), g->source[1]);
    *high = FD(most)(FD(least)(*high, g->source[1]), *low);
}

/* NCHW: scratch = rows low .. high - 1 of a plane as [row][phase][column], with zeros at both sides. */
static void FD(copy_plane)(T *scratch, const FD(depthwise) *g, const T *plane, int64_t low, int64_t high) {
    const int64_t width = g->source[2], step = g->phases, columns = g->columns;
    for (int64_t y = low; y < high; y++)
        for (int64_t f = 0; f < step; f++, scratch += columns) {
            const int64_t shift = g->left * step + f; /* the source column of the first one */
            const int64_t begin = FD(least)(FD(most)(FD(ceil_div)(-shift, step), 0), columns);
            const int64_t end = FD(most)(FD(least)(FD(ceil_div)(width - shift, step), columns), begin);
            const T *from = plane + y * width + (begin < end ? shift + begin * step : 0);
            FD(copy_row)(scratch, from, step, begin, end, columns);
        }
}

/* NHWC: scratch = `count` rows of the source as [input][row][pixels and channels]. */
static void FD(copy_lines)(T *scratch, const FD(depthwise) *g, const T *rows, int64_t count) {
    const int64_t line = g->source[2] * g->p->in_channels;
    for (int64_t m = 0; m < g->inputs; m++)
        for (int64_t y = 0; y < count; y++)
            FD(copy_row)(scratch + (m * g->height + y) * line, rows + y * line * g->inputs + m, g->inputs, 0, line,
                         line);
}

/* Copy what a task meets, where it is to be copied. */
static void FD(copy_origin)(const FD(depthwise) *g, const FD(origin) *from) {
    const int last = (int)g->p->channels_last;
    const int64_t row = last ? g->source[2] * g->p->in_channels * g->inputs : g->source[2];
    const int64_t depth = g->source[1] * row, image = g->source[0] * depth;
    for (int64_t t = 0; t < from->depth->taps && from->band != NULL; t++) {
        const int64_t z = from->z + t * from->depth->spread;
        if (z < 0 || z >= g->source[0]) continue;
        if (last)
            FD(copy_lines)(from->band + t * g->height * row, g, from->image + z * depth + from->low * row,
                           from->high - from->low);
        for (int64_t m = 0; m < g->inputs && !last; m++)
            FD(copy_plane)(from->band + (t * g->inputs + m) * g->height * from->pitch, g,
                           from->image + m * image + z * depth, from->low, from->high);
    }
}

/* NCHW: the strands of column residue c, for output `output` of a channel; their number. Row 0 is row from->low. */
static int64_t FD(plane_strands)(FD(strand) *strands, const FD(depthwise) *g, const FD(origin) *from, int64_t c,
                                 int64_t output) {
    const fd_conv *p = g->p;
    const FD(reach) *v = &g->reach[2][c];
    const int64_t plane = g->source[1] * g->source[2];
    int64_t count = 0;
    for (int64_t m = 0; m < g->inputs; m++)
        for (int64_t t = 0; t < from->depth->taps; t++) {
            const int64_t z = from->z + t * from->depth->spread;
            if (z < 0 || z >= g->source[0]) continue;
            const int64_t kernel = (m + output) * p->kernel[0] + from->depth->first + t * from->depth->next;
            for (int64_t j = 0; j < v->taps; j++, count++) {
                FD(strand) *strand = &strands[count];
                const int64_t edge = v->edge + j * v->spread;
                strand->w = kernel * p->kernel[1] * p->kernel[2] + v->first + j * v->next;
                if (from->band != NULL) {
                    const int64_t phase = (edge % g->phases + g->phases) % g->phases;
                    strand->src = from->band + (t * g->inputs + m) * g->height * from->pitch + phase * g->columns +
                                  (edge - phase) / g->phases - g->left;
                    strand->begin = 0;
                    strand->end = v->outputs;
                } else {
                    strand->src = from->image + (m * g->source[0] + z) * plane + from->low * g->source[2] + edge;
                    /* divided by 1 or 2 and rounded up */
                    strand->begin = (-edge + g->apart - 1) >> (g->apart - 1);
                    strand->end = (g->source[2] - edge + g->apart - 1) >> (g->apart - 1);
                }
            }
        }
    return count;
}

/* NHWC: the strands of a row of out; their number. */
static int64_t FD(row_strands)(FD(strand) *strands, const FD(depthwise) *g, const FD(origin) *from, int64_t row) {
    const fd_conv *p = g->p;
    const FD(reach) *d = from->depth, *h = &g->reach[1][row % g->residues[1]];
    const int64_t place = row / g->residues[1] * h->step + h->edge, line = g->source[2] * p->in_channels;
    int64_t count = 0;
    for (int64_t m = 0; m < g->inputs; m++)
        for (int64_t t = 0; t < d->taps; t++)
            for (int64_t i = 0; i < h->taps; i++) {
                const int64_t z = from->z + t * d->spread, y = place + i * h->spread;
                if (z < 0 || z >= g->source[0] || y < 0 || y >= g->source[1]) continue;
                const int64_t tap = (d->first + t * d->next) * p->kernel[1] + h->first + i * h->next;
                FD(strand) *strand = &strands[count++];
                strand->src = from->band != NULL ? from->band + ((t * g->inputs + m) * g->height + y - from->low) * line
                                                 : from->image + (z * g->source[1] + y) * line;
                strand->w = (m * (1 + g->taps) + 1 + tap * p->kernel[2]) * g->pitch;
                strand->begin = 0;
                strand->end = p->in_channels;
            }
    return count;
}

/* a / b, most often of one: a division takes long where it is done for each small plane. */
FD_INLINE int64_t FD(over)(int64_t a, int64_t b) { return b == 1 ? a : a / b; }

/* NCHW: what rows first .. last - 1 of out, at depth `depth`, meet of image and channel number `number`; copied to band
 * where it has to be. */
static FD(origin)
    FD(plane_origin)(const FD(depthwise) *g, int64_t number, int64_t depth, int64_t first, int64_t last, T *band) {
    const int64_t turn = FD(over)(depth, g->residues[0]);
    const FD(reach) *d = &g->reach[0][depth - turn * g->residues[0]];
    const int64_t size = g->inputs * g->source[0] * g->source[1] * g->source[2], begin = number * size;
    const int64_t all = g->p->batch * g->p->in_channels * size;
    FD(origin) from = {.depth = d, .z = turn * d->step + d->edge, .image = g->src + begin};
    FD(depthwise_rows)(g, first, last - 1, &from.low, &from.high);
    if (g->copied || begin < g->before || begin + size + g->after > all) from.band = band;
    from.pitch = from.band != NULL ? g->phases * g->columns : g->source[2];
    from.kind = from.band == NULL && g->apart == 2 ? LANES_SECOND_COLUMNS : LANES_COLUMNS;
    FD(copy_origin)(g, &from);
    return from;
}

/* NHWC: the same of image n. */
static FD(origin)
    FD(pixel_origin)(const FD(depthwise) *g, int64_t n, int64_t depth, int64_t first, int64_t last, T *band) {
    const FD(reach) *d = &g->reach[0][depth % g->residues[0]];
    const int64_t line = g->inputs * g->p->in_channels * g->source[2], size = g->source[0] * g->source[1] * line;
    FD(origin) from = {.depth = d, .z = depth / g->residues[0] * d->step + d->edge, .image = g->src + n * size};
    FD(depthwise_rows)(g, first, last - 1, &from.low, &from.high);
    /* A vector of the last pixel that is met ends so far into this image, or the next. */
    const int64_t z = FD(least)(from.z + (d->taps - 1) * d->spread, g->source[0] - 1);
    const int64_t end = (z * g->source[1] + from.high) * line + g->after;
    if (g->copied || n * size + end > g->p->batch * size) from.band = band;
    from.pitch = g->p->in_channels;
    from.kind = LANES_CHANNELS;
    FD(copy_origin)(g, &from);
    return from;
}

/* The activation of n elements of out, where the sweep has not applied it. */
static void FD(activate)(T *out, int64_t n, const FD(depthwise) *g) {
    if (g->act != FD_LINEAR && g->act != FD_RELU) FD(act_row)(out, out, n, g->act, g->alpha);
}

/* ---- the plan ------------------------------------------------------------------------------------------------- */

static int FD(is_depthwise)(const fd_conv *p) {
    return p->groups > 1 && p->groups == p->in_channels && p->out_channels <= DEPTHWISE_MOST * p->groups;
}

/* Whether all outputs of an axis meet three neighbours. */
static int FD(three)(const FD(reach) *r, int64_t residues) {
    return residues == 1 && r->taps == 3 && r->step == 1 && r->spread == 1;
}

/* Sizes of axes, tasks and scratch; functions of the sizes only. FD_NOMEM where *memory cannot be had: `extra` elements
 * and after them the reaches. The caller frees it. */
static int FD(plan_depthwise)(FD(depthwise) *g, int64_t extra, T **memory) {
    const fd_conv *p = g->p;
    const int last = (int)p->channels_last;
    g->multiplier = p->out_channels / p->groups;
    g->taps = p->kernel[0] * p->kernel[1] * p->kernel[2];
    g->inputs = g->backward ? g->multiplier : 1;
    g->outputs = g->backward ? 1 : g->multiplier;
    g->source = g->backward ? p->out : p->in;
    g->target = g->backward ? p->in : p->out;
    g->pitch = FD(whole)(p->in_channels, VL);
    int64_t reaches = 0;
    for (int i = 0; i < 3; i++) {
        g->residues[i] = g->backward ? p->stride[i] : 1;
        reaches += FD(least)(g->residues[i], g->target[i]);
    }
    extra = FD(whole)(extra, VL);
    *memory = fd_alloc((size_t)extra * sizeof(T) + (size_t)reaches * sizeof(FD(reach)));
    if (*memory == NULL) return FD_NOMEM;
    FD(reach) *reach = (FD(reach) *)(*memory + extra);
    for (int i = 0; i < 3; i++) {
        g->reach[i] = reach;
        for (int64_t r = 0; r < g->residues[i] && r < g->target[i]; r++) *reach++ = FD(reach_of)(p, i, r, g->backward);
    }

    int64_t low, high;
    FD(depthwise_span)(g, 2, 0, g->target[2] - 1, &low, &high);
    g->apart = g->phases = g->backward ? 1 : p->stride[2];
    g->left = FD(ceil_div)(low - g->phases + 1, g->phases);
    g->columns = FD(ceil_div)(high, g->phases) - g->left;
    g->before = FD(most)(-low, 0);
    g->after = last ? FD(most)(VL - p->in_channels, 0) : FD(most)(high - g->source[2], 0) + 2 * VL;
    g->along = p->kernel[1] == 1 && g->target[1] < 4;
    /* One output a channel, and of each depth the source is the same one. */
    const int level = !last && g->multiplier * p->kernel[0] * p->stride[0] == 1 && p->in[0] == p->out[0] && !p->pad[0];
    g->rolls = level && FD(three)(g->reach[1], g->residues[1]) && FD(three)(g->reach[2], g->residues[2]);
    g->halves = level && p->in[0] == 1;
    for (int i = 1; i < 3; i++) g->halves = g->halves && p->kernel[i] == 3 && p->stride[i] == 2 && p->dilation[i] == 1;
    g->copied = last ? g->inputs > 1 : g->along || g->apart > 2;
    const int64_t row = last ? g->source[2] * p->in_channels : g->phases * g->columns, stride = g->residues[1];
    const int64_t budget = (last ? 4 : 1) * DEPTHWISE_BAND_BYTES / TBYTES, planes = g->inputs * p->kernel[0];
    for (g->rows = FD(whole)(g->target[1], stride);; g->rows = FD(whole)((g->rows + 1) / 2, stride)) {
        FD(depthwise_span)(g, 1, 0, g->rows - 1, &low, &high);
        g->height = FD(least)(high - low + 1, g->source[1]);
        if (g->rows == stride || planes * g->height * row <= budget) break;
    }
    g->bands = FD(ceil_div)(g->target[1], g->rows);
    g->plain = level && !g->copied && !g->along && p->in[0] * p->stride[1] * p->stride[2] * g->bands == 1;
    /* A task of a few small planes: what is done once a task, a look at the clock above all, would take longer. */
    g->share = FD(least)(4096 / (g->rows * g->target[2]), p->batch * p->in_channels * g->target[0] / 16);
    g->share = last ? 1 : FD(most)(g->share, 1);
    g->table = last ? 0 : g->multiplier * g->taps * VL;
    g->band = FD(whole)(last && !g->copied && g->after == 0 ? 0 : planes * g->height * row + VL, VL);
    if (g->halves || g->rolls) /* rows as they lie */
        g->band = FD(most)(g->band, FD(whole)(g->before + g->height * g->source[2] + g->after, VL));
    const int64_t merged = last ? g->outputs : g->residues[2] == 1 ? 1 : g->residues[2] * g->rows;
    g->merge_pitch = last ? g->target[2] * p->in_channels : FD(whole)(g->reach[2][0].outputs, VL);
    g->merge = merged == 1 ? 0 : FD(whole)(merged * g->merge_pitch + VL, VL);
    return FD_OK;
}
