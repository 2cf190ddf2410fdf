/* points.h: a convolution with a kernel of one pixel, channels first, as matrix products of the weights and the pixels.
 *
 * # Design: an output meets one pixel of each channel, so the pixels of all images are the columns of one product, and
 * images as small as 7x7 fill its vectors. A task packs some panels of columns, from every stride-th pixel where there
 * is a stride, and multiplies each of them by all weights. A panel that lies in one image is packed by the tile that
 * reads it first, and later tiles ask for a panel of the next task, so that no product waits for memory. With respect
 * to the input of a stride, the pixels of dy are columns in the same way, and a tile is spread over dx on its way out,
 * with what lies between its pixels. The gradient of the weights of a stride gathers the pixels that it meets, and is
 * the product of conv_dw.h then.
 *
 * Order of summation: bias, then channels ascending, one accumulator an output.
 */

#define POINTS_ASKED 4 /* channels that a tile asks for at a time: less often costs less */

typedef struct {
    const FD(tap_sum) *s;
    int spread;                    /* over an input that a stride has met */
    int64_t run, lanes;            /* pixels of an image that lie evenly apart, and of all images */
    int64_t vectors, panels;       /* of lanes; panels differ by one vector at most */
    int64_t in_task, tasks, parts; /* panels of a task, tasks and panels of weights of a group */
} FD(points);

static int64_t FD(points_start)(const FD(points) *g, int64_t panel) { return panel * g->vectors / g->panels * VL; }

/* Where the source of a pixel lies. */
static const T *FD(point_source)(const FD(points) *g, int64_t group, int64_t lane) {
    const FD(tap_sum) *s = g->s;
    const int64_t row = lane / g->run, a = row / s->axis[1].lattice;
    const int64_t at[3] = {a % s->axis[0].lattice, row % s->axis[1].lattice, lane % g->run};
    const T *src = s->src + a / s->axis[0].lattice * s->src_n + group * s->channels * s->src_c;
    for (int i = 0; i < 3; i++) src += (at[i] * s->axis[i].step + *s->axis[i].edge) * s->src_s[i];
    return src;
}

/* Where a panel lies as it is, row by row in one image; NULL: it has to be gathered. */
static const T *FD(points_lie)(const FD(points) *g, int64_t group, int64_t panel) {
    const FD(axis) *axis = &g->s->axis[2];
    const int64_t lane = FD(points_start)(g, panel), past = FD(points_start)(g, panel + 1);
    const int lies = axis->step * g->s->src_s[2] == 1 && lane % g->run + past - lane <= g->run && past <= g->lanes;
    return lies ? FD(point_source)(g, group, lane) : NULL;
}

/* Neighbouring pixels that go into a panel: to[c * width ...] is from[c * src_c ...], `room` elements at most. */
typedef struct {
    const T *from;
    T *to;
    int32_t count, room, width;
} FD(point_run);

/* At most so many make up the panels of a task: one for each vector of a panel, and others where rows end in between.
 */
static int64_t FD(point_runs)(const FD(points) *g) {
    const int64_t lanes = g->in_task * NR;
    return FD(whole)(lanes / VL + lanes / g->run + g->in_task + 2, 2);
}

/* computes  packed = those of panels first .. past - 1 that do not lie: [c][lane], zero behind the last lane
 * shapes    each (channels, its width), width in whole vectors; runs (point_runs)
 * layout    one panel after the other
 * touches   exactly those elements
 * order     none
 * Channel by channel for all panels together, as memory has them, so that it comes as one stream. */
