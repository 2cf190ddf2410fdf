/* winograd.h: tap sums of 3x3 or 2x2 neighbouring taps by Winograd's algorithm, F(4x4, 3x3) and F(4x4, 2x2).
 *
 * # Design: 16 outputs of a 4x4 tile take 36 products a channel instead of 144, or 25 instead of 64:
 *
 *     out = A^T [ (G w G^T) . (B^T d B) ] A        d: 6x6 (5x5) of the source, w: 3x3 (2x2)
 *
 * The products are 36 (25) matrix products (tiles x channels) (channels x outputs), done by a micro-kernel; everything
 * is vectorised over channels or outputs, so NHWC is read as it lies and NCHW is transposed VL by VL on the way.
 * With stride 2 each phase of the source (taps.h) counts as channels of its own: a 4x4 kernel becomes 2x2.
 * A task is one band of tiles of one image; the transformed weights of a block of outputs are shared by all.
 *
 * The transforms spread a NaN or an overflow over its whole tile. So a result that is not finite anywhere is thrown
 * away, and the caller computes the convolution directly: FD(run_winograd) says so in *finite.
 * Error: docs/numerics.md. Only float32 comes here; float64 is asked for its digits.
 *
 * Order of summation: channels ascending for each product, then the fixed transforms.
 * Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016; the points of F(4, 3) are
 * 0 1 -1 2 -2 and infinity, of F(4, 2) the same without -2.
 */

#define WINOGRAD_WEIGHT_BYTES (2048 * 1024) /* of one block of transformed weights, shared by all threads */
#define WINOGRAD_MOST_BYTES (4096 * 1024)   /* of the same, where even one vector of outputs takes more */
#define WINOGRAD_TILE_BYTES (768 * 1024)    /* of a band's transformed tiles and products */

typedef struct {
    const FD(tap_sum) *s;
    const FD(weights) *v;
    int64_t taps, size, products;        /* taps an axis, source elements an axis of a tile, size * size */
    int64_t tiles[2], band[2], bands[2]; /* of the image, of a band, number of bands: rows and columns */
    int64_t block, phases, channels;     /* channels of a phase in whole vectors; phases; their product */
    int64_t outputs, first, group;       /* outputs of a block in whole vectors, from `first` on, of one group */
    int64_t images;                      /* of a task */
    int64_t weight_step, tile_step, product_step; /* elements from one product to the next */
    T *weights;                                   /* [product][channels][outputs] */
    int finite;
} FD(winograd);

/* B^T d for one column of taps + 3, pitch apart. */
FD_INLINE void FD(transform_source)(V *d, int pitch, int taps) {
    const V d0 = d[0], d1 = d[pitch], d2 = d[2 * pitch], d3 = d[3 * pitch], d4 = d[4 * pitch];
    const V c2 = vset1(2), c4 = vset1(4), c5 = vset1(5);
    if (taps == 3) {
        const V d5 = d[5 * pitch];
        const V even = vfma(-c4, d2, d4), odd = vfma(-c4, d1, d3), a = d4 - d2, b = c2 * (d3 - d1);
        d[0] = vfma(c4, d0, vfma(-c5, d2, d4));
        d[pitch] = even + odd;
        d[2 * pitch] = even - odd;
        d[3 * pitch] = a + b;
        d[4 * pitch] = a - b;
        d[5 * pitch] = vfma(c4, d1, vfma(-c5, d3, d5));
    } else {
        const V outer = d3 - d1, inner = d3 - d2;
        d[0] = vfma(c2, d0 - d2, outer);
        d[pitch] = vfma(-c2, d1, inner);
        d[2 * pitch] = vfma(c2, d1 - d2, inner);
        d[3 * pitch] = outer;
        d[4 * pitch] = vfma(-c2, outer, d4 - d2);
    }
}

/* A^T m for one column of taps + 3, into four. */
FD_INLINE void FD(transform_output)(V *out, int out_pitch, const V *m, int pitch, int taps) {
    const V c2 = vset1(2), c4 = vset1(4), c8 = vset1(8);
    const V sum = m[pitch] + m[2 * pitch], difference = m[pitch] - m[2 * pitch];
    const V sum2 = taps == 3 ? m[3 * pitch] + m[4 * pitch] : m[3 * pitch];
    const V difference2 = taps == 3 ? m[3 * pitch] - m[4 * pitch] : m[3 * pitch];
    out[0] = m[0] + sum + sum2;
    out[out_pitch] = vfma(c2, difference2, difference);
    out[2 * out_pitch] = vfma(c4, sum2, sum);
    out[3 * out_pitch] = vfma(c8, difference2, difference) + m[(taps + 2) * pitch];
}

