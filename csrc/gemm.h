/* gemm.h: the micro-kernel that dense and convolution share, and the matrix product around it.
 *
 * # Design: as in BLIS, one small kernel with a written contract does all the arithmetic; everything else packs
 * its operands into the panels that the kernel reads in order, and loops.
 *   - A panel: MR rows as they lie; packed as [k][MR] and filled up with zeros where a is transposed or rows are
 *     missing.
 *   - B panel: up to NR = NV * VL columns, packed as [k][width], likewise; as it lies when a has few panels, since
 *     packing would cost more than the pieces of long rows do.
 *   - k may consist of segments that lie apart, as a sum over the images of a batch: see gemm_block.
 *   - Each output has one accumulator per block of k, k ascending, and blocks are added in ascending order; the
 *     blocks are a function of k alone, so a row's bits depend neither on the other rows nor on the threads. One row
 *     times a transposed matrix is made of dot products (gemm_dots_task), with bits of its own.
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
#define NC (8 * NR)        /* columns, whose panels are packed at a time: 1 MB together at most; of short sums more */
#define GEMM_FEW_STEPS 128 /* of k: a task goes along rows of c, which then take longer to write than to compute */
#define GEMM_AHEAD 16      /* rows of B that are asked for ahead where each is a piece of a longer one */

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

/* What becomes of a tile's sums. */
typedef struct {
    T *c;
    int64_t pitch, columns; /* of c; columns and rows are those that exist */
    const T *bias;          /* of the columns, or NULL */
    int rows;
    int resumed, rectified; /* c holds the sums of the steps before; the result goes through ReLU */
} FD(tile_end);

/* c = relu((c + acc) + bias), of these what `end` asks for: straight from the registers. */
FD_INLINE void FD(end_tile)(const FD(tile_end) *end, V acc[MR][NV], int mr, int nv) {
#pragma GCC unroll 4
    for (int j = 0; j < nv; j++) {
        const int64_t left = end->columns - j * VL;
        if (end->resumed)
#pragma GCC unroll 8
            for (int i = 0; i < mr; i++)
                if (i < end->rows) acc[i][j] = vload_upto(end->c + i * end->pitch + j * VL, left) + acc[i][j];
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
        if (i >= end->rows) return;
#pragma GCC unroll 4
        for (int j = 0; j < nv; j++) vstore_upto(end->c + i * end->pitch + j * VL, acc[i][j], end->columns - j * VL);
    }
}

/* computes  c[i][j] = (c[i][j] or 0) + sum over p of a[i][p] * b[p][j], then bias and ReLU, as `end` says
 * shapes    a (end->rows, k), b (k, end->columns in whole vectors, NV at most), c (end->rows, end->columns)
 * layout    a[i * a_row + p * a_step]; b row-major with pitch b_row, c with end->pitch
 * touches   exactly those elements, but of a 1, 2, MR / 2 or MR rows: the fewest that cover those of c
 * order     one accumulator an output, p ascending
 * source    BLIS, docs/KernelsHowTo.md (gemm micro-kernel) */
