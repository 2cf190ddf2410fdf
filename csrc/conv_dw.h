/* conv_dw.h: the gradient of a convolution with respect to its weights.
 *
 * # Design: dw[o, c, t] is a dot product over all output pixels of all images, of dy[o] with x[c] shifted by tap t.
 * On the padded band that the forward pass reads (conv.h) both are runs of neighbouring elements, so the kernel
 * multiplies vectors by vectors and adds up the lanes only once, at the end: nothing is transposed or packed.
 * A task owns a block of outputs and channels for every image and keeps its accumulators in scratch, so no two
 * threads add to the same number and no partial result is ever combined.
 *
 * Order of summation: lane l of a row's (or band's) vectors, ascending over bands and images; then the lanes by the
 * fixed tree of vsum.
 */

/* A tile of the kernel: DW_O outputs by DW_J (channel, tap) pairs. */
#if FD_ISA == FD_AVX512 || FD_ISA == FD_NEON
#define DW_O 4
#define DW_J 6
#else
#define DW_O 4
#define DW_J 2
#endif
#define DW_OUTPUTS 32 /* outputs and */
#define DW_CHANNELS 16 /* channels of a task: its accumulators stay in the level-2 cache up to 16 taps */
#define DW_VECTORS 64 /* small images are read side by side, until so many vectors share a load of accumulators */

typedef struct {
    FD(tap_sum) s; /* of the forward pass: src is x, and the strides of out are dy's */
    T *dw;
    const T *dy;
    int64_t out, in, tap, group; /* strides of dw */
    int64_t output_block, output_blocks, channel_block, channel_blocks, images;
} FD(dw);

/* computes  acc[i][j] += sum over v of dy[i * dy_pitch + v] * x[offset[j] + where[v]], lanes apart
 * shapes    dy (DW_O, vectors) of whole vectors, zero between rows; acc (DW_O, DW_J)
 * layout    where and inside tell of each vector its place in the band and which of its lanes are outputs
 * touches   exactly those elements of the band
 * order     v ascending
 * source    the outer product of BLIS's micro-kernel, turned into dot products */
