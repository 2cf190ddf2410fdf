/* winograd_parts.h: what winograd.h and winograd_dw.h share: how a tap sum is cut for the algorithm.
 *
 * # Design: one algorithm, F(4x4, 3x3) or F(4x4, 2x2), serves all kernels, strides and dilations, because the sum over
 * channels may as well run over other things:
 *
 *   phases   with a stride each phase of the source (taps.h) counts as channels of its own
 *   parts    the taps of one phase of an axis are cut into parts of at most 3 (2) neighbours, which begin at different
 *            places of the source and count as channels too: 5 taps are 3 + 2
 *   grids    where the taps of a phase lie apart, by a dilation, outputs as far apart form a grid, and each grid is an
 *            image of its own
 *
 *     stride 2, taps 0 1 2        phase 0: 0 2   phase 1: 1
 *     taps 0 1 2 3 4              parts: 0 1 | 2 3 4
 *     dilation 2, taps 0 2 4      grids: outputs 0 2 4 ... of source 0 2 4 ..., outputs 1 3 5 ... of source 1 3 5 ...
 *
 * A part with fewer taps than the others has a weight of zero at the point infinity, and those products are left out:
 * 5x5 takes 121 products for 16 outputs, where the definition takes 400. 3x3 with stride 2 takes (5 + 4)^2 = 81 for
 * 144, and is left to the tap sum, which needs no transforms.
 */

#define WINOGRAD_PARTS 4 /* of an axis, at most */

/* Neighbouring taps of one phase of an axis: the first-th of that phase and those behind it. */
typedef struct {
    int64_t phase, first, taps, tap[3]; /* tap: numbers in the whole kernel */
} FD(part);

typedef struct {
    FD(part) part[WINOGRAD_PARTS]; /* those with all taps of the member before the others */
    int64_t shift[WINOGRAD_PARTS]; /* of a phase's first tap */
    int64_t parts, gap, reach;     /* shifts from one tap to the next; taps that a patch has to reach over */
} FD(cut);

typedef struct {
    const FD(tap_sum) *s;
    FD(cut) cut[2];                      /* rows and columns, as in what follows */
    int64_t taps, size, products;        /* of a part; source elements an axis of a tile; size * size */
    int64_t parts, grids;                /* in both axes together; grids of an image */
    int64_t tiles[2], band[2], bands[2]; /* of a grid, of a band, number of bands */
} FD(tiling);

/* Cut an axis into parts of at most `most` taps; 0 where its taps are not evenly spaced or the parts too many. */
static int FD(cut_axis)(FD(cut) *cut, const FD(axis) *axis, int64_t most) {
    int64_t order[3 * WINOGRAD_PARTS];
    *cut = (FD(cut)){.gap = 0, .reach = most};
    if (axis->taps > most * WINOGRAD_PARTS) return 0;
    for (int64_t phase = 0; phase < axis->phases; phase++) {
        int64_t count = 0;
        for (int64_t t = 0; t < axis->taps; t++) {
            if (axis->phase_of[t] != phase) continue;
            int64_t i = count++;
            for (; i > 0 && axis->shift[order[i - 1]] > axis->shift[t]; i--) order[i] = order[i - 1];
            order[i] = t;
        }
        for (int64_t i = 1; i < count; i++) {
            const int64_t gap = axis->shift[order[i]] - axis->shift[order[i - 1]];
            if (cut->gap == 0) cut->gap = gap;
            if (gap != cut->gap || gap > axis->lattice) return 0;
        }
        const int64_t parts = FD(ceil_div)(count, most);
        if (cut->parts + parts > WINOGRAD_PARTS) return 0;
        cut->shift[phase] = axis->shift[order[0]];
        for (int64_t p = 0; p < parts; p++) {
            FD(part) part = {.phase = phase, .first = p * count / parts};
            for (int64_t i = part.first; i < (p + 1) * count / parts; i++) part.tap[part.taps++] = axis->tap[order[i]];
            FD(part) *at = cut->part + (part.taps == most ? 0 : cut->parts);
            memmove(at + 1, at, (size_t)(cut->part + cut->parts++ - at) * sizeof(part));
            *at = part;
            cut->reach = FD(most)(cut->reach, part.first + most);
        }
    }
    if (cut->gap == 0) cut->gap = 1;
    return cut->parts > 0;
}