static void FD(gemm_tile)(const FD(tile_end) *end, const T *restrict a, int64_t a_row, int64_t a_step,
                          const T *restrict b, int64_t b_row, int64_t k) {
    const int strided = b_row > NR; /* a row of b is a piece of a longer one: the next is asked for ahead */
    const T *columns[NV];
    V acc[MR][NV];
#define KERNEL(mr, nv)                                                                                     \
    for (int j = 0; j < nv; j++) columns[j] = b + j * VL;                                                  \
    FD(clear)(acc, mr, nv);                                                                                \
    for (int64_t p = 0; p < k; p++) {                                                                      \
        for (int j = 0; strided && j < nv; j++) __builtin_prefetch(columns[j] + (p + GEMM_AHEAD) * b_row); \
        FD(multiply_add)(acc, a + p * a_step, a_row, columns, p * b_row, mr, nv);                          \
    }                                                                                                      \
    FD(end_tile)(end, acc, mr, nv)
    FD_WITH_TILE(KERNEL, end->rows, FD(ceil_div)(end->columns, VL));
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

/* Everything that the tasks of one product share; block_* and count_* describe the block packed at the moment. */
typedef struct {
    T *c;
    const T *a, *b, *bias, *scale;
    int64_t n;                                       /* also the row pitch of c */
    int64_t a_rs, a_cs, b_rs, b_cs;                  /* op(a)[i][p] = a[i * a_rs + p * a_cs], op(b) likewise, for p < */
    int64_t segment, a_segment, b_segment;           /* segment; further segments of k lie as far apart as these say */
    int64_t row, rows, column, columns, step, steps; /* first and count, of c's rows and columns and of k */
    int64_t row_panels, column_panels, width;        /* panels in the block, columns of one */
    int64_t row_chunk, column_chunk;                 /* panels in a task */
    int first, last, act, pack_a, pack_b;
    T alpha;
    T *a_panels, *b_panels;
} FD(gemm_block);

/* The steps of a block, one segment after the other: panel as in FD(pack), src at step 0 of its row. */
FD_INLINE void FD(pack_steps)(T *panel, const T *src, const FD(gemm_block) *g, int64_t apart, int64_t rs, int64_t cs,
                              int64_t rows, int64_t width) {
    for (int64_t done = 0, steps; done < g->steps; done += steps) {
        const int64_t segment = (g->step + done) / g->segment, at = (g->step + done) % g->segment;
        steps = FD(least)(g->segment - at, g->steps - done);
        FD(pack)(panel + done * width, src + segment * apart + at * cs, rs, cs, rows, steps, width);
    }
}

static void FD(gemm_pack_task)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    const FD(gemm_block) *g = arg;
    if (task < g->row_panels) {
        const int64_t row = task * MR, rows = FD(least)(g->rows - row, MR);
        if (!g->pack_a && rows == MR) return;
        FD(pack_steps)(g->a_panels + row * g->steps, g->a + (g->row + row) * g->a_rs, g, g->a_segment, g->a_rs, g->a_cs,
                       rows, MR);
    } else {
        const int64_t column = (task - g->row_panels) * g->width;
        const int64_t columns = FD(least)(g->columns - column, g->width);
        if (!g->pack_b && columns == g->width) return;
        FD(pack_steps)(g->b_panels + column * g->steps, g->b + (g->column + column) * g->b_cs, g, g->b_segment, g->b_cs,
                       g->b_rs, columns, g->width);
    }
}

/* One panel of rows and one of columns, multiplied and added to c. */
static void FD(gemm_panels)(const FD(gemm_block) *g, int64_t row, int64_t column) {
    const int64_t rows = FD(least)(g->rows - row, MR), columns = FD(least)(g->columns - column, g->width);
    const int a_lies = !g->pack_a && rows == MR, b_lies = !g->pack_b && columns == g->width;
    const int64_t segment = g->step / g->segment, step = g->step % g->segment;
    const T *a =
        a_lies ? g->a + segment * g->a_segment + (g->row + row) * g->a_rs + step : g->a_panels + row * g->steps;
    const T *b =
        b_lies ? g->b + segment * g->b_segment + step * g->b_rs + g->column + column : g->b_panels + column * g->steps;
    T *c = g->c + (g->row + row) * g->n + g->column + column;
    const T *scale = g->scale == NULL ? NULL : g->scale + g->column + column;
    const T *bias = g->bias == NULL ? NULL : g->bias + g->column + column;
    const int simple = g->last && scale == NULL && (g->act == FD_LINEAR || g->act == FD_RELU);
    const FD(tile_end) end = {
        c, g->n, columns, simple ? bias : NULL, (int)rows, !g->first, simple && g->act == FD_RELU};
    FD(gemm_tile)(&end, a, a_lies ? g->a_rs : 1, a_lies ? 1 : MR, b, b_lies ? g->b_rs : g->width, g->steps);
    for (int64_t i = 0; i < rows && g->last && !simple; i++)
        FD(finish_row)(c + i * g->n, scale, bias, columns, g->act, g->alpha);
}

static void FD(gemm_task)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    const FD(gemm_block) *g = arg;
    const int64_t chunks = FD(ceil_div)(g->row_panels, g->row_chunk);
    const int64_t row = task % chunks * g->row_chunk * MR, past_row = FD(least)(row + g->row_chunk * MR, g->rows);
    const int64_t column = task / chunks * g->column_chunk * g->width;
    const int64_t past_column = FD(least)(column + g->column_chunk * g->width, g->columns);
    for (int64_t i = row; i < past_row; i += MR)
        for (int64_t j = column; j < past_column; j += g->width) FD(gemm_panels)(g, i, j);
}

#define GEMM_ROW (128 * VL) /* columns a task at most when a is one row */

