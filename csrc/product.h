/* product.h: the matrix product around the micro-kernel of gemm.h.
 *
 * # Design: one block of k after the other, and in it a few panels of columns at a time with all rows of a task.
 *   - A panel: MR rows as they lie; packed as [k][MR] and filled up with zeros where a is transposed or rows are
 *     missing: by the task that needs it where it has all columns, or else by all threads together.
 *   - B panel: packed as [k][width] by the task that needs it. As it lies where rows are short and whole cache lines,
 *     or a has few panels: packing would cost more than the pieces of rows do then. The first panel of rows packs what
 *     it multiplies; rows that come from memory are packed before, side by side.
 *   - k may consist of segments that lie apart, as a sum over the images of a batch.
 *   - Each output has one accumulator per block of k, k ascending, and blocks are added in ascending order; the
 *     blocks are a function of k alone, so a row's bits depend neither on the other rows nor on the threads, nor on how
 *     the work is cut into tasks. One row times a transposed matrix is made of dot products (gemm_dots_task), with
 *     bits of its own.
 * Source: Van Zee and van de Geijn, "BLIS: A Framework for Rapidly Instantiating BLAS Functionality", 2015.
 */

#define MC (64 * MR)   /* rows of a that are packed at a time, of KC steps; of fewer steps more */
#define GEMM_COLUMNS 8 /* panels of columns of a task, with KC steps; of fewer steps more */
#define GEMM_FEW_STEPS (GEMM_ASKS ? KC : 128) /* of k: with more a task has one panel */
#define GEMM_GROUP 4                          /* panels of rows that are packed together */
#define GEMM_PAGE (4096 / TBYTES)             /* elements of a page of memory */
#define GEMM_FAR 2                            /* rows ahead of one that is packed */
#define GEMM_CACHE (8 << 20)                  /* bytes of b that a cache may hold from call to call */
#define GEMM_MANY (8 * MR)                    /* rows of a for which vectors of b that straddle lines are packed */

/* Everything that the tasks of one product share; the second half describes the block of the moment. */
typedef struct {
    T *c;
    const T *a, *b, *bias, *scale;
    int64_t n;                             /* also the row pitch of c */
    int64_t a_rs, a_cs, b_rs, b_cs;        /* op(a)[i][p] = a[i * a_rs + p * a_cs], op(b) likewise, for p < */
    int64_t segment, a_segment, b_segment; /* segment; further segments of k lie as far apart as these say */
    int64_t column_panels, width;          /* panels of columns, and columns of the first `wide` of them; the */
    int64_t wide;                          /* others have a vector less */
    int act, pack_a, pack_b, own_a;        /* own_a: the task packs its rows itself */
    T alpha;
    T *a_panels;
    int64_t row, rows, step, steps;  /* first and count, of c's rows and of k */
    int64_t row_chunk, column_chunk; /* panels in a task */
    int first, last;
    const T *a_here, *b_here; /* where they are in a and b, unless in several segments */
} FD(gemm_block);

/* Whether the micro-kernel reads no more than so many rows of a panel. */
FD_INLINE int FD(gemm_lies)(int64_t rows) {
    return rows == 0 || rows == 1 || rows == 2 || rows == MR / 2 || rows == MR;
}

/* The steps of a block, one segment after the other: panel as in FD(pack), src at step 0 of its row. */
FD_INLINE void FD(pack_steps)(T *panel, const T *src, const FD(gemm_block) *g, int64_t apart, int64_t rs, int64_t cs,
                              int64_t rows, int64_t width) {
    for (int64_t done = 0, steps; done < g->steps; done += steps) {
        const int64_t segment = (g->step + done) / g->segment, at = (g->step + done) % g->segment;
        steps = FD(least)(g->segment - at, g->steps - done);
        FD(pack)(panel + done * width, src + segment * apart + at * cs, rs, cs, rows, steps, width);
    }
}

