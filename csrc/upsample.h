/* upsample.h: enlargement of the two spatial axes by whole factors, forward and backward.
 *
 * # Design: output s*j + k is a weighted sum of the cells j-1, j, j+1, and the weights depend on the phase k alone. So
 * both modes and both axes are one stencil, done first across the rows and then along one.
 *   - Forward, a row is continued on both sides by its edge; the adjoint of that is to reflect it.
 *   - A task is some rows of x or, backward, of dx, and gathers what it writes.
 */

typedef struct {
    fd_upsample plan;
    int64_t pixel;  /* elements from one column to the next */
    int64_t planes; /* of one channel each (NCHW), or images (NHWC) */
    int64_t share;  /* rows of x a task */
    T *to;
    const T *from;
} FD(upsample);

/* The weight of cell j + side, side = -1, 0 or 1, in output scale*j + phase: half-pixel centres. */
static T FD(upsample_weight)(const fd_upsample *p, int64_t scale, int64_t phase, int64_t side) {
    if (!p->bilinear) return side == 0;
    const double distance = fabs(((double)phase + 0.5) / (double)scale - 0.5 - (double)side);
    return distance < 1.0 ? (T)(1.0 - distance) : 0;
}

/* to += weight * from, or from zero the first time. */
static void FD(upsample_add)(T *to, const T *from, T weight, int64_t n, int first) {
    for (int64_t i = 0; i < n; i += VL) {
        const V sum = first ? (V){0} : vload_upto(to + i, n - i);
        vstore_upto(to + i, vfma(vset1(weight), vload_upto(from + i, n - i), sum), n - i);
    }
}

/* n neighbours of one phase: from[-pixel], from[0] and from[pixel], weighted. */
FD_INLINE V FD(upsample_blend)(const T *from, int64_t pixel, const T *weights, int64_t scale, int64_t n) {
    V sum = {0};
    for (int64_t side = -1; side <= 1; side++) {
        const T weight = weights[(side + 1) * scale];
        if (weight > 0) sum = vfma(vset1(weight), vload_upto(from + side * pixel, n), sum);
    }
    return sum;
}

/* One row of y from a row of blended cells, which has one pixel more on either side. */
static void FD(upsample_widen)(const FD(upsample) *up, T *y, const T *row, const T *weights) {
    const int64_t width = up->plan.in[1], scale = up->plan.scale[1], pixel = up->pixel;
    if (pixel > 1) {
        for (int64_t j = 0; j < width; j++, row += pixel)
            for (int64_t phase = 0; phase < scale; phase++, y += pixel)
                for (int64_t c = 0; c < pixel; c += VL) {
                    const V sum = FD(upsample_blend)(row + c, pixel, weights + phase, scale, pixel - c);
                    vstore_upto(y + c, sum, pixel - c);
                }
        return;
    }
    for (int64_t j = 0; j < width; j += VL, row += VL, y += VL * scale) {
        const int64_t n = FD(least)(width - j, VL);
        if (scale == 2 && n == VL) {
            const V even = FD(upsample_blend)(row, 1, weights, 2, VL);
            const V odd = FD(upsample_blend)(row, 1, weights + 1, 2, VL);
            vstore(y, vinterleave_low(even, odd));
            vstore(y + VL, vinterleave_high(even, odd));
        } else {
            for (int64_t phase = 0; phase < scale; phase++) {
                const V sum = FD(upsample_blend)(row, 1, weights + phase, scale, n);
                for (int64_t l = 0; l < n; l++) y[l * scale + phase] = sum[l];
            }
        }
    }
}

/* One row of dx from a row of blended cells, which has `scale` pixels more on either side. */
static void FD(upsample_narrow)(const FD(upsample) *up, T *dx, const T *row, const T *weights) {
    const int64_t width = up->plan.in[1], scale = up->plan.scale[1], pixel = up->pixel;
    const int64_t columns = pixel == 1 ? VL : 1, step = pixel == 1 ? scale : 1;
    for (int64_t j = 0; j < width; j += columns)
        for (int64_t c = 0; c < pixel; c += VL) {
            const int64_t n = FD(least)(pixel == 1 ? width - j : pixel - c, VL);
            V sum = {0};
            for (int64_t side = -1; side <= 1; side++)
                for (int64_t phase = 0; phase < scale; phase++) {
                    const T weight = weights[(1 - side) * scale + phase];
                    const T *cells = row + ((j + side) * scale + phase) * pixel + c;
                    if (weight > 0) sum = vfma(vset1(weight), vload_step(cells, step, n), sum);
                }
            vstore_upto(dx + j * pixel + c, sum, n);
        }
}

static void FD(upsample_weights)(const FD(upsample) *up, T *weights) {
    const int64_t scale = up->plan.scale[1];
    for (int64_t side = -1; side <= 1; side++)
        for (int64_t phase = 0; phase < scale; phase++)
            weights[(side + 1) * scale + phase] = FD(upsample_weight)(&up->plan, scale, phase, side);
}

