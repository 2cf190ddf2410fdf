/* winograd.h: tap sums of 3x3 or 2x2 neighbouring taps by Winograd's algorithm, F(4x4, 3x3) and F(4x4, 2x2).
 *
 * # Design: 16 outputs of a 4x4 tile take 36 products a channel instead of 144, or 25 instead of 64:
 *
 *     out = A^T [ (G w G^T) . (B^T d B) ] A        d: 6x6 (5x5) of the source, w: 3x3 (2x2)
 *
 * The products are 36 (25) matrix products (tiles x channels) (channels x outputs), done by a micro-kernel; everything
 * is vectorised over channels or outputs, so NHWC is read as it lies and NCHW is transposed VL by VL on the way.
 * With stride 2 each phase of the source (taps.h) counts as channels of its own: a 4x4 kernel becomes 2x2.
 * A task is one band of tiles of one image; the transformed weights of a block of outputs are shared by all. Where
 * tiles are few, or channels so many that a block would have few outputs and each block transform all tiles anew, the
 * tiles of some images are what is shared, and a task is a block of outputs.
 *
 * The transforms spread a NaN or an overflow over its whole tile. So a result that is not finite anywhere is thrown
 * away, and the caller computes the convolution directly: FD(run_winograd) says so in *finite.
 * Error: docs/numerics.md.
 *
 * Order of summation: channels ascending for each product, then the fixed transforms.
 * Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016; the points of F(4, 3) are
 * 0 1 -1 2 -2 and infinity, of F(4, 2) the same without -2.
 */

#define WINOGRAD_WEIGHT_BYTES (1536 * 1024)   /* of one block of transformed weights, shared by all threads */
#define WINOGRAD_FEW_BYTES (1024 * 1024)      /* the same for few tiles, of which each task has its own */
#define WINOGRAD_FEW_TILE_BYTES (1536 * 1024) /* of those tiles, which all tasks read */
#define WINOGRAD_MOST_BYTES (4096 * 1024)     /* of the same, where even one vector of outputs takes more */
#define WINOGRAD_SHARED_BYTES (8192 * 1024)   /* the same where a block of outputs with all their weights is small */
#define WINOGRAD_OUTPUTS 48                   /* fewer than these are few, */
#define WINOGRAD_MORE_OUTPUTS 64              /* and than these where three blocks or more would transform all tiles */
#define WINOGRAD_TILE_BYTES (512 * 1024)      /* of a band's transformed tiles and products */
#define WINOGRAD_NEAR 64                      /* channels up to which a product's weights are near enough */

typedef struct {
    FD(tiling) by;
    const FD(weights) *v;
    int64_t block, channels;       /* channels of a part in whole vectors; of all parts */
    int64_t outputs, first, group; /* outputs of a block in whole vectors, from `first` on, of one group */
    int64_t all_grids, grids;      /* of the batch, of a task or those that share tiles, */
    int64_t first_grid;            /* which begin here */
    int64_t weight_step, tile_step, product_step; /* elements from one product to the next */
    T *weights;                                   /* [product][channels][outputs] */
    T *tiles;                                     /* [product][tile][channels] where they are shared */
    int finite;
} FD(winograd);

/* computes  panel[c][t][o] = w[o, c, t] for `lanes` outputs, `channels` channels and every tap of the whole kernel
 * touches   panel with VL lanes; zero beyond the outputs */
static void FD(load_taps)(T *panel, const T *from, const FD(weights) *v, int64_t lanes, int64_t channels,
                          int64_t taps) {
    if (v->tap == 1 && v->in == taps) {
        FD(pack)(panel, from, v->out, 1, lanes, channels * taps, VL);
        return;
    }
    V square[VL];
    if (v->tap != 1) { /* the taps lie apart: outputs or channels are neighbours */
        for (int64_t t = 0; t < taps; t++) {
            const T *of_tap = from + t * v->tap;
            if (v->in != 1) {
                for (int64_t c = 0; c < channels; c++)
                    vstore(panel + (c * taps + t) * VL, vload_step(of_tap + c * v->in, v->out, lanes));
                continue;
            }
            for (int64_t o = 0; o < VL; o++) square[o] = o < lanes ? vload_upto(of_tap + o * v->out, channels) : (V){0};
            vtranspose(square);
            for (int64_t c = 0; c < channels; c++) vstore(panel + (c * taps + t) * VL, square[c]);
        }
        return;
    }
    for (int64_t c = 0; c < channels; c++)
        for (int64_t t = 0; t < taps; t += VL) {
            for (int64_t o = 0; o < VL; o++)
                square[o] = o < lanes ? vload_upto(from + c * v->in + o * v->out + t, taps - t) : (V){0};
            vtranspose(square);
            for (int64_t i = 0; i < VL && t + i < taps; i++) vstore(panel + (c * taps + t + i) * VL, square[i]);
        }
}

