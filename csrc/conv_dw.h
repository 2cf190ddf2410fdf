/* conv_dw.h: the gradient of a convolution with respect to its weights.
 *
 * # Design: dw[o, t, c] is a sum over all output pixels of all images: for each pixel an outer product of dy's
 * outputs and x's channels, so the micro-kernel of gemm.h runs along pixels. x is copied into padded patches with the
 * channels innermost, where a tap is an offset and a stride is a step; dy into panels of MR outputs.
 *
 *   blocked   channels a multiple of VL, or dilated: patches of VL channels, one vector each, all taps apart
 *   tight     otherwise: [row][column][channel] without gaps, where the taps of one kernel row are neighbours too,
 *             so that a vector holds (column tap, channel) pairs and few channels still fill it
 *
 * A task owns a block of outputs and channels for every image and keeps their sums in scratch, so no two threads add
 * to the same number and no partial result is ever combined. The pixels of one tap and vector meet all outputs of the
 * block while they are near.
 *
 * Order of summation: one accumulator an element, pixels ascending in images ascending.
 */

#define DW_SUM_BYTES (256 * 1024)  /* sums of a task, and */
#define DW_BAND_BYTES (384 * 1024) /* patches and panels of a band: together they stay in the level-2 cache */
#define DW_OUTPUTS 128
#define DW_CHANNELS 64

typedef struct {
    T *dw;
    const T *dy;
    FD(image) x; /* image 0, channel 0 */
    const fd_conv *p;
    int64_t channels, outputs;                          /* of a group */
    int64_t out, in, tap, group;                        /* strides of dw */
    int64_t x_image, dy_image, dy_output, dy_stride[3]; /* strides of x and dy */
    int tight;
    int64_t output_block, output_blocks, channel_block, channel_blocks; /* of a task, and their number */
    int64_t lanes, taps, vectors;         /* channels a pixel of a patch; taps that are offsets; vectors */
    int64_t rows, height, width, patches; /* output rows of a band, size of a patch, their number */
} FD(dw);

/* computes  sum[i][j] += sum over rows r and columns q of a[r][q][i] * b[j][r * row + q * step]
 * shapes    a (rows, columns, MR), sum (outputs, vectors * VL) with row pitch `pitch`
 * touches   exactly those elements
 * order     r and then q ascending, one accumulator an element
 * source    the micro-kernel of gemm.h, pixels for k */
static void FD(dw_tile)(T *restrict sum, int64_t pitch, const T *restrict a, const T *const *b, int64_t rows,
                        int64_t columns, int64_t row, int64_t step, int outputs, int vectors) {
    const T *patch[NV];
    for (int j = 0; j < NV; j++) patch[j] = b[j < vectors ? j : 0];
    V acc[MR][NV];
#define KERNEL(mr, nv)                                                                                                 \
    FD(fill)(acc, sum, pitch, mr, nv);                                                                                 \
    for (int64_t r = 0; r < rows; r++)                                                                                 \
        for (int64_t q = 0; q < columns; q++, a += MR) FD(multiply_add)(acc, a, 1, patch, r * row + q * step, mr, nv); \
    FD(spill)(sum, pitch, acc, mr, nv)
    FD_WITH_TILE(KERNEL, outputs, vectors);
#undef KERNEL
}

/* Elements of the three parts of a task's scratch: sums, patches, panels. */
static void FD(dw_scratch)(int64_t part[3], const FD(dw) *g) {
    const int64_t outputs = FD(whole)(g->output_block, MR);
    part[0] = g->taps * outputs * g->vectors * VL;
    part[1] = g->patches * g->height * g->width * g->lanes + NR; /* the last vectors may read past the last pixel */
    part[2] = outputs * g->rows * g->p->out[2];
}

/* The patches of one band: [patch][depth tap][height][width][lanes]. */
static void FD(copy_patches)(T *patches, const FD(dw) *g, int64_t n, int64_t channel, int64_t channels, int64_t depth,
                             int64_t row) {
    const fd_conv *p = g->p;
    const int64_t size = g->height * g->width * g->lanes;
    FD(image) x = g->x;
    for (int64_t c = 0; c < channels; c += g->lanes) {
        x.data = g->x.data + n * g->x_image + (channel + c) * x.channel;
        x.channels = channels - c;
        for (int64_t d = 0; d < p->kernel[0]; d++, patches += size)
            FD(copy_patch)(patches, &x, g->lanes, depth * p->stride[0] + d * p->dilation[0] - p->pad[0],
                           row * p->stride[1] - p->pad[1], -p->pad[2], g->height, g->width);
    }
}

/* dy as panels [panel][row][column][MR]. Rows that follow each other in memory are one, as short ones fill no vector.
 */