/* GEMM_GROUP panels of rows from `first` of the block, or as many as there are. */
static void FD(pack_rows)(const FD(gemm_block) *g, T *to, int64_t first) {
    const int64_t past = FD(least)(first + GEMM_GROUP * MR, g->rows);
    if (g->a_rs == 1 && g->steps <= g->segment && past - first == GEMM_GROUP * MR) {
        /* Rows of a^T lie side by side: what is read of one step is cache lines, for several panels. */
        const T *from = g->a_here + g->row + first;
        for (int64_t p = 0; p < g->steps; p++, from += g->a_cs, to += MR) {
            __builtin_prefetch(from + GEMM_AHEAD / 2 * g->a_cs);
            for (int64_t i = 0; i < GEMM_GROUP; i++) memcpy(to + i * MR * g->steps, from + i * MR, MR * sizeof(T));
        }
        return;
    }
    for (int64_t row = first; row < past; row += MR, to += MR * g->steps)
        FD(pack_steps)(to, g->a + (g->row + row) * g->a_rs, g, g->a_segment, g->a_rs, g->a_cs,
                       FD(least)(past - row, MR), MR);
}

static void FD(gemm_pack_task)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    const FD(gemm_block) *g = arg;
    const int64_t first = task * GEMM_GROUP * MR;
    FD(pack_rows)(g, g->a_panels + first * g->steps, first);
}

/* The first column of a panel of columns. 256 columns are four times 48 and twice 32, rather than five times 48 and 16:
 * a step of one vector takes longer to read than to multiply. */
FD_INLINE int64_t FD(gemm_column)(const FD(gemm_block) *g, int64_t panel) {
    return panel * g->width - (panel > g->wide ? panel - g->wide : 0) * VL;
}

/* A few panels of columns, packed row by row: what is read of a step lies side by side, and the processor sees that it
 * is one stream. */
static void FD(pack_columns)(const FD(gemm_block) *g, T *packed, int64_t first, int64_t past) {
    const int64_t column = FD(gemm_column)(g, first), columns = FD(least)(g->n, FD(gemm_column)(g, past)) - column;
    const T *row = g->b_here + column;
    for (int64_t p = 0; p < g->steps; p++, row += g->b_rs) {
        for (int64_t ahead = 0; GEMM_ASKS && ahead < columns; ahead += LINE)
            __builtin_prefetch(row + GEMM_FAR * g->b_rs + ahead);
        int64_t at = 0;
        for (int64_t j = first; j < past; j++) {
            const int64_t width = FD(gemm_column)(g, j + 1) - FD(gemm_column)(g, j);
            T *to = packed + (j - first) * g->width * g->steps + p * width;
            if (at + width <= columns)
                for (int64_t v = 0; v < width; v += VL) vstore(to + v, vload(row + at + v));
            else
                for (int64_t v = 0; v < width; v += VL)
                    vstore(to + v, at + v < columns ? vload_upto(row + at + v, columns - at - v) : (V){0});
            at += width;
        }
    }
}

/* One panel of rows, which may have been packed, and one of columns, multiplied and added to c; b is packed as copy on
 * the way, unless that is NULL. */
static void FD(gemm_panels)(const FD(gemm_block) *g, int64_t row, const T *packed, int64_t column, int64_t columns,
                            const T *b, int64_t b_row, T *copy) {
    const int64_t rows = FD(least)(g->rows - row, MR);
    const int lies = !g->pack_a && FD(gemm_lies)(rows);
    const T *a = lies ? g->a_here + (g->row + row) * g->a_rs : packed;
    T *c = g->c + (g->row + row) * g->n + column;
    const T *scale = g->scale == NULL ? NULL : g->scale + column;
    const T *bias = g->bias == NULL ? NULL : g->bias + column;
    const int simple = g->last && scale == NULL && (g->act == FD_LINEAR || g->act == FD_RELU);
    const FD(tile_end) end = {.c = c,
                              .pitch = g->n,
                              .columns = columns,
                              .bias = simple ? bias : NULL,
                              .rows = (int)rows,
                              .resumed = !g->first,
                              .rectified = simple && g->act == FD_RELU};
    const int64_t a_row = lies ? g->a_rs : 1, a_step = lies ? 1 : MR;
    if (copy != NULL)
        FD(gemm_tile_packing)(&end, a, a_row, a_step, b, b_row, g->steps, copy);
    else
        FD(gemm_tile)(&end, a, a_row, a_step, b, b_row, g->steps, GEMM_NOTHING);
    for (int64_t i = 0; i < rows && g->last && !simple; i++)
        FD(finish_row)(c + i * g->n, scale, bias, columns, g->act, g->alpha);
}