/* computes  weights[e][c][o] = (G w G^T)[e], w scaled, for VL outputs from o on, VL channels from `first` on and every
 *           phase
 * touches   those elements, zero where c or o is padding; panel: VL * VL weights of each tap */
static void FD(transform_weights)(T *weights, T *panel, const FD(winograd) *g, int64_t o, int64_t first) {
    const FD(tiling) *by = &g->by;
    const FD(tap_sum) *s = by->s;
    const FD(weights) *v = g->v;
    const int64_t all_taps = v->kernel[0] * v->kernel[1] * v->kernel[2];
    const int taps = (int)by->taps, size = (int)by->size;
    const int64_t left = s->outputs - g->first - o, lanes = FD(least)(left, VL);
    const int64_t channels = lanes > 0 ? FD(least)(s->channels - first, VL) : 0;
    const int64_t output = g->group * s->outputs + g->first + o;
    const V scale = v->scale != NULL && lanes > 0 ? vload_upto(v->scale + output, lanes) : vset1(1);
    if (lanes > 0)
        FD(load_taps)(panel, v->w + g->group * v->group + (g->first + o) * v->out + first * v->in, v, lanes, channels,
                      all_taps);
    for (int64_t p = 0; p < by->parts; p++) {
        const FD(part) *part[2];
        int64_t tap[9];
        FD(part_at)(part, by, p);
        for (int i = 0; i < taps * taps; i++)
            tap[i] = i / taps < part[0]->taps && i % taps < part[1]->taps
                         ? part[0]->tap[i / taps] * v->kernel[2] + part[1]->tap[i % taps]
                         : -1;
        for (int64_t c = 0; c < VL; c++) {
            V kernel[9], half[18], all[36];
            for (int i = 0; i < taps * taps; i++)
                kernel[i] = c < channels && tap[i] >= 0 ? vload(panel + (c * all_taps + tap[i]) * VL) * scale : (V){0};
            for (int j = 0; j < taps; j++) FD(transform_weight)(half + j, taps, kernel + j, taps, taps);
            for (int i = 0; i < size; i++) FD(transform_weight)(all + size * i, 1, half + taps * i, 1, taps);
            T *to = weights + (p * g->block + first + c) * g->outputs + o;
            for (int64_t e = 0; e < by->products; e++) vstore(to + e * g->weight_step, all[e]);
        }
    }
}

static void FD(winograd_weights_task)(void *arg, int64_t task, void *scratch) {
    const FD(winograd) *g = arg;
    const int64_t vectors = g->outputs / VL;
    FD(transform_weights)(g->weights, scratch, g, task % vectors * VL, task / vectors * VL);
}

/* The scratch of a task: patch, products [product][tile][outputs], tiles [product][tile][channels], which begin one
 * product later: products lie where the tiles were that have been multiplied. */
static size_t FD(winograd_scratch)(const FD(winograd) *g) {
    return (size_t)(FD(patch_size)(&g->by) + (g->by.products + 1) * g->tile_step) * sizeof(T);
}

/* The lanes of patch (outputs) go to `outputs` images of strides `image` at (row, column), as far as they reach. */
static void FD(store_patch)(T *out, int64_t channel, const FD(image) *image, const T *patch, int64_t outputs,
                            int64_t row, int64_t column, int64_t height, int64_t width) {
    const int64_t rows = FD(least)(image->size[1] - row, height), columns = FD(least)(image->size[2] - column, width);
    const int64_t step = image->stride[2], lanes = FD(least)(outputs, VL);
    out += row * image->stride[1] + column * step;
    if (channel != 1) {
        FD(turn_back)(out, channel, image->stride, lanes, patch, rows, columns, width);
        return;
    }
    for (int64_t i = 0; i < rows; i++, out += image->stride[1], patch += width * VL)
        for (int64_t j = 0; j < columns; j++) vstore_upto(out + j * step, vload(patch + j * VL), lanes);
}