static void FD(copy_panels)(T *panels, const FD(dw) *g, int64_t n, int64_t output, int64_t outputs, int64_t depth,
                            int64_t row, int64_t rows) {
    const int joined = g->dy_stride[1] == g->p->out[2] * g->dy_stride[2];
    const int64_t columns = joined ? rows * g->p->out[2] : g->p->out[2], runs = joined ? 1 : rows;
    const T *dy = g->dy + n * g->dy_image + output * g->dy_output + depth * g->dy_stride[0] + row * g->dy_stride[1];
    for (int64_t o = 0; o < outputs; o += MR)
        for (int64_t r = 0; r < runs; r++, panels += columns * MR)
            FD(pack)(panels, dy + o * g->dy_output + r * g->dy_stride[1], g->dy_output, g->dy_stride[2],
                     FD(least)(outputs - o, MR), columns, MR);
}

static void FD(dw_task)(void *arg, int64_t task, void *scratch) {
    const FD(dw) *g = arg;
    const fd_conv *p = g->p;
    const int64_t first_c = task % g->channel_blocks * g->channel_block, b = task / g->channel_blocks;
    const int64_t first_o = b % g->output_blocks * g->output_block, group = b / g->output_blocks;
    const int64_t channels = FD(least)(g->channels - first_c, g->channel_block);
    const int64_t outputs = FD(least)(g->outputs - first_o, g->output_block);
    /* A block of fewer channels, the last one, lies less far apart where it is tight. */
    FD(dw) t = *g;
    if (g->tight) t.lanes = channels;
    const int64_t in_vectors = g->tight ? p->kernel[2] * channels : channels;
    const int64_t vectors = FD(ceil_div)(in_vectors, VL), chunks = FD(ceil_div)(vectors, NV);
    const int64_t chunk = FD(ceil_div)(vectors, chunks), pitch = vectors * VL, patch = t.height * t.width * t.lanes;
    const int64_t rows_of_tap = FD(whole)(outputs, MR);
    int64_t part[3];
    FD(dw_scratch)(part, g);
    T *sums = scratch, *patches = sums + part[0], *panels = patches + part[1];
    memset(sums, 0, (size_t)(part[0] + part[1]) * sizeof(T));

    for (int64_t n = 0; n < p->batch; n++)
        for (int64_t depth = 0; depth < p->out[0]; depth++)
            for (int64_t row = 0; row < p->out[1] && !fd_stopped(); row += g->rows) {
                const int64_t rows = FD(least)(p->out[1] - row, g->rows);
                FD(copy_patches)(patches, &t, n, group * g->channels + first_c, channels, depth, row);
                FD(copy_panels)(panels, &t, n, group * g->outputs + first_o, outputs, depth, row, rows);
                for (int64_t v = 0; v < vectors; v += chunk)
                    for (int64_t tap = 0; tap < g->taps; tap++) { /* whose pixels stay in the level-1 cache */
                        const int64_t columns = g->tight ? 1 : p->kernel[2], j = tap % columns;
                        const int64_t i = tap / columns % p->kernel[1], d = tap / columns / p->kernel[1];
                        const int64_t offset =
                            d * patch + (i * p->dilation[1] * t.width + j * p->dilation[2]) * t.lanes;
                        const int count = (int)FD(least)(vectors - v, chunk);
                        const T *columns_of[NV] = {0};
                        for (int k = 0; k < count; k++)
                            columns_of[k] = patches + offset + (v + k) * (g->tight ? VL : patch * p->kernel[0]);
                        for (int64_t o = 0; o < outputs; o += MR)
                            FD(dw_tile)(sums + (tap * rows_of_tap + o) * pitch + v * VL, pitch,
                                        panels + o * rows * p->out[2], columns_of, rows, p->out[2],
                                        p->stride[1] * t.width * t.lanes, p->stride[2] * t.lanes,
                                        (int)FD(least)(outputs - o, MR), count);
                    }
            }

    for (int64_t tap = 0; tap < g->taps; tap++)
        for (int64_t o = 0; o < outputs; o++)
            for (int64_t c = 0; c < in_vectors; c++) {
                const int64_t whole_tap = g->tight ? tap * p->kernel[2] + c / channels : tap;
                const int64_t channel = first_c + (g->tight ? c % channels : c);
                g->dw[group * g->group + (first_o + o) * g->out + channel * g->in + whole_tap * g->tap] =
                    sums[(tap * rows_of_tap + o) * pitch + c];
            }
}

/* n in as few parts of at most `most` as there can be: the largest of them. */
static int64_t FD(even_part)(int64_t n, int64_t most) { return FD(ceil_div)(n, FD(ceil_div)(n, most)); }

/* Blocks of outputs and channels, then rows of a band. Large blocks copy less of x and dy, and neither they nor the
 * rows have a say in the order of any sum: the number of threads may decide. */