/* G w for one column of taps, pitch apart, into taps + 3. */
FD_INLINE void FD(transform_weight)(V *out, int out_pitch, const V *w, int pitch, int taps) {
    const V w0 = w[0], w1 = w[pitch], sixth = vset1((T)(1.0 / 6));
    if (taps == 3) {
        const V w2 = w[2 * pitch], outer = (w0 + w2) * sixth, inner = w1 * sixth;
        const V wide = vfma(vset1(4), w2, w0) * vset1((T)(1.0 / 24)), half = w1 * vset1((T)(1.0 / 12));
        out[0] = w0 * vset1((T)0.25);
        out[out_pitch] = -(outer + inner);
        out[2 * out_pitch] = inner - outer;
        out[3 * out_pitch] = wide + half;
        out[4 * out_pitch] = wide - half;
        out[5 * out_pitch] = w2;
    } else {
        out[0] = w0 * vset1((T)0.5);
        out[out_pitch] = (w0 + w1) * vset1((T)-0.5);
        out[2 * out_pitch] = (w1 - w0) * sixth;
        out[3 * out_pitch] = vfma(vset1(2), w1, w0) * sixth;
        out[4 * out_pitch] = w1;
    }
}

/* The taps of one phase of an axis, in the order of their shifts; their number, or 0 where they are no neighbours. */
static int64_t FD(taps_of_phase)(int64_t tap[3], int64_t *first, const FD(axis) *axis, int64_t phase) {
    int64_t taps = 0, span = 0;
    for (int64_t t = 0; t < axis->taps; t++)
        if (axis->phase_of[t] == phase && (taps++ == 0 || axis->shift[t] < *first)) *first = axis->shift[t];
    for (int64_t t = 0; t < axis->taps; t++)
        if (axis->phase_of[t] == phase) {
            const int64_t at = axis->shift[t] - *first;
            if (at < 3) tap[at] = axis->tap[t];
            if (at > span) span = at;
        }
    return span + 1 == taps && taps <= 3 ? taps : 0;
}

/* computes  panel[c][t][o] = w[o, c, t] for `lanes` outputs, `channels` channels and every tap of the whole kernel
 * touches   panel with VL lanes; zero beyond the outputs */
static void FD(load_taps)(T *panel, const T *from, const FD(weights) *v, int64_t lanes, int64_t channels,
                          int64_t taps) {
    if (v->tap == 1 && v->in == taps) {
        FD(pack)(panel, from, v->out, 1, lanes, channels * taps, VL);
        return;
    }
    for (int64_t c = 0; c < channels; c++)
        for (int64_t t = 0; t < taps; t += VL) {
            V square[VL];
            if (v->tap != 1) {
                for (int64_t i = t; i < t + VL && i < taps; i++)
                    vstore(panel + (c * taps + i) * VL, vload_step(from + c * v->in + i * v->tap, v->out, lanes));
                continue;
            }
            for (int64_t o = 0; o < VL; o++)
                square[o] = o < lanes ? vload_upto(from + c * v->in + o * v->out + t, taps - t) : (V){0};
            vtranspose(square);
            for (int64_t i = 0; i < VL && t + i < taps; i++) vstore(panel + (c * taps + t + i) * VL, square[i]);
        }
}

/* computes  weights[e][c][o] = (G w G^T)[e], w scaled, for VL outputs, some channels and every phase
 * touches   those elements, zero where c or o is padding */
