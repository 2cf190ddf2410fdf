/* gemm.h: the micro-kernel that dense, convolution and recurrence share, and the packing of its operands.
 *
 * # Design: as in BLIS, one small kernel with a written contract does all the arithmetic; everything else (product.h
 * for the matrix product) lays its operands into the panels that the kernel reads in order, and loops.
 * Source: Van Zee and van de Geijn, "BLIS: A Framework for Rapidly Instantiating BLAS Functionality", 2015.
 */

/* The accumulators of a tile fill the register file: 24 of 32 vector registers, 12 of 16, or 8 of 16 where the
 * product needs a register of its own before it is added. */
#if FD_ISA == FD_AVX512 || FD_ISA == FD_NEON
#define MR 8
#define NV 3
#elif FD_ISA == FD_AVX2
#define MR 4
#define NV 3
#else
#define MR 4
#define NV 2
#endif
#define NR (NV * VL)

/* Steps of k a block: MR rows of A stay in a level-1 cache of 32 KB, and panels of B in the level-2 cache. */
#define KC (TBYTES == 8 ? 400 : 512)
#define GEMM_AHEAD 16             /* rows of B that are asked for ahead where each is a piece of a longer one */
#define GEMM_SHORT 128            /* up to so many steps a quarter of that: rows past the end are asked for in vain */
#define LINE (64 / TBYTES)        /* elements of a cache line */
#define GEMM_ASKS (MR * NV >= 24) /* whether a step is long enough to ask for memory on the way */

/* acc[i][j] += a[i * pitch] * b[j][offset ...] for i < mr, j < nv: one step of k. The lower half of the rows has a
 * pointer of its own: the addresses of all are made of few registers then, and none waits in a vector's. */
FD_INLINE void FD(multiply_add)(V acc[MR][NV], const T *a, int64_t pitch, const T *const b[NV], int64_t offset, int mr,
                                int nv) {
    const T *lower = a + mr / 2 * pitch;
    __asm__("" : "+r"(lower)); /* GCC would undo it */
    V column[NV];
#pragma GCC unroll 4
    for (int j = 0; j < nv; j++) column[j] = vload(b[j] + offset);
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++) {
        const V row = vset1(i < mr / 2 ? a[i * pitch] : lower[(i - mr / 2) * pitch]);
#pragma GCC unroll 4
        for (int j = 0; j < nv; j++) acc[i][j] = vfma(row, column[j], acc[i][j]);
    }
}

/* k steps of operands that are both packed: memory has them as one stream, which a processor asks for by itself, and
 * addresses are constants but for one of each. Two at a time: the end of a loop costs as much as a product. */
FD_INLINE void FD(packed_steps)(V acc[MR][NV], const T *a, const T *b, int64_t k, int nv) {
    const T *columns[NV];
    for (int j = 0; j < nv; j++) columns[j] = b + j * VL;
    int64_t p = 0;
    for (; p + 2 <= k; p += 2) {
        FD(multiply_add)(acc, a + p * MR, 1, columns, p * nv * VL, MR, nv);
        FD(multiply_add)(acc, a + (p + 1) * MR, 1, columns, (p + 1) * nv * VL, MR, nv);
    }
    if (p < k) FD(multiply_add)(acc, a + p * MR, 1, columns, p * nv * VL, MR, nv);
}

FD_INLINE void FD(clear)(V acc[MR][NV], int mr, int nv) {
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
        for (int j = 0; j < nv; j++) acc[i][j] = (V){0};
}

FD_INLINE void FD(begin)(V acc[MR][NV], const T *bias, int mr, int nv) {
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
        for (int j = 0; j < nv; j++) acc[i][j] = vset1(bias[i]);
}

FD_INLINE void FD(fill)(V acc[MR][NV], const T *tile, int64_t pitch, int mr, int nv) {
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
        for (int j = 0; j < nv; j++) acc[i][j] = vload(tile + i * pitch + j * VL);
}

FD_INLINE void FD(spill)(T *tile, int64_t pitch, V acc[MR][NV], int mr, int nv) {
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
        for (int j = 0; j < nv; j++) vstore(tile + i * pitch + j * VL, acc[i][j]);
}