static void FD(pack_points)(T *packed, FD(point_run) *runs, const FD(points) *g, int64_t group, int64_t first,
                            int64_t past) {
    const FD(tap_sum) *s = g->s;
    const int64_t step = s->axis[2].step * s->src_s[2];
    FD(point_run) *next = runs;
    for (int64_t j = first; j < past; j++) {
        const int64_t lane = FD(points_start)(g, j), width = FD(points_start)(g, j + 1) - lane;
        const int64_t lanes = FD(least)(width, g->lanes - lane);
        const int lies = FD(points_lie)(g, group, j) != NULL;
        if (lanes < width) memset(packed, 0, (size_t)(s->channels * width) * sizeof(T));
        for (int64_t i = 0; !lies && i < lanes; i += next++->count) {
            const int64_t row = g->run - (lane + i) % g->run;
            next->from = FD(point_source)(g, group, lane + i);
            next->to = packed + i;
            next->count = (int32_t)FD(least)(FD(least)(row, lanes - i), VL);
            next->room = (int32_t)(width - i);
            next->width = (int32_t)width;
        }
        packed += s->channels * width;
    }
    for (int64_t c = 0; c < s->channels; c++)
        for (const FD(point_run) *r = runs; r < next; r++) { /* what is too much is written over by the next one */
            const V v = vload_step(r->from + c * s->src_c, step, r->count);
            vstore_upto(r->to + c * r->width, v, r->room);
        }
}

/* The rows of a tile whose pixels lie in several images, or have an activation of their own, to where they belong. */
static void FD(store_points)(const FD(points) *g, T *out, T *tile, int64_t lane, int64_t lanes, int rows) {
    const FD(tap_sum) *s = g->s;
    const int64_t pixels = g->lanes / s->batch;
    for (int i = 0; i < rows; i++, tile += NR, out += s->out_c) {
        if (s->act != FD_LINEAR) FD(act_row)(tile, tile, lanes, s->act, s->alpha);
        for (int64_t l = 0, run; l < lanes; l += run) {
            const int64_t at = (lane + l) % pixels;
            run = FD(least)(pixels - at, lanes - l);
            memcpy(out + (lane + l) / pixels * s->out_n + at, tile + l, (size_t)run * sizeof(T));
        }
    }
}

/* Where output i of one channel of y lies in the same channel of x. */
static int64_t FD(point_met)(const fd_conv *p, int64_t i) {
    const int64_t row = i / p->out[2], depth = row / p->out[1];
    const int64_t line = depth * p->stride[0] * p->in[1] + row % p->out[1] * p->stride[1];
    return line * p->in[2] + i % p->out[2] * p->stride[2];
}

/* The rows of a tile to the pixels of dx that the stride has met. What lies behind each, up to the next one, has no
 * product: it is zero, or what a transposed convolution makes of its bias. */
static void FD(spread_points)(const FD(points) *g, T *out, const T *bias, T *tile, int64_t lane, int64_t lanes,
                              int rows) {
    const FD(tap_sum) *s = g->s;
    const fd_conv *p = s->p;
    const int64_t pixels = g->lanes / s->batch, size = p->in[0] * p->in[1] * p->in[2], step = p->stride[2];
    int64_t at[NR + 1] = {0}, first[NR], past[NR], runs = 0;
    for (int64_t i = 0; i < lanes; at[++runs] = i) {
        const int64_t pixel = (lane + i) % pixels, image = (lane + i) / pixels * s->out_n;
        const int64_t row = FD(least)(FD(least)(p->out[2] - pixel % p->out[2], lanes - i), VL);
        i += row;
        first[runs] = image + FD(point_met)(p, pixel);
        past[runs] = image + (pixel + row == pixels ? size : FD(point_met)(p, pixel + row));
    }
    for (int i = 0; i < rows; i++, tile += NR, out += s->out_c) {
        T none[VL] = {bias[i]};
        if (s->act != FD_LINEAR) {
            FD(act_row)(tile, tile, lanes, s->act, s->alpha);
            FD(act_row)(none, none, 1, s->act, s->alpha);
        }
        const V rest = vset1(none[0]);
        for (int64_t r = 0; r < runs; r++) {
            const int64_t n = at[r + 1] - at[r];
            const V sums = vload_upto(tile + at[r], n);
            int64_t j = first[r];
            if (step == 2) {
                vstore_upto(out + j, vinterleave_low(sums, rest), FD(least)(2 * n, past[r] - j));
                if (2 * n > VL)
                    vstore_upto(out + j + VL, vinterleave_high(sums, rest), FD(least)(2 * n, past[r] - j) - VL);
                j += 2 * n;
            }
            for (; j < past[r]; j += VL) vstore_upto(out + j, rest, past[r] - j);
            if (step != 2) vstore_step(out + first[r], sums, step, n);
        }
    }
}