static void FD(dw_tile)(V *restrict acc, const T *restrict dy, int64_t dy_pitch, const T *restrict x,
                        const int64_t *offset, const int64_t *where, const I *inside, int64_t vectors) {
    V sum[DW_O][DW_J];
    const T *shifted[DW_J];
#pragma GCC unroll 8
    for (int j = 0; j < DW_J; j++) shifted[j] = x + offset[j];
#pragma GCC unroll 4
    for (int i = 0; i < DW_O; i++)
#pragma GCC unroll 8
        for (int j = 0; j < DW_J; j++) sum[i][j] = acc[i * DW_J + j];
    for (int64_t v = 0; v < vectors; v++) {
        V d[DW_O];
#pragma GCC unroll 4
        for (int i = 0; i < DW_O; i++) d[i] = vload(dy + i * dy_pitch + v * VL);
        /* Lanes between rows hold other pixels: zero times their NaN would not be zero. */
        const I mask = inside[v];
#pragma GCC unroll 8
        for (int j = 0; j < DW_J; j++) {
            const V pixels = vload_where(shifted[j] + where[v], mask);
#pragma GCC unroll 4
            for (int i = 0; i < DW_O; i++) sum[i][j] = vfma(d[i], pixels, sum[i][j]);
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < DW_O; i++)
#pragma GCC unroll 8
        for (int j = 0; j < DW_J; j++) acc[i * DW_J + j] = sum[i][j];
}

/* The scratch of one task, carved in this order; acc and offset go by tiles of pairs, dy and band by images. */
typedef struct {
    V *acc;
    I *inside;
    int64_t *where, *offset;
    T *dy, *band;
    int64_t bytes, vectors; /* vectors that one image can have */
} FD(dw_scratch);

static FD(dw_scratch) FD(carve)(void *memory, const FD(dw) *g) {
    const FD(tap_sum) *s = &g->s;
    const int64_t pairs = (g->channel_block * s->taps + DW_J - 1) / DW_J * DW_J;
    const int64_t outputs = (g->output_block + DW_O - 1) / DW_O * DW_O;
    const int64_t row = (s->columns + VL - 1) / VL * VL;
    FD(dw_scratch) m;
    m.vectors = (s->rows * (row > s->pitch ? row : s->pitch) + VL - 1) / VL;
    const int64_t vectors = m.vectors * g->images;
    char *at = memory;
    m.acc = (V *)(void *)at;
    at += outputs * pairs * VBYTES;
    m.inside = (I *)(void *)at;
    at += vectors * VBYTES;
    m.dy = (T *)(void *)at;
    at += outputs * vectors * VBYTES;
    m.where = (int64_t *)(void *)at;
    at += vectors * 8;
    m.offset = (int64_t *)(void *)at;
    at += pairs * 8;
    m.band = (T *)(void *)at;
    at += g->images * FD(band_size)(s, g->channel_block) * TBYTES;
    m.bytes = at - (char *)memory;
    return m;
}

/* Where each vector of a band begins, from `start` on, and which of its lanes are outputs; returns their number. */
static int64_t FD(walk_band)(int64_t *where, I *inside, int64_t start, const FD(tap_sum) *s, int64_t pitch, int64_t rows,
                             int64_t columns) {
    FD(cursor) at = {0, 0, pitch};
    int64_t v = 0;
    for (; at.row < rows && !(pitch == s->pitch && at.row == rows - 1 && at.column >= columns); v++) {
        where[v] = start + at.row * s->pitch + at.column;
        for (int64_t lane = 0; lane < VL;) {
            int64_t valid = 0, run = VL - lane;
            if (at.row < rows) run = FD(next_run)(&at, run, columns, &valid);
            for (int64_t i = 0; i < run; i++) inside[v][lane + i] = i < valid ? -1 : 0;
            lane += run;
        }
    }
    return v;
}

/* dy's rows as whole vectors, zero where a lane is no output. */
static void FD(copy_dy)(T *to, const T *dy, const FD(tap_sum) *s, int64_t pitch, int64_t rows, int64_t columns,
                        int64_t lanes) {
    for (int64_t r = 0; r < rows; r++, dy += s->out_s[1]) {
        const int64_t past = (r + 1) * pitch < lanes ? (r + 1) * pitch : lanes;
        FD(copy_row)(to + r * pitch, dy, s->out_s[2], columns);
        for (int64_t j = r * pitch + columns; j < past; j++) to[j] = 0;
    }
    for (int64_t j = rows * pitch; j < lanes; j++) to[j] = 0;
}

static void FD(dw_task)(void *arg, int64_t task, void *scratch) {
    const FD(dw) *g = arg;
    const FD(tap_sum) *s = &g->s;
    const FD(dw_scratch) m = FD(carve)(scratch, g);
    const int64_t first_c = task % g->channel_blocks * g->channel_block, b = task / g->channel_blocks;
    const int64_t first_o = b % g->output_blocks * g->output_block, group = b / g->output_blocks;
    const int64_t channels = s->channels - first_c < g->channel_block ? s->channels - first_c : g->channel_block;
    const int64_t outputs = s->outputs - first_o < g->output_block ? s->outputs - first_o : g->output_block;
    const int64_t pairs = channels * s->taps, o_tiles = (outputs + DW_O - 1) / DW_O, j_tiles = (pairs + DW_J - 1) / DW_J;
    const int64_t dy_pitch = m.vectors * g->images * VL, band_size = FD(band_size)(s, channels);
    memset(m.acc, 0, (size_t)(o_tiles * j_tiles * DW_O * DW_J) * sizeof(V));
    memset(m.dy, 0, (size_t)(o_tiles * DW_O * dy_pitch) * sizeof(T));
    for (int64_t j = 0; j < j_tiles * DW_J; j++) { /* the last tile is filled up with its last pair */
        const int64_t pair = j < pairs ? j : pairs - 1;
        m.offset[j] = pair / s->taps * s->channel + s->offset[pair % s->taps];
    }

    for (int64_t first = 0; first < s->batch; first += g->images)
        for (int64_t depth = 0; depth < s->axis[0].lattice; depth++)
            for (int64_t row = 0; row < s->axis[1].lattice; row += s->rows)
                for (int64_t column = 0; column < s->axis[2].lattice; column += s->columns) {
                    const int64_t past = first + g->images < s->batch ? first + g->images : s->batch;
                    const int64_t rows = s->axis[1].lattice - row < s->rows ? s->axis[1].lattice - row : s->rows;
                    const int64_t columns =
                        s->axis[2].lattice - column < s->columns ? s->axis[2].lattice - column : s->columns;
                    const int64_t pitch = FD(lane_pitch)(s, rows, columns);
                    int64_t vectors = 0;
                    for (int64_t n = first; n < past; n++) {
                        const int64_t start = (n - first) * band_size;
                        const int64_t count = FD(walk_band)(m.where + vectors, m.inside + vectors, start, s, pitch, rows,
                                                            columns);
                        const T *dy = g->dy + n * s->out_n + (group * s->outputs + first_o) * s->out_c +
                                      depth * s->out_s[0] + row * s->out_s[1] + column * s->out_s[2];
                        FD(copy_band)(m.band + start, s, n, group * s->channels + first_c, channels, depth, row, column);
                        for (int64_t o = 0; o < outputs; o++)
                            FD(copy_dy)(m.dy + o * dy_pitch + vectors * VL, dy + o * s->out_c, s, pitch, rows, columns,
                                        count * VL);
                        vectors += count;
                    }
                    for (int64_t o = 0; o < o_tiles; o++)
                        for (int64_t j = 0; j < j_tiles; j++)
                            FD(dw_tile)(m.acc + (o * j_tiles + j) * DW_O * DW_J, m.dy + o * DW_O * dy_pitch, dy_pitch,
                                        m.band, m.offset + j * DW_J, m.where, m.inside, vectors);
                }

    for (int64_t o = 0; o < outputs; o++)
        for (int64_t pair = 0; pair < pairs; pair++) {
            const int64_t tile = o / DW_O * j_tiles + pair / DW_J;
            g->dw[group * g->group + (first_o + o) * g->out + (first_c + pair / s->taps) * g->in +
                  pair % s->taps * g->tap] = vsum(m.acc[(tile * DW_O + o % DW_O) * DW_J + pair % DW_J]);
        }
}

/* computes  dw with respect to w of y = x * w
 * shapes    dy (N, O, OD, OH, OW), x (N, C, D, H, W), dw (O, C/groups, KD, KH, KW)
 * layout    as fd_conv_fwd
 * touches   every element; scratch of about FD_BAND_BYTES a thread
 * order     see the file's head
 * source    as fd_conv_fwd */
static int FD(fd_conv_dw)(void *dw, const void *dy, const void *x, const fd_conv *p, int threads) {
    const int64_t taps = p->kernel[0] * p->kernel[1] * p->kernel[2];
    FD(dw) g = {.dw = dw, .dy = dy};
    FD(tap_sum) *s = &g.s;
    s->src = x;
    s->batch = p->batch;
    s->groups = p->groups;
    s->channels = p->in_channels / p->groups;
    s->outputs = p->out_channels / p->groups;
    if (p->out_channels * s->channels * taps == 0) return FD_OK;
    FD(image_strides)(&s->src_n, &s->src_c, s->src_s, p->in_channels, p->in, (int)p->channels_last);
    FD(image_strides)(&s->out_n, &s->out_c, s->out_s, p->out_channels, p->out, (int)p->channels_last);
    g.out = p->channels_last ? 1 : s->channels * taps;
    g.in = p->channels_last ? p->out_channels : taps;
    g.tap = p->channels_last ? s->channels * p->out_channels : 1;
    g.group = s->outputs * g.out;
    int64_t *memory;
    int rc = FD(tap_tables)(s, p->kernel, &memory);
    if (rc == FD_OK) {
        FD(forward_axes)(s, p);
        g.channel_block = s->channels < DW_CHANNELS ? s->channels : DW_CHANNELS;
        g.channel_blocks = (s->channels + g.channel_block - 1) / g.channel_block;
        g.output_block = DW_OUTPUTS;
        while (g.output_block > DW_O &&
               p->groups * g.channel_blocks * ((s->outputs + g.output_block - 1) / g.output_block) < 8)
            g.output_block /= 2;
        g.output_blocks = (s->outputs + g.output_block - 1) / g.output_block;
        FD(plan_bands)(s, g.channel_block);
        g.images = 1;
        if (s->row_bands * s->column_bands * p->out[0] == 1)
            while (g.images < p->batch && 2 * g.images * s->rows * s->columns <= DW_VECTORS * VL) g.images *= 2;
        const int64_t tasks = p->groups * g.output_blocks * g.channel_blocks;
        const int64_t pixels = p->batch * p->out[0] * p->out[1] * (p->out[2] / VL + 1);
        rc = fd_parallel(FD(dw_task), &g, tasks, (size_t)FD(carve)(NULL, &g).bytes,
                         fd_threads_for(p->out_channels * s->channels * taps * pixels, threads));
    }
    fd_free(memory);
    return rc;
}
