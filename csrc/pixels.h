/* pixels.h: tap sums (taps.h) over images with their channels last, as matrix products that are never written down.
 *
 * # Design: neighbouring outputs of one pixel are neighbours in memory here, so they are the lanes, and pixels are the
 * rows of a tile: neighbouring pixels of a row read the same taps `step` pixels apart. A task copies one band of the
 * padded source into scratch, channels innermost. There the taps of one kernel row and their channels are one run of
 * neighbouring elements, as short as three or as long as it likes, so that few channels cost no more than many; a
 * dilated kernel has one run a tap.
 *
 *     source band, 3 channels     x00 x01 x02 x10 x11 x12 x20 x21 x22 x30 ...      weights [run][element][outputs]
 *     pixel 0, 1x3 kernel         |---------------------------------|
 *     pixel 1                                 |-------------------------- ...
 *
 * Sums longer than KC are cut into blocks, so that the weights in use stay in the level-2 cache; in between, the
 * accumulators wait in the output.
 *
 * Order of summation: bias, then taps ascending by their place in the source, in them channels ascending, one
 * accumulator an output.
 */

typedef struct {
    const FD(tap_sum) *s;
    FD(weights) *v;
    T *panels;                                      /* for each group and panel of outputs, w as [k][lanes] */
    int64_t *run, runs, length, depth;              /* place of each run, their number, elements of each, of all */
    int64_t vectors, count;                         /* of the outputs of a group; panels */
    int64_t first[3];                               /* source coordinate of the first tap of output 0 */
    int64_t rows, columns, row_bands, column_bands; /* output rows and columns of a band */
    int64_t height, width;                          /* source rows and columns of a band */
} FD(pixels);

/* The first vector of a panel: panels differ by one vector at most. */
static int64_t FD(panel_start)(const FD(pixels) *g, int64_t panel) { return panel * g->vectors / g->count; }

/* Tap e of an axis by its place in the source: taps ascend forward, and descend with respect to the input. */
static int64_t FD(tap_at)(const FD(axis) *axis, int64_t e) {
    return axis->taps > 1 && axis->edge[1] < axis->edge[0] ? axis->taps - 1 - e : e;
}

static void FD(pack_pixel_weights)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    FD(pixels) *g = arg;
    const FD(tap_sum) *s = g->s;
    FD(weights) *v = g->v;
    const FD(axis) *d = &s->axis[0], *h = &s->axis[1], *w = &s->axis[2];
    const int64_t group = task / g->count, panel = task % g->count, start = FD(panel_start)(g, panel);
    const int64_t width = (FD(panel_start)(g, panel + 1) - start) * VL;
    const int64_t outputs = FD(least)(s->outputs - start * VL, width);
    const T *from = v->w + group * v->group + start * VL * v->out;
    T *to = g->panels + (group * g->vectors + start) * VL * g->depth;
    for (int64_t a = 0; a < d->taps; a++)
        for (int64_t b = 0; b < h->taps; b++)
            for (int64_t e = 0; e < w->taps; e++, to += s->channels * width) {
                const int64_t row = d->tap[FD(tap_at)(d, a)] * v->kernel[1] + h->tap[FD(tap_at)(h, b)];
                const int64_t tap = row * v->kernel[2] + w->tap[FD(tap_at)(w, e)];
                FD(pack)(to, from + tap * v->tap, v->out, v->in, outputs, s->channels, width);
            }
    const T *scale = v->scale == NULL ? NULL : v->scale + group * s->outputs + start * VL;
    for (int64_t o = 0; scale != NULL && o < outputs; o += VL) {
        const V each = vload_upto(scale + o, outputs - o);
        for (T *at = to - g->depth * width + o; at < to; at += width) vstore(at, vload(at) * each);
    }
    FD(check_weights)(v, to - g->depth * width, g->depth * width);
}

