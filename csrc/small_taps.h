/* small_taps.h: convolutions of few pixels with their channels last, as a matrix product for each tap.
 *
 * # Design: conv_small.h writes down windows, of which an image of few pixels has much on its padding: 20 of the 36
 * taps of a 3x3 kernel over 2x2 pixels. Here the pairs of pixels that meet at a tap are listed, and only they are
 * multiplied, images as rows:
 *
 *     y[n, i]  += x[n, j] w[tap]            for all pairs (i, j) of the tap, tap after tap
 *     dx[n, j] += dy[n, i] w[tap]^T
 *     dw[tap]   = x[all its j]^T dy[all its i]
 *
 * The weights, which are most of the memory, are read once: a task has a panel of columns, whose part of a tap's
 * weights stays in the level-2 cache for all pairs. Padding takes no part, which is right unless it meets what is not
 * finite: then nothing counts as done, and the windows are written down after all.
 *
 * Order of summation: of a tap channels ascending, and taps ascending; for dw pixels of images, one accumulator.
 */

#define TAP_DW_CHANNELS 256 /* of a task of dw */
#define TAP_DW_PIXELS 384   /* of a batch: for more of them winograd_dw.h is faster where it applies */
#define TAP_USES 8          /* of a tap's weights, for which it pays to lay them out */

typedef struct {
    const fd_conv *p;
    T *to; /* y, dx or dw */
    const T *from, *w, *dy, *bias, *scale;
    int64_t taps, pixels;               /* pixels of `to` */
    int64_t *start;                     /* of a tap's pairs, for each and behind the last */
    int64_t *from_pixel, *to_pixel;     /* of each pair, */
    int64_t *begun;                     /* and whether an earlier one has the same to_pixel; */
    int64_t *met;                       /* whether any has, for each pixel of `to` */
    int64_t k, n, from_image, to_image; /* channels, and elements of an image */
    int back, act, finite;
    T alpha;
} FD(small_taps);

/* Panels of n columns differ by one vector at most. */
static int64_t FD(tap_panels)(int64_t n) { return FD(ceil_div)(FD(ceil_div)(n, VL), NV); }
static int64_t FD(tap_column)(int64_t n, int64_t panel) {
    return FD(least)(panel * FD(ceil_div)(n, VL) / FD(tap_panels)(n) * VL, n);
}

/* The pairs of all taps into tables of memory; 0 where a tap has none. */
static int FD(list_pairs)(FD(small_taps) *g) {
    const fd_conv *p = g->p;
    const int64_t inputs = p->in[0] * p->in[1] * p->in[2], outputs = p->out[0] * p->out[1] * p->out[2];
    int64_t count = 0;
    int all = 1;
    g->pixels = g->back ? inputs : outputs;
    memset(g->met, 0, (size_t)g->pixels * sizeof(*g->met));
    for (int64_t t = 0; t < g->taps; t++) {
        g->start[t] = count;
        for (int64_t i = 0; i < outputs; i++) {
            const int64_t tap[3] = {t / p->kernel[2] / p->kernel[1], t / p->kernel[2] % p->kernel[1], t % p->kernel[2]};
            const int64_t at[3] = {i / p->out[2] / p->out[1], i / p->out[2] % p->out[1], i % p->out[2]};
            int64_t j = 0;
            int inside = 1;
            for (int a = 0; a < 3; a++) {
                const int64_t place = at[a] * p->stride[a] + tap[a] * p->dilation[a] - p->pad[a];
                inside = inside && place >= 0 && place < p->in[a];
                j = j * p->in[a] + place;
            }
            if (!inside) continue;
            g->from_pixel[count] = g->back ? i : j;
            g->to_pixel[count] = g->back ? j : i;
            g->begun[count] = g->met[g->to_pixel[count]];
            g->met[g->to_pixel[count++]] = 1;
        }
        all = all && count > g->start[t];
    }
    g->start[g->taps] = count;
    return all;
}

/* to[n, pixel] = act(scale * it + bias) for a panel of columns, zero where no pair came; whether all is finite. */
static int FD(finish_pixels)(const FD(small_taps) *g, int64_t first, int64_t columns) {
    const T *scale = g->scale == NULL ? NULL : g->scale + first, *bias = g->bias == NULL ? NULL : g->bias + first;
    V check = {0};
    for (int64_t i = 0; i < g->pixels; i++) {
        for (int64_t n = 0; n < g->p->batch; n++) {
            T *row = g->to + n * g->to_image + i * g->n + first;
            for (int64_t j = 0; j < columns; j += VL) {
                const V sum = g->met[i] ? vload(row + j) : (V){0};
                check = vfma(sum, (V){0}, check);
                if (!g->met[i]) vstore(row + j, sum);
            }
            FD(finish_row)(row, scale, bias, columns, g->act, g->alpha);
        }
    }
    return vsum(check) == 0;
}

