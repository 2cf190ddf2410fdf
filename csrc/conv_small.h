/* conv_small.h: convolutions whose outputs are a few pixels an image, as matrix products over the pixels of a batch.
 *
 * # Design: the deep layers of a network have 2x2 or 4x4 outputs and hundreds of channels. A row of such an image fills
 * no vector, and the weights, which are most of the memory, are read once an image. Here the windows of many images are
 * the rows of one matrix (im2col.h), and the weights, as they lie, the other:
 *
 *     y = cols w + b        cols = im2col(x)        dx = col2im(dy w^T)        dw = cols^T dy
 *
 * with rows of one pixel each for y and dy, which is how they lie with channels last; else they are turned.
 *
 * Order of summation: channels and taps as columns are in im2col.h, blocks of them as in gemm.h; for dw the pixels.
 */

#define SMALL_COLUMN_BYTES (4096 * 1024) /* of the images whose windows are a matrix at a time */
#define SMALL_DW_BYTES (16384 * 1024)    /* of all windows, which dw takes at once */

/* Whether there are enough terms and outputs for a matrix product over few pixels to pay. An image of one output is
 * left alone, since gemm.h gives one row bits of its own. */
static int FD(is_deep)(const fd_conv *p) {
    const int64_t pixels = p->out[0] * p->out[1] * p->out[2], taps = p->kernel[0] * p->kernel[1] * p->kernel[2];
    return pixels > 1 && (taps > 1 || p->stride[2] > 1) && p->groups == 1 && p->in_channels >= 32 &&
           p->out_channels >= 32;
}

/* Whether it is, with too few pixels for rows and for tiles (winograd.h takes a whole one). */
static int FD(is_small)(const fd_conv *p) {
    const int64_t pixels = p->out[0] * p->out[1] * p->out[2];
    const int few = pixels < 16 || (pixels == 16 && p->stride[2] > 1 && (p->kernel[2] <= 3 || FD(by_taps)(p)));
    return few && FD(is_deep)(p);
}

/* The same for dw, where the pixels of all images count: a whole tile of a few has more to transform than to multiply.
 */
static int FD(is_small_dw)(const fd_conv *p) {
    const int64_t pixels = p->out[0] * p->out[1] * p->out[2];
    return pixels <= 16 && pixels * p->batch <= TAP_DW_PIXELS && FD(by_taps)(p) && FD(is_deep)(p);
}

/* The elements of a row of cols, and how many images are done at a time. */
static int64_t FD(row_of_windows)(const fd_conv *p) {
    return p->in_channels * p->kernel[0] * p->kernel[1] * p->kernel[2];
}

static int64_t FD(images_at_a_time)(const fd_conv *p) {
    const int64_t images = SMALL_COLUMN_BYTES / (p->out[0] * p->out[1] * p->out[2] * FD(row_of_windows)(p) * TBYTES);
    return images < 1 ? 1 : FD(least)(images, p->batch);
}

/* to[n][j][i] = from[n][i][j] for one image n a task. */
typedef struct {
    T *to;
    const T *from;
    int64_t rows, columns;
} FD(turn);

static void FD(turn_task)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    const FD(turn) *g = arg;
    const int64_t rows = g->rows, columns = g->columns;
    FD(pack)(g->to + task * rows * columns, g->from + task * rows * columns, columns, 1, rows, columns, rows);
}

/* computes  y = act(scale * (x * w) + b) for images of few outputs
 * shapes    as fd_conv_fwd
 * touches   every element; SMALL_COLUMN_BYTES of windows, or those of one image
 * order     see the file's head
 * source    Chellapilla et al., "High Performance Convolutional Neural Networks for Document Processing", 2006 */
