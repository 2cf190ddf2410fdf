/* depthwise_dw.h: the gradient of a convolution of each channel on its own with respect to its weights.
 *
 * # Design: the sweep turned around: what stays in registers are the sums of the taps along it, and neighbouring
 * elements of dy meet each source element that is loaded. Lanes are kept apart to the end: in NHWC they are channels,
 * in NCHW columns, which one tree then adds up.
 *   - Windows of three rows and columns in NCHW, the commonest, roll over the rows (see depthwise_sweep.h): the sums of
 *     all nine taps stay in registers, and each row of either side is loaded once.
 *   - A task takes a part of the batch: some images of one channel (NCHW), or some rows of all channels (NHWC). What
 *     the parts are is a function of the sizes, and their sums are added up in ascending order.
 *
 * Order of summation: a part's images, depths and rows ascending, in NCHW bands of rows, vectors of columns and in them
 * rows; one accumulator a lane, the tree of vsum over lanes, then parts ascending.
 */

#define DEPTHWISE_PARTS 16
#define DEPTHWISE_PART_SUMS (256 * 1024) /* elements of the sums of all parts in NHWC, where two are not more */

typedef struct {
    const FD(strand) *strand;
    const T *dy;
    T *sum;
    int64_t strands, lane, begin, end; /* lanes lane + begin .. lane + end - 1, end <= VL */
    int64_t place, source;             /* position of output 0 and its first tap in the source, and positions there */
    int64_t from, skip;                /* added to every strand's src and w */
    int64_t taps, step, spread;        /* along the sweep, as in FD(reach) */
    int64_t pitch, weight, dy_pitch;   /* elements between sources, sums and outputs along it */
    int kind;                          /* of lanes */
} FD(dw_sweep);

/* computes  sum[a][l] += sum over outputs q of dy[q][l] * src[q * step + a * spread][l], taps a of each strand
 * shapes    `outputs` by the sweep's lanes; sums have VL lanes
 * touches   lanes up to `end` of each output; VL lanes of each source and sum
 * order     outputs ascending, one accumulator a lane of a tap
 * source    as fd_conv_dw; with step constant the taps are neighbours, and each load serves all it meets */
FD_INLINE void FD(depthwise_dw_tile)(const FD(dw_sweep) *s, int64_t first, int64_t outputs, int64_t tap,
                                     const int strands, const int taps, const int step, const int kind) {
    const int64_t pitch = s->pitch, ahead = (step > 0 ? step : s->step) * pitch, spread = s->spread * pitch;
    const T *src[3], *dy = s->dy + s->lane;
    T *sum[3];
    I inside[3];
    FD(lanes) lanes[3];
    V acc[3][8];
#pragma GCC unroll 3
    for (int b = 0; b < strands; b++) {
        const FD(strand) *strand = &s->strand[first + b];
        src[b] = strand->src + s->from + s->place * pitch + tap * spread;
        src[b] += kind == LANES_SECOND_COLUMNS ? 2 * s->lane : s->lane;
        sum[b] = s->sum + strand->w * (kind == LANES_CHANNELS ? 1 : VL) + s->skip + tap * s->weight +
                 (kind == LANES_CHANNELS ? s->lane : 0);
        inside[b] = vrange(FD(most)(strand->begin - s->lane, s->begin), FD(least)(strand->end - s->lane, s->end));
        lanes[b] = FD(lanes_of)(inside[b]);
#pragma GCC unroll 8
        for (int a = 0; a < taps; a++) acc[b][a] = vload(sum[b] + a * s->weight);
    }
    int64_t q = 0, low = -s->place, high = s->source - s->place;
    for (; q + 4 <= outputs; q += 4, low -= 4 * step, high -= 4 * step) {
        V g[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++, dy += s->dy_pitch) g[i] = vheld(vload_upto(dy, s->end));
#pragma GCC unroll 3
        for (int b = 0; b < strands; b++) {
            const T *at = src[b];
            if (step > 0) {
#pragma GCC unroll 16
                for (int i = 0; i < 3 * step + taps; i++, at += pitch) {
                    if (i < low || i >= high) continue;
                    const V v = FD(strand_load)(at, lanes[b], kind);
#pragma GCC unroll 8
                    for (int a = 0; a < taps; a++)
                        if (i >= a && (i - a) % step == 0 && (i - a) / step < 4)
                            acc[b][a] = FD(strand_add)(g[(i - a) / step], v, acc[b][a], lanes[b], kind);
                }
            } else {
#pragma GCC unroll 4
                for (int i = 0; i < 4; i++, at += ahead)
#pragma GCC unroll 8
                    for (int a = 0; a < taps; a++)
                        acc[b][a] = FD(strand_add)(g[i], FD(strand_load)(at + a * spread, lanes[b], kind), acc[b][a],
                                                   lanes[b], kind);
            }
            src[b] += 4 * ahead;
        }
    }
    for (; q < outputs; q++, dy += s->dy_pitch, low -= step, high -= step) {
        const V g = vload_upto(dy, s->end);
#pragma GCC unroll 3
        for (int b = 0; b < strands; b++) {
#pragma GCC unroll 8
            for (int a = 0; a < taps; a++)
                if (step == 0 || (a >= low && a < high))
                    acc[b][a] = FD(strand_add)(g, FD(strand_load)(src[b] + a * spread, lanes[b], kind), acc[b][a],
                                               lanes[b], kind);
            src[b] += ahead;
        }
    }
#pragma GCC unroll 3
    for (int b = 0; b < strands; b++)
#pragma GCC unroll 8
        for (int a = 0; a < taps; a++) {
            T *to = sum[b] + a * s->weight;
            vstore(to, kind == LANES_CHANNELS ? vselect(inside[b], acc[b][a], vload(to)) : acc[b][a]);
        }
}