/* A panel of columns of y or dx. */
static void FD(small_taps_task)(void *arg, int64_t task, void *scratch) {
    FD(small_taps) *g = arg;
    const int64_t first = FD(tap_column)(g->n, task), columns = FD(tap_column)(g->n, task + 1) - first;
    const int64_t tap_size = g->k * g->n, apart = g->back ? g->k : 1; /* of columns, in w */
    for (int64_t t = 0; t < g->taps && !fd_stopped(); t++) {
        const T *b = g->w + t * tap_size + first * apart;
        const int64_t uses = (g->start[t + 1] - g->start[t]) * FD(ceil_div)(g->p->batch, MR);
        const int packed = g->back || uses >= TAP_USES;
        if (uses == 0) continue;
        /* The weights that come next, of this panel or the one beside it: from memory, while these are used. */
        const T *next = t + 1 < g->taps ? b + tap_size : g->w + (first + columns) * apart;
        const int64_t pitch = g->back ? columns : g->n, part = FD(ceil_div)(g->k, uses);
        if (packed) {
            FD(pack)(scratch, b, apart, g->back ? 1 : g->n, columns, g->k, columns);
            b = scratch;
        }
        for (int64_t e = g->start[t]; e < g->start[t + 1]; e++)
            for (int64_t n = 0, rows; n < g->p->batch; n += rows, next += part * pitch) {
                rows = FD(least)(g->p->batch - n, MR);
                while (!FD(gemm_lies)(rows)) rows--; /* the micro-kernel reads no row that is not there */
                T *to = g->to + n * g->to_image + g->to_pixel[e] * g->n + first;
                const FD(tile_end) end = {
                    .c = to, .pitch = g->to_image, .columns = columns, .rows = (int)rows, .resumed = (int)g->begun[e]};
                FD(gemm_tile)(&end, g->from + n * g->from_image + g->from_pixel[e] * g->k, g->from_image, 1, b,
                              packed ? columns : g->n, g->k, (FD(tile_ahead)){next, pitch, uses, 1});
            }
    }
    if (!FD(finish_pixels)(g, first, columns)) __atomic_store_n(&g->finite, 0, __ATOMIC_RELAXED);
}

/* dw of a tap and TAP_DW_CHANNELS channels: the pixels that meet are put side by side, those of dy in panels. */
static void FD(small_taps_dw_task)(void *arg, int64_t task, void *scratch) {
    const FD(small_taps) *g = arg;
    const fd_conv *p = g->p;
    const int64_t blocks = FD(ceil_div)(g->k, TAP_DW_CHANNELS), tap = task / blocks;
    const int64_t first = task % blocks * TAP_DW_CHANNELS, channels = FD(least)(g->k - first, TAP_DW_CHANNELS);
    const int64_t steps = (g->start[tap + 1] - g->start[tap]) * p->batch, panels = FD(tap_panels)(g->n);
    T *x = scratch, *const dy = x + steps * channels + MR, *to = g->to + (tap * g->k + first) * g->n;
    int64_t step = 0;
    for (int64_t e = g->start[tap]; e < g->start[tap + 1]; e++)
        for (int64_t n = 0; n < p->batch; n++, step++) {
            const T *from = g->from + n * g->from_image + g->from_pixel[e] * g->k + first;
            const T *row = g->dy + n * g->to_image + g->to_pixel[e] * g->n;
            for (int64_t c = 0; c < channels; c += VL) vstore(x + step * channels + c, vload(from + c));
            for (int64_t j = 0; j < panels; j++) {
                const int64_t column = FD(tap_column)(g->n, j), columns = FD(tap_column)(g->n, j + 1) - column;
                for (int64_t v = 0; v < columns; v += VL)
                    vstore(dy + column * steps + step * columns + v, vload(row + column + v));
            }
        }
    for (int64_t c = 0; c < channels && !fd_stopped(); c += MR)
        for (int64_t j = 0; j < panels; j++) {
            const int64_t column = FD(tap_column)(g->n, j), columns = FD(tap_column)(g->n, j + 1) - column;
            const FD(tile_end) end = {.c = to + c * g->n + column,
                                      .pitch = g->n,
                                      .columns = columns,
                                      .rows = (int)FD(least)(channels - c, MR)};
            for (int i = 0; i < MR; i++) /* a tile of few steps is done before its own c has come from memory */
                for (int64_t l = 0; l < columns; l += LINE) __builtin_prefetch(end.c + (MR + i) * g->n + l, 1);
            FD(gemm_tile)(&end, x + c, 1, channels, dy + column * steps, columns, steps, GEMM_NOTHING);
        }
}

