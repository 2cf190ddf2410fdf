/* winograd_tile.h: the micro-kernels of winograd.h and winograd_dw.h, whose products are many and short.
 *
 * # Design: as gemm_tile, less what a long sum repays: sums go where whole tiles have room, and nothing is asked of
 * them on the way. Each output has one accumulator.
 */

#define NARROW 16                           /* channels and outputs of the smallest product */
#define NARROW_ROWS (MR * NV * VL / NARROW) /* of its tiles: their accumulators fill the registers */

/* computes  tile[i][o] = sum over c of a[i][c] * b[c][o]
 * shapes    a (rows, channels), b (channels, vectors * VL), tile (rows, vectors * VL)
 * layout    row-major with pitches pitch, outputs and outputs
 * touches   exactly those elements; asks for those of `next`, the b of a later tile
 * order     c ascending
 * source    the micro-kernel of gemm.h
 * A function of its own: where GCC puts it into its caller, it is a tenth slower. */
__attribute__((noinline)) static void FD(winograd_tile)(T *restrict tile, const T *restrict a, const T *restrict b,
                                                        const T *next, int64_t channels, int64_t pitch, int64_t outputs,
                                                        int rows, int vectors) {
    const T *columns[NV];
    for (int j = 0; j < NV; j++) columns[j] = b + (j < vectors ? j : 0) * VL;
    V acc[MR][NV];
#define KERNEL(mr, nv)                                                                                        \
    FD(clear)(acc, mr, nv);                                                                                   \
    for (int64_t c = 0; c < channels; c++) {                                                                  \
        for (int j = 0; GEMM_ASKS && j < nv; j += LINE / VL) __builtin_prefetch(next + c * outputs + j * VL); \
        FD(multiply_add)(acc, a + c, pitch, columns, c * outputs, mr, nv);                                    \
    }                                                                                                         \
    FD(spill)(tile, outputs, acc, mr, nv)
    FD_WITH_TILE(KERNEL, rows, vectors);
#undef KERNEL
}

/* computes  the same for NARROW_ROWS rows, NARROW channels and outputs, and pitches NARROW
 * order     c ascending
 * source    the micro-kernel of gemm.h
 * MR rows of so few vectors would leave the processor waiting for its sums; rows that lie a constant apart need no
 * addresses of their own, so there may be more. */
__attribute__((noinline)) static void FD(winograd_narrow)(T *restrict tile, const T *restrict a, const T *restrict b) {
    V acc[NARROW_ROWS][NARROW / VL] = {{{0}}};
    for (int64_t c = 0; c < NARROW; c++)
#pragma GCC unroll 24
        for (int i = 0; i < NARROW_ROWS; i++)
#pragma GCC unroll 8
            for (int j = 0; j < NARROW / VL; j++)
                acc[i][j] = vfma(vset1(a[i * NARROW + c]), vload(b + c * NARROW + j * VL), acc[i][j]);
#pragma GCC unroll 24
    for (int i = 0; i < NARROW_ROWS; i++)
#pragma GCC unroll 8
        for (int j = 0; j < NARROW / VL; j++) vstore(tile + i * NARROW + j * VL, acc[i][j]);
}

/* computes  sum[i][j] = (sum[i][j] or 0) + sum over tiles t of a[t][i] * b[t][j]
 * shapes    a (tiles, rows), b (tiles, vectors * VL), sum (rows, vectors * VL); rows <= MR, vectors <= NV
 * layout    row-major with pitches outputs, channels and channels
 * touches   exactly those elements, but of a and sum 1, 2, MR / 2 or MR columns and rows: the fewest that cover `rows`
 * order     t ascending
 * source    the micro-kernel of gemm.h, tiles for k */
static void FD(winograd_dw_tile)(T *restrict sum, const T *restrict a, const T *restrict b, int64_t tiles,
                                 int64_t outputs, int64_t channels, int rows, int vectors, int begun) {
    const T *columns[NV];
    for (int j = 0; j < NV; j++) columns[j] = b + (j < vectors ? j : 0) * VL;
    V acc[MR][NV];
#define KERNEL(mr, nv)                                                                                            \
    if (begun)                                                                                                    \
        FD(fill)(acc, sum, channels, mr, nv);                                                                     \
    else                                                                                                          \
        FD(clear)(acc, mr, nv);                                                                                   \
    for (int64_t t = 0; t < tiles; t++) FD(multiply_add)(acc, a + t * outputs, 1, columns, t * channels, mr, nv); \
    FD(spill)(sum, channels, acc, mr, nv)
    FD_WITH_TILE(KERNEL, rows, vectors);
#undef KERNEL
}