/* The part of rows and that of columns: columns forth and back, so that those with all taps are neighbours. */
static void FD(part_at)(const FD(part) *part[2], const FD(tiling) *g, int64_t index) {
    const int64_t row = index / g->cut[1].parts, column = index % g->cut[1].parts;
    part[0] = &g->cut[0].part[row];
    part[1] = &g->cut[1].part[row % 2 == 0 ? g->cut[1].parts - 1 - column : column];
}

/* Whether the weights of a part have anything at product e. */
static int FD(has_product)(const FD(tiling) *g, int64_t index, int64_t e) {
    const FD(part) *part[2];
    FD(part_at)(part, g, index);
    return (part[0]->taps == g->taps || e / g->size < g->size - 1) &&
           (part[1]->taps == g->taps || e % g->size < g->size - 1);
}

/* The products of a tile, for one channel and output. */
static int64_t FD(products_of_tile)(const FD(tiling) *g) {
    int64_t products = 0;
    for (int64_t i = 0; i < g->parts; i++)
        for (int64_t e = 0; e < g->products; e++) products += FD(has_product)(g, i, e);
    return products;
}

/* Cut a tap sum; 0 where the algorithm does not apply. */
static int FD(cut_sum)(FD(tiling) *g, const FD(tap_sum) *s, int64_t most) {
    const FD(axis) *d = &s->axis[0];
    if (d->taps != 1 || d->lattice != 1 || d->source != 1 || d->edge[0] != 0) return 0;
    *g = (FD(tiling)){.s = s, .taps = most, .size = most + 3, .products = (most + 3) * (most + 3)};
    for (int i = 0; i < 2; i++)
        if (!FD(cut_axis)(&g->cut[i], &s->axis[i + 1], most)) return 0;
    g->parts = g->cut[0].parts * g->cut[1].parts;
    g->grids = g->cut[0].gap * g->cut[1].gap;
    for (int i = 0; i < 2; i++) g->tiles[i] = FD(ceil_div)(FD(ceil_div)(s->axis[i + 1].lattice, g->cut[i].gap), 4);
    return 1;
}

/* Bands that fit into so many tiles. */
static void FD(cut_tiles)(FD(tiling) *g, int64_t room) {
    g->band[1] = FD(most)(FD(least)(g->tiles[1], room), 1);
    g->band[0] = FD(most)(room / g->band[1], 1);
    for (int i = 0; i < 2; i++) {
        g->bands[i] = FD(ceil_div)(g->tiles[i], g->band[i]);
        g->band[i] = FD(ceil_div)(g->tiles[i], g->bands[i]);
    }
}

/* Elements of a patch [height][width][VL] of the source or of the outputs of a band. */
static int64_t FD(patch_size)(const FD(tiling) *g) {
    return (4 * g->band[0] + g->cut[0].reach - 1) * (4 * g->band[1] + g->cut[1].reach - 1) * VL;
}

/* Image 0 as one phase sees it for one grid, and where in it the tile of the first output begins. */
static FD(image)
    FD(source_of_grid)(const FD(tiling) *g, int64_t phase_h, int64_t phase_w, int64_t grid, int64_t origin[2]) {
    const FD(tap_sum) *s = g->s;
    const int64_t phases[2] = {phase_h, phase_w}, at[2] = {grid / g->cut[1].gap, grid % g->cut[1].gap};
    FD(image) image = {.data = s->src, .channel = s->src_c, .size = {1}};
    for (int i = 0; i < 2; i++) {
        const FD(axis) *axis = &s->axis[i + 1];
        const int64_t gap = g->cut[i].gap, position = axis->base + g->cut[i].shift[phases[i]] + at[i];
        const int64_t rest = (position % gap + gap) % gap, first = axis->phase[phases[i]] + rest * axis->step;
        origin[i] = (position - rest) / gap;
        image.data += first * s->src_s[i + 1];
        image.size[i + 1] = FD(ceil_div)(axis->source - first, axis->step * gap);
        image.stride[i + 1] = s->src_s[i + 1] * axis->step * gap;
    }
    return image;
}

