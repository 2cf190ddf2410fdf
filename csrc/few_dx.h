/* few_dx.h: the gradient of the input of a convolution with few input channels, or with taps that reach no column
 * twice, and such a transposed convolution.
 *
 * # Design: as a tap sum (taps.h) it has so few outputs that most rows of a tile are empty. Here the pairs of a channel
 * and a tap are the rows,
 *
 *     part[c, t][pixel of dy] = sum over o of w[o, c, t] * dy[o, pixel]
 *
 * a matrix product without padding or stride, whose results are then put where they belong:
 *
 *     dx[c, i] = bias[c] + sum over the taps t of part[c, t][(i + pad - t * dilation) / stride], where that is a pixel
 *
 * A task makes one band of rows of dx of one image. Its parts, also those of the rows of dy that a neighbour needs too,
 * stay in the level-2 cache. Nothing is multiplied by a padded zero, so that no weight meets the outside.
 *
 * Order of summation: for each tap channels of dy ascending; those of one row of taps ascending; bias, then rows of
 * taps ascending.
 */

#define FEW_PART_BYTES (384 * 1024) /* of a task: with dy and the weights in use they stay in the level-2 cache */
#define FEW_WEIGHT_BYTES (1 << 20)  /* of all weights, where taps are apart: each task reads them */
#define FEW_OUTPUTS 16              /* at least: terms of a sum before the parts are added */
#define FEW_PART_ROWS 16            /* of dy, for which channels are done apart where all together take more */

typedef struct {
    const fd_conv *p;
    T *dx;
    const T *dy, *w, *bias, *scale;
    T *panels; /* for each block of channels and MR pairs: [o][MR] */
    int64_t *residue[2],
        *shift[2];              /* of each tap of an axis: that of the dx it reaches, and where its dy is from there */
    int64_t w_out, w_in, w_tap; /* strides, */
    int64_t dy_n, dy_c, dy_s[3], dx_n, dx_c, dx_s[3];
    int64_t taps, block, blocks;  /* channels of a block */
    int64_t rows, bands, dy_rows; /* of dx a band; of dy at most */
    int64_t line;                 /* elements of a residue of a row of dx */
    int act, apart;               /* apart: see taps_apart */
    T alpha;
} FD(few_dx);

/* The rows of dy that dx's rows from .. past - 1 need: *first and how many. */
static int64_t FD(rows_of_dy)(int64_t *first, const fd_conv *p, int64_t from, int64_t past) {
    const int64_t reach = (p->kernel[1] - 1) * p->dilation[1];
    *first = FD(most)(FD(ceil_div)(from + p->pad[1] - reach, p->stride[1]), 0);
    return FD(most)(FD(least)((past - 1 + p->pad[1]) / p->stride[1] + 1, p->out[1]) - *first, 0);
}

static void FD(pack_few_task)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    const FD(few_dx) *g = arg;
    const int64_t outputs = g->p->out_channels, first = task * g->block;
    const int64_t pairs = FD(least)(g->p->in_channels - first, g->block) * g->taps;
    T *to = g->panels + task * FD(whole)(g->block * g->taps, MR) * outputs;
    for (int64_t k = 0; k < pairs; k++) {
        const int64_t c = first + k / g->taps;
        const T scale = g->scale == NULL ? 1 : g->scale[c];
        const T *from = g->w + c * g->w_in + k % g->taps * g->w_tap;
        for (int64_t o = 0; o < outputs; o++) to[(k / MR * outputs + o) * MR + k % MR] = from[o * g->w_out] * scale;
    }
}

/* parts[k][pixel] for `pairs` rows k and n pixels of dy, dy_s[2] apart, MR rows and NR pixels at a time. */
static void FD(few_parts)(T *parts, int64_t pitch, T *panel, const FD(few_dx) *g, const T *weights, const T *dy,
                          int64_t pairs, int64_t n) {
    const int64_t outputs = g->p->out_channels;
    for (int64_t at = 0; at < n; at += NR) {
        const int64_t columns = FD(least)(n - at, NR), width = FD(whole)(columns, VL);
        FD(pack)(panel, dy + at * g->dy_s[2], g->dy_s[2], g->dy_c, columns, outputs, width);
        for (int64_t k = 0; k < pairs; k += MR) {
            const FD(tile_end) end = {
                .c = parts + k * pitch + at, .pitch = pitch, .columns = width, .rows = (int)FD(least)(pairs - k, MR)};
            FD(gemm_tile)(&end, weights + k * outputs, 1, MR, panel, width, outputs, GEMM_NOTHING);
        }
    }
}