static void FD(upsample_fwd_task)(void *arg, int64_t task, void *scratch) {
    const FD(upsample) *up = arg;
    const fd_upsample *p = &up->plan;
    const int64_t height = p->in[0], scale = p->scale[0], width = p->in[1] * up->pixel, wide = width * p->scale[1];
    const int64_t rows = up->planes * height, first = task * up->share;
    T *weights = scratch, *row = weights + 3 * p->scale[1] + up->pixel;
    FD(upsample_weights)(up, weights);
    for (int64_t i = first; i < rows && i < first + up->share; i++)
        for (int64_t phase = 0; phase < scale; phase++) {
            int none = 1;
            for (int64_t side = -1; side <= 1; side++) {
                const T weight = FD(upsample_weight)(p, scale, phase, side);
                if (!(weight > 0)) continue;
                const int64_t h = i % height + side, real = h < 0 ? 0 : h < height ? h : height - 1;
                FD(upsample_add)(row, up->from + (i / height * height + real) * width, weight, width, none);
                none = 0;
            }
            memcpy(row - up->pixel, row, (size_t)up->pixel * sizeof(T));
            memcpy(row + width, row + width - up->pixel, (size_t)up->pixel * sizeof(T));
            FD(upsample_widen)(up, up->to + (i * scale + phase) * wide, row, weights);
        }
}

static void FD(upsample_bwd_task)(void *arg, int64_t task, void *scratch) {
    const FD(upsample) *up = arg;
    const fd_upsample *p = &up->plan;
    const int64_t height = p->in[0], scale = p->scale[0], width = p->in[1] * up->pixel, wide = width * p->scale[1];
    const int64_t rows = up->planes * height, first = task * up->share, tall = height * scale, pixel = up->pixel;
    T *weights = scratch, *row = weights + 3 * p->scale[1] + p->scale[1] * pixel;
    FD(upsample_weights)(up, weights);
    for (int64_t i = first; i < rows && i < first + up->share; i++) {
        int none = 1;
        for (int64_t side = -1; side <= 1; side++)
            for (int64_t phase = 0; phase < scale; phase++) {
                const T weight = FD(upsample_weight)(p, scale, phase, -side);
                if (!(weight > 0)) continue;
                const int64_t h = (i % height + side) * scale + phase;
                const int64_t real = h < 0 ? -1 - h : h < tall ? h : 2 * tall - 1 - h;
                FD(upsample_add)(row, up->from + (i / height * tall + real) * wide, weight, wide, none);
                none = 0;
            }
        for (int64_t k = 0; k < p->scale[1]; k++) {
            memcpy(row - (k + 1) * pixel, row + k * pixel, (size_t)pixel * sizeof(T));
            memcpy(row + wide + k * pixel, row + wide - (k + 1) * pixel, (size_t)pixel * sizeof(T));
        }
        FD(upsample_narrow)(up, up->to + i * width, row, weights);
    }
}

static int FD(upsample_run)(fd_task task, const fd_upsample *plan, T *to, const T *from, int threads) {
    FD(upsample) up = {.plan = *plan, .to = to, .from = from};
    up.pixel = plan->channels_last ? plan->channels : 1;
    up.planes = plan->channels_last ? plan->batch : plan->batch * plan->channels;
    const int64_t wide = (plan->in[1] + 2) * plan->scale[1] * up.pixel, rows = up.planes * plan->in[0];
    up.share = 16384 / (wide * plan->scale[0] * TBYTES + 1) + 1;
    return fd_parallel(task, &up, (rows + up.share - 1) / up.share, (size_t)(3 * plan->scale[1] + wide) * sizeof(T),
                       fd_threads_for(rows * plan->scale[0] * wide / VL * 2, threads));
}

/* computes  y[n, c, i] = sum of weight * x[n, c, cell] over the cell under i (nearest), or the up to four around its
 *           centre (bilinear: half-pixel centres, edges continued)
 * shapes    y (N, C, H*scale[0], W*scale[1]); x (N, C, H, W)
 * layout    NCHW or NHWC
 * touches   all of y and x
 * order     rows of x ascending, then columns
 * source    Keras UpSampling2D; torch.nn.functional.interpolate with align_corners=False */
static int FD(fd_upsample_fwd)(void *y, const void *x, const fd_upsample *plan, int threads) {
    return FD(upsample_run)(FD(upsample_fwd_task), plan, y, x, threads);
}

/* computes  dx[n, c, cell] = sum of weight * dy[n, c, i] over the outputs i that the cell goes into
 * shapes    dx (N, C, H, W); dy (N, C, H*scale[0], W*scale[1])
 * layout    NCHW or NHWC
 * touches   all of dx and dy
 * order     rows of dy ascending, but for the reflected ones at the edges; then columns likewise
 * source    the adjoint of upsample_fwd */
static int FD(fd_upsample_bwd)(void *dx, const void *dy, const fd_upsample *plan, int threads) {
    return FD(upsample_run)(FD(upsample_bwd_task), plan, dx, dy, threads);
}
