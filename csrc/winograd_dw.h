/* winograd_dw.h: the gradient of the weights by Winograd's algorithm, the transposes of winograd.h's transforms.
 *
 * # Design: with the taps of a 4x4 tile of dy and the 6x6 (5x5) patch of x under it,
 *
 *     dw = G^T [ sum over tiles of (A dy A^T) . (B^T x B) ] G
 *
 * the sum over tiles is 36 (25) matrix products (outputs x tiles) (tiles x channels). A task owns a block of outputs
 * and of channels (of one phase, where the stride has several) for one chunk of the tiles, and keeps the sums in the
 * level-2 cache; the chunks are a function of the sizes, and their results are added in ascending order.
 * What is not finite is computed anew directly, as in winograd.h. Error: docs/numerics.md.
 *
 * Order of summation: tiles of a chunk ascending, one accumulator an element; the fixed transform; chunks ascending.
 * Source: Lavin and Gray 2016; the gradient of a bilinear algorithm is the bilinear algorithm of the transposes.
 */

#define WINOGRAD_DW_OUTPUTS 64              /* of a task, and channels: 576 KB of sums, */
#define WINOGRAD_DW_CHANNELS (256 / TBYTES) /* which come from the level-2 cache for each band */
#define WINOGRAD_DW_TILE_BYTES (512 * 1024) /* of a band's transformed tiles, x and dy together */
#define WINOGRAD_DW_TASKS 8                 /* at least, where there are tiles enough */
#define WINOGRAD_DW_BANDS 4                 /* of a chunk, at least: its last transform takes as long as one */

typedef struct {
    T *dw, *parts;        /* parts: [chunk][group][output][part][tap][channel] */
    FD(tiling) by;        /* of the forward pass: src is x, channels and outputs are of a group */
    const FD(tap_sum) *s; /* what was cut */
    const T *dy;
    const FD(weights) *v; /* the layout of dw */
    int64_t dy_n, dy_c, dy_s[3];
    int64_t all_grids, grids, all_bands;                              /* of the batch, of a band; bands of the batch */
    int64_t outputs, output_blocks, channels, channel_blocks, chunks; /* outputs and channels of a block */
    int64_t part, wide;                /* elements of a chunk's part, channels of a part in it */
    int64_t dy_step, x_step, sum_step; /* elements from one product to the next */
    int finite;
} FD(winograd_dw);

/* Elements of the parts of a task's scratch: a patch of either, the tiles of dy and of x, the sums. */
static void FD(winograd_dw_scratch)(int64_t part[4], const FD(winograd_dw) *g) {
    part[0] = FD(patch_size)(&g->by);
    part[1] = g->by.products * g->dy_step;
    part[2] = g->by.products * g->x_step;
    part[3] = g->by.products * g->sum_step;
}

/* The transformed tiles of a band, of dy or of x, for VL channels: by way of a patch where they are not neighbours. */
static void FD(dw_tiles)(T *tiles, T *patch, const FD(image) *image, int64_t row, int64_t column, int64_t rows,
                         int64_t columns, int64_t step, int64_t channels, int of_dy, int taps) {
    const int64_t beyond = of_dy ? 0 : taps - 1, height = 4 * rows + beyond, width = 4 * columns + beyond;
    int64_t at[2] = {row, column};
    const FD(image) from = FD(near_image)(patch, image, at, height, width);
    if (of_dy)
        FD_WITH_TAPS(FD(transform_tiles), taps, tiles, &from, at[0], at[1], rows, columns, step, channels, 1);
    else
        FD_WITH_TAPS(FD(transform_tiles), taps, tiles, &from, at[0], at[1], rows, columns, step, channels, 0);
}