static void FD(winograd_weights_task)(void *arg, int64_t task, void *scratch) {
    const FD(winograd) *g = arg;
    const FD(weights) *v = g->v;
    const FD(axis) *h = &g->s->axis[1], *w = &g->s->axis[2];
    const int64_t all_taps = v->kernel[0] * v->kernel[1] * v->kernel[2];
    const int taps = (int)g->taps, size = (int)g->size;
    const int64_t o = task % (g->outputs / VL) * VL, first = task / (g->outputs / VL) * VL;
    const int64_t left = g->s->outputs - g->first - o, lanes = FD(least)(left, VL);
    const int64_t channels = lanes > 0 ? FD(least)(g->s->channels - first, VL) : 0;
    const int64_t output = g->group * g->s->outputs + g->first + o;
    const V scale = v->scale != NULL && lanes > 0 ? vload_upto(v->scale + output, lanes) : vset1(1);
    T *panel = scratch;
    if (lanes > 0)
        FD(load_taps)(panel, v->w + g->group * v->group + (g->first + o) * v->out + first * v->in, v, lanes, channels,
                      all_taps);
    for (int64_t phase = 0; phase < g->phases; phase++) {
        int64_t rows[3], columns[3], unused, tap[9];
        const int64_t height = FD(taps_of_phase)(rows, &unused, h, phase / w->phases);
        const int64_t width = FD(taps_of_phase)(columns, &unused, w, phase % w->phases);
        for (int i = 0; i < taps * taps; i++)
            tap[i] = i / taps < height && i % taps < width ? rows[i / taps] * v->kernel[2] + columns[i % taps] : -1;
        for (int64_t c = 0; c < VL; c++) {
            V kernel[9], half[18], all[36];
            for (int i = 0; i < taps * taps; i++)
                kernel[i] = c < channels && tap[i] >= 0 ? vload(panel + (c * all_taps + tap[i]) * VL) * scale : (V){0};
            for (int j = 0; j < taps; j++) FD(transform_weight)(half + j, taps, kernel + j, taps, taps);
            for (int i = 0; i < size; i++) FD(transform_weight)(all + size * i, 1, half + taps * i, 1, taps);
            T *to = g->weights + (phase * g->block + first + c) * g->outputs + o;
            for (int64_t e = 0; e < g->products; e++) vstore(to + e * g->weight_step, all[e]);
        }
    }
}

/* computes  tile[i][o] = sum over c of a[i][c] * b[c][o]
 * shapes    a (rows, channels), b (channels, vectors * VL), tile (rows, vectors * VL)
 * layout    row-major with pitches pitch, outputs and outputs
 * touches   exactly those elements
 * order     c ascending */
static void FD(winograd_tile)(T *restrict tile, const T *restrict a, const T *restrict b, int64_t channels,
                              int64_t pitch, int64_t outputs, int rows, int vectors) {
    const T *columns[NV];
    for (int j = 0; j < NV; j++) columns[j] = b + (j < vectors ? j : 0) * VL;
    V acc[MR][NV];
#define KERNEL(mr, nv)                                                                                        \
    FD(clear)(acc, mr, nv);                                                                                   \
    for (int64_t c = 0; c < channels; c++) FD(multiply_add)(acc, a + c, pitch, columns, c * outputs, mr, nv); \
    FD(spill)(tile, outputs, acc, mr, nv)
    FD_WITH_TILE(KERNEL, rows, vectors);
#undef KERNEL
}

/* The scratch of a task: patch [height][width][VL] of the source or of the outputs, tiles [product][tile][channels],
 * products [product][tile][outputs]. */
static int64_t FD(winograd_patch)(const FD(winograd) *g) {
    return (4 * g->band[0] + g->taps - 1) * (4 * g->band[1] + g->taps - 1) * VL;
}

static size_t FD(winograd_scratch)(const FD(winograd) *g) {
    return (size_t)(FD(winograd_patch)(g) + g->products * (g->tile_step + g->product_step)) * sizeof(T);
}

/* The lanes of patch (outputs) go to `outputs` images of the output at (row, column), as far as they reach. */
static void FD(store_patch)(T *image, const T *patch, const FD(tap_sum) *s, int64_t outputs, int64_t row,
                            int64_t column, int64_t height, int64_t width) {
    const int64_t rows = s->axis[1].lattice - row < height ? s->axis[1].lattice - row : height;
    const int64_t columns = s->axis[2].lattice - column < width ? s->axis[2].lattice - column : width;
    const int64_t lanes = FD(least)(outputs, VL);
    for (int64_t i = 0; i < rows; i++, patch += width * VL) {
        T *to = image + (row + i) * s->out_s[1] + column * s->out_s[2];
        if (s->out_c == 1) {
            for (int64_t j = 0; j < columns; j++) vstore_upto(to + j * s->out_s[2], vload(patch + j * VL), lanes);
            continue;
        }
        for (int64_t j = 0, count; j < columns; j += count) {
            V square[VL];
            count = FD(least)(columns - j, VL);
            for (int64_t p = 0; p < VL; p++) square[p] = p < count ? vload(patch + (j + p) * VL) : (V){0};
            vtranspose(square);
            for (int64_t o = 0; o < lanes; o++)
                vstore_step(to + o * s->out_c + j * s->out_s[2], square[o], s->out_s[2], count);
        }
    }
}

