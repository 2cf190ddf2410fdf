/* bands.h: the geometry of a tap sum, and the band of the padded source that a task copies into scratch.
 *
 * # Design: a convolution forward, and its gradient with respect to the input, is a *tap sum* (taps.h) over a lattice
 * of outputs: output i meets tap t at source coordinate i * step + edge[t]. The band is split into phases, coordinates
 * equal modulo step, so that each tap of VL neighbouring outputs is VL neighbouring elements at a fixed offset,
 * whatever stride, dilation and layout were. Column taps may also have a phase each, which costs copies and leaves
 * nothing between rows, so that all of them are one.
 *
 *     source band, step 2          scratch, one channel                    outputs of one vector
 *     x0 x1 x2 x3 x4 x5            phase 0: x0 x2 x4   phase 1: x1 x3 x5   tap t reads scratch + offset[t]
 */

#define FD_BAND_BYTES (384 * 1024) /* scratch of a band: with the weights in use it stays in a 1 MB L2 cache */

/* One axis of a tap sum. Scratch position p of phase f holds source coordinate (p + base) * step + phase[f]. */
typedef struct {
    int64_t lattice, step, source; /* number of outputs, source steps an output, size of the source */
    int64_t taps, phases, base, span;
    int64_t *tap, *edge;       /* number in the whole kernel and source coordinate at output 0, of each tap */
    int64_t *phase_of, *shift; /* of each tap: index into phase, position relative to the output's */
    int64_t *phase;
} FD(axis);

typedef struct {
    const fd_conv *p;
    const T *src;
    T *out;
    const T *panels;                          /* for each group and panel of MR outputs: bias, then w as [c][tap][MR] */
    int64_t batch, groups, channels, outputs; /* channels and outputs are of one group */
    int64_t src_n, src_c, src_s[3], out_n, out_c, out_s[3]; /* strides */
    FD(axis) axis[3];
    int64_t taps, rows, columns, row_bands, column_bands; /* rows and columns of a band */
    int64_t height, pitch, plane, channel;                /* of scratch: rows, row pitch, phase, channel */
    int64_t *offset;                                      /* of each tap, in a channel of scratch */
    int act;
    int crops;  /* outside the source there is nothing, rather than a zero that takes part */
    int masked; /* crops, and a weight is not finite: its product with that nothing must not be NaN */
    T alpha;
} FD(tap_sum);

static void FD(axis_taps)(FD(axis) *axis) {
    const int64_t step = axis->step;
    int64_t low = 0, high = 0;
    axis->phases = 0;
    for (int64_t t = 0; t < axis->taps; t++) {
        const int64_t phase = (axis->edge[t] % step + step) % step;
        int64_t f = 0;
        while (f < axis->phases && axis->phase[f] != phase) f++;
        if (f == axis->phases) axis->phase[axis->phases++] = phase;
        axis->phase_of[t] = f;
        axis->shift[t] = (axis->edge[t] - phase) / step;
        if (t == 0 || axis->shift[t] < low) low = axis->shift[t];
        if (t == 0 || axis->shift[t] > high) high = axis->shift[t];
    }
    for (int64_t t = 0; t < axis->taps; t++) axis->shift[t] -= low;
    axis->base = low;
    axis->span = high - low;
}

/* Give each tap a phase of its own: no scratch position is read by two. */
static void FD(part_taps)(FD(axis) *axis) {
    axis->phases = axis->taps;
    axis->base = axis->span = 0;
    for (int64_t t = 0; t < axis->taps; t++) {
        axis->phase[t] = axis->edge[t];
        axis->phase_of[t] = t;
        axis->shift[t] = 0;
    }
}

/* Rows that follow each other without a gap in scratch and in the output are one. */
static void FD(join_rows)(const FD(tap_sum) *s, int64_t *rows, int64_t *columns) {
    if (s->pitch != *columns || s->out_s[1] != *columns * s->out_s[2]) return;
    *columns *= *rows;
    *rows = 1;
}

/* Lanes from one row to the next: vectors begin anew with each row, or run through the whole band, whichever is
 * cheaper. A vector costs MR steps a tap, and its store a step or two an output, or a dozen across a row's end. */
static int64_t FD(lane_pitch)(const FD(tap_sum) *s, int64_t rows, int64_t columns) {
    const int64_t by_row = FD(whole)(columns, VL), flat = FD(whole)((rows - 1) * s->pitch + columns, VL);
    const int64_t steps = s->channels * s->taps;
    return flat * (steps + 12) < rows * by_row * (steps + 2) ? s->pitch : by_row;
}

