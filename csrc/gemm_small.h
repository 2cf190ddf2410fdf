/* gemm_small.h: a matrix product that is over before its operands would be packed.
 *
 * # Design: b is as wide as a tile at most, and read where it lies, its last vector with a tail, or else transposed on
 * the stack; rows of a, or columns, are taken in tiles of just as many. There is one block of k, so the bits are those
 * of the product that packs.
 */

#define GEMM_SMALL (1 << 15) /* products */
#define GEMM_TURNED 1024     /* elements of b that may be transposed */

/* computes  c = act(a b * scale + bias)
 * shapes    c (m, n), a (m, k), b (k, n), bias and scale (n) or NULL; n at most NR, k at most KC
 * layout    row-major; a[i * a_rs + p * a_cs]
 * touches   exactly those elements
 * order     one accumulator an output, p ascending
 * source    gemm.h */
FD_INLINE void FD(gemm_few)(T *c, const T *a, int64_t a_rs, int64_t a_cs, const T *b, const T *bias, const T *scale,
                            int64_t m, int64_t n, int64_t k, int act, T alpha) {
    const int64_t vectors = FD(ceil_div)(n, VL), tail = n - (vectors - 1) * VL;
    const int simple = scale == NULL && (act == FD_LINEAR || act == FD_RELU);
    const T *step;
    V acc[MR][NV];
    for (int64_t left = m, rows; left > 0; left -= rows, a += rows * a_rs, c += rows * n) {
        rows = left >= MR ? MR : left >= MR / 2 ? MR / 2 : left >= 2 ? 2 : 1;
        const FD(tile_end) end = {.c = c,
                                  .pitch = n,
                                  .columns = n,
                                  .bias = simple ? bias : NULL,
                                  .rows = (int)rows,
                                  .rectified = simple && act == FD_RELU};
#define KERNEL(mr, nv)                                                                                  \
    FD(clear)(acc, mr, nv);                                                                             \
    step = a;                                                                                           \
    for (int64_t p = 0; p < k; p++, step += a_cs) {                                                     \
        V column[nv];                                                                                   \
        for (int j = 0; j < nv - 1; j++) column[j] = vload(b + p * n + j * VL);                         \
        column[nv - 1] = vload_upto(b + p * n + (nv - 1) * VL, tail);                                   \
        for (int i = 0; i < mr; i++)                                                                    \
            for (int j = 0; j < nv; j++) acc[i][j] = vfma(vset1(step[i * a_rs]), column[j], acc[i][j]); \
    }                                                                                                   \
    FD(end_tile)(&end, acc, mr, nv)
        FD_WITH_TILE(KERNEL, rows, vectors);
#undef KERNEL
        for (int64_t i = 0; i < rows && !simple; i++) FD(finish_row)(c + i * n, scale, bias, n, act, alpha);
    }
}

/* The product of any size: fd_gemm where it is worth its panels. */
static int FD(fd_any_gemm)(void *c, const void *a, const void *b, const void *bias, const void *scale, int64_t m,
                           int64_t n, int64_t k, int trans_a, int trans_b, int act, double alpha, int threads) {
    const int narrow = n > 0 && n <= NR && k <= KC, turned = trans_b && m > 1 && n * k <= GEMM_TURNED;
    if (!narrow || m > GEMM_SMALL || m * n * k > GEMM_SMALL || (trans_b && !turned))
        return FD(fd_gemm)(c, a, b, bias, scale, m, n, k, trans_a, trans_b, act, alpha, threads);
    T turn[GEMM_TURNED];
    if (turned) FD(pack)(turn, b, k, 1, n, k, n);
    if (turned) b = turn;
    if (trans_a)
        FD(gemm_few)(c, a, 1, m, b, bias, scale, m, n, k, act, (T)alpha);
    else
        FD(gemm_few)(c, a, k, 1, b, bias, scale, m, n, k, act, (T)alpha);
    return FD_OK;
}

#undef GEMM_SMALL
#undef GEMM_TURNED
