/* winograd.h: 3x3 convolution with stride 1, forward and with respect to its input, by F(4x4, 3x3).
 *
 * # Design: 16 outputs of a 4x4 tile take 36 products a channel instead of 144:
 *
 *     out = A^T [ (G w G^T) . (B^T d B) ] A        d: 6x6 of the source, w: 3x3
 *
 * The products are 36 matrix products (tiles x channels) (channels x outputs), done by a micro-kernel; everything is
 * vectorised over channels or outputs, so NHWC is read as it lies and NCHW is transposed VL by VL on the way.
 * A task is one band of tiles of one image; the transformed weights of a block of outputs are shared by all.
 *
 * The transforms spread a NaN or an overflow over its whole tile. So a result that is not finite anywhere is thrown
 * away, and the caller computes the convolution directly: FD(run_winograd) says so in *finite.
 * Error: docs/numerics.md. Only float32 comes here; float64 is asked for its digits.
 *
 * Order of summation: channels ascending for each of the 36 products, then the fixed transforms.
 * Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016.
 */

#define WINOGRAD_WEIGHT_BYTES (1280 * 1024) /* of one block of transformed weights, shared by all threads */
#define WINOGRAD_TILE_BYTES (512 * 1024)    /* of a band's transformed tiles and products */

typedef struct {
    const FD(tap_sum) *s;
    const FD(weights) *v;
    int64_t origin[2], tap[9];              /* source coordinate of the first tap at output 0; the taps from there on */
    int64_t tiles[2], band[2], bands[2];    /* of the image, of a band, number of bands: rows and columns */
    int64_t channels, outputs, first, group; /* padded to whole vectors; outputs from `first` on, of one group */
    T *weights;                             /* [36][channels][outputs] */
    int finite;
} FD(winograd);

/* B^T d for one column of six, pitch apart. */
FD_INLINE void FD(transform_source)(V *d, int pitch) {
    const V d0 = d[0], d1 = d[pitch], d2 = d[2 * pitch], d3 = d[3 * pitch], d4 = d[4 * pitch], d5 = d[5 * pitch];
    const V c2 = vset1(2), c4 = vset1(4), c5 = vset1(5);
    const V even = vfma(-c4, d2, d4), odd = vfma(-c4, d1, d3), a = d4 - d2, b = c2 * (d3 - d1);
    d[0] = vfma(c4, d0, vfma(-c5, d2, d4));
    d[pitch] = even + odd;
    d[2 * pitch] = even - odd;
    d[3 * pitch] = a + b;
    d[4 * pitch] = a - b;
    d[5 * pitch] = vfma(c4, d1, vfma(-c5, d3, d5));
}

/* A^T m for one column of six, into four. */
FD_INLINE void FD(transform_output)(V *out, int out_pitch, const V *m, int pitch) {
    const V sum1 = m[pitch] + m[2 * pitch], difference1 = m[pitch] - m[2 * pitch];
    const V sum2 = m[3 * pitch] + m[4 * pitch], difference2 = m[3 * pitch] - m[4 * pitch];
    out[0] = m[0] + sum1 + sum2;
    out[out_pitch] = vfma(vset1(2), difference2, difference1);
    out[2 * out_pitch] = vfma(vset1(4), sum2, sum1);
    out[3 * out_pitch] = vfma(vset1(8), difference2, difference1) + m[5 * pitch];
}

/* G w for one column of three, into six. */
FD_INLINE void FD(transform_weight)(V *out, int out_pitch, V w0, V w1, V w2) {
    const V outer = (w0 + w2) * vset1((T)(1.0 / 6)), wide = vfma(vset1(4), w2, w0) * vset1((T)(1.0 / 24));
    const V inner = w1 * vset1((T)(1.0 / 6)), half = w1 * vset1((T)(1.0 / 12));
    out[0] = w0 * vset1((T)0.25);
    out[out_pitch] = -(outer + inner);
    out[2 * out_pitch] = inner - outer;
    out[3 * out_pitch] = wide + half;
    out[4 * out_pitch] = wide - half;
    out[5 * out_pitch] = w2;
}

