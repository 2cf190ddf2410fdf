/* conv.h: convolution forward and with respect to its input, each as tap sums (taps.h). */

/* Pack the weights and run a task for each band. */
static int FD(run_bands)(FD(tap_sum) *s, FD(weights) *v, int threads) {
    if (FD(asked)(s->p, FD_DIRECT)) return FD_OK;
    FD(plan_bands)(s);
    const int64_t panels = s->groups * (FD(ceil_div)(s->outputs, MR));
    const int64_t tasks = s->batch * s->groups * s->axis[0].lattice * s->row_bands * s->column_bands;
    const int64_t depth = 1 + s->channels * s->taps;
    const int64_t pixels = s->axis[0].lattice * s->axis[1].lattice * s->axis[2].lattice;
    threads = fd_threads_for(s->batch * s->groups * s->outputs * depth * (pixels / VL + 1), threads);
    T *memory = fd_alloc((size_t)(panels * depth * MR) * sizeof(T));
    if (memory == NULL) return FD_NOMEM;
    s->panels = memory;
    v->panels = memory;
    v->s = s;
    v->finite = 1;
    int rc = fd_parallel(FD(pack_weights), v, panels, 0, threads);
    s->masked = s->crops && !v->finite;
    const int64_t scratch = FD(band_size)(s, s->channels) + (s->masked ? FD(band_size)(s, 1) : 0);
    if (rc == FD_OK) rc = fd_parallel(FD(tap_sum_task), s, tasks, (size_t)scratch * sizeof(T), threads);
    fd_free(memory);
    return rc;
}

/* What computes a tap sum, by its shape alone: Winograd's algorithm (winograd.h), a product (points.h) or rows of
 * pixels (strided.h, pixels.h) where they pay, and bands of the source (taps.h) elsewhere, or where the others find
 * numbers that they cannot serve. */
static int FD(run_tap_sum)(FD(tap_sum) *s, FD(weights) *v, int threads) {
    const int64_t taps = s->p->strict ? 0 : FD(winograd_taps)(s);
    int rc = FD_OK, done = 0;
    if (s->taps == 0 && s->out_c == 1) return FD(run_untouched)(s, v->bias, threads);
    if (taps > 0) rc = FD(run_winograd)(&done, s, v, taps, threads);
    if (rc == FD_OK && !done && FD(in_points)(s)) return FD(run_points)(s, v, threads);
    if (rc == FD_OK && !done && FD(is_strided)(s)) return FD(run_strided)(s, v, threads);
    if (rc == FD_OK && !done && FD(in_pixels)(s)) rc = FD(run_pixels)(&done, s, v, threads);
    if (rc == FD_OK && !done) rc = FD(run_bands)(s, v, threads);
    return rc;
}

/* Whether each output is of one pixel. */
static int FD(pointwise)(const fd_conv *p) {
    int alike = 1;
    for (int i = 0; i < 3; i++) alike = alike && p->kernel[i] == 1 && p->stride[i] == 1 && p->in[i] == p->out[i];
    return alike;
}

/* Such pixels have no neighbours, and are one long row: of an image, with channels last of the whole batch. */
static fd_conv FD(one_row)(const fd_conv *plan) {
    fd_conv p = *plan;
    if (!FD(pointwise)(plan)) return p;
    p.in[2] *= p.in[1] * p.in[0];
    p.in[0] = p.in[1] = p.out[0] = p.out[1] = 1;
    if (p.channels_last) {
        p.in[2] *= p.batch;
        p.batch = 1;
    }
    p.out[2] = p.in[2];
    return p;
}

/* computes  y = act(scale * (x * w) + b), the convolution (cross-correlation) of plan
 * shapes    x (N, C, D, H, W), w (O, C/groups, KD, KH, KW), b and scale (O) or NULL, y (N, O, OD, OH, OW)
 * layout    as written, or channels last: x (N, D, H, W, C), w (KD, KH, KW, C/groups, O), y (N, OD, OH, OW, O)
 * touches   every element; scratch of FD_BAND_BYTES a thread where a row of a band allows, and the packed weights
 * order     see the head of the file that serves the shape
 * source    Zhang, Franchetti and Low, "High Performance Zero-Memory Overhead Direct Convolutions", 2018 */
static int FD(fd_conv_fwd)(void *y, const void *x, const void *w, const void *b, const void *scale, const fd_conv *plan,
                           int act, double alpha, int threads) {
    const fd_conv row = FD(one_row)(plan), *p = &row;
    const int64_t taps = p->kernel[0] * p->kernel[1] * p->kernel[2];
    FD(tap_sum) s = {.p = p, .src = x, .out = y, .batch = p->batch, .groups = p->groups, .act = act, .alpha = (T)alpha};
    s.channels = p->in_channels / p->groups;
    s.outputs = p->out_channels / p->groups;
    if (p->batch * p->out_channels * p->out[0] * p->out[1] * p->out[2] == 0) return FD_OK;
    if (FD(is_whole)(p)) return FD(whole_fwd)(y, x, w, b, scale, p, act, alpha, threads);
    if (FD(is_small)(p)) return FD(small_fwd)(y, x, w, b, scale, p, act, alpha, threads);
    int rc;
    if (FD(run_depthwise)(&rc, y, x, w, b, scale, plan, 0, act, alpha, threads)) return rc;
    FD(image_strides)(&s.src_n, &s.src_c, s.src_s, p->in_channels, p->in, (int)p->channels_last);
    FD(image_strides)(&s.out_n, &s.out_c, s.out_s, p->out_channels, p->out, (int)p->channels_last);
    FD(weights) v = {.w = w, .bias = b, .scale = scale, .kernel = {p->kernel[0], p->kernel[1], p->kernel[2]}};
    FD(forward_weights)(&v, &s, taps, p);
    int64_t *memory;
    rc = FD(tap_tables)(&s, p->kernel, &memory);
    if (rc == FD_OK) {
        FD(forward_axes)(&s, p);
        rc = FD(run_tap_sum)(&s, &v, threads);
    }
    fd_free(memory);
    return rc;
}