/* The transformed tiles of a band of one grid: every part of every phase, channels from .. past - 1. */
static void FD(winograd_tiles)(T *tiles, T *patch, const FD(winograd) *g, int64_t grid, int64_t row, int64_t column,
                               int64_t rows, int64_t columns, int64_t from_channel, int64_t past_channel) {
    const FD(tiling) *by = &g->by;
    const FD(tap_sum) *s = by->s;
    const int64_t height = 4 * rows + by->cut[0].reach - 1, width = 4 * columns + by->cut[1].reach - 1;
    const int64_t phases = s->axis[2].phases;
    for (int64_t phase = 0; phase < s->axis[1].phases * phases; phase++) {
        int64_t origin[2];
        FD(image) image = FD(source_of_grid)(by, phase / phases, phase % phases, grid % by->grids, origin);
        const T *first = image.data + grid / by->grids * s->src_n + g->group * s->channels * s->src_c;
        for (int64_t c = from_channel; c < past_channel; c += VL) {
            image.data = first + c * s->src_c;
            image.channels = s->channels - c;
            int64_t at[2] = {4 * row + origin[0], 4 * column + origin[1]};
            const FD(image) from = FD(near_image)(patch, &image, at, height, width);
            for (int64_t p = 0; p < by->parts; p++) {
                const FD(part) *part[2];
                FD(part_at)(part, by, p);
                if (part[0]->phase != phase / phases || part[1]->phase != phase % phases) continue;
                FD_WITH_TAPS(FD(transform_tiles), by->taps, tiles + p * g->block + c, &from, at[0] + part[0]->first,
                             at[1] + part[1]->first, rows, columns, g->tile_step, g->channels, 0);
            }
        }
    }
}

/* The channels of all parts that have something at product e, and perhaps others between them. */
static void FD(channels_of_product)(int64_t *first, int64_t *channels, const FD(winograd) *g, int64_t e) {
    int64_t low = 0, past = 0;
    for (int64_t p = 0; p < g->by.parts; p++)
        if (FD(has_product)(&g->by, p, e)) {
            if (past == 0) low = p;
            past = p + 1;
        }
    *first = low * g->block;
    *channels = past == 0 ? 0 : (past - 1 - low) * g->block + g->by.s->channels; /* the last part ends with padding */
}

/* The outputs of a band in this block. */
static FD(ahead) FD(outputs_ahead)(const FD(winograd) *g, const FD(band) *t) {
    const FD(tap_sum) *s = g->by.s;
    return FD(lattice_ahead)(&g->by, t, s->out + (g->group * s->outputs + g->first) * s->out_c,
                             FD(least)(s->outputs - g->first, g->outputs), s->out_n, s->out_c, s->out_s);
}

/* products[e][tile][o] = sum over the channels c of product e of tiles[e][tile][c] * weights[e][c][o]. On the way what
 * will be written and read is asked for. */
static void FD(multiply_tiles)(T *products, const T *tiles, const T *weights, const FD(winograd) *g, int64_t count,
                               FD(ahead) written, FD(ahead) read) {
    const int64_t vectors = g->outputs / VL, chunks = FD(ceil_div)(vectors, NV), chunk = FD(ceil_div)(vectors, chunks);
    const int narrow = g->channels == NARROW && g->outputs == NARROW && chunks == 1;
    const int64_t times = g->by.products * chunks * FD(ceil_div)(count, narrow ? NARROW_ROWS : MR);
    FD(ask_in)(&written, times);
    if (!narrow) FD(ask_in)(&read, times); /* products that are so short leave no time for both */
    for (int64_t e = 0; e < g->by.products && !fd_stopped(); e++) {
        int64_t first, channels;
        FD(channels_of_product)(&first, &channels, g, e);
        const T *of_product = weights + e * g->weight_step + first * g->outputs;
        for (int64_t o = 0; o < vectors; o += chunk)
            for (int64_t t = 0, rows; t < count; t += rows) {
                FD(ask)(&written, 1);
                FD(ask)(&read, 0);
                T *to = products + e * g->product_step + t * g->outputs + o * VL;
                const T *a = tiles + e * g->tile_step + t * g->channels + first, *b = of_product + o * VL;
                if (narrow && count - t >= NARROW_ROWS) {
                    FD(winograd_narrow)(to, a, b);
                    rows = NARROW_ROWS;
                    continue;
                }
                const int nv = (int)FD(least)(vectors - o, chunk);
                rows = FD(least)(count - t, MR);
                const FD(tile_end) end = {.c = to, .pitch = g->outputs, .columns = nv * VL, .rows = (int)rows};
                const T *next = o + chunk < vectors ? b + chunk * VL : of_product + g->weight_step;
                if (channels > WINOGRAD_NEAR) /* asks for rows of b on the way */
                    FD(gemm_tile)(&end, a, g->channels, 1, b, g->outputs, channels, GEMM_NOTHING);
                else
                    FD(winograd_tile)(to, a, b, next, channels, g->channels, g->outputs, (int)rows, nv);
            }
    }
}