/* computes  weights[e][c][o] = (G w G^T)[e] for channel c = task and all outputs of the block
 * touches   row c of each of the 36 matrices, zero where c or o is padding */
static void FD(winograd_weights_task)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    const FD(winograd) *g = arg;
    const FD(weights) *v = g->v;
    const int64_t outputs = g->s->outputs - g->first;
    const T *from = v->w + g->group * v->group + g->first * v->out + task * v->in;
    for (int64_t o = 0; o < g->outputs; o += VL, from += VL * v->out) {
        V w[9], half[18], all[36];
        const int64_t lanes = task >= g->s->channels || outputs < o ? 0 : outputs - o < VL ? outputs - o : VL;
        for (int t = 0; t < 9; t++) w[t] = lanes == 0 ? (V){0} : vload_step(from + g->tap[t] * v->tap, v->out, lanes);
        for (int j = 0; j < 3; j++) FD(transform_weight)(half + j, 3, w[j], w[3 + j], w[6 + j]);
        for (int i = 0; i < 6; i++) FD(transform_weight)(all + 6 * i, 1, half[3 * i], half[3 * i + 1], half[3 * i + 2]);
        for (int e = 0; e < 36; e++) vstore(g->weights + (e * g->channels + task) * g->outputs + o, all[e]);
    }
}

/* computes  tile[i][o] = sum over c of a[i][c] * b[c][o]
 * shapes    a (rows, channels), b (channels, vectors * VL), tile (rows, vectors * VL)
 * layout    row-major with pitches channels, outputs and outputs
 * touches   exactly those elements
 * order     c ascending */
static void FD(winograd_tile)(T *restrict tile, const T *restrict a, const T *restrict b, int64_t channels,
                              int64_t outputs, int rows, int vectors) {
    const T *columns[NV];
    for (int j = 0; j < NV; j++) columns[j] = b + (j < vectors ? j : 0) * VL;
    V acc[MR][NV];
#define KERNEL(mr, nv)                                                                                          \
    FD(clear)(acc, mr, nv);                                                                                     \
    for (int64_t c = 0; c < channels; c++) FD(step)(acc, a + c, channels, columns, c * outputs, mr, nv);        \
    for (int i = 0; i < mr; i++)                                                                                \
        for (int j = 0; j < nv; j++) vstore(tile + i * outputs + j * VL, acc[i][j])
    FD_WITH_TILE(KERNEL, rows, vectors);
#undef KERNEL
}

/* The scratch of a task: patch [height][width][VL] of the source or of the outputs, tiles [36][tile][channels],
 * products [36][tile][outputs]. */
static int64_t FD(winograd_patch)(const FD(winograd) *g) { return (4 * g->band[0] + 2) * (4 * g->band[1] + 2) * VL; }

static size_t FD(winograd_scratch)(const FD(winograd) *g) {
    const int64_t tiles = (g->band[0] * g->band[1] + MR - 1) / MR * MR;
    return (size_t)(FD(winograd_patch)(g) + 36 * tiles * (g->channels + g->outputs)) * sizeof(T);
}

/* The lanes of patch (outputs) go to `outputs` images of the output at (row, column), as far as they reach. */
static void FD(store_patch)(T *image, const T *patch, const FD(tap_sum) *s, int64_t outputs, int64_t row, int64_t column,
                            int64_t height, int64_t width) {
    const int64_t rows = s->axis[1].lattice - row < height ? s->axis[1].lattice - row : height;
    const int64_t columns = s->axis[2].lattice - column < width ? s->axis[2].lattice - column : width;
    const int64_t lanes = outputs < VL ? outputs : VL;
    for (int64_t i = 0; i < rows; i++, patch += width * VL) {
        T *to = image + (row + i) * s->out_s[1] + column * s->out_s[2];
        if (s->out_c == 1) {
            for (int64_t j = 0; j < columns; j++) vstore_upto(to + j * s->out_s[2], vload(patch + j * VL), lanes);
            continue;
        }
        for (int64_t j = 0, count; j < columns; j += count) {
            V square[VL];
            count = columns - j < VL ? columns - j : VL;
            for (int64_t p = 0; p < VL; p++) square[p] = p < count ? vload(patch + (j + p) * VL) : (V){0};
            vtranspose(square);
            for (int64_t o = 0; o < lanes; o++) vstore_upto(to + o * s->out_c + j, square[o], count);
        }
    }
}