/* What a column tap adds to VL neighbours of a line: the lanes that it reaches from a pixel of dy, and where its part
 * is from theirs. The first one says how many there are. */
typedef struct {
    I inside;
    int64_t at, count;
} FD(few_tap);

/* The taps of each vector of each residue; those that reach none of its lanes are left out. */
static void FD(few_taps)(FD(few_tap) *tap, const FD(few_dx) *g, int64_t pitch) {
    const fd_conv *p = g->p;
    for (int64_t residue = 0; residue < p->stride[2]; residue++)
        for (int64_t j = 0; j < g->line; j += VL, tap += p->kernel[2]) {
            tap->count = 0;
            for (int64_t b = 0; b < p->kernel[2]; b++) {
                const int64_t before = -g->shift[1][b] - j, past = before + p->out[2];
                if (g->residue[1][b] != residue || before >= VL || past <= 0) continue;
                FD(few_tap) *next = tap + tap->count++;
                next->inside = vrange(before, past);
                next->at = b * pitch + g->shift[1][b];
            }
        }
}

/* line[j] = bias + the parts that meet in column j of a residue of the row up * stride + residue of dx. */
static void FD(few_line)(T *line, const FD(few_dx) *g, const FD(few_tap) *tap, const T *parts, int64_t pitch,
                         int64_t first_row, int64_t up, int64_t residue, T bias) {
    const fd_conv *p = g->p;
    for (int64_t j = 0; j < g->line; j += VL, tap += p->kernel[2]) {
        V sum = vset1(bias);
        for (int64_t a = 0; a < p->kernel[1]; a++) {
            const int64_t row = up + g->shift[0][a];
            if (g->residue[0][a] != residue || row < 0 || row >= p->out[1]) continue;
            const T *from = parts + a * p->kernel[2] * pitch + (row - first_row) * p->out[2] + j;
            V of_row = {0}; /* rows of taps need not wait for each other */
            for (int64_t k = 0; k < tap->count; k++) of_row += vload_where(from + tap[k].at, tap[k].inside);
            sum += of_row;
        }
        vstore(line + j, sum);
    }
}

/* A row of dx of even and odd columns, each with bias. */
static void FD(store_pair)(T *to, const T *even, const T *odd, int64_t width, T bias) {
    const V more = vset1(bias);
    for (int64_t j = 0; j < width; j += 2 * VL) {
        const V first = vload(even + j / 2) + more, second = vload(odd + j / 2) + more;
        vstore_upto(to + j, vinterleave_low(first, second), width - j);
        if (width - j > VL) vstore_upto(to + j + VL, vinterleave_high(first, second), width - j - VL);
    }
}

/* A row of dx from its residues, which are g->line apart. */
static void FD(store_few)(T *to, const FD(few_dx) *g, const T *line) {
    const int64_t stride = g->p->stride[2], width = g->p->in[2], step = g->dx_s[2];
    if (step == 1 && stride == 1)
        for (int64_t j = 0; j < width; j += VL) vstore_upto(to + j, vload(line + j), width - j);
    else if (step == 1 && stride == 2)
        FD(store_pair)(to, line, line + g->line, width, -(T)0);
    else
        for (int64_t r = 0; r < stride; r++)
            for (int64_t j = r; j < width; j += stride) to[j * step] = line[r * g->line + j / stride];
}

/* Elements of the parts of a task's scratch: dy packed, lines, parts with a vector before and behind, taps. */
static void FD(few_dx_scratch)(int64_t part[4], const FD(few_dx) *g) {
    part[0] = g->p->out_channels * NR;
    part[1] = g->p->stride[2] * g->line;
    part[2] = g->block * g->taps * FD(whole)(g->dy_rows * g->p->out[2], VL) + 2 * VL;
    part[3] = part[1] / VL * g->p->kernel[2] * (int64_t)(sizeof(FD(few_tap)) / sizeof(T));
}