/* The outputs of a band from their products; false where one is not finite. */
static int FD(winograd_outputs)(const T *products, T *patch, const FD(winograd) *g, const FD(band) *t) {
    const FD(tiling) *by = &g->by;
    const FD(tap_sum) *s = by->s;
    const int64_t rows = t->rows, columns = t->columns, of_grid = rows * columns;
    const FD(image) whole = FD(image_of_patch)(patch, 4 * rows, 4 * columns);
    const int simple = s->act == FD_LINEAR || s->act == FD_RELU;
    const V least = vset1(s->act == FD_RELU ? 0 : -(T)INFINITY);
    V check = {0};
    for (int64_t n = 0; n < t->grids; n++) {
        const T *from = products + n * of_grid * g->outputs;
        const int64_t grid = t->first_grid + n;
        FD(image) image;
        T *out = s->out + FD(outputs_of_grid)(&image, by, grid % by->grids, s->out_s) + grid / by->grids * s->out_n +
                 (g->group * s->outputs + g->first) * s->out_c;
        for (int64_t o = 0; o < g->outputs && g->first + o < s->outputs; o += VL) {
            const int64_t lanes = FD(least)(s->outputs - g->first - o, VL);
            const T *at = g->v->bias == NULL ? NULL : g->v->bias + g->group * s->outputs + g->first + o;
            const V bias = at == NULL ? (V){0} : vload_upto(at, lanes);
            if (s->out_c == 1 && lanes == VL && simple) {
                FD_WITH_TAPS(FD(transform_outputs), by->taps, out + o, &image, 4 * t->row, 4 * t->column, from + o,
                             bias, least, &check, rows, columns, g->product_step, g->outputs);
                continue;
            }
            FD_WITH_TAPS(FD(transform_outputs), by->taps, patch, &whole, 0, 0, from + o, bias, least, &check, rows,
                         columns, g->product_step, g->outputs);
            if (!simple) FD(act_row)(patch, patch, of_grid * 16 * VL, s->act, s->alpha);
            FD(store_patch)(out + o * s->out_c, s->out_c, &image, patch, lanes, 4 * t->row, 4 * t->column, 4 * rows,
                            4 * columns);
        }
    }
    return vsum(check) == 0;
}

static void FD(winograd_task)(void *arg, int64_t task, void *scratch) {
    FD(winograd) *g = arg;
    const FD(tiling) *by = &g->by;
    if (!__atomic_load_n(&g->finite, __ATOMIC_RELAXED)) return;
    const FD(band) t = FD(band_at)(by, g->all_grids, g->grids, task);
    const FD(band) next = FD(band_at)(by, g->all_grids, g->grids, task + 1);
    const int64_t of_grid = t.rows * t.columns;
    T *patch = scratch, *products = patch + FD(patch_size)(by), *tiles = products + g->tile_step;

    for (int64_t n = 0; n < t.grids; n++)
        FD(winograd_tiles)(tiles + n * of_grid * g->channels, patch, g, t.first_grid + n, t.row, t.column, t.rows,
                           t.columns, 0, g->block);
    FD(multiply_tiles)(products, tiles, g->weights, g, t.grids * of_grid, FD(outputs_ahead)(g, &t),
                       FD(source_ahead)(by, &next, g->group * by->s->channels, by->s->channels));
    if (!FD(winograd_outputs)(products, patch, g, &t)) __atomic_store_n(&g->finite, 0, __ATOMIC_RELAXED);
}