static void FD(winograd_task)(void *arg, int64_t task, void *scratch) {
    FD(winograd) *g = arg;
    const FD(tap_sum) *s = g->s;
    if (!__atomic_load_n(&g->finite, __ATOMIC_RELAXED)) return;
    const int64_t first_column = task % g->bands[1] * g->band[1], a = task / g->bands[1];
    const int64_t first_row = a % g->bands[0] * g->band[0], n = a / g->bands[0];
    const int64_t rows = g->tiles[0] - first_row < g->band[0] ? g->tiles[0] - first_row : g->band[0];
    const int64_t columns = g->tiles[1] - first_column < g->band[1] ? g->tiles[1] - first_column : g->band[1];
    const int64_t count = rows * columns, pitch = (count + MR - 1) / MR * MR, width = 4 * columns + 2;
    T *patch = scratch, *tiles = patch + FD(winograd_patch)(g), *products = tiles + 36 * pitch * g->channels;

    FD(image) image = {.channel = s->src_c, .size = {1, s->axis[1].source, s->axis[2].source}};
    memcpy(image.stride, s->src_s, sizeof(image.stride));
    for (int64_t c = 0; c < g->channels; c += VL) {
        image.data = s->src + n * s->src_n + (g->group * s->channels + c) * s->src_c;
        image.channels = s->channels - c;
        FD(copy_patch)(patch, &image, VL, 0, 4 * first_row + g->origin[0], 4 * first_column + g->origin[1], 4 * rows + 2,
                       width);
        for (int64_t t = 0; t < count; t++) {
            const T *corner = patch + (t / columns * 4 * width + t % columns * 4) * VL;
            V d[36];
#pragma GCC unroll 6
            for (int i = 0; i < 6; i++)
#pragma GCC unroll 6
                for (int j = 0; j < 6; j++) d[6 * i + j] = vload(corner + (i * width + j) * VL);
#pragma GCC unroll 6
            for (int j = 0; j < 6; j++) FD(transform_source)(d + j, 6);
#pragma GCC unroll 6
            for (int i = 0; i < 6; i++) FD(transform_source)(d + 6 * i, 1);
#pragma GCC unroll 36
            for (int e = 0; e < 36; e++) vstore(tiles + (e * pitch + t) * g->channels + c, d[e]);
        }
    }

    const int64_t vectors = g->outputs / VL, chunks = (vectors + NV - 1) / NV, chunk = (vectors + chunks - 1) / chunks;
    for (int64_t e = 0; e < 36; e++)
        for (int64_t o = 0; o < vectors; o += chunk)
            for (int64_t t = 0; t < count; t += MR)
                FD(winograd_tile)(products + (e * pitch + t) * g->outputs + o * VL, tiles + (e * pitch + t) * g->channels,
                                  g->weights + e * g->channels * g->outputs + o * VL, g->channels, g->outputs,
                                  (int)(count - t < MR ? count - t : MR), (int)(vectors - o < chunk ? vectors - o : chunk));

    T *out = s->out + n * s->out_n + (g->group * s->outputs + g->first) * s->out_c;
    V check = {0};
    for (int64_t o = 0; o < g->outputs && g->first + o < s->outputs; o += VL) {
        const int64_t lanes = s->outputs - g->first - o < VL ? s->outputs - g->first - o : VL;
        const V bias = g->v->bias == NULL
                           ? (V){0}
                           : vload_upto(g->v->bias + g->group * s->outputs + g->first + o, lanes);
        for (int64_t t = 0; t < count; t++) {
            const T *product = products + t * g->outputs + o;
            V m[36], half[24], y[16];
#pragma GCC unroll 36
            for (int e = 0; e < 36; e++) m[e] = vload(product + e * pitch * g->outputs);
#pragma GCC unroll 6
            for (int j = 0; j < 6; j++) FD(transform_output)(half + j, 6, m + j, 6);
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) FD(transform_output)(y + 4 * i, 1, half + 6 * i, 1);
            T *corner = patch + (t / columns * 16 * columns + t % columns * 4) * VL;
#pragma GCC unroll 16
            for (int i = 0; i < 16; i++) {
                const V value = y[i] + bias;
                check = vfma(value, (V){0}, check);
                vstore(corner + (i / 4 * 4 * columns + i % 4) * VL, value);
            }
        }
        if (s->act != FD_LINEAR) FD(act_row)(patch, patch, count * 16 * VL, s->act, s->alpha);
        FD(store_patch)(out + o * s->out_c, patch, s, lanes, 4 * first_row, 4 * first_column, 4 * rows, 4 * columns);
    }
    if (!(vsum(check) == 0)) __atomic_store_n(&g->finite, 0, __ATOMIC_RELAXED);
}