/* The accumulators of a tile: the bias, or what the blocks before have left in the output. */
FD_INLINE void FD(begin_pixels)(V acc[MR][NV], const FD(target) *target, const T *bias, int resumed, int mr, int nv) {
#pragma GCC unroll 4
    for (int j = 0; j < nv; j++) {
        const V same = bias == NULL ? (V){0} : vload_upto(bias + j * VL, target->valid[j]);
#pragma GCC unroll 8
        for (int i = 0; i < mr; i++)
            acc[i][j] =
                resumed && i < target->outputs ? vload_upto(target->to[j] + i * target->pitch, target->valid[j]) : same;
    }
}

/* computes  out[i][o] = (bias[o] or out[i][o]) + sum over k in first .. past - 1 of a[i * pitch + place of k] * b[k][o]
 * shapes    a band of scratch, b (depth, vectors * VL), out (rows, outputs) as target says
 * layout    k / length is the run, whose place is run[], and k % length the element of it
 * touches   exactly those elements, but of a 1, 2, MR / 2 or MR rows: the fewest that cover target->outputs
 * order     one accumulator an output, k ascending
 * source    the micro-kernel of gemm.h */
static void FD(pixel_tile)(const FD(target) *target, const T *bias, const T *restrict a, int64_t pitch,
                           const T *restrict b, const FD(pixels) *g, int64_t first, int64_t past, int vectors) {
    const T *columns[NV];
    for (int j = 0; j < NV; j++) columns[j] = b + (j < vectors ? j : 0) * VL;
    const int64_t *run = g->run + first / g->length;
    const int64_t width = vectors * VL, length = g->length;
    int64_t at = first % length;
    V acc[MR][NV];
#define KERNEL(mr, nv)                                                                           \
    FD(begin_pixels)(acc, target, bias, first > 0, mr, nv);                                      \
    for (int64_t k = first; k < past; at = 0) {                                                  \
        const T *from = a + *run++ + at - k;                                                     \
        const int64_t end = FD(least)(k + length - at, past);                                    \
        for (; k < end; k++) FD(multiply_add)(acc, from + k, pitch, columns, k * width, mr, nv); \
    }                                                                                            \
    FD(store)(target, acc, mr, nv)
    FD_WITH_TILE(KERNEL, target->outputs, vectors);
#undef KERNEL
}

static void FD(pixels_task)(void *arg, int64_t task, void *scratch) {
    const FD(pixels) *g = arg;
    const FD(tap_sum) *s = g->s;
    const FD(axis) *d = &s->axis[0], *h = &s->axis[1], *w = &s->axis[2];
    const int64_t column = task % g->column_bands * g->columns, a = task / g->column_bands;
    const int64_t row = a % g->row_bands * g->rows, b = a / g->row_bands;
    const int64_t depth = b % d->lattice, c = b / d->lattice, group = c % s->groups, n = c / s->groups;
    const int64_t rows = FD(least)(h->lattice - row, g->rows), columns = FD(least)(w->lattice - column, g->columns);
    const int64_t blocks = FD(ceil_div)(g->depth, KC), block = FD(ceil_div)(g->depth, blocks);
    const int64_t plane = g->height * g->width * s->channels;

    FD(image) image = {.channels = s->channels, .channel = s->src_c, .size = {d->source, h->source, w->source}};
    image.data = s->src + n * s->src_n + group * s->channels * s->src_c;
    memcpy(image.stride, s->src_s, sizeof(image.stride));
    for (int64_t t = 0; t < d->taps; t++)
        FD(copy_patch)((T *)scratch + t * plane, &image, s->channels, depth * d->step + d->edge[FD(tap_at)(d, t)],
                       row * h->step + g->first[1], column * w->step + g->first[2], g->height, g->width);

    T *out = s->out + n * s->out_n + group * s->outputs * s->out_c + depth * s->out_s[0] + row * s->out_s[1] +
             column * s->out_s[2];
    const int64_t pitch = w->step * s->channels;
    for (int64_t panel = 0; panel < g->count; panel++) {
        const int64_t start = FD(panel_start)(g, panel), vectors = FD(panel_start)(g, panel + 1) - start;
        const T *weights = g->panels + (group * g->vectors + start) * VL * g->depth;
        const T *bias = g->v->bias == NULL ? NULL : g->v->bias + group * s->outputs + start * VL;
        for (int64_t first = 0; first < g->depth && !fd_stopped(); first += block) {
            const int64_t past = FD(least)(first + block, g->depth);
            FD(target) target = {.pitch = s->out_s[2], .rectified = past == g->depth && s->act == FD_RELU};
            for (int64_t j = 0; j < vectors; j++) target.valid[j] = s->outputs - (start + j) * VL;
            for (int64_t r = 0; r < rows; r++)
                for (int64_t q = 0; q < columns; q += MR) {
                    target.outputs = (int)FD(least)(columns - q, MR);
                    for (int64_t j = 0; j < vectors; j++)
                        target.to[j] = out + r * s->out_s[1] + q * s->out_s[2] + (start + j) * VL;
                    FD(pixel_tile)(&target, bias, (T *)scratch + (r * h->step * g->width + q * w->step) * s->channels,
                                   pitch, weights, g, first, past, (int)vectors);
                }
        }
    }
    if (s->act != FD_LINEAR && s->act != FD_RELU)
        for (int64_t r = 0; r < rows; r++)
            for (int64_t q = 0; q < columns; q++) {
                T *pixel = out + r * s->out_s[1] + q * s->out_s[2];
                FD(act_row)(pixel, pixel, s->outputs, s->act, s->alpha);
            }
}