/* About how many vector steps all bands of an image take: products, stores (as in lane_pitch), and rows copied. */
static int64_t FD(bands_cost)(const FD(tap_sum) *s) {
    int64_t rows = s->rows, columns = s->columns;
    FD(join_rows)(s, &rows, &columns);
    const int64_t pitch = FD(lane_pitch)(s, rows, columns), flat = pitch == s->pitch && rows > 1;
    const int64_t vectors = FD(ceil_div)((rows - 1) * pitch + columns, VL);
    const int64_t outputs = s->outputs < 3 ? s->outputs : FD(whole)(s->outputs, MR / 2);
    const int64_t copied = s->channels * s->channel / s->pitch * (16 + 2 * FD(ceil_div)(s->pitch, VL));
    return s->row_bands * s->column_bands * (copied + vectors * outputs * (s->channels * s->taps + (flat ? 12 : 2)));
}

/* What follows from the rows and columns of a band: how many there are, and where the taps lie in scratch. */
static void FD(lay_band)(FD(tap_sum) *s) {
    const FD(axis) *h = &s->axis[1], *w = &s->axis[2];
    s->row_bands = FD(ceil_div)(h->lattice, s->rows);
    s->column_bands = FD(ceil_div)(w->lattice, s->columns);
    s->height = s->rows + h->span;
    s->pitch = s->columns + w->span;
    s->plane = s->height * s->pitch;
    s->channel = s->axis[0].taps * h->phases * w->phases * s->plane;
    int64_t *offset = s->offset;
    for (int64_t d = 0; d < s->axis[0].taps; d++)
        for (int64_t i = 0; i < h->taps; i++)
            for (int64_t j = 0; j < w->taps; j++)
                *offset++ = ((d * h->phases + h->phase_of[i]) * w->phases + w->phase_of[j]) * s->plane +
                            h->shift[i] * s->pitch + w->shift[j];
}

/* Cut the lattice into bands that fit in scratch, 16 tasks or more where rows allow; a function of sizes only. */
static void FD(cut_bands)(FD(tap_sum) *s) {
    const FD(axis) *h = &s->axis[1], *w = &s->axis[2];
    const int64_t planes = s->channels * s->axis[0].taps * h->phases * w->phases;
    const int64_t budget = FD_BAND_BYTES / (int64_t)sizeof(T);
    s->rows = h->lattice;
    s->columns = w->lattice;
    while (s->rows > 1 && planes * (s->rows + h->span) * (s->columns + w->span) > budget) s->rows = (s->rows + 1) / 2;
    while (s->columns > VL && planes * (s->rows + h->span) * (s->columns + w->span) > budget)
        s->columns = FD(whole)(s->columns / 2, s->columns > NR ? NR : VL);
    while (s->rows >= 16 && s->batch * s->groups * FD(ceil_div)(h->lattice, s->rows) < 16) s->rows = (s->rows + 1) / 2;
    while (s->columns >= 8 * NR && s->batch * s->groups * FD(ceil_div)(w->lattice, s->columns) < 16)
        s->columns = FD(whole)(s->columns / 2, NR);
    FD(lay_band)(s);
}

/* The cheaper of two ways: column taps share phases, or each has its own. */
static void FD(plan_bands)(FD(tap_sum) *s) {
    FD(cut_bands)(s);
    const int64_t shared = FD(bands_cost)(s);
    FD(part_taps)(&s->axis[2]);
    FD(cut_bands)(s);
    if (FD(bands_cost)(s) < shared) return;
    FD(axis_taps)(&s->axis[2]);
    FD(cut_bands)(s);
}

/* Elements of scratch a band of `channels` channels takes; the last vector may read past the last row. */
static int64_t FD(band_size)(const FD(tap_sum) *s, int64_t channels) { return channels * s->channel + VL; }

/* row[i] = src[(i - low) * stride] for low <= i < high, and 0 for the others below n and for up to VL beyond: `rows` of
 * them, pitch and src_pitch apart. A function of its own, whose loops have the registers for themselves: rows are many
 * and short. */
__attribute__((noinline)) static void FD(copy_rows)(T *restrict row, int64_t pitch, const T *restrict src,
                                                    int64_t src_pitch, int64_t stride, int64_t low, int64_t high,
                                                    int64_t n, int64_t rows) {
    const int64_t whole = (high - low) / VL * VL, rest = high - low - whole;
    if ((stride == 1 || stride == 2) && n <= VL) {
        for (; rows > 0; rows--, row += pitch, src += src_pitch) {
            const V v = stride == 2 ? vload_step(src, 2, high - low) : whole > 0 ? vload(src) : vload_tail(src, rest);
            if (low > 0) vstore(row, (V){0});
            vstore(row + low, v);
        }
        return;
    }
    for (; rows > 0; rows--, row += pitch, src += src_pitch) {
        for (int64_t i = 0; i < low; i += VL) vstore(row + i, (V){0});
        T *to = row + low;
        if (stride == 1) {
            for (int64_t i = 0; i < whole; i += VL) vstore(to + i, vload(src + i));
            if (rest > 0) vstore(to + whole, vload_tail(src + whole, rest));
        } else {
            for (int64_t i = 0; i < high - low; i += VL)
                vstore(to + i, vload_step(src + i * stride, stride, FD(least)(high - low - i, VL)));
        }
        for (int64_t i = low + whole + (rest > 0 ? VL : 0); i < n; i += VL) vstore(row + i, (V){0});
    }
}