/* Whether a tap sum is a 3x3 convolution with stride 1, and this pays: channels and outputs enough for vectors and for
 * the transforms, tiles enough for the kernel's rows. The batch has no say, so that an image gives the same bits alone
 * and in company. */
static int FD(winograd_pays)(const FD(tap_sum) *s) {
    const FD(axis) *d = &s->axis[0], *h = &s->axis[1], *w = &s->axis[2];
    const int near = h->taps == 3 && w->taps == 3 && h->step == 1 && w->step == 1 && h->span == 2 && w->span == 2;
    const int flat = d->taps == 1 && d->lattice == 1 && d->source == 1 && d->edge[0] == 0;
    return TBYTES == 4 && near && flat && s->channels >= 16 && s->channels <= 512 && s->outputs >= 16 &&
           (h->lattice + 3) / 4 * ((w->lattice + 3) / 4) >= 12;
}

static int FD(run_winograd)(int *finite, const FD(tap_sum) *s, const FD(weights) *v, int threads) {
    const FD(axis) *h = &s->axis[1], *w = &s->axis[2];
    FD(winograd) g = {.s = s, .v = v, .origin = {h->base, w->base}, .finite = 1};
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) g.tap[3 * h->shift[i] + w->shift[j]] = h->tap[i] * v->kernel[2] + w->tap[j];
    g.channels = (s->channels + VL - 1) / VL * VL;
    const int64_t most = WINOGRAD_WEIGHT_BYTES / (36 * g.channels * TBYTES) / VL * VL;
    const int64_t vectors = (s->outputs + VL - 1) / VL, per_block = most < VL ? 1 : most / VL;
    const int64_t blocks = (vectors + per_block - 1) / per_block;
    const int64_t block = (vectors + blocks - 1) / blocks * VL;
    g.outputs = block;
    for (int i = 0; i < 2; i++) g.tiles[i] = (s->axis[i + 1].lattice + 3) / 4;
    const int64_t room = WINOGRAD_TILE_BYTES / (36 * (g.channels + block) * TBYTES);
    g.band[1] = g.tiles[1] < room ? g.tiles[1] : room < 1 ? 1 : room;
    g.band[0] = room / g.band[1] < 1 ? 1 : room / g.band[1];
    for (int i = 0; i < 2; i++) {
        g.bands[i] = (g.tiles[i] + g.band[i] - 1) / g.band[i];
        g.band[i] = (g.tiles[i] + g.bands[i] - 1) / g.bands[i];
    }
    const int64_t tasks = s->batch * g.bands[0] * g.bands[1];
    threads = fd_threads_for(tasks * g.band[0] * g.band[1] * 36 * g.channels * (block / VL), threads);
    T *memory = fd_alloc((size_t)(36 * g.channels * block) * sizeof(T));
    if (memory == NULL) return FD_NOMEM;
    g.weights = memory;
    int rc = FD_OK;
    for (g.group = 0; g.group < s->groups && rc == FD_OK; g.group++)
        for (g.first = 0; g.first < s->outputs && rc == FD_OK; g.first += block) {
            rc = fd_parallel(FD(winograd_weights_task), &g, g.channels, 0, threads);
            if (rc == FD_OK) rc = fd_parallel(FD(winograd_task), &g, tasks, FD(winograd_scratch)(&g), threads);
        }
    fd_free(memory);
    *finite = g.finite;
    return rc;
}