static void FD(winograd_dw_task)(void *arg, int64_t task, void *scratch) {
    const FD(winograd_dw) *g = arg;
    const FD(tiling) *by = &g->by;
    const FD(tap_sum) *s = g->s;
    const int64_t first_c = task % g->channel_blocks * g->channels, a = task / g->channel_blocks;
    const int64_t index = a % by->parts, b = a / by->parts;
    const int64_t first_o = b % g->output_blocks * g->outputs, c = b / g->output_blocks;
    const int64_t group = c % s->groups, chunk = c / s->groups;
    const int64_t outputs = FD(least)(s->outputs - first_o, g->outputs);
    const int64_t channels = FD(least)(s->channels - first_c, g->channels);
    const int64_t vectors = FD(ceil_div)(channels, VL), count_of = FD(ceil_div)(vectors, FD(ceil_div)(vectors, NV));
    int64_t part[4];
    FD(winograd_dw_scratch)(part, g);
    T *patch = scratch, *dy_tiles = patch + part[0], *x_tiles = dy_tiles + part[1], *sums = x_tiles + part[2];
    for (int64_t e = 0; e < by->products; e++)
        if (!FD(has_product)(by, index, e)) memset(sums + e * g->sum_step, 0, (size_t)g->sum_step * sizeof(T));

    const FD(part) *parts[2];
    FD(part_at)(parts, by, index);
    const int64_t x_first = (group * s->channels + first_c) * s->src_c;
    const T *dy_first = g->dy + (group * s->outputs + first_o) * g->dy_c;

    const int64_t start = chunk * g->all_bands / g->chunks, past = (chunk + 1) * g->all_bands / g->chunks;
    for (int64_t band = start; band < past && !fd_stopped(); band++) {
        const FD(band) t = FD(band_at)(by, g->all_grids, g->grids, band);
        const FD(band) next = FD(band_at)(by, g->all_grids, band + 1 < past ? g->grids : 0, band + 1);
        const int64_t of_grid = t.rows * t.columns;
        for (int64_t n = 0; n < t.grids; n++) {
            const int64_t image = (t.first_grid + n) / by->grids, grid = (t.first_grid + n) % by->grids;
            FD(image) dy = {.channel = g->dy_c};
            const T *from = dy_first + image * g->dy_n + FD(outputs_of_grid)(&dy, by, grid, g->dy_s);
            for (int64_t o = 0; o < outputs; o += VL) {
                dy.data = from + o * g->dy_c;
                dy.channels = outputs - o;
                FD(dw_tiles)(dy_tiles + n * of_grid * g->outputs + o, patch, &dy, 4 * t.row, 4 * t.column, t.rows,
                             t.columns, g->dy_step, g->outputs, 1, (int)by->taps);
            }
            int64_t origin[2];
            FD(image) x = FD(source_of_grid)(by, parts[0]->phase, parts[1]->phase, grid, origin);
            from = x.data + image * s->src_n + x_first;
            for (int64_t e = 0; e < channels; e += VL) {
                x.data = from + e * s->src_c;
                x.channels = channels - e;
                FD(dw_tiles)(x_tiles + n * of_grid * g->channels + e, patch, &x,
                             4 * t.row + origin[0] + parts[0]->first, 4 * t.column + origin[1] + parts[1]->first,
                             t.rows, t.columns, g->x_step, g->channels, 0, (int)by->taps);
            }
        }
        FD(ahead) ask[] = {FD(lattice_ahead)(by, &next, dy_first, outputs, g->dy_n, g->dy_c, g->dy_s),
                           FD(source_ahead)(by, &next, group * s->channels + first_c, channels)};
        const int64_t times = by->products * FD(ceil_div)(outputs, MR) * FD(ceil_div)(vectors, count_of);
        for (int i = 0; i < 2; i++) FD(ask_in)(&ask[i], times);
        for (int64_t e = 0; e < by->products; e++) {
            if (!FD(has_product)(by, index, e)) continue;
            for (int64_t o = 0; o < outputs; o += MR)
                for (int64_t v = 0; v < vectors; v += count_of) {
                    for (int i = 0; i < 2; i++) FD(ask)(&ask[i], 0);
                    FD(winograd_dw_tile)(sums + e * g->sum_step + o * g->channels + v * VL,
                                         dy_tiles + e * g->dy_step + o, x_tiles + e * g->x_step + v * VL,
                                         t.grids * of_grid, g->outputs, g->channels, (int)FD(least)(outputs - o, MR),
                                         (int)FD(least)(vectors - v, count_of), band > start);
                }
        }
    }

    const int64_t taps = by->taps * by->taps;
    for (int64_t o = 0; o < outputs; o++) {
        T *to = g->parts + chunk * g->part + ((group * s->outputs + first_o + o) * by->parts + index) * taps * g->wide +
                first_c;
        const T *from = sums + o * g->channels;
        FD_WITH_TAPS(FD(transform_sums), by->taps, to, g->wide, from, g->sum_step, vectors * VL);
    }
}

