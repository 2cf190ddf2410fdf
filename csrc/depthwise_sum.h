/* depthwise_sum.h: convolution of each channel on its own, forward and with respect to the input, as tap sums (taps.h)
 * along the strands of depthwise.h. The gradient with respect to the input is one sum for each residue of the stride,
 * so no stuffed zero is multiplied; residues of a row, and in NHWC outputs of a channel, are put side by side at the
 * end.
 *
 * Order of summation: bias; in the gradient the outputs of a channel ascending, in them depths, in them columns (NCHW,
 * unless it rolls) or rows (NHWC) and in them rows or columns, sources ascending; one accumulator an output.
 */

#define SWEEP_ASKS (4096 / TBYTES) /* elements of a plane; before smaller ones memory is not waited for */
#define SWEEP_FAR (2 << 20)        /* bytes of all outputs in NHWC; fewer may be in a cache */

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

/* NCHW: elements to the next plane of the source and of out, or 0 where it is not asked for. */
static int64_t FD(plane_ahead)(const FD(depthwise) *g) {
    const int64_t plane = g->source[1] * g->source[2];
    const int same = g->target[1] == g->source[1] && g->target[2] == g->source[2] && g->inputs * g->outputs == 1;
    return plane >= SWEEP_ASKS && same ? plane : 0;
}

/* NCHW: one band of rows of one channel of the source, and its outputs. */
static void FD(plane_band)(const FD(depthwise) *g, int64_t band_number, void *scratch) {
    const fd_conv *p = g->p;
    const int64_t a = FD(over)(band_number, g->bands), first = (band_number - a * g->bands) * g->rows;
    const int64_t number = FD(over)(a, g->target[0]), depth = a - number * g->target[0];
    const int64_t channel = number % p->in_channels;
    const int64_t last = FD(least)(first + g->rows, g->target[1]), width = g->target[2];
    T *band = scratch, *merge = band + g->band;
    FD(strand) *strands = (FD(strand) *)(merge + g->merge);
    const FD(origin) from = FD(plane_origin)(g, number, depth, first, last, band);
    /* The weights of a channel lie together, whichever pass it is. */
    const T *w = g->w + channel * g->multiplier * g->taps;

    const int64_t ways = g->residues[2], line = ways > 1 ? g->merge_pitch : width;
    for (int64_t o = 0; o < g->outputs; o++) {
        T *out = g->out + ((number * g->outputs + o) * g->target[0] + depth) * g->target[1] * width + first * width;
        T *to = ways > 1 ? merge : out;
        const T bias = g->bias == NULL ? 0 : g->bias[channel * g->outputs + o];
        for (int64_t c = 0; c < ways && c < width; c++) {
            FD(sweep) s = {.strand = strands, .w = w, .bias = &bias, .rectified = g->act == FD_RELU};
            s.strands = FD(plane_strands)(strands, g, &from, c, o);
            s.lanes = line; /* whole vectors of a row to merge: the next load waits for no part of one */
            s.pitch = from.pitch;
            s.kind = from.kind;
            s.kernel = p->kernel[2];
            s.to = g->residues[1] * ways * line;
            if (from.band == NULL) s.ahead = FD(plane_ahead)(g);
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

/* NCHW: bands as plane_band counts them, where each is a plane whose outputs have one reach: strands are found once. */
static void FD(whole_planes)(const FD(depthwise) *g, int64_t begin, int64_t end, void *scratch) {
    const fd_conv *p = g->p;
    const int64_t size = g->source[1] * g->source[2], all = p->batch * p->in_channels * size;
    const int64_t outputs = g->target[1] * g->target[2];
    const FD(reach) *h = g->reach[1];
    FD(strand) *strands = (FD(strand) *)((T *)scratch + g->band + g->merge);
    const FD(origin) from = {.depth = g->reach[0], .z = g->reach[0]->edge, .image = g->src, .pitch = g->source[2]};
    FD(sweep) s = {.strand = strands, .lanes = g->target[2], .pitch = g->source[2], .to = g->target[2]};
    s.rectified = g->act == FD_RELU;
    s.kind = LANES_COLUMNS;
    s.kernel = p->kernel[2];
    s.ahead = FD(plane_ahead)(g);
    for (int64_t i = begin; i < end; i++) {
        const int64_t channel = i % p->in_channels;
        s.from = i * size;
        if (s.from < g->before || s.from + size + g->after > all) {
            FD(plane_band)(g, i, scratch);
            s.strands = 0;
            continue;
        }
        if (s.strands == 0) s.strands = FD(plane_strands)(strands, g, &from, 0, 0);
        const T bias = g->bias == NULL ? 0 : g->bias[channel], *w = g->w + channel * g->taps;
        T *out = g->out + i * outputs;
        s.w = w;
        s.bias = &bias;
        if (g->rolls)
            FD(roll_whole)(out, &s, h, w + g->reach[2]->first, g->reach[2]->next, g->source[1]);
        else
            FD(sweep_reach)(out, &s, h, g->source[1]);
        FD(activate)(out, outputs, g);
    }
}

/* NCHW: g->share bands, as plane_band counts them. */
static void FD(depthwise_planes_task)(void *arg, int64_t task, void *scratch) {
    const FD(depthwise) *g = arg;
    const int64_t all = g->p->batch * g->p->in_channels * g->target[0] * g->bands, first = task * g->share;
    const int64_t past = FD(least)(first + g->share, all);
    if (g->plain) {
        FD(whole_planes)(g, first, past, scratch);
        return;
    }
    for (int64_t i = first; i < past; i++) FD(plane_band)(g, i, scratch);
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
        *rc = fd_parallel(last       ? FD(depthwise_pixels_task)
                          : g.halves ? FD(half_task)
                                     : FD(depthwise_planes_task),
                          &g, FD(ceil_div)(bands, g.share),
                          (size_t)(g.band + g.merge) * sizeof(T) + (size_t)strands * sizeof(FD(strand)),
                          fd_threads_for(p->batch * p->out_channels * taps * (pixels / VL + 1), threads));
    fd_free(memory);
    return finite;
}