/* computes  c[j] = act((sum over p of a[p] * b[p][j]) * scale[j] + bias[j]) for the task's columns
 * shapes    a (k) with any step, b (k, n), c (n)
 * layout    as they lie: b is read once, four rows at a time from end to end
 * touches   exactly those elements
 * order     as the whole product: one accumulator per block of k, p ascending; the columns of a task, which the number
 *           of threads decides, have no say
 * source    BLIS, docs/KernelsHowTo.md (axpyf) */
static void FD(gemm_row_task)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    const FD(gemm_block) *g = arg;
    const int64_t n = g->n, first = task * g->width, columns = FD(least)(n - first, g->width);
    T *c = g->c + first;
    T sum[GEMM_ROW] __attribute__((aligned(64)));
    for (int64_t step = 0, past; step < g->segment; step = past) {
        past = FD(least)(step + g->steps, g->segment);
        memset(sum, 0, (size_t)FD(whole)(columns, VL) * sizeof(T));
        int64_t p = step;
        for (; p + 4 <= past; p += 4) {
            const T *a = g->a + p * g->a_cs, *b = g->b + p * n + first;
            const V a0 = vset1(a[0]), a1 = vset1(a[g->a_cs]), a2 = vset1(a[2 * g->a_cs]), a3 = vset1(a[3 * g->a_cs]);
            for (int64_t j = 0, left = columns; j < columns; j += VL, b += VL, left -= VL) {
                V acc = vfma(a0, vload_upto(b, left), vload(sum + j));
                acc = vfma(a1, vload_upto(b + n, left), acc);
                acc = vfma(a2, vload_upto(b + 2 * n, left), acc);
                vstore(sum + j, vfma(a3, vload_upto(b + 3 * n, left), acc));
            }
        }
        for (; p < past; p++)
            for (int64_t j = 0; j < columns; j += VL)
                vstore(sum + j, vfma(vset1(g->a[p * g->a_cs]), vload_upto(g->b + p * n + first + j, columns - j),
                                     vload(sum + j)));
        for (int64_t j = 0; j < columns; j += VL) {
            const V block = vload(sum + j);
            vstore_upto(c + j, step == 0 ? block : vload_upto(c + j, columns - j) + block, columns - j);
        }
    }
    FD(finish_row)(c, g->scale == NULL ? NULL : g->scale + first, g->bias == NULL ? NULL : g->bias + first, columns,
                   g->act, g->alpha);
}

/* computes  c[j] = act(sum over p of a[p] * b[j][p] + bias[j]) for the task's NR columns
 * shapes    a (k), b (n, k), c (n)
 * layout    as they lie: packing would take longer than the products
 * touches   exactly those elements
 * order     one accumulator a lane, p ascending in each, then their sum by the tree of vsum
 * source    BLIS, docs/KernelsHowTo.md (dotxf) */
static void FD(gemm_dots_task)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    const FD(gemm_block) *g = arg;
    const int64_t first = task * NR, past = FD(least)(first + NR, g->n), k = g->segment;
    for (int64_t j = first; j < past; j += MR) {
        const int64_t columns = FD(least)(past - j, MR);
        const T *b[MR];
        V acc[MR] = {0};
        for (int64_t i = 0; i < MR; i++) b[i] = g->b + (j + (i < columns ? i : 0)) * k;
        for (int64_t p = 0; p < k; p += VL) {
            const V a = vload_upto(g->a + p, k - p);
#pragma GCC unroll 8
            for (int i = 0; i < MR; i++) acc[i] = vfma(a, vload_upto(b[i] + p, k - p), acc[i]);
        }
        for (int64_t i = 0; i < columns; i++) g->c[j + i] = vsum(acc[i]);
    }
    FD(finish_row)(g->c + first, g->scale == NULL ? NULL : g->scale + first, g->bias == NULL ? NULL : g->bias + first,
                   past - first, g->act, g->alpha);
}

/* A task has one panel of columns, which stays in the cache; all of them where sums are short, so that rows of c are
 * written from end to end; and few enough panels of rows that 16 tasks exist, where the block is large enough. */
static void FD(gemm_chunks)(FD(gemm_block) *g) {
    g->column_chunk = g->steps <= GEMM_FEW_STEPS && g->column_panels > 2 ? g->column_panels : 1;
    g->row_chunk = g->row_panels;
    const int64_t columns = FD(ceil_div)(g->column_panels, g->column_chunk);
    while (g->row_chunk > 1 && FD(ceil_div)(g->row_panels, g->row_chunk) * columns < 16)
        g->row_chunk = (g->row_chunk + 1) / 2;
}