/* dw = the sum of the chunks, for VL outputs of a group and all parts. Outputs are the lanes where they are neighbours
 * in dw: a line of memory is then written once and whole, rather than by as many tasks as it has elements. */
static void FD(winograd_dw_sum_task)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    FD(winograd_dw) *g = arg;
    const FD(tiling) *by = &g->by;
    const FD(tap_sum) *s = g->s;
    const FD(weights) *v = g->v;
    const int64_t per_group = FD(ceil_div)(s->outputs, VL), group = task / per_group, first = task % per_group * VL;
    const int64_t outputs = FD(least)(s->outputs - first, VL), taps = by->taps * by->taps;
    const int64_t pitch = by->parts * taps * g->wide; /* from one output to the next */
    const T *all = g->parts + (group * s->outputs + first) * pitch;
    T *to = g->dw + group * v->group + first * v->out;
    V check = {0};
    for (int64_t p = 0; p < by->parts; p++) {
        const FD(part) *part[2];
        FD(part_at)(part, by, p);
        for (int64_t c = 0; c < s->channels; c += VL)
            for (int64_t i = 0; i < part[0]->taps * part[1]->taps; i++) {
                const int64_t h = i / part[1]->taps, w = i % part[1]->taps;
                const T *from = all + (p * taps + h * by->taps + w) * g->wide + c;
                T *at = to + c * v->in + (part[0]->tap[h] * v->kernel[2] + part[1]->tap[w]) * v->tap;
                const int64_t channels = FD(least)(s->channels - c, VL);
                V square[VL];
                for (int64_t o = 0; o < VL; o++) {
                    V sum = {0};
                    if (o < outputs) sum = vload(from + o * pitch);
                    for (int64_t k = 1; k < g->chunks && o < outputs; k++) sum += vload(from + o * pitch + k * g->part);
                    check = vfma(sum, (V){0}, check);
                    square[o] = sum;
                }
                if (v->out == 1) {
                    vtranspose(square);
                    for (int64_t e = 0; e < channels; e++) vstore_upto(at + e * v->in, square[e], outputs);
                } else {
                    for (int64_t o = 0; o < outputs; o++) vstore_step(at + o * v->out, square[o], v->in, channels);
                }
            }
    }
    if (!(vsum(check) == 0)) __atomic_store_n(&g->finite, 0, __ATOMIC_RELAXED);
}

