/* strided.h: tap sums (taps.h) with a stride, channels first: pixels are the rows of a tile, and outputs its lanes.
 *
 * # Design: a tile reads its rows element by element, from wherever they are, so that no stride has to be undone
 * first: a task copies one band of the padded source into scratch as it lies. Panels of weights are read in order, and
 * pixels of any rows fill a tile. What is paid is the way out: the sums of VL pixels wait in scratch, and are turned
 * into rows of outputs VL by VL.
 *
 * Order of summation: as taps.h, in every bit.
 */

typedef struct {
    const FD(tap_sum) *s;
    FD(tap_sum) band; /* the source without its stride, for FD(copy_band) */
    FD(weights) *v;
    T *panels;              /* for each group and panel of outputs, w as [channel][tap][lanes] */
    int64_t vectors, count; /* of the outputs of a group; panels */
    int64_t rows, columns, row_bands, column_bands; /* output rows and columns of a band */
    int64_t images;                                 /* of a task */
    int64_t zero;                                   /* the only phase of band */
} FD(strided);

static int64_t FD(strided_start)(const FD(strided) *g, int64_t panel) { return panel * g->vectors / g->count; }

static void FD(pack_strided)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    const FD(strided) *g = arg;
    const FD(tap_sum) *s = g->s;
    const int64_t group = task / g->count, panel = task % g->count, first = FD(strided_start)(g, panel) * VL;
    const int64_t width = FD(strided_start)(g, panel + 1) * VL - first;
    FD(pack_panel)(g->panels + (group * g->vectors * VL + first) * s->channels * s->taps, g->v, s, group, first,
                   FD(least)(s->outputs - first, width), width);
}

/* computes  tile[i][o] = bias[o] + sum over c, t of row[i][c * channel + offset[t]] * b[c][t][o]
 * shapes    row (rows), b (channels * taps, vectors * VL), tile (rows, vectors * VL) with pitch NR
 * touches   exactly those elements, but of a 1, 2, MR / 2 or MR rows: the fewest that cover `rows`
 * order     see the file's head
 * source    the micro-kernel of gemm.h with a table of offsets and of rows (indirection: Dukhan 2019) */
static void FD(strided_tile)(T *restrict tile, const T *const row[MR], const T *restrict b, const T *bias,
                             int64_t outputs, const FD(tap_sum) *band, int rows, int vectors) {
    const int64_t *const offset = band->offset, taps = band->taps, past = band->channels * band->channel;
    V acc[MR][NV], column[NV];
#define KERNEL(mr, nv)                                                                          \
    {                                                                                           \
        const T *at[mr];                                                                        \
        for (int i = 0; i < mr; i++) at[i] = row[i];                                            \
        for (int j = 0; j < nv; j++) {                                                          \
            const V same = bias == NULL ? (V){0} : vload_upto(bias + j * VL, outputs - j * VL); \
            for (int i = 0; i < mr; i++) acc[i][j] = same;                                      \
        }                                                                                       \
        for (int64_t c = 0; c < past; c += band->channel)                                       \
            for (int64_t t = 0; t < taps; t++, b += nv * VL) {                                  \
                const int64_t from = c + offset[t];                                             \
                for (int j = 0; GEMM_ASKS && j < nv; j += LINE / VL)                            \
                    __builtin_prefetch(b + GEMM_AHEAD * nv * VL + j * VL);                      \
                for (int j = 0; j < nv; j++) column[j] = vload(b + j * VL);                     \
                for (int i = 0; i < mr; i++) {                                                  \
                    const V one = vset1(at[i][from]);                                           \
                    for (int j = 0; j < nv; j++) acc[i][j] = vfma(one, column[j], acc[i][j]);   \
                }                                                                               \
            }                                                                                   \
        FD(spill)(tile, NR, acc, mr, nv);                                                       \
    }
    FD_WITH_TILE(KERNEL, rows, vectors);
#undef KERNEL
}

/* The bands of a task: the same rows and columns of neighbouring images. */
typedef struct {
    T *out;
    int64_t images, rows, columns; /* that there are */
} FD(strided_bands);