/* All strands: three at a time where they have three taps or one, so that no addition waits for the one before it. */
FD_INLINE void FD(dw_sweep_as)(const FD(dw_sweep) *s, int64_t outputs, const int taps, const int step, const int kind) {
    int64_t b = 0;
    if (taps > 0) {
        for (; (taps == 3 || taps == 1) && b + 3 <= s->strands; b += 3)
            FD(depthwise_dw_tile)(s, b, outputs, 0, 3, taps, step, kind);
        for (; b < s->strands; b++) FD(depthwise_dw_tile)(s, b, outputs, 0, 1, taps, step, kind);
        return;
    }
    for (; b < s->strands; b++) {
        int64_t tap = 0;
        for (; tap + 4 <= s->taps; tap += 4) FD(depthwise_dw_tile)(s, b, outputs, tap, 1, 4, 0, kind);
        for (; tap < s->taps; tap++) FD(depthwise_dw_tile)(s, b, outputs, tap, 1, 1, 0, kind);
    }
}

static void FD(dw_sweep_whole)(const FD(dw_sweep) *s, int64_t outputs) {
#define SWEEP(taps, step, kind) FD(dw_sweep_as)(s, outputs, taps, step, kind)
    FD_WITH_WINDOW(SWEEP, FD(window)(s->taps, s->step, s->spread, s->kind))
#undef SWEEP
}

/* The outputs of one reach over `source` positions, which changes the fields of s that depend on them. */
static void FD(dw_sweep_reach)(FD(dw_sweep) *s, const T *dy, const FD(reach) *r, int64_t source) {
    if (FD(has_lattices)(r)) {
        for (int64_t i = 0; i < r->spread && i < r->outputs; i++) {
            int64_t first, size = source;
            const FD(reach) lattice = FD(lattice)(r, i, &first, &size);
            FD(dw_sweep) part = *s;
            part.from += first * s->pitch;
            part.pitch *= r->spread;
            part.dy_pitch *= r->spread;
            FD(dw_sweep_reach)(&part, dy + i * s->dy_pitch, &lattice, size);
        }
        return;
    }
    FD(portion) part = {0};
    s->source = source;
    s->step = r->step;
    s->spread = r->spread;
    while (FD(next_portion)(&part, r, source, s->kind)) {
        s->dy = dy + part.output * s->dy_pitch;
        s->taps = part.taps;
        s->place = part.place;
        s->skip = part.tap * s->weight;
        FD(dw_sweep_whole)(s, part.outputs);
    }
}

