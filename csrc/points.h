/* points.h: a convolution of one pixel an output, channels first, as matrix products of the weights and the pixels.
 *
 * # Design: an output meets one pixel of each channel, so the pixels of all images are the columns of one product, and
 * images as small as 7x7 fill its vectors. A task packs some panels of columns, from every stride-th pixel where there
 * is a stride, and multiplies each of them by all weights. Meanwhile it asks for what the next task will pack: a
 * product of few outputs is over before that has come from memory.
 *
 * Order of summation: bias, then channels ascending, one accumulator an output.
 */

typedef struct {
    const FD(tap_sum) *s;
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

/* computes  to[c][i] = the source of pixel lane + i in channel c, for i < lanes, and 0 below width
 * shapes    to (channels, width), width in whole vectors
 * layout    as written
 * touches   exactly those elements
 * order     none */
static void FD(pack_points)(T *to, const FD(points) *g, int64_t group, int64_t lane, int64_t lanes, int64_t width) {
    const FD(tap_sum) *s = g->s;
    const int64_t step = s->axis[2].step * s->src_s[2];
    if (lanes < width) memset(to, 0, (size_t)(s->channels * width) * sizeof(T));
    if (step == 1 && lanes == NR && lane % g->run + lanes <= g->run) {
        const T *from = FD(point_source)(g, group, lane);
        for (int64_t c = 0; c < s->channels; c++, from += s->src_c, to += NR)
            for (int j = 0; j < NV; j++) vstore(to + j * VL, vload(from + j * VL));
        return;
    }
    for (int64_t i = 0, n; i < lanes; i += n) { /* what a vector has too much is written over by the next one */
        n = FD(least)(FD(least)(g->run - (lane + i) % g->run, lanes - i), VL);
        const T *from = FD(point_source)(g, group, lane + i);
        const int64_t room = FD(least)(width - i, VL);
        for (int64_t c = 0; c < s->channels; c++, from += s->src_c)
            vstore_upto(to + c * width + i, vload_step(from, step, n), room);
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

static void FD(points_task)(void *arg, int64_t task, void *scratch) {
    const FD(points) *g = arg;
    const FD(tap_sum) *s = g->s;
    const int64_t group = task / g->tasks, first = task % g->tasks * g->in_task, depth = s->channels;
    const int64_t past = FD(least)(first + g->in_task, g->panels), pixels = g->lanes / s->batch;
    const int64_t step = s->axis[2].step * s->src_s[2];
    const T *panel = s->panels + group * g->parts * (1 + depth) * MR;
    T tile[MR * NR] __attribute__((aligned(64)));
    T *packed = scratch;
    for (int64_t j = first; j < past; j++) {
        const int64_t lane = FD(points_start)(g, j), width = FD(points_start)(g, j + 1) - lane;
        FD(pack_points)(packed, g, group, lane, FD(least)(width, g->lanes - lane), width);
        packed += depth * width;
    }
    for (int64_t o = 0; o < g->parts && !fd_stopped(); o++, panel += (1 + depth) * MR) {
        const int rows = (int)FD(least)(s->outputs - o * MR, MR);
        T *out = s->out + (group * s->outputs + o * MR) * s->out_c;
        packed = scratch;
        for (int64_t j = first; j < past; j++) {
            const int64_t lane = FD(points_start)(g, j), width = FD(points_start)(g, j + 1) - lane;
            const int64_t lanes = FD(least)(width, g->lanes - lane), at = lane % pixels;
            const int plain = at + lanes <= pixels && (s->act == FD_LINEAR || s->act == FD_RELU);
            FD(tile_end) end = {.c = tile, .pitch = NR, .columns = width, .rows = rows, .start = panel};
            if (plain) {
                end.c = out + lane / pixels * s->out_n + at;
                end.pitch = s->out_c;
                end.columns = lanes;
                end.rectified = s->act == FD_RELU;
            }
            FD(tile_ahead) ahead = GEMM_NOTHING;
            if (j + g->in_task < g->panels) { /* the last line: the first was the last of the panel before */
                const T *next = FD(point_source)(g, group, FD(points_start)(g, j + g->in_task)) + (VL - 1) * step;
                ahead = (FD(tile_ahead)){next + o * depth / g->parts * s->src_c, s->src_c, g->parts};
            }
            FD(gemm_tile)(&end, panel + MR, 1, MR, packed, width, depth, ahead);
            if (!plain) FD(store_points)(g, out, tile, lane, lanes, rows);
            packed += depth * width;
        }
    }
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
    g.lanes = s->batch * s->axis[0].lattice * s->axis[1].lattice * g.run;
    g.vectors = FD(ceil_div)(g.lanes, VL);
    const int64_t row = FD(most)(s->channels, 1) * VL * TBYTES, fit = FD(most)(FD_BAND_BYTES / row, 1);
    const int64_t most = FD(least)(fit, NV); /* vectors of a panel */
    g.panels = FD(ceil_div)(g.vectors, most);
    g.in_task = FD(most)(1, FD(least)(fit / NV, s->groups * g.panels / 16));
    g.tasks = FD(ceil_div)(g.panels, g.in_task);
    threads = fd_threads_for(s->groups * g.vectors * s->outputs * (1 + s->channels), threads);
    T *memory = fd_alloc((size_t)(s->groups * g.parts * (1 + s->channels) * MR) * sizeof(T));
    if (memory == NULL) return FD_NOMEM;
    s->panels = v->panels = memory;
    v->s = s;
    int rc = fd_parallel(FD(pack_weights), v, s->groups * g.parts, 0, threads);
    if (rc == FD_OK)
        rc = fd_parallel(FD(points_task), &g, s->groups * g.tasks, (size_t)(g.in_task * most * row), threads);
    fd_free(memory);
    return rc;
}