/* Some panels of rows by some of columns. Those are packed by who needs them: they are in the cache then. */
static void FD(gemm_task)(void *arg, int64_t task, void *scratch) {
    const FD(gemm_block) *g = arg;
    const int64_t chunks = FD(ceil_div)(g->column_panels, g->column_chunk), stride = g->width * g->steps;
    const int64_t row = task / chunks * g->row_chunk * MR, past_row = FD(least)(row + g->row_chunk * MR, g->rows);
    const int64_t first = task % chunks * g->column_chunk, past = FD(least)(first + g->column_chunk, g->column_panels);
    const int beside = g->b_cs == 1 && g->steps <= g->segment; /* rows of b are whole */
    const int passing = g->pack_b && beside && past_row - row >= MR && g->n * g->segment * TBYTES <= GEMM_CACHE;
    T *const own = scratch, *packed = own + g->own_a * GEMM_GROUP * MR * g->steps, *const columns = packed;
    for (int64_t j = first, few; j < past; j += few, packed += few * stride) {
        const int64_t column = FD(gemm_column)(g, j), width = FD(gemm_column)(g, j + 1) - column;
        few = beside && !passing ? FD(least)(past - j, g->pack_b ? GEMM_COLUMNS : 1) : 1;
        if ((!g->pack_b || passing) && g->n - column >= width) continue;
        if (beside)
            FD(pack_columns)(g, packed, j, j + few);
        else
            FD(pack_steps)(packed, g->b + column * g->b_cs, g, g->b_segment, g->b_cs, g->b_rs,
                           FD(least)(g->n - column, width), width);
    }
    for (int64_t i = row, count = 0; i < past_row; i += MR, count++) {
        if (g->own_a && count % GEMM_GROUP == 0) FD(pack_rows)(g, own, i);
        const T *a = g->own_a ? own + count % GEMM_GROUP * MR * g->steps : g->a_panels + (g->pack_a ? i * g->steps : 0);
        packed = columns;
        for (int64_t j = first; j < past; j++, packed += stride) {
            const int64_t column = FD(gemm_column)(g, j), width = FD(gemm_column)(g, j + 1) - column;
            const int whole = g->n - column >= width, passes = passing && whole && i == row;
            const int lies = passes || (!g->pack_b && whole);
            FD(gemm_panels)(g, i, a, column, FD(least)(g->n - column, width), lies ? g->b_here + column : packed,
                            lies ? g->b_rs : width, passes ? packed : NULL);
        }
    }
}

#define GEMM_ROW (128 * VL) /* columns a task at most when a is one row */
#define GEMM_FETCH 8        /* work of a vector of b that comes from memory, in the units of fd_threads_for */

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

/* A task has several panels of columns, which stay in the level-2 cache while all rows of a go by in the level-1 cache
 * and c is written in long pieces; one, which is in the level-1 cache, where the micro-kernel does not ask for what
 * comes from further away; and few enough that all threads have some. What is packed is packed by few tasks. */
static int64_t FD(gemm_chunks)(FD(gemm_block) *g, int threads) {
    const int64_t more = g->steps > 0 ? KC / g->steps : 1;
    g->row_chunk = FD(ceil_div)(g->rows, MR);
    g->column_chunk = g->steps <= GEMM_FEW_STEPS ? FD(least)(g->column_panels, GEMM_COLUMNS * more) : 1;
    for (;;) {
        const int64_t chunks = FD(ceil_div)(g->column_panels, g->column_chunk);
        const int64_t tasks = chunks * FD(ceil_div)(FD(ceil_div)(g->rows, MR), g->row_chunk);
        const int64_t fewest = g->own_a ? GEMM_GROUP : g->pack_b ? INT64_MAX : g->column_chunk;
        int64_t *larger = g->row_chunk >= fewest || g->column_chunk == 1 ? &g->row_chunk : &g->column_chunk;
        if (threads == 1 || tasks >= 4 * threads || *larger == 1) return tasks;
        const int packs_enough =
            chunks < 2 * threads || g->row_chunk * MR <= GEMM_MANY; /* each task of a panel packs */
        if (g->pack_b && larger == &g->row_chunk && packs_enough && tasks >= threads) return tasks;
        *larger = (*larger + 1) / 2;
    }
}