/* Call kernel(mr, nv) with constants, the smallest pair that covers `rows` rows and `vectors` vectors. */
#if NV == 3
#define FD_WITH_TWO(kernel, mr) \
    case 2: kernel(mr, 2); break;
#else
#define FD_WITH_TWO(kernel, mr)
#endif
#define FD_WITH_COLUMNS(kernel, mr, vectors) \
    switch (vectors) {                       \
    case 1:                                  \
        kernel(mr, 1);                       \
        break;                               \
        FD_WITH_TWO(kernel, mr)              \
    default: kernel(mr, NV);                 \
    }
#define FD_WITH_TILE(kernel, rows, vectors)          \
    do {                                             \
        if ((rows) > MR / 2) {                       \
            FD_WITH_COLUMNS(kernel, MR, vectors)     \
        } else if ((rows) > 2) {                     \
            FD_WITH_COLUMNS(kernel, MR / 2, vectors) \
        } else if ((rows) == 2) {                    \
            FD_WITH_COLUMNS(kernel, 2, vectors)      \
        } else {                                     \
            FD_WITH_COLUMNS(kernel, 1, vectors)      \
        }                                            \
    } while (0)

/* What becomes of a tile's sums. */
typedef struct {
    T *c;
    int64_t pitch, columns; /* of c; columns and rows are those that exist */
    const T *bias;          /* of the columns, or NULL */
    int rows;
    int resumed, rectified; /* c holds the sums of the steps before; the result goes through ReLU */
    const T *start;         /* what the sums of each row begin with, or NULL: 0 */
    int begun;              /* the accumulators begin with what c holds, in memory of whole tiles */
} FD(tile_end);

/* c = relu((c + acc) + bias), of these what `end` asks for: straight from the registers. `whole`: all of the tile
 * exists, and nothing is asked at each vector. */
FD_INLINE void FD(end_vectors)(const FD(tile_end) *end, V acc[MR][NV], int mr, int nv, int whole) {
    T *const c = end->c; /* a store could change what lies in memory */
    const int64_t pitch = end->pitch, columns = whole ? nv * VL : end->columns, rows = whole ? mr : end->rows;
#pragma GCC unroll 4
    for (int j = 0; j < nv; j++) {
        const int64_t left = columns - j * VL;
        if (end->resumed)
#pragma GCC unroll 8
            for (int i = 0; i < mr; i++)
                if (i < rows) acc[i][j] = vload_upto(c + i * pitch + j * VL, left) + acc[i][j];
        if (end->bias != NULL) {
            const V bias = vload_upto(end->bias + j * VL, left);
#pragma GCC unroll 8
            for (int i = 0; i < mr; i++) acc[i][j] += bias;
        }
        if (end->rectified)
#pragma GCC unroll 8
            for (int i = 0; i < mr; i++) acc[i][j] = FD(vact)(acc[i][j], FD_RELU, (V){0});
    }
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++) {
        if (i >= rows) return;
#pragma GCC unroll 4
        for (int j = 0; j < nv; j++) vstore_upto(c + i * pitch + j * VL, acc[i][j], columns - j * VL);
    }
}

FD_INLINE void FD(end_tile)(const FD(tile_end) *end, V acc[MR][NV], int mr, int nv) {
    if (end->rows == mr && end->columns >= nv * VL)
        FD(end_vectors)(end, acc, mr, nv, 1);
    else
        FD(end_vectors)(end, acc, mr, nv, 0);
}

/* What a later tile will read, asked for while this one is computed: every so many steps the next `rows` rows, of each
 * the cache lines under NV vectors. They are `pitch` apart. */
typedef struct {
    const T *from;
    int64_t pitch, every;
    int rows;
} FD(tile_ahead);

#define GEMM_NOTHING ((FD(tile_ahead)){NULL, 0, INT64_MAX, 0})