/* Outputs of up to VL pixels of a task, from `pixel` on, from the tile to where they belong. */
static void FD(store_strided)(const FD(strided_bands) *at, T *out, const T *tile, const FD(tap_sum) *s, int64_t pixel,
                              int64_t pixels, int64_t outputs) {
    const int dense = s->out_s[1] == at->columns * s->out_s[2]; /* rows follow each other */
    const int64_t row = dense ? at->rows * at->columns : at->columns;
    V square[VL];
    T lanes[VL * VL] __attribute__((aligned(64)));
    for (int64_t o = 0; o < outputs; o += VL, out += VL * s->out_c) {
        const int64_t count = FD(least)(outputs - o, VL);
        for (int64_t p = 0; p < VL; p++) square[p] = vload(tile + p * NR + o);
        vtranspose(square);
        for (int64_t i = 0; i < VL; i++) {
            vstore(lanes + i * VL, s->act == FD_RELU ? FD(vact)(square[i], FD_RELU, (V){0}) : square[i]);
            if (s->act != FD_LINEAR && s->act != FD_RELU)
                FD(act_row)(lanes + i * VL, lanes + i * VL, pixels, s->act, s->alpha);
        }
        for (int64_t p = 0, run; p < pixels; p += run) {
            const int64_t r = (pixel + p) / row, column = (pixel + p) % row, many = dense ? 1 : at->rows;
            T *to = out + r / many * s->out_n + r % many * s->out_s[1] + column * s->out_s[2];
            run = FD(least)(row - column, pixels - p);
            for (int64_t i = 0; i < count; i++, to += s->out_c)
                vstore_step(to, vload_upto(lanes + i * VL + p, run), s->out_s[2], run);
        }
    }
}

static void FD(strided_task)(void *arg, int64_t task, void *scratch) {
    const FD(strided) *g = arg;
    const FD(tap_sum) *s = g->s, *band = &g->band;
    const FD(axis) *h = &s->axis[1], *w = &s->axis[2];
    const int64_t column = task % g->column_bands * g->columns, a = task / g->column_bands;
    const int64_t row = a % g->row_bands * g->rows, b = a / g->row_bands;
    const int64_t depth = b % s->axis[0].lattice, c = b / s->axis[0].lattice, group = c % s->groups;
    const int64_t n = c / s->groups * g->images, image = s->channels * band->channel;
    const FD(strided_bands) at = {s->out + n * s->out_n + group * s->outputs * s->out_c + depth * s->out_s[0] +
                                      row * s->out_s[1] + column * s->out_s[2],
                                  FD(least)(s->batch - n, g->images), FD(least)(h->lattice - row, g->rows),
                                  FD(least)(w->lattice - column, g->columns)};
    const int64_t pixels = at.images * at.rows * at.columns;
    T tile[VL * NR] __attribute__((aligned(64))) = {0};
    for (int64_t i = 0; i < at.images; i++)
        FD(copy_band)((T *)scratch + i * image, band, n + i, group * s->channels, s->channels, depth, row * h->step,
                      column * w->step);
    for (int64_t panel = 0; panel < g->count && !fd_stopped(); panel++) {
        const int64_t start = FD(strided_start)(g, panel), vectors = FD(strided_start)(g, panel + 1) - start;
        const int64_t outputs = FD(least)(s->outputs - start * VL, vectors * VL);
        const T *weights = g->panels + (group * g->vectors + start) * VL * s->channels * s->taps;
        const T *bias = g->v->bias == NULL ? NULL : g->v->bias + group * s->outputs + start * VL;
        for (int64_t p = 0; p < pixels; p += VL) {
            const int64_t past = FD(least)(p + VL, pixels);
            for (int64_t q = p; q < past; q += MR) {
                const T *from[MR];
                for (int64_t i = 0; i < MR; i++) {
                    const int64_t pixel = FD(least)(q + i, past - 1), r = pixel / at.columns;
                    from[i] = (const T *)scratch + r / at.rows * image + r % at.rows * h->step * band->pitch +
                              pixel % at.columns * w->step;
                }
                FD(strided_tile)(tile + (q - p) * NR, from, weights, bias, outputs, band, (int)FD(least)(past - q, MR),
                                 (int)vectors);
            }
            FD(store_strided)(&at, at.out + start * VL * s->out_c, tile, s, p, past - p, outputs);
        }
    }
}