static void FD(plan_dw)(FD(dw) *g, int threads) {
    const fd_conv *p = g->p;
    const int64_t *kernel = p->kernel;
    int64_t part[3];
    g->tight = g->channels % VL != 0 && p->dilation[2] == 1;
    g->taps = g->tight ? kernel[0] * kernel[1] : kernel[0] * kernel[1] * kernel[2];
    const int64_t tasks = threads > 1 ? 2 * threads : 1; /* at least */
    g->output_block = FD(least)(g->outputs, FD(whole)(FD(even_part)(g->outputs, DW_OUTPUTS), MR));
    g->channel_block = FD(least)(g->channels, FD(whole)(FD(even_part)(g->channels, DW_CHANNELS), VL));
    g->width = (p->out[2] - 1) * p->stride[2] + (kernel[2] - 1) * p->dilation[2] + 1;
    g->rows = p->out[1];
    for (;;) {
        g->output_blocks = FD(ceil_div)(g->outputs, g->output_block);
        g->channel_blocks = FD(ceil_div)(g->channels, g->channel_block);
        g->lanes = g->tight ? g->channel_block : VL;
        g->vectors = ((g->tight ? kernel[2] : 1) * g->channel_block + VL - 1) / VL;
        g->patches = kernel[0] * (g->tight ? 1 : g->vectors);
        g->height = (g->rows - 1) * p->stride[1] + (kernel[1] - 1) * p->dilation[1] + 1;
        FD(dw_scratch)(part, g);
        const int large = part[0] * TBYTES > DW_SUM_BYTES;
        if (large && g->channel_block > 2 * VL)
            g->channel_block = FD(whole)(g->channel_block / 2, VL);
        else if (g->output_block > MR && (large || p->groups * g->output_blocks * g->channel_blocks < tasks))
            g->output_block = FD(whole)(g->output_block / 2, MR);
        else if (large && g->channel_block > VL)
            g->channel_block = FD(whole)(g->channel_block / 2, VL);
        else if (g->rows > 1 && (part[1] + part[2]) * TBYTES > DW_BAND_BYTES)
            g->rows = (g->rows + 1) / 2;
        else
            return;
    }
}

/* By Winograd's algorithm, or with pixels as lanes, where that pays; *done says whether it was. */
static int FD(conv_dw_of_sum)(int *done, T *dw, const T *dy, const T *x, const fd_conv *p, int threads) {
    const int64_t taps = p->kernel[0] * p->kernel[1] * p->kernel[2];
    const int few = FD(few_channels)(p) && !FD(few_last)(p);
    FD(tap_sum) s = {.p = p, .src = x, .batch = p->batch, .groups = p->groups};
    s.channels = p->in_channels / p->groups;
    s.outputs = p->out_channels / p->groups;
    if ((p->strict && !few) || s.batch * s.channels * s.outputs == 0) return FD_OK;
    FD(weights) v = {.kernel = {p->kernel[0], p->kernel[1], p->kernel[2]}};
    FD(forward_weights)(&v, &s, taps, p);
    int64_t dy_n, dy_c, dy_s[3];
    FD(image_strides)(&s.src_n, &s.src_c, s.src_s, p->in_channels, p->in, (int)p->channels_last);
    FD(image_strides)(&dy_n, &dy_c, dy_s, p->out_channels, p->out, (int)p->channels_last);
    int64_t *memory;
    int rc = FD(tap_tables)(&s, p->kernel, &memory);
    if (rc == FD_OK) FD(forward_axes)(&s, p);
    const int64_t tiled = rc == FD_OK && !p->strict ? FD(winograd_dw_taps)(&s) : 0;
    if (tiled > 0) {
        FD(winograd_dw) g = {.dw = dw, .s = &s, .dy = dy, .v = &v, .dy_n = dy_n, .dy_c = dy_c};
        memcpy(g.dy_s, dy_s, sizeof(dy_s));
        rc = FD(run_winograd_dw)(done, &g, tiled, threads);
    } else if (rc == FD_OK && few) {
        FD(few_dw) g = {.dw = dw, .s = &s, .dy = dy, .v = &v, .dy_n = dy_n, .dy_c = dy_c};
        memcpy(g.dy_s, dy_s, sizeof(dy_s));
        rc = FD(run_few_dw)(&g, threads);
        *done = 1;
    }
    fd_free(memory);
    return rc;
}

/* A 1x1 convolution's: dw = x^T dy over all pixels, with channels last, else dy x^T with the images as segments of k.
 */