/* computes  c[i][j] = (c[i][j] or 0) + sum over p of a[i][p] * b[p][j], then bias and ReLU, as `end` says
 * shapes    a (end->rows, k), b (k, end->columns in whole vectors, NV at most), c (end->rows, end->columns)
 * layout    a[i * a_row + p * a_step]; b row-major with pitch b_row, c with end->pitch
 * touches   exactly those elements, but of a 1, 2, MR / 2 or MR rows: the fewest that cover those of c; asks for c,
 *           which is wanted last, for rows of b, which may come from the level-2 cache, and for what is ahead
 * order     one accumulator an output, p ascending
 * source    BLIS, docs/KernelsHowTo.md (gemm micro-kernel) */
static void FD(gemm_tile)(const FD(tile_end) *end, const T *restrict a, int64_t a_row, int64_t a_step,
                          const T *restrict b, int64_t b_row, int64_t k, FD(tile_ahead) ahead) {
    const T *columns[NV];
    V acc[MR][NV];
    const int64_t far = (k > GEMM_SHORT ? GEMM_AHEAD : GEMM_AHEAD / 4) * b_row;
    const int straddles = ((uintptr_t)b | (uintptr_t)(b_row * TBYTES)) % 64 != 0; /* rows of b end in one more line */
    const int a_packed = a_row == 1 && a_step == MR;
    const T *row = end->c;
#pragma GCC unroll 1 /* addresses for all at once would need more registers than there are */
    for (int i = 0; i < end->rows; i++, row += end->pitch)
        for (int j = 0; j < NV; j += LINE / VL) __builtin_prefetch(row + j * VL, 1);
#define KERNEL(mr, nv)                                                                                                \
    for (int j = 0; j < nv; j++) columns[j] = b + j * VL;                                                             \
    if (end->begun)                                                                                                   \
        FD(fill)(acc, end->c, end->pitch, mr, nv);                                                                    \
    else if (end->start != NULL)                                                                                      \
        FD(begin)(acc, end->start, mr, nv);                                                                           \
    else                                                                                                              \
        FD(clear)(acc, mr, nv);                                                                                       \
    for (int64_t p = 0, steps; p < k; p += steps) {                                                                   \
        for (int r = 0; GEMM_ASKS && r < ahead.rows; r++, ahead.from += ahead.pitch)                                  \
            for (int j = 0; j < nv; j += LINE / VL) __builtin_prefetch(ahead.from + j * VL, 0, 2);                    \
        steps = GEMM_ASKS ? FD(least)(ahead.every, k - p) : k;                                                        \
        if (mr == MR && b_row == nv * VL && a_packed)                                                                 \
            FD(packed_steps)(acc, a + p * MR, b + p * nv * VL, steps, nv);                                            \
        else                                                                                                          \
            for (int64_t q = p; q < p + steps; q++) {                                                                 \
                for (int j = 0; GEMM_ASKS && mr > 2 && j < nv; j += LINE / VL)                                        \
                    __builtin_prefetch(columns[j] + q * b_row + far);                                                 \
                if (GEMM_ASKS && mr > 2 && straddles) __builtin_prefetch(columns[nv - 1] + VL - 1 + q * b_row + far); \
                FD(multiply_add)(acc, a + q * a_step, a_row, columns, q * b_row, mr, nv);                             \
            }                                                                                                         \
    }                                                                                                                 \
    FD(end_tile)(end, acc, mr, nv)
    FD_WITH_TILE(KERNEL, end->rows, FD(ceil_div)(end->columns, VL));
#undef KERNEL
}

/* computes  as gemm_tile, for MR rows, and packed[p][j] = b[p][j]
 * shapes    as gemm_tile; packed (k, end->columns in whole vectors)
 * layout    as gemm_tile; packed row-major
 * touches   exactly those elements; asks for rows of b, which may come from the level-3 cache
 * order     as gemm_tile
 * source    gemm_tile */