/* Bands whose source and outputs fit in a level-2 cache, 16 tasks or more where the image allows, and the runs in them;
 * functions of the sizes only. */
static void FD(plan_pixels)(FD(pixels) *g) {
    const FD(tap_sum) *s = g->s;
    const FD(axis) *d = &s->axis[0], *h = &s->axis[1], *w = &s->axis[2];
    int64_t span[3];
    for (int i = 0; i < 3; i++) {
        const FD(axis) *axis = &s->axis[i];
        g->first[i] = axis->edge[FD(tap_at)(axis, 0)];
        span[i] = axis->edge[FD(tap_at)(axis, axis->taps - 1)] - g->first[i];
    }
    const int64_t budget = FD_BAND_BYTES / TBYTES;
    g->rows = h->lattice;
    g->columns = w->lattice;
    for (;;) {
        g->row_bands = FD(ceil_div)(h->lattice, g->rows);
        g->column_bands = FD(ceil_div)(w->lattice, g->columns);
        g->height = (g->rows - 1) * h->step + span[1] + 1;
        g->width = (g->columns - 1) * w->step + span[2] + 1;
        const int64_t pixels = g->rows * g->columns;
        const int64_t tasks = s->batch * s->groups * d->lattice * g->row_bands * g->column_bands;
        const int large = d->taps * g->height * g->width * s->channels + pixels * s->outputs > budget;
        if (g->rows > 1 && (large || (tasks < 16 && pixels > 256)))
            g->rows = (g->rows + 1) / 2;
        else if (g->columns > MR && (large || (tasks < 16 && pixels > 256)))
            g->columns = FD(whole)(g->columns / 2, MR);
        else
            break;
    }
    const int joined = w->taps == 1 || w->edge[1] - w->edge[0] == 1 || w->edge[1] - w->edge[0] == -1;
    const int64_t columns = joined ? 1 : w->taps;
    g->length = s->channels * w->taps / columns;
    g->runs = 0;
    for (int64_t a = 0; a < d->taps; a++)
        for (int64_t b = 0; b < h->taps; b++)
            for (int64_t e = 0; e < columns; e++) {
                const int64_t i = h->edge[FD(tap_at)(h, b)] - g->first[1];
                const int64_t j = w->edge[FD(tap_at)(w, e)] - g->first[2];
                g->run[g->runs++] = ((a * g->height + i) * g->width + j) * s->channels;
            }
    g->depth = g->runs * g->length;
}