/* NCHW, a kernel of one row: along the rows of one reach, the whole vectors of `lanes` columns. */
static void FD(dw_sweep_along)(const FD(dw_sweep) *columns, const T *dy, const FD(reach) *r, int64_t source,
                               int64_t lanes) {
    FD(dw_sweep) s = *columns;
    s.lane = 0;
    s.taps = s.step = s.spread = 1;
    s.pitch = s.dy_pitch = s.end = VL;
    s.source = lanes;
    for (int64_t i = 0; i < r->outputs; i++) {
        const int64_t y = i * r->step + r->edge;
        s.dy = dy + i * columns->dy_pitch;
        s.from = y * columns->pitch;
        if (y >= 0 && y < source) FD(dw_sweep_whole)(&s, lanes / VL);
    }
}

/* NCHW, three rows of three columns: adds the products of one band to the sums of nine taps, row by row of the source.
 * Each is loaded once, and meets three rows of dy. Not finite where an element of dy is not. */
static V FD(roll_dw)(const FD(depthwise) *g, const FD(half_band) *h, const T *dy, T *sums) {
    const fd_conv *p = g->p;
    const int64_t width = p->out[2], step = h->width;
    V acc[3][3], check = {0};
    FD(load_sums)(acc, sums);
    for (int64_t lane = 0; lane < width; lane += VL) {
        const int64_t n = FD(least)(width - lane, VL);
        FD(lanes) inside[3];
#pragma GCC unroll 3
        for (int j = 0; j < 3; j++) {
            const int64_t edge = j - p->pad[2] + lane;
            inside[j] = FD(lanes_of)(vrange(-edge, FD(least)(step - edge, n)));
        }
        int64_t y = h->first - p->pad[1];
        const T *row = h->source + y * step + lane - p->pad[2], *from = dy + h->first * width + lane;
        V before = {0}, above = {0};
        for (int64_t i = h->first; i < h->last + 2; i++, y++, row += step, from += width) {
            const V here = i < h->last ? vheld(vload_upto(from, n)) : (V){0};
            check = vfma(here, (V){0}, check);
            __builtin_prefetch(row + h->ahead);
            __builtin_prefetch(from + h->beyond);
            if (y >= 0 && y < h->height) {
                V at[3];
#pragma GCC unroll 3
                for (int j = 0; j < 3; j++) at[j] = vheld(FD(strand_inside)(vload(row + j), inside[j]));
                if (i < h->last) FD(half_products)(acc[0], here, at, inside);
                if (i > h->first && i <= h->last) FD(half_products)(acc[1], above, at, inside);
                if (i > h->first + 1) FD(half_products)(acc[2], before, at, inside);
            }
            before = above;
            above = here;
        }
    }
    FD(store_sums)(sums, acc);
    return check;
}

typedef struct {
    FD(depthwise) g; /* as forward */
    const T *dy;
    T *sums;       /* of each part, as [output of a channel][bias, then taps][lanes] (NHWC), or [output][tap] (NCHW) */
    int64_t parts; /* of the images (NCHW), or of the rows of all images (NHWC) */
    int64_t line;  /* elements of scratch for rows of dy, one output of a channel apart */
    int finite;
} FD(depthwise_dw);