static int FD(pointwise_dw)(T *dw, const T *dy, const T *x, const fd_conv *p, int threads) {
    const int64_t pixels = p->in[0] * p->in[1] * p->in[2], channels = p->in_channels, outputs = p->out_channels;
    if (FD(asked)(p, FD_GEMM)) return FD_OK;
    if (p->channels_last)
        return FD(fd_gemm)(dw, x, dy, NULL, NULL, channels, outputs, p->batch * pixels, 1, 0, FD_LINEAR, 0, threads);
    FD(gemm_block) g = {.c = dw, .a = dy, .b = x, .n = channels, .act = FD_LINEAR};
    g.a_rs = g.b_cs = pixels;
    g.a_cs = g.b_rs = 1;
    g.segment = pixels;
    g.a_segment = outputs * pixels;
    g.b_segment = channels * pixels;
    return FD(run_gemm)(&g, outputs, channels, p->batch * pixels, threads);
}

/* The same of a stride, for the pixels that it meets. */
static int FD(met_dw)(T *dw, const T *dy, const T *x, const fd_conv *p, int threads) {
    fd_conv dense = *p;
    for (int i = 0; i < 3; i++) dense.in[i] = p->out[i], dense.stride[i] = 1;
    if (p->asked != NULL) return FD(pointwise_dw)(dw, dy, x, &dense, threads);
    const int64_t count = p->batch * p->in_channels * p->out[0] * p->out[1] * p->out[2];
    T *pixels = fd_alloc((size_t)(count + 1) * sizeof(T));
    if (pixels == NULL) return FD_NOMEM;
    FD(met) g = {.p = p, .x = x, .to = pixels};
    int rc = fd_parallel(FD(met_task), &g, p->batch, 0, fd_threads_for(count, threads));
    if (rc == FD_OK) rc = FD(pointwise_dw)(dw, dy, pixels, &dense, threads);
    fd_free(pixels);
    return rc;
}

/* computes  dw with respect to w of y = x * w
 * shapes    dy (N, O, OD, OH, OW), x (N, C, D, H, W), dw (O, C/groups, KD, KH, KW)
 * layout    as fd_conv_fwd
 * touches   every element; scratch of DW_SUM_BYTES + DW_BAND_BYTES a thread where a row of a band allows
 * order     see the file's head
 * source    as fd_conv_fwd */
static int FD(fd_conv_dw)(void *dw, const void *dy, const void *x, const fd_conv *p, int threads) {
    int rc = FD_OK, done = 0;
    if (FD(run_depthwise_dw)(&rc, dw, dy, x, p, threads)) return rc;
    if (FD(is_whole)(p)) return FD(whole_dw)(dw, dy, x, p, threads);
    const int64_t pixels = p->batch * p->out[0] * p->out[1] * p->out[2];
    const int taken = FD(is_small_dw)(p);
    if (!taken) rc = FD(conv_dw_of_sum)(&done, dw, dy, x, p, threads);
    if (rc != FD_OK || done) return rc;
    const int64_t taps = p->kernel[0] * p->kernel[1] * p->kernel[2];
    FD(dw) g = {.dw = dw, .dy = dy, .p = p};
    g.channels = p->in_channels / p->groups;
    g.outputs = p->out_channels / p->groups;
    if (p->out_channels * g.channels * taps == 0) return FD_OK;
    const int windows_fit = pixels * FD(row_of_windows)(p) * TBYTES <= SMALL_DW_BYTES;
    if (taken || (FD(is_small)(p) && windows_fit)) return FD(small_dw)(dw, dy, x, p, threads);
    if (p->groups == 1 && FD(pointwise)(p)) return FD(pointwise_dw)(dw, dy, x, p, threads);
    if (p->groups == 1 && FD(meets_points)(p)) return FD(met_dw)(dw, dy, x, p, threads);
    if (FD(few_last)(p)) return FD(run_dw_last)(dw, dy, x, p, threads);
    if (FD(asked)(p, FD_DIRECT)) return FD_OK;
    const int last = (int)p->channels_last;
    FD(image_strides)(&g.x_image, &g.x.channel, g.x.stride, p->in_channels, p->in, last);
    FD(image_strides)(&g.dy_image, &g.dy_output, g.dy_stride, p->out_channels, p->out, last);
    g.x.data = x;
    memcpy(g.x.size, p->in, sizeof(g.x.size));
    g.out = last ? 1 : g.channels * taps;
    g.in = last ? p->out_channels : taps;
    g.tap = last ? g.channels * p->out_channels : 1;
    g.group = g.outputs * g.out;
    /* In terms of the vectors that blocks of any size have. */
    const int64_t vectors = FD(ceil_div)(g.channels * taps, VL);
    threads = fd_threads_for(p->batch * p->out[0] * p->out[1] * p->out[2] * p->out_channels * vectors, threads);
    FD(plan_dw)(&g, threads);
    int64_t part[3];
    FD(dw_scratch)(part, &g);
    return fd_parallel(FD(dw_task), &g, p->groups * g.output_blocks * g.channel_blocks,
                       (size_t)(part[0] + part[1] + part[2]) * sizeof(T), threads);
}