/* The tiles of one grid and VL channels, for all outputs. */
static void FD(shared_tiles_task)(void *arg, int64_t task, void *scratch) {
    const FD(winograd) *g = arg;
    const FD(tiling) *by = &g->by;
    const int64_t vectors = g->block / VL, grid = task / vectors, c = task % vectors * VL;
    FD(winograd_tiles)(g->tiles + grid * by->tiles[0] * by->tiles[1] * g->channels, scratch, g, g->first_grid + grid, 0,
                       0, by->tiles[0], by->tiles[1], c, c + VL);
}

/* A block of outputs for all of those tiles, from its weights on. */
static void FD(shared_outputs_task)(void *arg, int64_t task, void *scratch) {
    FD(winograd) *all = arg, own = *all;
    const FD(tiling) *by = &own.by;
    T *patch = scratch, *products = patch + FD(patch_size)(by), *weights = products + by->products * own.product_step;
    T *panel = weights + by->products * own.weight_step;
    if (!__atomic_load_n(&all->finite, __ATOMIC_RELAXED)) return;
    own.first = task * own.outputs;
    for (int64_t c = 0; c < own.block; c += VL)
        for (int64_t o = 0; o < own.outputs; o += VL) FD(transform_weights)(weights, panel, &own, o, c);
    const FD(band) t = {.first_grid = own.first_grid,
                        .grids = FD(least)(own.all_grids - own.first_grid, own.grids),
                        .rows = by->tiles[0],
                        .columns = by->tiles[1]};
    FD(multiply_tiles)(products, own.tiles, weights, &own, t.grids * t.rows * t.columns, FD(outputs_ahead)(&own, &t),
                       (FD(ahead)){0});
    if (!FD(winograd_outputs)(products, patch, &own, &t)) __atomic_store_n(&all->finite, 0, __ATOMIC_RELAXED);
}

/* Taps of a part where the algorithm applies and pays, else 0: where it saves nearly half of the products, some of each
 * tile's in vain, and where the weights' transform, as long as the products of three tiles, does not eat that up. The
 * batch has no say, so that an image gives the same bits alone and in company. */
static int64_t FD(winograd_taps)(const FD(tap_sum) *s) {
    const int64_t tap_sum = s->axis[1].lattice * s->axis[2].lattice * s->taps;
    int64_t best = 0, taps = 0;
    if (s->channels < 16 || s->outputs < 16) return 0;
    for (int64_t most = 2; most <= 3; most++) {
        FD(tiling) by;
        if (!FD(cut_sum)(&by, s, most)) continue;
        if (by.parts * by.products * FD(whole)(s->channels, VL) * VL * TBYTES > WINOGRAD_MOST_BYTES) continue;
        const int64_t tiles = by.grids * by.tiles[0] * by.tiles[1], products = FD(products_of_tile)(&by);
        if (2 * products * tiles > tap_sum * 11 / 10 || products * (tiles + 3) > tap_sum * 6 / 5) continue;
        if (taps != 0 && products * tiles >= best) continue;
        taps = most;
        best = products * tiles;
    }
    return taps;
}

/* Tiles of some grids are transformed once, and a task has a block of outputs for all of them. So the threads share the
 * weights, which are most of the work where tiles are few, and each transforms its own. */
static int FD(run_shared_tiles)(int *finite, FD(winograd) *g, int threads) {
    const FD(tiling) *by = &g->by;
    const FD(tap_sum) *s = by->s;
    const int64_t *kernel = g->v->kernel, vectors = g->block / VL;
    const int64_t panel = VL * VL * kernel[0] * kernel[1] * kernel[2], blocks = FD(ceil_div)(s->outputs, g->outputs);
    g->tiles = fd_alloc((size_t)(by->products * g->tile_step) * sizeof(T));
    if (g->tiles == NULL) return FD_NOMEM;
    const int64_t own = FD(patch_size)(by) + by->products * (g->product_step + g->weight_step) + panel;
    int rc = FD_OK;
    for (g->group = 0; g->group < s->groups && rc == FD_OK; g->group++)
        for (g->first_grid = 0; g->first_grid < g->all_grids && rc == FD_OK; g->first_grid += g->grids) {
            const int64_t grids = FD(least)(g->all_grids - g->first_grid, g->grids);
            rc =
                fd_parallel(FD(shared_tiles_task), g, grids * vectors, (size_t)FD(patch_size)(by) * sizeof(T), threads);
            if (rc == FD_OK) rc = fd_parallel(FD(shared_outputs_task), g, blocks, (size_t)own * sizeof(T), threads);
        }
    fd_free(g->tiles);
    *finite = g->finite;
    return rc;
}