/* Size and strides of one grid of the outputs, whose own strides are given; where in the image it begins. */
static int64_t FD(outputs_of_grid)(FD(image) *image, const FD(tiling) *g, int64_t grid, const int64_t stride[3]) {
    const int64_t at[2] = {grid / g->cut[1].gap, grid % g->cut[1].gap};
    image->size[0] = 1;
    for (int i = 0; i < 2; i++) {
        image->size[i + 1] = FD(ceil_div)(g->s->axis[i + 1].lattice - at[i], g->cut[i].gap);
        image->stride[i + 1] = stride[i + 1] * g->cut[i].gap;
    }
    return at[0] * stride[1] + at[1] * stride[2];
}

/* A patch as an image. */
static FD(image) FD(image_of_patch)(const T *patch, int64_t height, int64_t width) {
    return (FD(image)){
        .data = patch, .channels = VL, .channel = 1, .size = {1, height, width}, .stride = {0, width * VL, VL}};
}

/* What transform_tiles reads: the image where VL of its channels are neighbours, else a patch that begins at `at`. */
static FD(image) FD(near_image)(T *patch, const FD(image) *image, int64_t at[2], int64_t height, int64_t width) {
    if (image->channel == 1 && image->channels >= VL) return *image;
    FD(copy_patch)(patch, image, VL, 0, at[0], at[1], height, width);
    at[0] = at[1] = 0;
    return FD(image_of_patch)(patch, height, width);
}

/* Tiles of one grid, or all of some. */
typedef struct {
    int64_t first_grid, grids, row, column, rows, columns; /* rows and columns in tiles */
} FD(band);

/* The index-th band of all grids, where so many grids are together; with no grids if there is none. */
static FD(band) FD(band_at)(const FD(tiling) *g, int64_t all_grids, int64_t grids, int64_t index) {
    const int64_t a = index / g->bands[1];
    FD(band) t = {.column = index % g->bands[1] * g->band[1], .row = a % g->bands[0] * g->band[0]};
    t.first_grid = a / g->bands[0] * grids;
    t.grids = FD(least)(all_grids - t.first_grid, grids);
    t.rows = FD(least)(g->tiles[0] - t.row, g->band[0]);
    t.columns = FD(least)(g->tiles[1] - t.column, g->band[1]);
    return t;
}

/* The images of a band that are asked for: where an image has several grids, the first alone. */
static int64_t FD(images_ahead)(const FD(tiling) *g, const FD(band) *t) {
    return g->grids == 1 || t->grids <= 0 ? t->grids : 1;
}

/* The outputs of a band, which lie at `out` with these strides; or what lies as they do. */
static FD(ahead) FD(lattice_ahead)(const FD(tiling) *g, const FD(band) *t, const T *out, int64_t channels,
                                   int64_t image_pitch, int64_t channel, const int64_t stride[3]) {
    FD(image) image;
    out += FD(outputs_of_grid)(&image, g, t->first_grid % g->grids, stride) + t->first_grid / g->grids * image_pitch +
           4 * t->row * image.stride[1] + 4 * t->column * image.stride[2];
    const int64_t count[] = {FD(images_ahead)(g, t), channels, FD(least)(image.size[1] - 4 * t->row, 4 * t->rows),
                             FD(least)(image.size[2] - 4 * t->column, 4 * t->columns)};
    const int64_t pitch[] = {image_pitch, channel, image.stride[1], image.stride[2]};
    return FD(ahead_of)(out, count, pitch);
}

/* What the tiles of a band are made of, of some channels. */
static FD(ahead) FD(source_ahead)(const FD(tiling) *g, const FD(band) *t, int64_t first_channel, int64_t channels) {
    const FD(tap_sum) *s = g->s;
    const int64_t of_axis[2][2] = {{t->row, t->rows}, {t->column, t->columns}};
    const int64_t pitch[4] = {s->src_n, s->src_c, s->src_s[1], s->src_s[2]};
    const T *from = s->src + t->first_grid / g->grids * s->src_n + first_channel * s->src_c;
    int64_t count[4] = {FD(images_ahead)(g, t), channels};
    for (int i = 0; i < 2; i++) {
        const FD(axis) *axis = &s->axis[i + 1];
        const int64_t of_tile = 4 * g->cut[i].gap * axis->step,
                      first = of_axis[i][0] * of_tile + axis->base * axis->step;
        const int64_t begin = FD(most)(first, 0), past = first + of_axis[i][1] * of_tile + axis->span * axis->step;
        count[i + 2] = FD(most)(FD(least)(past, axis->source) - begin, 0);
        from += begin * pitch[i + 2];
    }
    return FD(ahead_of)(from, count, pitch);
}