/* NCHW: one channel of a part. */
static void FD(dw_channel)(FD(depthwise_dw) *h, int64_t number, void *scratch) {
    const FD(depthwise) *g = &h->g;
    const fd_conv *p = g->p;
    const int64_t channel = number % p->in_channels, part = number / p->in_channels, width = p->out[2];
    const int64_t images = part * p->batch / h->parts;
    T *sums = scratch, *band = sums + g->table;
    FD(strand) *strands = (FD(strand) *)(band + g->band);
    V check = {0};
    memset(sums, 0, (size_t)g->table * sizeof(T));
    for (int64_t n = images; n < (part + 1) * p->batch / h->parts && (n == images || !fd_stopped()); n++)
        for (int64_t i = 0; i < p->out[0] * g->bands; i++) {
            const int64_t plane = n * p->in_channels + channel, depth = i / g->bands, first = i % g->bands * g->rows;
            const int64_t rows = FD(least)(p->out[1] - first, g->rows);
            if (g->halves || (g->rolls && p->in[0] == 1)) {
                FD(half_band) b = FD(half_band_of)(g, plane, first, first + rows, band);
                if (g->bands == 1) b.ahead *= p->in_channels, b.beyond *= p->in_channels;
                const T *dy = h->dy + plane * p->out[1] * width;
                check += g->halves ? FD(half_dw)(g, &b, dy, sums) : FD(roll_dw)(g, &b, dy, sums);
                continue;
            }
            const FD(origin) from = FD(plane_origin)(g, plane, depth, first, first + rows, band);
            FD(reach) r = g->reach[1][0];
            r.edge += first * r.step - from.low;
            r.outputs = rows;
            for (int64_t o = 0; o < g->multiplier; o++) {
                FD(dw_sweep) s = {.strand = strands, .sum = sums, .pitch = from.pitch, .dy_pitch = width};
                s.strands = FD(plane_strands)(strands, g, &from, 0, o);
                s.weight = p->kernel[2] * VL;
                s.kind = from.kind;
                const T *dy = h->dy + (((plane * g->multiplier + o) * p->out[0] + depth) * p->out[1] + first) * width;
                if (!FD(all_finite)(dy, rows * width)) __atomic_store_n(&h->finite, 0, __ATOMIC_RELAXED);
                if (g->along) {
                    s.lane = width / VL * VL;
                    if (s.lane > 0) FD(dw_sweep_along)(&s, dy, &r, from.high - from.low, s.lane);
                }
                for (; s.lane < width; s.lane += VL) {
                    s.end = FD(least)(width - s.lane, VL);
                    FD(dw_sweep_reach)(&s, dy, &r, from.high - from.low);
                }
            }
        }
    if (vsum(check) != 0) __atomic_store_n(&h->finite, 0, __ATOMIC_RELAXED);
    T *to = h->sums + (part * p->in_channels + channel) * g->multiplier * g->taps;
    for (int64_t t = 0; t < g->multiplier * g->taps; t++) to[t] = vsum(vload(sums + t * VL));
}

/* NCHW: g->share channels, as dw_channel counts them. */
static void FD(depthwise_dw_planes_task)(void *arg, int64_t task, void *scratch) {
    FD(depthwise_dw) *h = arg;
    const int64_t all = h->parts * h->g.p->in_channels, share = h->g.share;
    for (int64_t i = task * share; i < all && i < (task + 1) * share; i++) FD(dw_channel)(h, i, scratch);
}

/* NHWC: all channels of a part. */
static void FD(depthwise_dw_pixels_task)(void *arg, int64_t task, void *scratch) {
    FD(depthwise_dw) *h = arg;
    const FD(depthwise) *g = &h->g;
    const fd_conv *p = g->p;
    const int64_t kernel = (1 + g->taps) * g->pitch, channels = p->in_channels, line = p->out[2] * channels;
    const int64_t rows = p->batch * p->out[0] * p->out[1];
    T *band = scratch, *apart = band + g->band, *sums = h->sums + task * g->multiplier * kernel;
    FD(strand) *strands = (FD(strand) *)(apart + h->line);
    memset(sums, 0, (size_t)(g->multiplier * kernel) * sizeof(T));
    for (int64_t i = task * rows / h->parts; i < (task + 1) * rows / h->parts && !fd_stopped(); i++) {
        const int64_t row = i % p->out[1], depth = i / p->out[1] % p->out[0], n = i / p->out[1] / p->out[0];
        const T *dy = h->dy + i * line * g->multiplier;
        const FD(origin) from = FD(pixel_origin)(g, n, depth, row, row + 1, band);
        if (!FD(all_finite)(dy, line * g->multiplier)) __atomic_store_n(&h->finite, 0, __ATOMIC_RELAXED);
        FD(dw_sweep) s = {.strand = strands, .pitch = channels, .dy_pitch = channels, .kind = from.kind};
        s.strands = FD(row_strands)(strands, g, &from, row);
        s.weight = g->pitch;
        for (int64_t o = 0; o < g->multiplier; o++) {
            s.sum = sums + o * kernel;
            if (g->multiplier > 1) FD(copy_row)(apart, dy + o, g->multiplier, 0, line, line);
            for (int64_t c = 0; c < channels; c += VL) {
                s.lane = FD(least)(c, FD(most)(channels - VL, 0)); /* the last vector begins early */
                s.begin = c - s.lane;
                s.end = FD(least)(channels, VL);
                FD(dw_sweep_reach)(&s, g->multiplier > 1 ? apart : dy, &g->reach[2][0], p->in[2]);
            }
        }
    }
}

