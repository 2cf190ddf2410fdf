/* gemm.h: the micro-kernel that dense and convolution share, and the matrix product around it.
 *
 * # Design: as in BLIS, one small kernel with a written contract does all the arithmetic; everything else packs
 * its operands into the panels that the kernel reads in order, and loops.
 *   - A panel: MR rows as they lie; packed as [k][MR] and filled up with zeros where a is transposed or rows are
 * missing.
 *   - B panel: up to NR = NV * VL columns, packed as [k][NR], likewise; as it lies when a has no more than one panel,
 *     since packing would touch each element as often as multiplying does.
 *   - Each output has one accumulator per block of k, k ascending, and blocks are added in ascending order; the
 *     blocks are a function of k alone, so a row's bits depend neither on the other rows nor on the threads.
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

#define KC (1536 / TBYTES) /* steps of k a block: a B panel of KC steps stays in the level-2 cache beside A's */
#define MC (32 * MR)       /* rows, and */
#define NC (8 * NR)        /* columns, whose panels are packed at a time: 1 MB together at most */

/* acc[i][j] += a[i * pitch] * b[j][offset ...] for i < mr, j < nv: one step of k. */
FD_INLINE void FD(multiply_add)(V acc[MR][NV], const T *a, int64_t pitch, const T *const b[NV], int64_t offset, int mr,
                                int nv) {
    V column[NV];
#pragma GCC unroll 4
    for (int j = 0; j < nv; j++) column[j] = vload(b[j] + offset);
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++) {
        const V row = vset1(a[i * pitch]);
#pragma GCC unroll 4
        for (int j = 0; j < nv; j++) acc[i][j] = vfma(row, column[j], acc[i][j]);
    }
}