/* tiles[e][tile][c ...] = (B^T d B)[e] for VL channels, c the first, of the tiles in patch. */
FD_INLINE void FD(transform_patch)(T *tiles, const T *patch, int64_t count, int64_t columns, int64_t step,
                                   int64_t channels, int taps) {
    const int size = taps + 3;
    const int64_t width = 4 * columns + taps - 1;
    for (int64_t t = 0; t < count; t++) {
        const T *corner = patch + (t / columns * 4 * width + t % columns * 4) * VL;
        V d[36];
#pragma GCC unroll 6
        for (int i = 0; i < size; i++)
#pragma GCC unroll 6
            for (int j = 0; j < size; j++) d[size * i + j] = vload(corner + (i * width + j) * VL);
#pragma GCC unroll 6
        for (int j = 0; j < size; j++) FD(transform_source)(d + j, size, taps);
#pragma GCC unroll 6
        for (int i = 0; i < size; i++) FD(transform_source)(d + size * i, 1, taps);
#pragma GCC unroll 36
        for (int e = 0; e < size * size; e++) vstore(tiles + e * step + t * channels, d[e]);
    }
}

/* patch = A^T m A + bias for VL outputs of every tile; the sum of what is returned is 0 if and only if all is finite.
 */
FD_INLINE V FD(transform_products)(T *patch, const T *products, V bias, int64_t count, int64_t columns, int64_t step,
                                   int64_t outputs, int taps) {
    const int size = taps + 3;
    V check = {0};
    for (int64_t t = 0; t < count; t++) {
        V m[36], half[24], y[16];
#pragma GCC unroll 36
        for (int e = 0; e < size * size; e++) m[e] = vload(products + e * step + t * outputs);
#pragma GCC unroll 6
        for (int j = 0; j < size; j++) FD(transform_output)(half + j, size, m + j, size, taps);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) FD(transform_output)(y + 4 * i, 1, half + size * i, 1, taps);
        T *corner = patch + (t / columns * 16 * columns + t % columns * 4) * VL;
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            const V value = y[i] + bias;
            check = vfma(value, (V){0}, check);
            vstore(corner + (i / 4 * 4 * columns + i % 4) * VL, value);
        }
    }
    return check;
}

/* Image 0 as one phase sees it, and where in it the tile of the first output begins. */
static FD(image) FD(phase_image)(const FD(tap_sum) *s, int64_t phase, int64_t origin[2]) {
    const FD(axis) *h = &s->axis[1], *w = &s->axis[2];
    int64_t taps[3];
    FD(taps_of_phase)(taps, &origin[0], h, phase / w->phases);
    FD(taps_of_phase)(taps, &origin[1], w, phase % w->phases);
    origin[0] += h->base;
    origin[1] += w->base;
    const int64_t below = h->phase[phase / w->phases], beside = w->phase[phase % w->phases];
    FD(image) image = {.data = s->src + below * s->src_s[1] + beside * s->src_s[2], .channel = s->src_c};
    image.size[0] = 1;
    image.size[1] = FD(ceil_div)(h->source - below, h->step);
    image.size[2] = FD(ceil_div)(w->source - beside, w->step);
    image.stride[1] = s->src_s[1] * h->step;
    image.stride[2] = s->src_s[2] * w->step;
    return image;
}

