/* dw_last.h: the gradient of the weights with channels last, where the weights are few.
 *
 * # Design: conv_dw.h has channels as lanes, of which one or three fill no vector. Here outputs are the lanes, which
 * lie side by side in dy and in dw, and the columns of a tap row with their channels are the rows of a tile, which lie
 * side by side in x:
 *
 *     dw[row of taps][(column, c)][o] += sum over pixels of x[pixel * stride + (column, c)] * dy[pixel][o]
 *
 * dy is read as it lies; of x a band is copied, for its padding. A task has some of the images and sums of its own, for
 * all weights; the tasks are a function of the batch, and their sums are added in ascending order.
 *
 * Order of summation: pixels of a band ascending, one accumulator; bands of images ascending; tasks ascending.
 */

#define LAST_SUM_BYTES (160 * 1024)  /* of all weights, at most */
#define LAST_BAND_BYTES (256 * 1024) /* of dy's rows of a band, which are read once for each MR weights */
#define LAST_TASKS 16                /* at most */

typedef struct {
    T *parts; /* sums of each task: [row of taps][row_size][outputs] */
    const T *dy, *x;
    T *dw;
    const fd_conv *p;
    int64_t tasks, size, row_size; /* size: of a task's sums; row_size: kernel[2] * channels in whole tiles */
    int64_t rows, height, width;   /* output rows of a band; of its patch */
} FD(dw_last);

/* computes  sum[i][j] += sum over r < rows, q < columns of a[r * a_row + q * a_step + i] * b[(r * columns + q) * n + j]
 * shapes    sum (outputs, vectors * VL) with pitch n
 * touches   exactly those elements, but of sum and a 1, 2, MR / 2 or MR rows: the fewest that cover `outputs`
 * order     r and then q ascending, one accumulator an element, which is then added to sum
 * source    the micro-kernel of gemm.h, pixels for k */
static void FD(last_tile)(T *restrict sum, int64_t n, const T *restrict a, int64_t a_row, int64_t a_step,
                          const T *restrict b, int64_t rows, int64_t columns, int outputs, int vectors) {
    const T *panel[NV];
    for (int j = 0; j < NV; j++) panel[j] = b + (j < vectors ? j : 0) * VL;
    V acc[MR][NV];
    int64_t at = 0;
#define KERNEL(mr, nv)                                                               \
    FD(fill)(acc, sum, n, mr, nv);                                                   \
    for (int64_t r = 0; r < rows; r++)                                               \
        for (int64_t q = 0; q < columns; q++, at += n)                               \
            FD(multiply_add)(acc, a + r * a_row + q * a_step, 1, panel, at, mr, nv); \
    FD(spill)(sum, n, acc, mr, nv)
    FD_WITH_TILE(KERNEL, outputs, vectors);
#undef KERNEL
}

static void FD(dw_last_task)(void *arg, int64_t task, void *scratch) {
    const FD(dw_last) *g = arg;
    const fd_conv *p = g->p;
    const int64_t channels = p->in_channels, n = p->out_channels, row = p->kernel[2] * channels;
    const int64_t vectors = n / VL, chunks = FD(ceil_div)(vectors, NV), chunk = FD(ceil_div)(vectors, chunks);
    T *sums = g->parts + task * g->size, *patch = scratch;
    FD(image) x = {.channels = channels, .channel = 1, .size = {1, p->in[1], p->in[2]}};
    x.stride[2] = channels;
    x.stride[1] = p->in[2] * channels;
    memset(sums, 0, (size_t)g->size * sizeof(T));
    for (int64_t image = task * p->batch / g->tasks; image < (task + 1) * p->batch / g->tasks; image++)
        for (int64_t first = 0; first < p->out[1] && !fd_stopped(); first += g->rows) {
            const int64_t rows = FD(least)(p->out[1] - first, g->rows);
            const T *dy = g->dy + (image * p->out[1] + first) * p->out[2] * n;
            x.data = g->x + image * p->in[1] * x.stride[1];
            FD(copy_patch)(patch, &x, channels, 0, first * p->stride[1] - p->pad[1], -p->pad[2], g->height, g->width);
            for (int64_t v = 0; v < vectors; v += chunk)
                for (int64_t tap = 0; tap < p->kernel[1]; tap++)
                    for (int64_t i = 0; i < row; i += MR)
                        FD(last_tile)(sums + (tap * g->row_size + i) * n + v * VL, n,
                                      patch + tap * p->dilation[1] * g->width * channels + i,
                                      p->stride[1] * g->width * channels, p->stride[2] * channels, dy + v * VL, rows,
                                      p->out[2], (int)FD(least)(row - i, MR), (int)FD(least)(vectors - v, chunk));
        }
}