static void FD(few_dx_task)(void *arg, int64_t task, void *scratch) {
    const FD(few_dx) *g = arg;
    const fd_conv *p = g->p;
    const int64_t n = task / g->bands, from = task % g->bands * g->rows, past = FD(least)(from + g->rows, p->in[1]);
    int64_t part[4], first_row;
    FD(few_dx_scratch)(part, g);
    T *panel = scratch, *line = panel + part[0], *parts = line + part[1] + VL;
    FD(few_tap) *taps = (FD(few_tap) *)(parts - VL + part[2]);
    const int64_t pixels = FD(rows_of_dy)(&first_row, p, from, past) * p->out[2], pitch = FD(whole)(pixels, VL);
    FD(few_taps)(taps, g, pitch);
    for (int64_t c = 0; c < p->in_channels && !fd_stopped(); c++) {
        if (c % g->block == 0)
            FD(few_parts)(parts, pitch, panel, g,
                          g->panels + c / g->block * FD(whole)(g->block * g->taps, MR) * p->out_channels,
                          g->dy + n * g->dy_n + first_row * g->dy_s[1],
                          FD(least)(p->in_channels - c, g->block) * g->taps, pixels);
        int64_t up = from / p->stride[1], residue = from % p->stride[1];
        for (int64_t y = from; y < past; y++) {
            const T bias = g->bias == NULL ? 0 : g->bias[c], *of_channel = parts + c % g->block * g->taps * pitch;
            T *row = g->dx + n * g->dx_n + c * g->dx_c + y * g->dx_s[1];
            if (g->apart) {
                const T *even = of_channel + 2 * residue * pitch + (up - first_row) * p->out[2];
                FD(store_pair)(row, even, even + pitch, p->in[2], bias);
                if (g->act != FD_LINEAR) FD(act_row)(row, row, p->in[2], g->act, g->alpha);
            } else {
                for (int64_t r = 0; r < p->stride[2]; r++)
                    FD(few_line)(line + r * g->line, g, taps + r * g->line / VL * p->kernel[2], of_channel, pitch,
                                 first_row, up, residue, bias);
                if (g->act != FD_LINEAR) FD(act_row)(line, line, part[1], g->act, g->alpha);
                FD(store_few)(row, g, line);
            }
            if (++residue == p->stride[1]) residue = 0, up++;
        }
    }
}

/* Whether each element of dx has one tap, in rows of NCHW whose columns are even and odd: a tap sum has nothing to add
 * up there, and writes every second column. Parts are put into place at once. */
static int FD(taps_apart)(const fd_conv *p) {
    int apart = !p->channels_last && p->kernel[2] == 2;
    for (int i = 1; i < 3; i++)
        apart = apart && p->kernel[i] == p->stride[i] && p->dilation[i] == 1 && p->in[i] == p->out[i] * p->stride[i];
    return apart;
}

/* Blocks of channels and bands of rows; functions of the sizes only. */
static void FD(plan_few_dx)(FD(few_dx) *g) {
    const fd_conv *p = g->p;
    const int64_t budget = FEW_PART_BYTES / TBYTES, row = g->taps * p->out[2];
    g->block = p->in_channels;
    while (g->block > 1 && g->block * row * FD(least)(p->out[1], FEW_PART_ROWS) > budget) g->block = (g->block + 1) / 2;
    g->blocks = FD(ceil_div)(p->in_channels, g->block);
    const int64_t reach = (p->kernel[1] - 1) * p->dilation[1];
    for (g->rows = p->in[1];; g->rows = (g->rows + 1) / 2) {
        g->bands = FD(ceil_div)(p->in[1], g->rows);
        g->dy_rows = FD(least)((g->rows - 1 + reach) / p->stride[1] + 1, p->out[1]);
        const int few = p->batch * g->bands < 16 && g->rows >= 16;
        if (g->rows == 1 || (g->block * row * g->dy_rows <= budget && !few)) break;
    }
    g->line = FD(whole)(FD(ceil_div)(p->in[2], p->stride[2]), VL);
}