/* What tile o > 0 of a panel asks for: its part of the channels of a panel whose turn comes later. */
static FD(tile_ahead) FD(points_ahead)(const FD(points) *g, int64_t group, int64_t panel, int64_t o) {
    const FD(tap_sum) *s = g->s;
    if (o == 0 || panel >= g->panels) return GEMM_NOTHING;
    const int64_t channel = (o - 1) * FD(ceil_div)(s->channels, g->parts - 1);
    if (channel >= s->channels) return GEMM_NOTHING;
    const T *from = FD(point_source)(g, group, FD(points_start)(g, panel)) + channel * s->src_c;
    return (FD(tile_ahead)){from, s->src_c, POINTS_ASKED * (g->parts - 1), POINTS_ASKED};
}

static void FD(points_task)(void *arg, int64_t task, void *scratch) {
    const FD(points) *g = arg;
    const FD(tap_sum) *s = g->s;
    const int64_t group = task / g->tasks, first = task % g->tasks * g->in_task, depth = s->channels;
    const int64_t past = FD(least)(first + g->in_task, g->panels), pixels = g->lanes / s->batch;
    const T *panel = s->panels + group * g->parts * (1 + depth) * MR;
    T tile[MR * NR] __attribute__((aligned(64)));
    FD(point_run) *const runs = scratch;
    T *const panels = (T *)(runs + FD(point_runs)(g));
    FD(pack_points)(panels, runs, g, group, first, past);
    for (int64_t o = 0; o < g->parts && !fd_stopped(); o++, panel += (1 + depth) * MR) {
        const int rows = (int)FD(least)(s->outputs - o * MR, MR);
        T *out = s->out + (group * s->outputs + o * MR) * s->out_c;
        T *packed = panels;
        for (int64_t j = first; j < past; j++) {
            const int64_t lane = FD(points_start)(g, j), width = FD(points_start)(g, j + 1) - lane;
            const int64_t lanes = FD(least)(width, g->lanes - lane), at = lane % pixels;
            const int plain = !g->spread && at + lanes <= pixels && (s->act == FD_LINEAR || s->act == FD_RELU);
            FD(tile_end) end = {.c = tile, .pitch = NR, .columns = width, .rows = rows, .start = panel};
            if (plain) {
                end.c = out + lane / pixels * s->out_n + at;
                end.pitch = s->out_c;
                end.columns = lanes;
                end.rectified = s->act == FD_RELU;
            }
            const T *lies = o == 0 ? FD(points_lie)(g, group, j) : NULL;
            if (lies != NULL)
                FD(gemm_tile_packing)(&end, panel + MR, 1, MR, lies, s->src_c, depth, packed);
            else
                FD(gemm_tile)(&end, panel + MR, 1, MR, packed, width, depth,
                              FD(points_ahead)(g, group, j + g->in_task, o));
            if (g->spread)
                FD(spread_points)(g, out, panel, tile, lane, lanes, rows);
            else if (!plain)
                FD(store_points)(g, out, tile, lane, lanes, rows);
            packed += depth * width;
        }
    }
}

/* Whether a stride meets pixels of the input, one an output, each of which exists. */
static int FD(meets_points)(const fd_conv *p) {
    int alone = 1;
    for (int i = 0; i < 3; i++) alone = alone && p->kernel[i] == 1 && p->pad[i] == 0;
    return alone && p->stride[0] * p->stride[1] * p->stride[2] > 1;
}