/* dw = the sum of all tasks, for a row of taps. */
static void FD(dw_last_sum_task)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    const FD(dw_last) *g = arg;
    const int64_t n = g->p->out_channels, row = g->p->kernel[2] * g->p->in_channels * n;
    const T *from = g->parts + task * g->row_size * n;
    for (int64_t i = 0; i < row; i += VL) {
        V sum = vload(from + i);
        for (int64_t k = 1; k < g->tasks; k++) sum += vload(from + i + k * g->size);
        vstore(g->dw + task * row + i, sum);
    }
}

/* Whether it applies: whole vectors of outputs, neighbouring columns of taps, and sums that stay in the cache. */
static int FD(few_last)(const fd_conv *p) {
    const int64_t weights = p->kernel[1] * FD(whole)(p->kernel[2] * p->in_channels, MR) * p->out_channels;
    return p->channels_last && p->groups == 1 && p->out_channels % VL == 0 && p->dilation[2] == 1 &&
           p->kernel[0] * p->in[0] == 1 && p->pad[0] == 0 && p->out[0] == 1 && weights > 0 &&
           weights * TBYTES <= LAST_SUM_BYTES;
}

static int FD(run_dw_last)(T *dw, const T *dy, const T *x, const fd_conv *p, int threads) {
    if (FD(asked)(p, FD_DIRECT_NHWC)) return FD_OK;
    FD(dw_last) g = {.dw = dw, .dy = dy, .x = x, .p = p, .tasks = FD(least)(p->batch, LAST_TASKS)};
    g.row_size = FD(whole)(p->kernel[2] * p->in_channels, MR);
    g.size = p->kernel[1] * g.row_size * p->out_channels;
    const int64_t row = FD(most)(p->out[2] * p->out_channels * TBYTES, 1), fit = FD(most)(LAST_BAND_BYTES / row, 1);
    g.rows = FD(most)(FD(ceil_div)(p->out[1], FD(ceil_div)(FD(most)(p->out[1], 1), fit)), 1);
    g.height = (g.rows - 1) * p->stride[1] + (p->kernel[1] - 1) * p->dilation[1] + 1;
    g.width = (p->out[2] - 1) * p->stride[2] + p->kernel[2];
    if (g.tasks == 0) {
        memset(dw, 0, (size_t)(p->kernel[1] * p->kernel[2] * p->in_channels * p->out_channels) * sizeof(T));
        return FD_OK;
    }
    g.parts = fd_alloc((size_t)(g.tasks * g.size) * sizeof(T));
    if (g.parts == NULL) return FD_NOMEM;
    threads = fd_threads_for(p->batch * p->out[1] * p->out[2] * g.size / VL, threads);
    const int64_t patch = g.height * g.width * p->in_channels + MR; /* a tile's last rows may be past it */
    int rc = fd_parallel(FD(dw_last_task), &g, g.tasks, (size_t)patch * sizeof(T), threads);
    if (rc == FD_OK) rc = fd_parallel(FD(dw_last_sum_task), &g, p->kernel[1], 0, 1);
    fd_free(g.parts);
    return rc;
}