static void FD(winograd_task)(void *arg, int64_t task, void *scratch) {
    FD(winograd) *g = arg;
    const FD(tap_sum) *s = g->s;
    if (!__atomic_load_n(&g->finite, __ATOMIC_RELAXED)) return;
    const int64_t first_column = task % g->bands[1] * g->band[1], a = task / g->bands[1];
    const int64_t first_row = a % g->bands[0] * g->band[0], first_image = a / g->bands[0] * g->images;
    const int64_t rows = FD(least)(g->tiles[0] - first_row, g->band[0]);
    const int64_t columns = FD(least)(g->tiles[1] - first_column, g->band[1]);
    const int64_t images = FD(least)(s->batch - first_image, g->images), of_image = rows * columns;
    const int64_t count = images * of_image;
    T *patch = scratch, *tiles = patch + FD(winograd_patch)(g), *products = tiles + g->products * g->tile_step;

    for (int64_t phase = 0; phase < g->phases; phase++) {
        int64_t origin[2];
        FD(image) image = FD(phase_image)(s, phase, origin);
        const T *first = image.data + first_image * s->src_n + g->group * s->channels * s->src_c;
        for (int64_t n = 0; n < images; n++)
            for (int64_t c = 0; c < g->block; c += VL) {
                T *to = tiles + n * of_image * g->channels + phase * g->block + c;
                image.data = first + n * s->src_n + c * s->src_c;
                image.channels = s->channels - c;
                FD(copy_patch)(patch, &image, VL, 0, 4 * first_row + origin[0], 4 * first_column + origin[1],
                               4 * rows + g->taps - 1, 4 * columns + g->taps - 1);
                if (g->taps == 3)
                    FD(transform_patch)(to, patch, of_image, columns, g->tile_step, g->channels, 3);
                else
                    FD(transform_patch)(to, patch, of_image, columns, g->tile_step, g->channels, 2);
            }
    }

    const int64_t summed = g->phases == 1 ? s->channels : g->channels; /* the last phase ends with padding */
    const int64_t vectors = g->outputs / VL, chunks = FD(ceil_div)(vectors, NV), chunk = FD(ceil_div)(vectors, chunks);
    for (int64_t e = 0; e < g->products && !fd_stopped(); e++)
        for (int64_t o = 0; o < vectors; o += chunk)
            for (int64_t t = 0; t < count; t += MR)
                FD(winograd_tile)(products + e * g->product_step + t * g->outputs + o * VL,
                                  tiles + e * g->tile_step + t * g->channels, g->weights + e * g->weight_step + o * VL,
                                  summed, g->channels, g->outputs, (int)FD(least)(count - t, MR),
                                  (int)FD(least)(vectors - o, chunk));

    V check = {0};
    for (int64_t n = 0; n < images; n++) {
        const T *from = products + n * of_image * g->outputs;
        T *out = s->out + (first_image + n) * s->out_n + (g->group * s->outputs + g->first) * s->out_c;
        for (int64_t o = 0; o < g->outputs && g->first + o < s->outputs; o += VL) {
            const int64_t lanes = FD(least)(s->outputs - g->first - o, VL);
            const V bias =
                g->v->bias == NULL ? (V){0} : vload_upto(g->v->bias + g->group * s->outputs + g->first + o, lanes);
            check +=
                g->taps == 3
                    ? FD(transform_products)(patch, from + o, bias, of_image, columns, g->product_step, g->outputs, 3)
                    : FD(transform_products)(patch, from + o, bias, of_image, columns, g->product_step, g->outputs, 2);
            if (s->act != FD_LINEAR) FD(act_row)(patch, patch, of_image * 16 * VL, s->act, s->alpha);
            FD(store_patch)(out + o * s->out_c, patch, s, lanes, 4 * first_row, 4 * first_column, 4 * rows,
                            4 * columns);
        }
    }
    if (!(vsum(check) == 0)) __atomic_store_n(&g->finite, 0, __ATOMIC_RELAXED);
}

/* Taps an axis where Winograd's algorithm applies: the taps of every phase are neighbours on two axes; else 0. */
static int64_t FD(neighbours)(const FD(tap_sum) *s) {
    const FD(axis) *d = &s->axis[0], *h = &s->axis[1], *w = &s->axis[2];
    if (TBYTES != 4 || d->taps != 1 || d->lattice != 1 || d->source != 1 || d->edge[0] != 0) return 0;
    int64_t unused[3], first, taps = 0;
    for (int64_t phase = 0; phase < h->phases + w->phases; phase++) {
        const int64_t count = phase < h->phases ? FD(taps_of_phase)(unused, &first, h, phase)
                                                : FD(taps_of_phase)(unused, &first, w, phase - h->phases);
        if (count == 0) return 0;
        taps = count > taps ? count : taps;
    }
    return taps;
}

/* The same where it pays too: where it saves half of the products that the tap sum takes at three quarters of the
 * speed, some of each tile's in vain, and where the weights' transform, as long as the products of three tiles, does
 * not eat that up. The batch has no say, so that an image gives the same bits alone and in company. */