/* Whether outputs are neighbours in memory, and the lanes that the last of their vectors wastes cost less than tap sums
 * lose there: they read and write elements one by one, four in the time of three vector steps. */
static int FD(in_pixels)(const FD(tap_sum) *s) {
    const int64_t depth = s->channels * s->taps, apart = 3 * VL * (s->channels + s->outputs) / 4;
    return s->out_c == 1 && depth > 0 &&
           FD(whole)(s->outputs, VL) * depth <= FD(whole)(s->outputs, MR / 2) * depth + apart;
}

/* *finite is 0 where nothing was done: the source crops, and a weight that is not finite must not meet its padding. */
static int FD(run_pixels)(int *finite, const FD(tap_sum) *s, FD(weights) *v, int threads) {
    *finite = 1;
    if (FD(asked)(s->p, FD_DIRECT_NHWC)) return FD_OK;
    FD(pixels) g = {.s = s, .v = v, .run = s->offset, .vectors = FD(ceil_div)(s->outputs, VL)};
    g.count = FD(ceil_div)(g.vectors, NV);
    FD(plan_pixels)(&g);
    const int64_t size = s->groups * g.vectors * VL * g.depth;
    const int64_t tasks = s->batch * s->groups * s->axis[0].lattice * g.row_bands * g.column_bands;
    threads = fd_threads_for(tasks * g.rows * g.columns * g.vectors * g.depth, threads);
    g.panels = fd_alloc((size_t)(size + 1) * sizeof(T));
    if (g.panels == NULL) return FD_NOMEM;
    /* The rows of the last tile that are no pixels read past the band. */
    const int64_t past = MR * s->axis[2].step * s->channels;
    const int64_t scratch = s->axis[0].taps * g.height * g.width * s->channels + past;
    v->finite = 1;
    int rc = fd_parallel(FD(pack_pixel_weights), &g, s->groups * g.count, 0, threads);
    *finite = !s->crops || v->finite;
    if (rc == FD_OK && *finite) rc = fd_parallel(FD(pixels_task), &g, tasks, (size_t)scratch * sizeof(T), threads);
    fd_free(g.panels);
    return rc;
}

typedef struct {
    const FD(tap_sum) *s;
    const T *pixel; /* of all groups */
} FD(untouched);

static void FD(untouched_task)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    const FD(untouched) *g = arg;
    const FD(tap_sum) *s = g->s;
    const int64_t row = task % s->axis[1].lattice, a = task / s->axis[1].lattice, depth = a % s->axis[0].lattice;
    T *out = s->out + a / s->axis[0].lattice * s->out_n + depth * s->out_s[0] + row * s->out_s[1];
    for (int64_t q = 0; q < s->axis[2].lattice; q++, out += s->out_s[2])
        memcpy(out, g->pixel, (size_t)(s->groups * s->outputs) * sizeof(T));
}

/* Pixels that no tap touches, since the stride is larger than the kernel: zero, or what their bias becomes. */
static int FD(run_untouched)(const FD(tap_sum) *s, const T *bias, int threads) {
    if (FD(asked)(s->p, FD_DIRECT_NHWC)) return FD_OK;
    const int64_t outputs = s->groups * s->outputs, rows = s->batch * s->axis[0].lattice * s->axis[1].lattice;
    T *pixel = fd_alloc((size_t)outputs * sizeof(T));
    if (pixel == NULL) return FD_NOMEM;
    for (int64_t o = 0; o < outputs; o++) pixel[o] = bias == NULL ? 0 : bias[o];
    if (s->act != FD_LINEAR) FD(act_row)(pixel, pixel, outputs, s->act, s->alpha);
    FD(untouched) g = {.s = s, .pixel = pixel};
    threads = fd_threads_for(rows * s->axis[2].lattice * FD(ceil_div)(outputs, VL), threads);
    const int rc = fd_parallel(FD(untouched_task), &g, rows, 0, threads);
    fd_free(pixel);
    return rc;
}