FD_INLINE void FD(clear)(V acc[MR][NV], int mr, int nv) {
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 4
        for (int j = 0; j < nv; j++) acc[i][j] = (V){0};
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

/* computes  tile[i][j] = sum over p of a[i][p] * b[p][j]
 * shapes    a (rows, k), b (k, vectors * VL), tile (rows, vectors * VL); rows <= MR, vectors <= NV
 * layout    a[i * a_row + p * a_step]; b and tile row-major with pitches b_row and NR
 * touches   exactly those elements, but of a and tile 1, 2, MR / 2 or MR rows: the fewest that cover `rows`
 * order     one accumulator an output, p ascending
 * source    BLIS, docs/KernelsHowTo.md (gemm micro-kernel) */
static void FD(gemm_tile)(T *restrict tile, const T *restrict a, int64_t a_row, int64_t a_step, const T *restrict b,
                          int64_t b_row, int64_t k, int rows, int vectors) {
    const T *columns[NV];
    for (int j = 0; j < NV; j++) columns[j] = b + (j < vectors ? j : 0) * VL;
    V acc[MR][NV];
#define KERNEL(mr, nv)                                                                                        \
    FD(clear)(acc, mr, nv);                                                                                   \
    for (int64_t p = 0; p < k; p++) FD(multiply_add)(acc, a + p * a_step, a_row, columns, p * b_row, mr, nv); \
    FD(spill)(tile, NR, acc, mr, nv)
    FD_WITH_TILE(KERNEL, rows, vectors);
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
    if (rs == 1) {
        for (int64_t p = 0; p < k; p++, src += cs, panel += width) {
            int64_t r = 0;
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
            for (int64_t q = 0; q < VL; q++) vstore_tail(panel + (p + q) * width + first, square[q], lanes);
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

/* Everything that the tasks of one product share; block_* and count_* describe the block packed at the moment. */
typedef struct {
    T *c;
    const T *a, *b, *bias, *scale;
    int64_t n;                                       /* also the row pitch of c */
    int64_t a_rs, a_cs, b_rs, b_cs;                  /* op(a)[i][p] = a[i * a_rs + p * a_cs], op(b) likewise */
    int64_t row, rows, column, columns, step, steps; /* first and count, of c's rows and columns and of k */
    int64_t row_panels, column_panels, chunk;        /* panels in the block; row panels a task */
    int first, last, act, pack_a, pack_b;
    T alpha;
    T *a_panels, *b_panels;
} FD(gemm_block);

static void FD(gemm_pack_task)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    const FD(gemm_block) *g = arg;
    if (task < g->row_panels) {
        const int64_t row = task * MR, rows = FD(least)(g->rows - row, MR);
        if (!g->pack_a && rows == MR) return;
        FD(pack)(g->a_panels + row * g->steps, g->a + (g->row + row) * g->a_rs + g->step * g->a_cs, g->a_rs, g->a_cs,
                 rows, g->steps, MR);
    } else {
        const int64_t column = (task - g->row_panels) * NR;
        const int64_t columns = FD(least)(g->columns - column, NR);
        if (!g->pack_b && columns == NR) return;
        FD(pack)(g->b_panels + column * g->steps, g->b + g->step * g->b_rs + (g->column + column) * g->b_cs, g->b_cs,
                 g->b_rs, columns, g->steps, NR);
    }
}

static void FD(gemm_task)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    const FD(gemm_block) *g = arg;
    const int64_t chunks = FD(ceil_div)(g->row_panels, g->chunk);
    const int64_t column = task / chunks * NR, first = task % chunks * g->chunk;
    const int64_t columns = FD(least)(g->columns - column, NR);
    const int64_t past = FD(least)(first + g->chunk, g->row_panels);
    const int b_lies = !g->pack_b && columns == NR;
    const T *b = b_lies ? g->b + g->step * g->b_rs + g->column + column : g->b_panels + column * g->steps;
    T tile[MR * NR] __attribute__((aligned(64)));
    for (int64_t panel = first; panel < past; panel++) {
        const int64_t rows = FD(least)(g->rows - panel * MR, MR);
        const int a_lies = !g->pack_a && rows == MR;
        const T *a = a_lies ? g->a + (g->row + panel * MR) * g->a_rs + g->step : g->a_panels + panel * MR * g->steps;
        FD(gemm_tile)(tile, a, a_lies ? g->a_rs : 1, a_lies ? 1 : MR, b, b_lies ? g->b_rs : NR, g->steps, (int)rows,
                      (int)FD(ceil_div)(columns, VL));
        for (int64_t i = 0; i < rows; i++) {
            T *c = g->c + (g->row + panel * MR + i) * g->n + g->column + column;
            const T *row = tile + i * NR;
            int64_t j = 0;
            for (; j + VL <= columns; j += VL) vstore(c + j, g->first ? vload(row + j) : vload(c + j) + vload(row + j));
            for (; j < columns; j++) c[j] = g->first ? row[j] : c[j] + row[j];
            if (g->last)
                FD(finish_row)(c, g->scale == NULL ? NULL : g->scale + g->column + column,
                               g->bias == NULL ? NULL : g->bias + g->column + column, columns, g->act, g->alpha);
        }
    }
}

/* Few enough row panels a task that 16 tasks exist, where the block is large enough for that. */
static int64_t FD(gemm_chunk)(int64_t row_panels, int64_t column_panels) {
    int64_t chunk = row_panels;
    while (chunk > 1 && FD(ceil_div)(row_panels, chunk) * column_panels < 16) chunk = (chunk + 1) / 2;
    return chunk;
}

/* computes  c = act(op(a) op(b) * scale + bias)
 * shapes    c (m, n), op(a) (m, k), op(b) (k, n), bias and scale (n) or NULL
 * layout    row-major; trans_a: a is (k, m), trans_b: b is (n, k)
 * touches   every element once or more; 1 MB of packed panels at most
 * order     see the file's head
 * source    Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008 */
static int FD(fd_gemm)(void *c, const void *a, const void *b, const void *bias, const void *scale, int64_t m, int64_t n,
                       int64_t k, int trans_a, int trans_b, int act, double alpha, int threads) {
    if (m == 0 || n == 0) return FD_OK;
    FD(gemm_block) g = {.c = c, .a = a, .b = b, .bias = bias, .scale = scale, .n = n, .act = act, .alpha = (T)alpha};
    g.a_rs = trans_a ? 1 : k;
    g.a_cs = trans_a ? m : 1;
    g.b_rs = trans_b ? 1 : n;
    g.b_cs = trans_b ? k : 1;
    g.pack_a = trans_a;
    g.pack_b = trans_b || m > MR;
    const int64_t blocks = k == 0 ? 1 : FD(ceil_div)(k, KC), kc = FD(ceil_div)(k, blocks);
    const int64_t mc = m < MC ? FD(whole)(m, MR) : MC, nc = n < NC ? FD(whole)(n, NR) : NC;
    threads = fd_threads_for(m * n / VL * k, threads);
    T *panels = fd_alloc((size_t)((mc + nc) * kc + 1) * sizeof(T));
    if (panels == NULL) return FD_NOMEM;
    g.a_panels = panels;
    g.b_panels = panels + mc * kc;

    int rc = FD_OK;
    for (g.column = 0; g.column < n && rc == FD_OK; g.column += nc) {
        g.columns = FD(least)(n - g.column, nc);
        g.column_panels = FD(ceil_div)(g.columns, NR);
        for (int64_t block = 0; block < blocks && rc == FD_OK; block++) {
            g.step = block * kc;
            g.steps = FD(least)(k - g.step, kc);
            g.first = block == 0;
            g.last = block == blocks - 1;
            for (g.row = 0; g.row < m && rc == FD_OK; g.row += mc) {
                g.rows = FD(least)(m - g.row, mc);
                g.row_panels = FD(ceil_div)(g.rows, MR);
                g.chunk = FD(gemm_chunk)(g.row_panels, g.column_panels);
                const int64_t b_panels = g.row > 0 ? 0 : g.column_panels;
                rc = fd_parallel(FD(gemm_pack_task), &g, g.row_panels + b_panels, 0, threads);
                if (rc != FD_OK) break;
                const int64_t tasks = FD(ceil_div)(g.row_panels, g.chunk) * g.column_panels;
                rc = fd_parallel(FD(gemm_task), &g, tasks, 0, threads);
            }
        }
    }
    fd_free(panels);
    return rc;
}