static void FD(gemm_tile_packing)(const FD(tile_end) *end, const T *restrict a, int64_t a_row, int64_t a_step,
                                  const T *restrict b, int64_t b_row, int64_t k, T *restrict packed) {
    V acc[MR][NV];
#define KERNEL(mr, nv)                                                                                                \
    if (end->start != NULL)                                                                                           \
        FD(begin)(acc, end->start, mr, nv);                                                                           \
    else                                                                                                              \
        FD(clear)(acc, mr, nv);                                                                                       \
    for (int64_t p = 0; p < k; p++, b += b_row, packed += nv * VL) {                                                  \
        const T *columns[NV];                                                                                         \
        V copy[NV];                                                                                                   \
        for (int j = 0; j < nv; j++) copy[j] = vload(columns[j] = b + j * VL);                                        \
        for (int j = 0; GEMM_ASKS && j < nv; j += LINE / VL) __builtin_prefetch(columns[j] + GEMM_AHEAD / 2 * b_row); \
        FD(multiply_add)(acc, a + p * a_step, a_row, columns, 0, mr, nv);                                             \
        for (int j = 0; j < nv; j++) vstore(packed + j * VL, copy[j]);                                                \
    }                                                                                                                 \
    FD(end_tile)(end, acc, mr, nv)
    FD_WITH_COLUMNS(KERNEL, MR, FD(ceil_div)(end->columns, VL));
#undef KERNEL
}

/* computes  panel[p][r] = src[r * rs + p * cs] for r < rows, and 0 for rows <= r < width
 * shapes    panel (k, width), one of the strides rs and cs is 1 or both are general
 * layout    panel row-major
 * touches   exactly those elements
 * order     none
 * source    Van Zee and van de Geijn 2015, section 3 */
static void FD(pack)(T *restrict panel, const T *restrict src, int64_t rs, int64_t cs, int64_t rows, int64_t k,
                     int64_t width) {
    if (rs == 1 && rows == MR && width == MR) {
        for (int64_t p = 0; p < k; p++) memcpy(panel + p * MR, src + p * cs, MR * sizeof(T));
        return;
    }
    if (rs == 1) {
        for (int64_t p = 0; p < k; p++, src += cs, panel += width) {
            int64_t r = 0;
            for (int64_t ahead = 0; ahead < rows; ahead += 64 / TBYTES)
                __builtin_prefetch(src + GEMM_AHEAD / 2 * cs + ahead);
            for (; r + VL <= rows; r += VL) vstore(panel + r, vload(src + r));
            if (r < rows) vstore_tail(panel + r, vload_tail(src + r, rows - r), rows - r);
            for (r = rows; r < width; r++) panel[r] = 0;
        }
        return;
    }
    for (int64_t first = 0; first < width; first += VL) {
        const int64_t lanes = FD(least)(width - first, VL);
        int64_t p = 0;
        for (; cs == 1 && p + VL <= k; p += VL) {
            V square[VL];
            for (int64_t r = 0; r < VL; r++)
                square[r] = first + r < rows && r < lanes ? vload(src + (first + r) * rs + p) : (V){0};
            vtranspose(square);
            for (int64_t q = 0; q < VL; q++) {
                T *to = panel + (p + q) * width + first;
                /* Whole, also where a row has fewer lanes: the next step writes over what is too much. */
                if (lanes == VL || (width < VL && k * width - (to - panel) >= VL))
                    vstore(to, square[q]);
                else
                    vstore_tail(to, square[q], lanes);
            }
        }
        for (; p < k; p++)
            for (int64_t r = first; r < first + lanes; r++)
                panel[p * width + r] = r < rows ? src[r * rs + p * cs] : (T)0;
    }
}

/* row[j] = act(row[j] * scale[j] + bias[j]); scale and bias may be NULL. */
static void FD(finish_row)(T *row, const T *scale, const T *bias, int64_t n, int act, T alpha) {
    for (int64_t j = 0, left = n; (scale != NULL || bias != NULL) && j < n; j += VL, left -= VL) {
        V sum = vload_upto(row + j, left);
        if (scale != NULL) sum *= vload_upto(scale + j, left);
        if (bias != NULL) sum += vload_upto(bias + j, left);
        vstore_upto(row + j, sum, left);
    }
    if (act != FD_LINEAR) FD(act_row)(row, row, n, act, alpha);
}