static int64_t FD(winograd_taps)(const FD(tap_sum) *s) {
    const FD(axis) *h = &s->axis[1], *w = &s->axis[2];
    const int64_t taps = FD(neighbours)(s), products = (taps + 3) * (taps + 3) * h->phases * w->phases;
    if (taps < 2 || s->channels < 16 || s->outputs < 16) return 0;
    if (products * FD(whole)(s->channels, VL) * VL * TBYTES > WINOGRAD_MOST_BYTES) return 0;
    const int64_t tiles = FD(ceil_div)(h->lattice, 4) * FD(ceil_div)(w->lattice, 4);
    const int64_t tap_sum = h->lattice * w->lattice * s->taps * 6 / 5;
    return 2 * products * tiles <= tap_sum && products * (tiles + 3) <= tap_sum ? taps : 0;
}

static int FD(run_winograd)(int *finite, const FD(tap_sum) *s, const FD(weights) *v, int64_t taps, int threads) {
    *finite = 1;
    if (FD(asked)(s->p, FD_WINOGRAD)) return FD_OK;
    FD(winograd) g = {.s = s, .v = v, .taps = taps, .size = taps + 3, .finite = 1};
    g.products = g.size * g.size;
    g.phases = s->axis[1].phases * s->axis[2].phases;
    g.block = FD(whole)(s->channels, VL);
    g.channels = g.block * g.phases;
    const int64_t most = WINOGRAD_WEIGHT_BYTES / (g.products * g.channels * TBYTES) / VL * VL;
    const int64_t vectors = FD(ceil_div)(s->outputs, VL), per_block = most < VL ? 1 : most / VL;
    const int64_t blocks = FD(ceil_div)(vectors, per_block);
    const int64_t block = FD(ceil_div)(vectors, blocks) * VL;
    g.outputs = block;
    for (int i = 0; i < 2; i++) g.tiles[i] = FD(ceil_div)(s->axis[i + 1].lattice, 4);
    const int64_t room = WINOGRAD_TILE_BYTES / (g.products * (g.channels + block) * TBYTES);
    g.band[1] = g.tiles[1] < room ? g.tiles[1] : room < 1 ? 1 : room;
    g.band[0] = room / g.band[1] < 1 ? 1 : room / g.band[1];
    for (int i = 0; i < 2; i++) {
        g.bands[i] = FD(ceil_div)(g.tiles[i], g.band[i]);
        g.band[i] = FD(ceil_div)(g.tiles[i], g.bands[i]);
    }
    g.images = 1;
    if (g.bands[0] * g.bands[1] == 1) { /* small images, several a task, and still eight tasks */
        g.images = FD(least)(room / (g.tiles[0] * g.tiles[1]), FD(ceil_div)(s->batch, 8));
        if (g.images < 1) g.images = 1;
    }
    const int64_t tasks = FD(ceil_div)(s->batch, g.images) * g.bands[0] * g.bands[1];
    const int64_t tiles = g.images * g.band[0] * g.band[1], pitch = FD(whole)(tiles, MR);
    threads = fd_threads_for(tasks * tiles * g.products * g.channels * (block / VL), threads);
    /* One vector more than a power of two apart, or the products of a tile would share one set of the cache. */
    g.weight_step = g.channels * block + VL;
    g.tile_step = pitch * g.channels + VL;
    g.product_step = pitch * block + VL;
    T *memory = fd_alloc((size_t)(g.products * g.weight_step) * sizeof(T));
    if (memory == NULL) return FD_NOMEM;
    g.weights = memory;
    int rc = FD_OK;
    for (g.group = 0; g.group < s->groups && rc == FD_OK; g.group++)
        for (g.first = 0; g.first < s->outputs && rc == FD_OK; g.first += block) {
            const int64_t panels = g.block / VL * (block / VL);
            const size_t panel = (size_t)(VL * VL * v->kernel[0] * v->kernel[1] * v->kernel[2]) * sizeof(T);
            rc = fd_parallel(FD(winograd_weights_task), &g, panels, panel, threads);
            if (rc == FD_OK) rc = fd_parallel(FD(winograd_task), &g, tasks, FD(winograd_scratch)(&g), threads);
        }
    fd_free(memory);
    *finite = g.finite;
    return rc;
}