/* computes  dx with respect to x of y = x * w; run forward, a transposed convolution with scale, bias and activation
 * shapes    as fd_conv_fwd, b and scale (C) or NULL
 * layout    as fd_conv_fwd
 * touches   every element of dx once, as fd_conv_fwd
 * order     as fd_conv_fwd
 * source    Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016, chapter 4 */
static int FD(fd_conv_dx)(void *dx, const void *dy, const void *w, const void *b, const void *scale,
                          const fd_conv *plan, int act, double alpha, int threads) {
    const fd_conv row = FD(one_row)(plan), *p = &row;
    const int64_t taps = p->kernel[0] * p->kernel[1] * p->kernel[2];
    FD(tap_sum) s = {
        .p = p, .src = dy, .crops = 1, .batch = p->batch, .groups = p->groups, .act = act, .alpha = (T)alpha};
    s.channels = p->out_channels / p->groups;
    s.outputs = p->in_channels / p->groups;
    if (p->batch * p->in_channels * p->in[0] * p->in[1] * p->in[2] == 0) return FD_OK;
    if (FD(is_whole)(p)) return FD(whole_dx)(dx, dy, w, b, scale, p, act, alpha, threads);
    const int plain = b == NULL && scale == NULL && act == FD_LINEAR; /* no transposed convolution run forward */
    if (plain && FD(is_small)(p)) return FD(small_dx)(dx, dy, w, p, threads);
    int rc;
    if (FD(run_depthwise)(&rc, dx, dy, w, b, scale, plan, 1, act, alpha, threads)) return rc;
    int done = 0;
    if (FD(few_in_pairs)(p)) rc = FD(run_few_pairs)(&done, dx, dy, w, b, scale, p, act, (T)alpha, threads);
    if (done) return rc;
    if (FD(few_inputs)(p)) return FD(run_few_dx)(dx, dy, w, b, scale, p, act, (T)alpha, threads);
    int64_t whole[3];
    FD(image_strides)(&s.src_n, &s.src_c, s.src_s, p->out_channels, p->out, (int)p->channels_last);
    FD(image_strides)(&s.out_n, &s.out_c, whole, p->in_channels, p->in, (int)p->channels_last);
    FD(weights) v = {.w = w, .bias = b, .scale = scale, .kernel = {p->kernel[0], p->kernel[1], p->kernel[2]}};
    v.out = p->channels_last ? p->out_channels : taps;
    v.in = p->channels_last ? 1 : s.outputs * taps;
    v.tap = p->channels_last ? s.outputs * p->out_channels : 1;
    v.group = p->channels_last ? s.channels : s.channels * s.outputs * taps;
    int64_t *memory;
    rc = FD(tap_tables)(&s, p->kernel, &memory);

    const int met = !p->channels_last && FD(meets_points)(p); /* points.h has all residues at once */
    const int64_t residues = met ? 1 : p->stride[0] * p->stride[1] * p->stride[2];
    for (int64_t r = 0; r < residues && rc == FD_OK; r++) {
        const int64_t residue[3] = {r / p->stride[2] / p->stride[1], r / p->stride[2] % p->stride[1], r % p->stride[2]};
        s.taps = 1;
        s.out = dx;
        int64_t empty = 0;
        for (int i = 0; i < 3; i++) {
            FD(axis) *axis = &s.axis[i];
            axis->lattice = FD(ceil_div)(p->in[i] - residue[i], p->stride[i]);
            axis->step = 1;
            axis->source = p->out[i];
            axis->taps = 0;
            for (int64_t t = 0; t < p->kernel[i]; t++) {
                const int64_t reach = residue[i] + p->pad[i] - t * p->dilation[i];
                if (reach % p->stride[i] != 0) continue;
                axis->tap[axis->taps] = t;
                axis->edge[axis->taps++] = reach / p->stride[i];
            }
            FD(axis_taps)(axis);
            s.taps *= axis->taps;
            s.out_s[i] = whole[i] * p->stride[i];
            s.out += residue[i] * whole[i];
            empty |= axis->lattice <= 0;
        }
        if (met) FD(points_of_dy)(&s);
        if (!empty) rc = FD(run_tap_sum)(&s, &v, threads);
    }
    fd_free(memory);
    return rc;
}