/* Bands and blocks; functions of the sizes only. */
static void FD(plan_winograd_dw)(FD(winograd_dw) *g) {
    FD(tiling) *by = &g->by;
    const FD(tap_sum) *s = g->s;
    g->output_blocks = FD(ceil_div)(s->outputs, WINOGRAD_DW_OUTPUTS);
    g->outputs = FD(whole)(FD(ceil_div)(s->outputs, g->output_blocks), VL > MR ? VL : MR);
    g->channel_blocks = FD(ceil_div)(s->channels, WINOGRAD_DW_CHANNELS);
    g->channels = FD(whole)(FD(ceil_div)(s->channels, g->channel_blocks), VL);
    const int64_t room = WINOGRAD_DW_TILE_BYTES / (by->products * (g->channels + g->outputs) * TBYTES);
    FD(cut_tiles)(by, room);
    g->all_grids = s->batch * by->grids;
    g->grids = 1;
    if (by->bands[0] * by->bands[1] == 1) g->grids = FD(least)(room / (by->tiles[0] * by->tiles[1]), g->all_grids);
    g->all_bands = FD(ceil_div)(g->all_grids, g->grids) * by->bands[0] * by->bands[1];
    const int64_t tasks = s->groups * by->parts * g->output_blocks * g->channel_blocks;
    g->chunks = FD(ceil_div)(WINOGRAD_DW_TASKS, tasks);
    while (g->chunks > 1 && g->all_bands < g->chunks * WINOGRAD_DW_BANDS) g->chunks = g->chunks / 2;
    const int64_t tiles = g->grids * by->band[0] * by->band[1];
    /* One vector more than a power of two apart, as in winograd.h. */
    g->dy_step = tiles * g->outputs + VL;
    g->x_step = tiles * g->channels + VL;
    g->sum_step = g->outputs * g->channels + VL;
    g->wide = g->channel_blocks * g->channels;
    g->part = s->groups * s->outputs * by->parts * by->taps * by->taps * g->wide;
}

/* Taps of a part where this applies and pays, as in winograd.h; a chunk's last transform is as long as some tiles. */
static int64_t FD(winograd_dw_taps)(const FD(tap_sum) *s) {
    const int64_t tap_sum = s->axis[1].lattice * s->axis[2].lattice * s->taps;
    int64_t best = 0, taps = 0;
    if (s->channels < 16 || s->outputs < 16) return 0;
    for (int64_t most = 2; most <= 3; most++) {
        FD(tiling) by;
        if (!FD(cut_sum)(&by, s, most)) continue;
        const int64_t tiles = by.grids * by.tiles[0] * by.tiles[1], of_tile = FD(products_of_tile)(&by);
        const int64_t products = of_tile * (s->batch * tiles * 3 / 2 + 16);
        if (2 * of_tile * tiles > tap_sum * 11 / 10 || products > s->batch * tap_sum * 6 / 5) continue;
        if (taps != 0 && products >= best) continue;
        taps = most;
        best = products;
    }
    return taps;
}

static int FD(run_winograd_dw)(int *finite, FD(winograd_dw) *g, int64_t taps, int threads) {
    const FD(tap_sum) *s = g->s;
    *finite = 1;
    if (FD(asked)(s->p, FD_WINOGRAD)) return FD_OK;
    FD(tiling) *by = &g->by;
    FD(cut_sum)(by, s, taps);
    g->finite = 1;
    FD(plan_winograd_dw)(g);
    T *memory = fd_alloc((size_t)(g->chunks * g->part) * sizeof(T));
    if (memory == NULL) return FD_NOMEM;
    g->parts = memory;
    int64_t part[4];
    FD(winograd_dw_scratch)(part, g);
    const int64_t tasks = g->chunks * s->groups * g->output_blocks * by->parts * g->channel_blocks;
    const int64_t tiles = g->all_grids * by->tiles[0] * by->tiles[1];
    threads = fd_threads_for(tiles * by->products * by->parts * s->groups * s->outputs * (g->wide / VL), threads);
    int rc = fd_parallel(FD(winograd_dw_task), g, tasks, (size_t)(part[0] + part[1] + part[2] + part[3]) * sizeof(T),
                         threads);
    if (rc == FD_OK)
        rc = fd_parallel(FD(winograd_dw_sum_task), g, s->groups * FD(ceil_div)(s->outputs, VL), 0, threads);
    fd_free(memory);
    *finite = g->finite;
    return rc;
}
