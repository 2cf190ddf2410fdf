/* conv_whole.h: convolutions whose kernel sees an image at once, and gives one pixel: the matrix products of a dense
 * layer, in either layout, with nothing to copy.
 *
 *     y = x w + b        dx = dy w^T        dw = x^T dy
 *
 * with images as rows. Two rows at least: gemm.h gives a single one bits of its own.
 *
 * Order of summation: as in gemm.h.
 */

static int FD(is_whole)(const fd_conv *p) {
    int whole = p->groups == 1 && p->kernel[0] * p->kernel[1] * p->kernel[2] > 1;
    for (int i = 0; i < 3; i++) whole = whole && p->out[i] == 1 && p->kernel[i] == p->in[i] && p->pad[i] == 0;
    return whole;
}

/* c = act(scale * (a op(b)) + bias) for m images as rows. */
static int FD(whole_product)(T *c, const T *a, const T *b, const T *bias, const T *scale, int64_t m, int64_t n,
                             int64_t k, int trans_b, int act, double alpha, int threads) {
    if (m > 1) return FD(fd_gemm)(c, a, b, bias, scale, m, n, k, 0, trans_b, act, alpha, threads);
    T *twice = fd_alloc((size_t)(2 * (k + n)) * sizeof(T));
    if (twice == NULL) return FD_NOMEM;
    for (int i = 0; i < 2; i++) memcpy(twice + i * k, a, (size_t)k * sizeof(T));
    T *rows = twice + 2 * k;
    const int rc = FD(fd_gemm)(rows, twice, b, bias, scale, 2, n, k, 0, trans_b, act, alpha, threads);
    memcpy(c, rows, (size_t)n * sizeof(T));
    fd_free(twice);
    return rc;
}

/* computes  y = act(scale * (x * w) + b)
 * shapes    as fd_conv_fwd
 * touches   every element of y
 * order     as gemm.h
 * source    Long, Shelhamer and Darrell, "Fully Convolutional Networks for Semantic Segmentation", 2015 */
static int FD(whole_fwd)(T *y, const T *x, const T *w, const T *b, const T *scale, const fd_conv *p, int act,
                         double alpha, int threads) {
    if (FD(asked)(p, FD_GEMM)) return FD_OK;
    const int64_t k = p->in_channels * p->kernel[0] * p->kernel[1] * p->kernel[2];
    return FD(whole_product)(y, x, w, b, scale, p->batch, p->out_channels, k, !p->channels_last, act, alpha, threads);
}

/* to[j] = from[the channel of element j of an image], or NULL where from is. */
static const T *FD(each_pixel)(T *to, const T *from, const fd_conv *p) {
    const int64_t pixels = p->in[0] * p->in[1] * p->in[2], channels = p->in_channels;
    if (from == NULL) return NULL;
    for (int64_t j = 0; j < pixels * channels; j++) to[j] = from[p->channels_last ? j % channels : j / pixels];
    return to;
}

/* The same for dx, or a transposed convolution run forward. */
static int FD(whole_dx)(T *dx, const T *dy, const T *w, const T *b, const T *scale, const fd_conv *p, int act,
                        double alpha, int threads) {
    if (FD(asked)(p, FD_GEMM)) return FD_OK;
    const int64_t k = p->in_channels * p->kernel[0] * p->kernel[1] * p->kernel[2];
    T *each = fd_alloc((size_t)(2 * k) * sizeof(T));
    if (each == NULL) return FD_NOMEM;
    const T *biases = FD(each_pixel)(each, b, p), *scales = FD(each_pixel)(each + k, scale, p);
    const int rc = FD(whole_product)(dx, dy, w, biases, scales, p->batch, k, p->out_channels, (int)p->channels_last,
                                     act, alpha, threads);
    fd_free(each);
    return rc;
}

/* The same for dw, whose rows are channels and taps with channels last, and else outputs. */
static int FD(whole_dw)(T *dw, const T *dy, const T *x, const fd_conv *p, int threads) {
    if (FD(asked)(p, FD_GEMM)) return FD_OK;
    const int64_t k = p->in_channels * p->kernel[0] * p->kernel[1] * p->kernel[2], outputs = p->out_channels;
    const int last = (int)p->channels_last;
    return FD(fd_gemm)(dw, last ? x : dy, last ? dy : x, NULL, NULL, last ? k : outputs, last ? outputs : k, p->batch,
                       1, 0, FD_LINEAR, 0, threads);
}