/* Whether there are fewer input channels than rows of a tile, or taps are apart, and parts cost less than a tap sum. In
 * twelfths of a vector step a pixel of dy: a tap sum takes as long as one of 8/3 rows for one or two channels, whose
 * few accumulators wait for each other, a quarter longer for its unaligned source, and copies dy; a part takes a dozen
 * steps to be added, and rows that two bands need are made twice. */
static int FD(few_inputs)(const fd_conv *p) {
    if (p->groups != 1 || p->out_channels < FEW_OUTPUTS || p->kernel[1] * p->kernel[2] == 1 || p->kernel[0] != 1 ||
        p->in[0] != 1 || p->pad[0] != 0 || p->out[0] != 1)
        return 0;
    if (p->in_channels >= MR)
        return FD(taps_apart)(p) &&
               p->in_channels * p->out_channels * p->kernel[1] * p->kernel[2] <= FEW_WEIGHT_BYTES / TBYTES;
    fd_conv many = *p; /* the batch has no say, so that an image gives the same bits alone and in company */
    many.batch = 16;
    FD(few_dx) g = {.p = &many, .taps = p->kernel[1] * p->kernel[2]};
    FD(plan_few_dx)(&g);
    const int64_t c = p->in_channels, rows = c <= 2 ? 8 : c <= 4 ? 12 : 24;
    const int64_t tap_sum = p->out_channels * (g.taps * rows * 5 + 16 * 12);
    return 12 * c * g.taps * (p->out_channels + 12) * g.bands * g.dy_rows <= tap_sum * FD(most)(p->out[1], 1);
}

static int FD(run_few_dx)(T *dx, const T *dy, const T *w, const T *b, const T *scale, const fd_conv *p, int act,
                          T alpha, int threads) {
    if (FD(asked)(p, FD_DIRECT)) return FD_OK;
    FD(few_dx) g = {.p = p, .dx = dx, .dy = dy, .w = w, .bias = b, .scale = scale, .act = act, .alpha = alpha};
    const int last = (int)p->channels_last;
    g.taps = p->kernel[1] * p->kernel[2];
    g.apart = FD(taps_apart)(p);
    g.w_out = last ? 1 : p->in_channels * g.taps;
    g.w_in = last ? p->out_channels : g.taps;
    g.w_tap = last ? p->in_channels * p->out_channels : 1;
    FD(image_strides)(&g.dy_n, &g.dy_c, g.dy_s, p->out_channels, p->out, last);
    FD(image_strides)(&g.dx_n, &g.dx_c, g.dx_s, p->in_channels, p->in, last);
    FD(plan_few_dx)(&g);
    const int64_t size = g.blocks * FD(whole)(g.block * g.taps, MR) * p->out_channels;
    int64_t *table = fd_alloc((size_t)(2 * (p->kernel[1] + p->kernel[2])) * sizeof(int64_t));
    g.panels = table == NULL ? NULL : fd_alloc((size_t)size * sizeof(T));
    int rc = g.panels == NULL ? FD_NOMEM : FD_OK;
    if (rc == FD_OK) {
        int64_t *next = table;
        for (int i = 0; i < 2; i++) {
            const int64_t stride = p->stride[i + 1], kernel = p->kernel[i + 1];
            g.residue[i] = next;
            g.shift[i] = next + kernel;
            next += 2 * kernel;
            for (int64_t t = 0; t < kernel; t++) {
                const int64_t edge = t * p->dilation[i + 1] - p->pad[i + 1];
                g.residue[i][t] = (edge % stride + stride) % stride;
                g.shift[i][t] = (g.residue[i][t] - edge) / stride;
            }
        }
        int64_t part[4];
        FD(few_dx_scratch)(part, &g);
        const int64_t work = p->batch * p->out[1] * p->out[2] / VL * p->out_channels * p->in_channels * g.taps;
        threads = fd_threads_for(work, threads);
        memset(g.panels, 0, (size_t)size * sizeof(T));
        rc = fd_parallel(FD(pack_few_task), &g, g.blocks, 0, threads);
        if (rc == FD_OK)
            rc = fd_parallel(FD(few_dx_task), &g, p->batch * g.bands,
                             (size_t)(part[0] + part[1] + part[2] + part[3]) * sizeof(T), threads);
    }
    fd_free(g.panels);
    fd_free(table);
    return rc;
}