/* The product of g's operands; k is a whole number of segments. */
static int FD(run_gemm)(FD(gemm_block) *g, int64_t m, int64_t n, int64_t k, int threads) {
    if (m == 0 || n == 0) return FD_OK;
    if (k == 0) g->segment = 1;
    threads = fd_threads_for(m * n / VL * k, threads);
    if (m == 1 && g->a_cs == 1 && g->b_rs == 1 && g->segment == k)
        return fd_parallel(FD(gemm_dots_task), g, FD(ceil_div)(n, NR), 0, threads);
    /* Blocks of k: several segments, or an even part of one. */
    const int64_t parts = FD(ceil_div)(g->segment, KC);
    const int64_t kc = parts > 1 ? FD(ceil_div)(g->segment, parts) : FD(least)(KC / g->segment * g->segment, k);
    if (m == 1 && g->b_cs == 1 && g->segment == k) {
        g->steps = kc;
        g->width = FD(least)(FD(whole)(FD(ceil_div)(n, threads), VL), GEMM_ROW);
        return fd_parallel(FD(gemm_row_task), g, FD(ceil_div)(n, g->width), 0, threads);
    }
    g->pack_a = g->a_cs != 1 || kc > g->segment;
    g->pack_b = g->b_cs != 1 || kc > g->segment || m > 16 * MR;
    const int64_t more = kc > 0 ? KC / kc : 1;
    const int64_t mc = FD(least)(FD(whole)(m, MR), MC), nc = FD(least)(FD(whole)(n, NR), NC * more);
    T *panels = fd_alloc((size_t)((mc + nc) * kc + 1) * sizeof(T));
    if (panels == NULL) return FD_NOMEM;
    g->a_panels = panels;
    g->b_panels = panels + mc * kc;

    int rc = FD_OK;
    for (g->column = 0; g->column < n && rc == FD_OK; g->column += nc) {
        g->columns = FD(least)(n - g->column, nc);
        g->column_panels = FD(ceil_div)(g->columns, NR);
        g->width = FD(whole)(FD(ceil_div)(g->columns, g->column_panels), VL); /* 64 columns: 32 twice, not 48 and 16 */
        g->step = 0;
        do {
            const int64_t left = parts > 1 ? g->segment - g->step % g->segment : k - g->step;
            g->steps = FD(least)(left, kc);
            g->first = g->step == 0;
            g->last = g->step + g->steps == k;
            for (g->row = 0; g->row < m && rc == FD_OK; g->row += mc) {
                g->rows = FD(least)(m - g->row, mc);
                g->row_panels = FD(ceil_div)(g->rows, MR);
                FD(gemm_chunks)(g);
                const int64_t b_panels = g->row > 0 ? 0 : g->column_panels;
                rc = fd_parallel(FD(gemm_pack_task), g, g->row_panels + b_panels, 0, threads);
                if (rc != FD_OK) break;
                const int64_t tasks =
                    FD(ceil_div)(g->row_panels, g->row_chunk) * FD(ceil_div)(g->column_panels, g->column_chunk);
                rc = fd_parallel(FD(gemm_task), g, tasks, 0, threads);
            }
            g->step += g->steps;
        } while (g->step < k && rc == FD_OK);
    }
    fd_free(panels);
    return rc;
}

/* computes  c = act(op(a) op(b) * scale + bias)
 * shapes    c (m, n), op(a) (m, k), op(b) (k, n), bias and scale (n) or NULL
 * layout    row-major; trans_a: a is (k, m), trans_b: b is (n, k)
 * touches   every element once or more; 1 MB of packed panels at most
 * order     see the file's head
 * source    Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008 */
static int FD(fd_gemm)(void *c, const void *a, const void *b, const void *bias, const void *scale, int64_t m, int64_t n,
                       int64_t k, int trans_a, int trans_b, int act, double alpha, int threads) {
    FD(gemm_block) g = {.c = c, .a = a, .b = b, .bias = bias, .scale = scale, .n = n, .act = act, .alpha = (T)alpha};
    g.segment = k;
    g.a_rs = trans_a ? 1 : k;
    g.a_cs = trans_a ? m : 1;
    g.b_rs = trans_b ? 1 : n;
    g.b_cs = trans_b ? k : 1;
    return FD(run_gemm)(&g, m, n, k, threads);
}