/* Whether this takes the place of windows: with whole vectors of channels, which are last. */
static int FD(by_taps)(const fd_conv *p) {
    return p->channels_last && p->in_channels % VL == 0 && p->out_channels % VL == 0;
}

/* The tables; rc. */
static int FD(start_taps)(FD(small_taps) *g, int *all) {
    const fd_conv *p = g->p;
    g->taps = p->kernel[0] * p->kernel[1] * p->kernel[2];
    const int64_t most = g->taps * p->out[0] * p->out[1] * p->out[2];
    const int64_t pixels = FD(most)(most / g->taps, p->in[0] * p->in[1] * p->in[2]);
    g->start = fd_alloc((size_t)(g->taps + 1 + 3 * most + pixels) * sizeof(int64_t));
    if (g->start == NULL) return FD_NOMEM;
    g->from_pixel = g->start + g->taps + 1;
    g->to_pixel = g->from_pixel + most;
    g->begun = g->to_pixel + most;
    g->met = g->begun + most;
    *all = FD(list_pairs)(g);
    return FD_OK;
}

/* computes  y = act(scale * (x * w) + b), or dx with `back`
 * shapes    as fd_conv_fwd and fd_conv_dx
 * layout    channels last
 * touches   every element, some more than once; *done is 0 where padding met what is not finite
 * order     see the file's head
 * source    Zhang, Franchetti and Low, "High Performance Zero-Memory Overhead Direct Convolutions", 2018 */
static int FD(run_small_taps)(int *done, T *to, const T *from, const T *w, const T *b, const T *scale, const fd_conv *p,
                              int back, int act, double alpha, int threads) {
    FD(small_taps) g = {.p = p, .to = to, .from = from, .w = w, .bias = b, .scale = scale, .back = back, .act = act};
    g.alpha = (T)alpha;
    g.finite = 1;
    g.k = back ? p->out_channels : p->in_channels;
    g.n = back ? p->in_channels : p->out_channels;
    const int64_t x_image = p->in[0] * p->in[1] * p->in[2] * p->in_channels;
    const int64_t y_image = p->out[0] * p->out[1] * p->out[2] * p->out_channels;
    g.from_image = back ? y_image : x_image;
    g.to_image = back ? x_image : y_image;
    int all, rc = FD(start_taps)(&g, &all);
    if (rc == FD_OK && (all || back) && FD(asked)(p, FD_DIRECT_NHWC)) {
        *done = 1;
    } else if (rc == FD_OK && (all || back)) {
        const int64_t pairs = g.start[g.taps], panel = g.k * NR;
        rc = fd_parallel(FD(small_taps_task), &g, FD(tap_panels)(g.n), (size_t)panel * sizeof(T),
                         fd_threads_for(pairs * p->batch * g.k * (g.n / VL), threads));
        *done = back || g.finite || pairs == g.taps * g.pixels;
    }
    fd_free(g.start);
    return rc;
}

/* dw of the same; *done is 0 where padding would meet what is not finite. */
static int FD(run_small_taps_dw)(int *done, T *dw, const T *dy, const T *x, const fd_conv *p, int threads) {
    FD(small_taps) g = {.p = p, .to = dw, .from = x, .dy = dy, .k = p->in_channels, .n = p->out_channels};
    g.from_image = p->in[0] * p->in[1] * p->in[2] * g.k;
    g.to_image = p->out[0] * p->out[1] * p->out[2] * g.n;
    if (FD(asked)(p, FD_DIRECT_NHWC)) {
        *done = 1;
        return FD_OK;
    }
    if (!FD(all_finite)(dy, p->batch * g.to_image)) return FD_OK;
    int all, rc = FD(start_taps)(&g, &all);
    if (rc == FD_OK) {
        const int64_t steps = p->batch * g.pixels, pairs = g.start[g.taps];
        const int64_t scratch = steps * (FD(least)(g.k, TAP_DW_CHANNELS) + g.n) + MR;
        rc = fd_parallel(FD(small_taps_dw_task), &g, g.taps * FD(ceil_div)(g.k, TAP_DW_CHANNELS),
                         (size_t)scratch * sizeof(T), fd_threads_for(pairs * p->batch * g.k * (g.n / VL), threads));
        *done = 1;
    }
    fd_free(g.start);
    return rc;
}