static int FD(run_winograd)(int *finite, const FD(tap_sum) *s, const FD(weights) *v, int64_t taps, int threads) {
    *finite = 1;
    if (FD(asked)(s->p, FD_WINOGRAD)) return FD_OK;
    FD(winograd) g = {.v = v, .finite = 1};
    FD(tiling) *by = &g.by;
    FD(cut_sum)(by, s, taps);
    g.block = FD(whole)(s->channels, VL);
    g.channels = g.block * by->parts;
    g.all_grids = s->batch * by->grids;
    const int64_t of_grid = by->tiles[0] * by->tiles[1], all_tiles = g.all_grids * of_grid;
    const int64_t tile_bytes = by->products * g.channels * TBYTES, vectors = FD(ceil_div)(s->outputs, VL);
    threads = fd_threads_for((all_tiles + 3) * by->products * g.channels * vectors, threads);
    const int few = all_tiles < 8 * MR && all_tiles * tile_bytes <= WINOGRAD_FEW_TILE_BYTES;
    const int64_t near = WINOGRAD_WEIGHT_BYTES / tile_bytes / VL;
    const int narrow =
        near < FD(least)(vectors, WINOGRAD_OUTPUTS / VL) || (near < WINOGRAD_MORE_OUTPUTS / VL && 2 * near < vectors);
    const int wide = !few && narrow && of_grid * tile_bytes <= WINOGRAD_SHARED_BYTES;
    const int64_t most = few    ? FD(least)(WINOGRAD_FEW_BYTES / tile_bytes / VL, NV - 1)
                         : wide ? FD(least)(WINOGRAD_MOST_BYTES / tile_bytes / VL, WINOGRAD_OUTPUTS / VL)
                                : near;
    const int shared = few || wide;
    const int64_t fewest = wide && threads > 1 ? 2 * threads : 1; /* blocks have no say in any sum */
    const int64_t blocks = FD(least)(FD(most)(FD(ceil_div)(vectors, FD(most)(most, 1)), fewest), vectors);
    const int64_t block = FD(ceil_div)(vectors, blocks) * VL;
    g.outputs = block;
    const int64_t wider = FD(most)(g.channels, block);
    const int64_t room = shared ? of_grid : WINOGRAD_TILE_BYTES / (by->products * wider * TBYTES);
    FD(cut_tiles)(by, room);
    g.grids = 1;
    if (shared) {
        const int64_t chunk = FD(most)(WINOGRAD_SHARED_BYTES / (of_grid * tile_bytes), 1);
        g.grids = FD(ceil_div)(g.all_grids, FD(ceil_div)(g.all_grids, chunk));
    } else if (by->bands[0] * by->bands[1] == 1) {
        /* Small grids, several a task: eight tasks still, or fewer where their tiles would not fill MR rows. */
        const int64_t eighth = FD(ceil_div)(g.all_grids, 8), enough = FD(most)(eighth, FD(ceil_div)(MR, of_grid));
        g.grids = FD(most)(FD(least)(FD(least)(room / of_grid, enough), g.all_grids), 1);
    }
    const int64_t tasks = FD(ceil_div)(g.all_grids, g.grids) * by->bands[0] * by->bands[1];
    const int64_t tiles = g.grids * by->band[0] * by->band[1], pitch = FD(whole)(tiles, MR);
    /* One vector more than a power of two apart, or the products of a tile would share one set of the cache. */
    g.weight_step = g.channels * block + VL;
    g.tile_step = pitch * (shared ? g.channels : wider) + VL;
    g.product_step = pitch * (shared ? block : wider) + VL;
    if (shared) return FD(run_shared_tiles)(finite, &g, threads);
    T *memory = fd_alloc((size_t)(by->products * g.weight_step) * sizeof(T));
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