static int FD(small_fwd)(T *y, const T *x, const T *w, const T *b, const T *scale, const fd_conv *p, int act,
                         double alpha, int threads) {
    const int64_t pixels = p->out[0] * p->out[1] * p->out[2], outputs = p->out_channels, k = FD(row_of_windows)(p);
    int done = 0, rc = FD_OK;
    if (FD(by_taps)(p)) rc = FD(run_small_taps)(&done, y, x, w, b, scale, p, 0, act, alpha, threads);
    if (rc != FD_OK || done || FD(asked)(p, FD_IM2COL)) return rc;
    const int64_t image = p->in_channels * p->in[0] * p->in[1] * p->in[2], many = FD(images_at_a_time)(p);
    const int last = (int)p->channels_last;
    T *cols = fd_alloc((size_t)(many * pixels * (k + outputs)) * sizeof(T));
    if (cols == NULL) return FD_NOMEM;
    T *rows = cols + many * pixels * k;
    fd_conv part = *p;
    for (int64_t n = 0; n < p->batch && rc == FD_OK; n += many) {
        part.batch = FD(least)(p->batch - n, many);
        T *out = y + n * pixels * outputs;
        rc = FD(fd_im2col)(cols, x + n * image, &part, threads);
        if (rc == FD_OK)
            rc = FD(fd_gemm)(last ? out : rows, cols, w, b, scale, part.batch * pixels, outputs, k, 0, !last, act,
                             alpha, threads);
        FD(turn) g = {.to = out, .from = rows, .rows = pixels, .columns = outputs};
        if (rc == FD_OK && !last) rc = fd_parallel(FD(turn_task), &g, part.batch, 0, threads);
    }
    fd_free(cols);
    return rc;
}

/* computes  dx of the same
 * shapes    as fd_conv_dx
 * touches   every element; SMALL_COLUMN_BYTES of windows, or those of one image
 * order     outputs, then taps ascending
 * source    as small_fwd */
static int FD(small_dx)(T *dx, const T *dy, const T *w, const fd_conv *p, int threads) {
    const int64_t pixels = p->out[0] * p->out[1] * p->out[2], outputs = p->out_channels, k = FD(row_of_windows)(p);
    int done = 0, rc = FD_OK;
    if (FD(by_taps)(p)) rc = FD(run_small_taps)(&done, dx, dy, w, NULL, NULL, p, 1, FD_LINEAR, 0, threads);
    if (rc != FD_OK || done || FD(asked)(p, FD_IM2COL)) return rc;
    const int64_t image = p->in_channels * p->in[0] * p->in[1] * p->in[2], many = FD(images_at_a_time)(p);
    const int last = (int)p->channels_last;
    T *cols = fd_alloc((size_t)(many * pixels * (k + outputs)) * sizeof(T));
    if (cols == NULL) return FD_NOMEM;
    T *rows = cols + many * pixels * k;
    fd_conv part = *p;
    for (int64_t n = 0; n < p->batch && rc == FD_OK; n += many) {
        part.batch = FD(least)(p->batch - n, many);
        const T *from = dy + n * pixels * outputs;
        FD(turn) g = {.to = rows, .from = from, .rows = outputs, .columns = pixels};
        if (!last) rc = fd_parallel(FD(turn_task), &g, part.batch, 0, threads);
        if (rc == FD_OK)
            rc = FD(fd_gemm)(cols, last ? from : rows, w, NULL, NULL, part.batch * pixels, k, outputs, 0, last,
                             FD_LINEAR, 0, threads);
        if (rc == FD_OK) rc = FD(fd_col2im)(dx + n * image, cols, &part, threads);
    }
    fd_free(cols);
    return rc;
}

/* computes  dw of the same
 * shapes    as fd_conv_dw
 * touches   every element; all windows at once, SMALL_DW_BYTES at most
 * order     pixels of images ascending, in blocks as in gemm.h
 * source    as small_fwd */
static int FD(small_dw)(T *dw, const T *dy, const T *x, const fd_conv *p, int threads) {
    const int64_t pixels = p->out[0] * p->out[1] * p->out[2], outputs = p->out_channels, k = FD(row_of_windows)(p);
    int done = 0, rc = FD_OK;
    if (FD(by_taps)(p)) rc = FD(run_small_taps_dw)(&done, dw, dy, x, p, threads);
    if (rc != FD_OK || done || FD(asked)(p, FD_IM2COL)) return rc;
    const int64_t rows = p->batch * pixels;
    T *cols = fd_alloc((size_t)(rows * (k + outputs)) * sizeof(T));
    if (cols == NULL) return FD_NOMEM;
    FD(turn) g = {.to = cols + rows * k, .from = dy, .rows = outputs, .columns = pixels};
    rc = FD(fd_im2col)(cols, x, p, threads);
    if (rc == FD_OK && p->channels_last)
        rc = FD(fd_gemm)(dw, cols, dy, NULL, NULL, k, outputs, rows, 1, 0, FD_LINEAR, 0, threads);
    else if (rc == FD_OK) {
        rc = fd_parallel(FD(turn_task), &g, p->batch, 0, threads);
        if (rc == FD_OK) rc = FD(fd_gemm)(dw, g.to, cols, NULL, NULL, outputs, k, rows, 1, 0, FD_LINEAR, 0, threads);
    }
    fd_free(cols);
    return rc;
}