/* Bands whose source fits in scratch, 16 tasks or more where rows allow; a function of sizes only. */
static void FD(plan_strided)(FD(strided) *g) {
    const FD(tap_sum) *s = g->s;
    const FD(axis) *d = &s->axis[0], *h = &s->axis[1], *w = &s->axis[2];
    FD(tap_sum) *t = &g->band;
    *t = *s;
    int64_t span[3];
    for (int i = 1; i < 3; i++) {
        FD(axis) *axis = &t->axis[i];
        axis->base = axis->edge[0];
        int64_t last = axis->edge[0];
        for (int64_t e = 0; e < axis->taps; e++) {
            axis->base = FD(least)(axis->base, axis->edge[e]);
            last = FD(most)(last, axis->edge[e]);
        }
        span[i] = last - axis->base;
        axis->step = axis->phases = 1;
        axis->phase = &g->zero;
    }
    const int64_t budget = FD_BAND_BYTES / TBYTES, images = s->batch * s->groups * d->lattice;
    g->rows = h->lattice;
    g->columns = w->lattice;
    for (;;) {
        g->row_bands = FD(ceil_div)(h->lattice, g->rows);
        g->column_bands = FD(ceil_div)(w->lattice, g->columns);
        t->height = (g->rows - 1) * h->step + span[1] + 1;
        t->pitch = (g->columns - 1) * w->step + span[2] + 1;
        t->plane = t->height * t->pitch;
        t->channel = d->taps * t->plane;
        const int large = s->channels * t->channel > budget;
        if (g->rows > 1 && (large || (g->rows * g->columns >= 16 * VL && images * g->row_bands < 16)))
            g->rows = (g->rows + 1) / 2;
        else if (g->columns > VL && large)
            g->columns = FD(whole)(g->columns / 2, VL);
        else
            break;
    }
    const int64_t fit = budget / (s->channels * t->channel), blocks = g->row_bands * g->column_bands;
    g->images = FD(most)(1, blocks > 1 ? 1 : FD(least)(fit, images / 16));
    int64_t *offset = t->offset;
    for (int64_t a = 0; a < d->taps; a++)
        for (int64_t i = 0; i < h->taps; i++)
            for (int64_t j = 0; j < w->taps; j++)
                *offset++ = a * t->plane + (h->edge[i] - t->axis[1].base) * t->pitch + w->edge[j] - t->axis[2].base;
}

/* Whether the way out costs less than phases of the source, of which few channels have few, and lanes are not in vain;
 * with vectors of 16 bytes both take as long. Only the forward pass has a stride, so nothing is cropped here. */
static int FD(is_strided)(const FD(tap_sum) *s) {
    return VL * TBYTES > 16 && s->axis[2].step > 1 && !s->p->channels_last && s->taps > 0 && s->channels >= VL &&
           4 * s->outputs >= 3 * FD(whole)(s->outputs, VL);
}

static int FD(run_strided)(const FD(tap_sum) *s, FD(weights) *v, int threads) {
    if (FD(asked)(s->p, FD_DIRECT)) return FD_OK;
    FD(strided) g = {.s = s, .v = v, .vectors = FD(ceil_div)(s->outputs, VL)};
    g.count = FD(ceil_div)(g.vectors, NV);
    FD(plan_strided)(&g);
    const int64_t depth = s->channels * s->taps;
    const int64_t bands = s->groups * s->axis[0].lattice * g.row_bands * g.column_bands;
    threads = fd_threads_for(s->batch * bands * g.rows * g.columns * g.vectors * depth, threads);
    g.panels = fd_alloc((size_t)(s->groups * g.vectors * VL * depth) * sizeof(T));
    if (g.panels == NULL) return FD_NOMEM;
    int rc = fd_parallel(FD(pack_strided), &g, s->groups * g.count, 0, threads);
    const size_t scratch = (size_t)(g.images * s->channels * g.band.channel + VL) * sizeof(T);
    if (rc == FD_OK) rc = fd_parallel(FD(strided_task), &g, FD(ceil_div)(s->batch, g.images) * bands, scratch, threads);
    fd_free(g.panels);
    return rc;
}