static void FD(copy_row)(T *restrict row, const T *restrict src, int64_t stride, int64_t low, int64_t high, int64_t n) {
    FD(copy_rows)(row, 0, src, 0, stride, low, high, n, 1);
}

/* computes  scratch = the band of image n, group g, channels first .. first + channels - 1, lattice depth `depth`,
 *           rows row .. row + s->rows - 1, columns column .. column + s->columns - 1, zero outside the source
 * layout    [channel][depth tap][row phase][column phase][height][pitch]
 * touches   all of scratch, the source's own elements once */
static void FD(copy_band)(T *scratch, const FD(tap_sum) *s, int64_t n, int64_t channel, int64_t channels, int64_t depth,
                          int64_t row, int64_t column) {
    const FD(axis) *d = &s->axis[0], *h = &s->axis[1], *w = &s->axis[2];
    const T *image = s->src + n * s->src_n + channel * s->src_c;
    T *out = scratch;
    for (int64_t c = 0; c < channels; c++, image += s->src_c)
        for (int64_t t = 0; t < d->taps; t++) {
            const int64_t z = depth * d->step + d->edge[t];
            for (int64_t f = 0; f < h->phases; f++)
                for (int64_t g = 0; g < w->phases; g++) {
                    /* columns j with 0 <= (column + j + base) * step + phase < source */
                    const int64_t shift = (column + w->base) * w->step + w->phase[g];
                    int64_t low = FD(ceil_div)(-shift, w->step), high = FD(ceil_div)(w->source - shift, w->step);
                    low = low < 0 ? 0 : low > s->pitch ? s->pitch : low;
                    high = high > s->pitch ? s->pitch : high < low ? low : high;
                    /* rows i with 0 <= (row + i + base) * step + phase < source */
                    const int64_t up = (row + h->base) * h->step + h->phase[f];
                    const int here = z >= 0 && z < d->source && low < high;
                    int64_t top = FD(ceil_div)(-up, h->step), bottom = FD(ceil_div)(h->source - up, h->step);
                    bottom = here ? FD(most)(FD(least)(bottom, s->height), 0) : 0;
                    top = FD(least)(FD(most)(top, 0), bottom);
                    const T *from = image;
                    if (top < bottom)
                        from += z * s->src_s[0] + (up + top * h->step) * s->src_s[1] +
                                (shift + low * w->step) * s->src_s[2];
                    memset(out, 0, (size_t)(top * s->pitch) * sizeof(T));
                    FD(copy_rows)(out + top * s->pitch, s->pitch, from, h->step * s->src_s[1], w->step * s->src_s[2],
                                  low, high, s->pitch, bottom - top);
                    memset(out + bottom * s->pitch, 0, (size_t)((s->height - bottom) * s->pitch) * sizeof(T));
                    out += s->height * s->pitch;
                }
        }
    memset(out, 0, VL * sizeof(T));
}

/* Strides of (N, C, D, H, W) or (N, D, H, W, C). */
static void FD(image_strides)(int64_t *n, int64_t *c, int64_t s[3], int64_t channels, const int64_t size[3], int last) {
    *c = last ? 1 : size[0] * size[1] * size[2];
    s[2] = last ? channels : 1;
    s[1] = s[2] * size[2];
    s[0] = s[1] * size[1];
    *n = channels * size[0] * size[1] * size[2];
}

/* Memory for the taps of three axes and the offsets of their product; the caller frees *memory. */
static int FD(tap_tables)(FD(tap_sum) *s, const int64_t kernel[3], int64_t **memory) {
    const int64_t all = kernel[0] + kernel[1] + kernel[2];
    int64_t *table = fd_alloc((size_t)(5 * all + kernel[0] * kernel[1] * kernel[2] + 1) * sizeof(int64_t));
    *memory = table;
    if (table == NULL) return FD_NOMEM;
    for (int i = 0; i < 3; i++) {
        int64_t **const parts[] = {&s->axis[i].tap, &s->axis[i].edge, &s->axis[i].phase_of, &s->axis[i].shift,
                                   &s->axis[i].phase};
        for (int j = 0; j < 5; j++, table += kernel[i]) *parts[j] = table;
    }
    s->offset = table;
    return FD_OK;
}

/* The forward pass's axes: every tap, at tap * dilation - pad. */
static void FD(forward_axes)(FD(tap_sum) *s, const fd_conv *p) {
    s->taps = 1;
    for (int i = 0; i < 3; i++) {
        FD(axis) *axis = &s->axis[i];
        axis->lattice = p->out[i];
        axis->step = p->stride[i];
        axis->source = p->in[i];
        axis->taps = p->kernel[i];
        for (int64_t t = 0; t < axis->taps; t++) {
            axis->tap[t] = t;
            axis->edge[t] = t * p->dilation[i] - p->pad[i];
        }
        FD(axis_taps)(axis);
        s->taps *= axis->taps;
    }
}