/* Whether rows of b lie so far apart, each in a page of its own, that m rows of a repay packing them. Short rows do too
 * where they are not asked for, and where vectors straddle cache lines; there the threads may have to share the rows of
 * a, and each packs. Rows that are whole pages apart, or halves of one, meet in a few sets of a cache, and push each
 * other out: few rows of a repay it. */
static int FD(gemm_far)(const FD(gemm_block) *g, int64_t m, int threads) {
    if (GEMM_ASKS && g->n % (GEMM_PAGE / 2) == 0 && m >= (g->n % GEMM_PAGE == 0 ? 4 : 16) * MR) return 1;
    if ((g->n >= GEMM_PAGE || !GEMM_ASKS) && m * g->n > 8 * MR * GEMM_PAGE) return 1;
    const int straddles = ((uintptr_t)g->b | (uintptr_t)(g->n * TBYTES)) % 64 != 0;
    return straddles && m >= GEMM_MANY * (g->column_panels < threads ? threads : 1);
}

/* The product of g's operands; k is a whole number of segments. */
static int FD(run_gemm)(FD(gemm_block) *g, int64_t m, int64_t n, int64_t k, int threads) {
    if (m == 0 || n == 0) return FD_OK;
    if (k == 0) g->segment = 1;
    threads = fd_threads_for(FD(most)(m, GEMM_FETCH) * n / VL * k, threads);
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
    g->column_panels = FD(ceil_div)(n, NR);
    const int64_t vectors = FD(ceil_div)(n, VL);
    g->width = FD(ceil_div)(vectors, g->column_panels) * VL;
    g->wide = vectors - (g->width / VL - 1) * g->column_panels;
    g->pack_a = g->a_cs != 1 || kc > g->segment;
    g->pack_b = g->b_cs != 1 || kc > g->segment || FD(gemm_far)(g, m, threads);
    const int64_t more = kc > 0 ? KC / kc : 1;
    g->own_a = g->pack_a && g->column_panels <= GEMM_COLUMNS * more;
    const int64_t mc = g->pack_a && !g->own_a ? FD(least)(FD(whole)(m, MR), MC * more) : m;
    const int64_t rest = g->pack_a || FD(gemm_lies)(m % MR) ? 0 : m % MR; /* rows that fill no panel */
    if ((g->pack_a && !g->own_a) || rest > 0) {
        g->a_panels = fd_alloc((size_t)((g->pack_a ? mc : MR) * kc + 1) * sizeof(T));
        if (g->a_panels == NULL) return FD_NOMEM;
    }

    int rc = FD_OK;
    g->step = 0;
    do {
        const int64_t left = parts > 1 ? g->segment - g->step % g->segment : k - g->step;
        g->steps = FD(least)(left, kc);
        g->first = g->step == 0;
        g->last = g->step + g->steps == k;
        g->a_here = g->a + g->step / g->segment * g->a_segment + g->step % g->segment * g->a_cs;
        g->b_here = g->b + g->step / g->segment * g->b_segment + g->step % g->segment * g->b_rs;
        if (rest > 0)
            FD(pack_steps)(g->a_panels, g->a + (m - rest) * g->a_rs, g, g->a_segment, g->a_rs, g->a_cs, rest, MR);
        for (g->row = 0; g->row < m && rc == FD_OK; g->row += mc) {
            g->rows = FD(least)(m - g->row, mc);
            if (g->pack_a && !g->own_a)
                rc = fd_parallel(FD(gemm_pack_task), g, FD(ceil_div)(g->rows, GEMM_GROUP * MR), 0, threads);
            if (rc != FD_OK) break;
            const int64_t tasks = FD(gemm_chunks)(g, threads);
            const int64_t width = g->column_chunk * g->width + g->own_a * GEMM_GROUP * MR;
            rc = fd_parallel(FD(gemm_task), g, tasks, (size_t)(width * g->steps) * sizeof(T), threads);
        }
        g->step += g->steps;
    } while (g->step < k && rc == FD_OK);
    fd_free(g->a_panels);
    return rc;
}

/* computes  c = act(op(a) op(b) * scale + bias)
 * shapes    c (m, n), op(a) (m, k), op(b) (k, n), bias and scale (n) or NULL
 * layout    row-major; trans_a: a is (k, m), trans_b: b is (n, k)
 * touches   every element once or more; 1 MB of packed panels of a at most, and a thread 0.8 MB of those of b
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