/* The same of the gradient of such an input: the pixels of dy, of which a tap sum has one row. */
static void FD(points_of_dy)(FD(tap_sum) *s) {
    int64_t pixels = 1;
    for (int i = 0; i < 3; i++) {
        pixels *= s->p->out[i];
        s->axis[i].lattice = s->axis[i].source = i < 2 ? 1 : pixels;
    }
    s->out_s[0] = s->out_s[1] = pixels;
    s->out_s[2] = 1;
}

/* Whether each output is of one pixel, which exists, and outputs lie side by side. */
static int FD(in_points)(const FD(tap_sum) *s) {
    int64_t pixels = 1;
    int inside = s->taps == 1 && !s->p->channels_last;
    for (int i = 2; i >= 0 && inside; i--) {
        const FD(axis) *axis = &s->axis[i];
        inside =
            s->out_s[i] == pixels && *axis->edge >= 0 && *axis->edge + (axis->lattice - 1) * axis->step < axis->source;
        pixels *= axis->lattice;
    }
    return inside;
}

static int FD(run_points)(FD(tap_sum) *s, FD(weights) *v, int threads) {
    if (FD(asked)(s->p, FD_GEMM)) return FD_OK;
    FD(points) g = {.s = s, .run = s->axis[2].lattice, .parts = FD(ceil_div)(s->outputs, MR)};
    g.spread = s->crops && FD(meets_points)(s->p);
    g.lanes = s->batch * s->axis[0].lattice * s->axis[1].lattice * g.run;
    g.vectors = FD(ceil_div)(g.lanes, VL);
    const int64_t row = FD(most)(s->channels, 1) * VL * TBYTES, fit = FD(most)(FD_BAND_BYTES / 2 / row, 1);
    const int64_t most = FD(least)(fit, NV); /* vectors of a panel */
    g.panels = FD(ceil_div)(g.vectors, most);
    g.in_task = FD(most)(1, FD(least)(fit / NV, s->groups * g.panels / 16));
    g.tasks = FD(ceil_div)(g.panels, g.in_task);
    threads = fd_threads_for(s->groups * g.vectors * s->outputs * (1 + s->channels), threads);
    T *memory = fd_alloc((size_t)(s->groups * g.parts * (1 + s->channels) * MR) * sizeof(T));
    if (memory == NULL) return FD_NOMEM;
    s->panels = v->panels = memory;
    v->s = s;
    const size_t scratch = (size_t)FD(point_runs)(&g) * sizeof(FD(point_run)) + (size_t)(g.in_task * most * row);
    int rc = fd_parallel(FD(pack_weights), v, s->groups * g.parts, 0, threads);
    if (rc == FD_OK) rc = fd_parallel(FD(points_task), &g, s->groups * g.tasks, scratch, threads);
    fd_free(memory);
    return rc;
}

typedef struct {
    const fd_conv *p;
    const T *x;
    T *to;
} FD(met);

/* The pixels of an image that the stride meets, as an image of their own in the same layout. */
static void FD(met_task)(void *arg, int64_t n, void *scratch) {
    (void)scratch;
    const FD(met) *g = arg;
    const fd_conv *p = g->p;
    const int64_t channels = p->in_channels, last = p->channels_last, columns = p->out[2], step = p->stride[2];
    const int64_t size = p->in[0] * p->in[1] * p->in[2], pixels = p->out[0] * p->out[1] * columns;
    const T *from = g->x + n * channels * size;
    T *to = g->to + n * channels * pixels;
    for (int64_t c = 0; c < (last ? 1 : channels); c++, from += size)
        for (int64_t i = 0; i < pixels; i += columns) {
            const T *row = from + FD(point_met)(p, i) * (last ? channels : 1);
            for (int64_t j = 0; last && j < columns; j++, row += step * channels, to += channels)
                memcpy(to, row, (size_t)channels * sizeof(T));
            for (int64_t j = 0, run; !last && j < columns; j += run, to += run) {
                run = FD(least)(columns - j, VL);
                vstore_upto(to, vload_step(row + j * step, step, run), run);
            }
        }
}