/* dw = the sums of all parts. */
static void FD(add_parts)(T *dw, const FD(depthwise_dw) *h) {
    const FD(depthwise) *g = &h->g;
    const int64_t channels = g->p->in_channels, multiplier = g->multiplier;
    if (!g->p->channels_last) {
        const int64_t n = channels * multiplier * g->taps;
        for (int64_t i = 0; i < n; i += VL) {
            V sum = vload_upto(h->sums + i, n - i);
            for (int64_t part = 1; part < h->parts; part++) sum += vload_upto(h->sums + part * n + i, n - i);
            vstore_upto(dw + i, sum, n - i);
        }
        return;
    }
    const int64_t kernel = (1 + g->taps) * g->pitch;
    for (int64_t t = 0; t < g->taps; t++)
        for (int64_t c = 0; c < channels; c += VL)
            for (int64_t o = 0; o < multiplier; o++) {
                const T *from = h->sums + o * kernel + (1 + t) * g->pitch + c;
                V sum = vload(from);
                for (int64_t part = 1; part < h->parts; part++) sum += vload(from + part * multiplier * kernel);
                vstore_step(dw + (t * channels + c) * multiplier + o, sum, multiplier, FD(least)(channels - c, VL));
            }
}

/* computes  as fd_conv_dw, into *rc, where plan is depthwise and every dy finite; 0 where it is not
 * shapes    as fd_conv_dw
 * layout    as fd_conv_fwd
 * touches   every element of dw; scratch as run_depthwise, and the sums of DEPTHWISE_PARTS parts
 * order     see the file's head
 * source    as run_depthwise */
static int FD(run_depthwise_dw)(int *rc, void *dw, const void *dy, const void *x, const fd_conv *p, int threads) {
    if (!FD(is_depthwise)(p)) return 0;
    *rc = FD_OK;
    if (FD(asked)(p, FD_DEPTHWISE)) return 1;
    FD(depthwise_dw) h = {.g = {.src = x, .p = p}, .dy = dy, .finite = 1};
    const int last = (int)p->channels_last;
    const int64_t taps = p->kernel[0] * p->kernel[1] * p->kernel[2], pixels = p->out[0] * p->out[1] * p->out[2];
    const int64_t multiplier = p->out_channels / p->groups, rows = p->batch * p->out[0] * p->out[1];
    const int64_t size = last ? multiplier * (1 + taps) * FD(whole)(p->in_channels, VL) : p->out_channels * taps;
    h.parts = last ? FD(least)(rows, FD(most)(2, DEPTHWISE_PART_SUMS / size))
                   : FD(least)(p->batch, FD(ceil_div)(DEPTHWISE_PARTS, p->in_channels));
    h.parts = FD(most)(FD(least)(h.parts, DEPTHWISE_PARTS), 1);
    T *memory;
    *rc = FD(plan_depthwise)(&h.g, h.parts * size, &memory);
    if (*rc != FD_OK) return 1;
    h.sums = memory;
    h.g.share = FD(least)(h.parts * p->in_channels / 16, 4096 / (p->batch * pixels / h.parts + 1));
    h.g.share = last ? 1 : FD(most)(h.g.share, 1);
    h.line = last && multiplier > 1 ? FD(whole)(p->out[2] * p->in_channels, VL) : 0;
    const int64_t strands = p->kernel[0] * p->kernel[last ? 1 : 2];
    *rc = fd_parallel(last ? FD(depthwise_dw_pixels_task) : FD(depthwise_dw_planes_task), &h,
                      FD(ceil_div)(h.parts * (last ? 1 : p->in_channels), h.g.share),
                      (size_t)(h.g.table + h.g.band + h.line) * sizeof(T) + (size_t)strands * sizeof(FD(strand)),
                      fd_threads_for(p->batch * p->out_channels * taps * (pixels / VL + 1), threads));
    if (*rc == FD_OK && h.finite) FD(add_parts)(dw, &h);
    fd_free(memory);
    return *rc != FD_OK || h.finite;
}
