/* pool_max.h: the largest value of each window, and where it was. */

typedef int32_t FD(words) __attribute__((vector_size(4 * VL)));

/* The first n lanes as bytes. */
FD_INLINE void FD(bytes_store)(uint8_t *to, I lanes, int64_t n) {
    const FD(bytes) narrow = vnarrow(lanes);
    if (n >= VL) {
        memcpy(to, &narrow, sizeof narrow);
        return;
    }
#if FD_ISA == FD_AVX512
    __m128i wide = {0};
    memcpy(&wide, &narrow, sizeof narrow);
    _mm_mask_storeu_epi8(to, (__mmask16)((1u << n) - 1u), wide);
#else
    for (int64_t l = 0; l < n; l++) to[l] = narrow[l];
#endif
}

FD_INLINE void FD(index_store)(const FD(pool) *pool, int64_t y, I tap, int64_t n) {
    if (pool->index == NULL) return;
    if (pool->taps <= 256) {
        FD(bytes_store)((uint8_t *)pool->index + y, tap, n);
    } else {
        const FD(words) narrow = __builtin_convertvector(tap, FD(words));
        memcpy((int32_t *)pool->index + y, &narrow, (size_t)n * sizeof(int32_t));
    }
}

/* Where the first n lanes are at most 0. */
FD_INLINE void FD(gate_store)(uint8_t *closed, V v, int64_t n) {
#if FD_ISA == FD_AVX512
#if TBYTES == 4
    const __mmask16 shut = _mm512_cmp_ps_mask((__m512)v, _mm512_setzero_ps(), _CMP_LE_OQ);
#else
    const __mmask16 shut = _mm512_cmp_pd_mask((__m512d)v, _mm512_setzero_pd(), _CMP_LE_OQ);
#endif
    const __m128i bytes = _mm_maskz_set1_epi8(shut, 1);
    if (n >= VL)
        memcpy(closed, &bytes, VL);
    else
        _mm_mask_storeu_epi8(closed, (__mmask16)((1u << n) - 1u), bytes);
#else
    FD(bytes_store)(closed, (I)(v <= VC(0)) & 1, n);
#endif
}

/* What the later taps of a window held. Met downwards, the first NaN and the first of the largest are the last to win.
 * A tap waits for one maximum only: it forgets a NaN, which is kept beside it. */
typedef struct {
    V largest, nan;
    I winner;
} FD(maximum);

FD_INLINE FD(maximum) FD(maximum_none)(void) { return (FD(maximum)){.largest = vset1(-(T)INFINITY)}; }

FD_INLINE void FD(maximum_meet)(FD(maximum) *met, V v, int64_t tap, int indexed) {
    const I nan = (I)(v != v);
    if (indexed) {
        const I wins = ((I)(v >= met->largest) & (I)(met->nan == met->nan)) | nan;
        met->winner = (wins & (TI)tap) | (met->winner & ~wins);
    }
    met->largest = vmax(met->largest, v); /* v of equals */
    met->nan = vselect(nan, v, met->nan);
}

FD_INLINE V FD(maximum_value)(const FD(maximum) *met) {
    return vselect((I)(met->nan != met->nan), met->nan, met->largest);
}

/* One window a lane. */
FD_INLINE void FD(max_columns)(const FD(pool) *pool, const FD(place) *at, int64_t y, int64_t x, int64_t n,
                               int64_t lane) {
    const int64_t *size = pool->plan.size, *step = pool->step, *begin = at->begin, *end = at->end;
    FD(maximum) met = FD(maximum_none)();
    for (int64_t d = end[0] - 1; d >= begin[0]; d--)
        for (int64_t h = end[1] - 1; h >= begin[1]; h--) {
            const int64_t row = x + d * step[0] + h * step[1], tap = (d * size[1] + h) * size[2];
            for (int64_t w = end[2] - 1; w >= begin[2]; w--)
                FD(maximum_meet)(&met, vload_step(pool->from + (row + w * step[2]), lane, n), tap + w,
                                 pool->index != NULL);
        }
    vstore_upto(pool->to + y, FD(maximum_value)(&met), n);
    FD(index_store)(pool, y, met.winner, n);
}

/* One window, its taps spread over the lanes: lane by lane first, then over the lanes. */
static void FD(max_window)(const FD(pool) *pool, const FD(place) *at, int64_t y, int64_t x) {
    const int64_t *size = pool->plan.size, *step = pool->step, *begin = at->begin, *end = at->end;
    const int64_t width = end[2] - begin[2];
    I lanes;
    for (int l = 0; l < VL; l++) lanes[l] = (TI)l;
    V best = vset1(-(T)INFINITY);
    I winner = (TI)pool->taps - (I){0}; /* behind every tap, for lanes that never meet one */
    for (int64_t d = end[0] - 1; d >= begin[0]; d--)
        for (int64_t h = end[1] - 1; h >= begin[1]; h--) {
            const int64_t row = x + d * step[0] + h * step[1] + begin[2], tap = (d * size[1] + h) * size[2] + begin[2];
            for (int64_t w = (width - 1) / VL * VL; w >= 0; w -= VL) {
                const V v = vload_upto(pool->from + (row + w), width - w);
                const I wins = ((I)(v >= best) | (I)(v != v)) & (I)(lanes < (TI)FD(least)(width - w, VL));
                best = vselect(wins, v, best);
                winner = (wins & (lanes + (TI)(tap + w))) | (winner & ~wins);
            }
        }
    for (int half = VL / 2; half > 0; half /= 2) {
        const V a = vinterleave_low(best, best), b = vinterleave_high(best, best);
        const I tap_a = (I)vinterleave_low((V)winner, (V)winner), tap_b = (I)vinterleave_high((V)winner, (V)winner);
        const I nan_a = a != a, nan_b = b != b, same = (I)(a == b) | (nan_a & nan_b);
        const I wins = (I)(b > a) | (nan_b & ~nan_a) | (same & (I)(tap_b < tap_a));
        best = vselect(wins, b, a);
        winner = (wins & tap_b) | (tap_a & ~wins);
    }
    vstore_tail(pool->to + y, best, 1);
    FD(index_store)(pool, y, winner, 1);
}

FD_INLINE void FD(max_block)(const FD(pool) *pool, const FD(place) *at, int64_t y, int64_t x, int64_t n, int64_t lane) {
    if (pool->along_window)
        FD(max_window)(pool, at, y, x);
    else
        FD(max_columns)(pool, at, y, x, n, lane);
}

/* Neighbouring windows of whole columns, with the rows that `begin` and `end` leave them. Taps in the order of
 * max_columns, so that of equals the same one is taken. */
FD_INLINE void FD(max_whole)(const FD(pool) *pool, const int64_t *begin, const int64_t *end, int64_t y, int64_t x,
                             int64_t columns, int64_t width, int64_t lane, int indexed) {
    const int64_t *size = pool->plan.size, *step = pool->step;
    for (int64_t c = 0; c < columns; c += VL) {
        const int64_t n = FD(least)(columns - c, VL);
        FD(maximum) met = FD(maximum_none)();
        for (int64_t d = end[0] - 1; d >= begin[0]; d--)
            for (int64_t h = end[1] - 1; h >= begin[1]; h--) {
                const T *row = pool->from + x + d * step[0] + h * step[1] + c * lane;
                const int64_t tap = (d * size[1] + h) * width;
                const int three = lane == 2 && width == 3;
                V column[3];
                if (three) FD(three_columns)(column, row, n);
#pragma GCC unroll 3
                for (int64_t w = width - 1; w >= 0; w--)
                    FD(maximum_meet)(&met, three ? column[w] : vload_step(row + w, lane, n), tap + w, indexed);
            }
        vstore_upto(pool->to + y + c, FD(maximum_value)(&met), n);
        if (indexed) FD(index_store)(pool, y + c, met.winner, n);
    }
}

static void FD(max_columns_row)(const FD(pool) *pool, const int64_t *begin, const int64_t *end, int64_t y, int64_t x,
                                int64_t columns) {
#define ROW(width, lane) FD(max_whole)(pool, begin, end, y, x, columns, width, lane, 0)
#define INDEXED_ROW(width, lane) FD(max_whole)(pool, begin, end, y, x, columns, width, lane, 1)
    if (pool->index == NULL)
        FD_WITH_POOLING(ROW, pool->plan.size[2], pool->lane);
    else
        FD_WITH_POOLING(INDEXED_ROW, pool->plan.size[2], pool->lane);
#undef ROW
#undef INDEXED_ROW
}

/* Windows that reach over the edge, one at a time, so that the lane does not matter. */
FD_INLINE void FD(max_edge)(const FD(pool) *pool, FD(place) *at, int64_t y, int64_t x, int64_t column, int64_t past) {
    for (; column < past; column++) {
        FD(pool_clip)(at, &pool->plan, 2, column);
        FD(max_columns)(pool, at, y + column, x + at->corner[2], 1, 1);
    }
}

FD_INLINE void FD(max_row)(const FD(pool) *pool, FD(place) *at, int64_t y, int64_t x) {
    const int64_t first = pool->inner[0], past = pool->inner[1];
    if (pool->plan.channels_last || first >= past) {
        FD(pool_blocks)(pool, at, y, x, FD(max_block));
        return;
    }
    FD(max_edge)(pool, at, y, x, 0, first);
    const int64_t corner = x + first * pool->plan.stride[2] - pool->plan.pad_before[2];
    FD(max_columns_row)(pool, at->begin, at->end, y + first, corner, past - first);
    FD(max_edge)(pool, at, y, x, past, pool->plan.out[2]);
}

/* n windows of two neighbouring columns, as max_whole has them, whose rows are read once; and the gate of their cells,
 * if it is wanted. */
FD_INLINE void FD(max_pairs_block)(const FD(pool) *pool, int64_t y, int64_t x, int64_t n, int64_t height, int gated) {
    const int64_t *size = pool->plan.size, *step = pool->step;
    const int64_t low_n = FD(least)(2 * n, VL), high_n = 2 * n - low_n;
    const int indexed = pool->index != NULL;
    FD(maximum) met = FD(maximum_none)();
    for (int64_t d = size[0] - 1; d >= 0; d--)
#pragma GCC unroll 2
        for (int64_t h = height - 1; h >= 0; h--) {
            const int64_t cells = x + d * step[0] + h * step[1];
            FD(ask_ahead)(pool->from + cells), FD(ask_ahead)(pool->from + cells + VL);
            const V low = vload_upto(pool->from + cells, low_n), high = vload_upto(pool->from + cells + VL, high_n);
            if (gated) {
                FD(gate_store)(pool->closed + cells, low, low_n);
                FD(gate_store)(pool->closed + cells + VL, high, high_n);
            }
            const V left = FD(left_columns)(low, high), right = FD(right_columns)(low, high);
            const int64_t tap = (d * height + h) * 2;
            FD(maximum_meet)(&met, right, tap + 1, indexed);
            FD(maximum_meet)(&met, left, tap, indexed);
        }
    FD(ask_ahead)(pool->to + y);
    vstore_upto(pool->to + y, FD(maximum_value)(&met), n);
    FD(index_store)(pool, y, met.winner, n);
}

/* A row of them. Its last vector begins where it fits, and does some windows again. */
FD_INLINE void FD(max_pairs)(const FD(pool) *pool, int64_t y, int64_t x, int64_t columns, int64_t height, int gated) {
    if (columns < VL) {
        FD(max_pairs_block)(pool, y, x, columns, height, gated);
        return;
    }
    for (int64_t past = 0; past < columns; past += VL) {
        const int64_t c = FD(least)(past, columns - VL);
        FD(max_pairs_block)(pool, y + c, x + 2 * c, VL, height, gated);
    }
}

FD_INLINE void FD(max_pairs_row)(const FD(pool) *pool, int64_t y, int64_t x, int64_t columns, int gated) {
    if (pool->plan.size[1] == 2)
        FD(max_pairs)(pool, y, x, columns, 2, gated);
    else
        FD(max_pairs)(pool, y, x, columns, pool->plan.size[1], gated);
}

static void FD(max_gated_row)(const FD(pool) *pool, int64_t y, int64_t x, int64_t columns) {
    FD(max_pairs_row)(pool, y, x, columns, 1);
}

static void FD(max_whole_row)(const FD(pool) *pool, int64_t y, int64_t x, int64_t columns) {
    if (pool->lane == 2 && pool->plan.size[2] == 2)
        FD(max_pairs_row)(pool, y, x, columns, 0);
    else
        FD(max_columns_row)(pool, (const int64_t[2]){0}, pool->plan.size, y, x, columns);
}

static void FD(maxpool_fwd_task)(void *arg, int64_t task, void *scratch) {
    const FD(pool) *pool = arg;
    if (pool->whole && !pool->along_window)
        FD(pool_whole)(pool, task, FD(max_whole_row));
    else
        FD(pool_walk)(pool, task, scratch, 0, FD(max_row));
}

static void FD(maxpool_gated_task)(void *arg, int64_t task, void *scratch) {
    const FD(pool) *pool = arg;
    if (pool->paired) {
        FD(pool_whole)(pool, task, FD(max_gated_row));
        return;
    }
    FD(maxpool_fwd_task)(arg, task, scratch);
    const int64_t tasks = (pool->planes + pool->share - 1) / pool->share * pool->strips;
    const int64_t cells = pool->planes * pool->plan.in[0] * pool->step[0], piece = (cells + tasks - 1) / tasks;
    const int64_t past = FD(least)((task + 1) * piece, cells);
    for (int64_t i = task * piece; i < past; i += VL)
        FD(gate_store)(pool->closed + i, vload_upto(pool->from + i, past - i), past - i);
}

/* computes  y[n, c, o] = max over the real cells k of window o of x[n, c, o*stride + k - pad], and the k that won:
 *           the first NaN, or else the first of the largest
 * shapes    y, index (N, C, OD, OH, OW); x (N, C, D, H, W)
 * layout    NCHW or NHWC; index uint8_t when a window has at most 256 cells, else int32_t, or NULL
 * touches   all of y and index, all of x that a window covers
 * order     taps ascending; no sums
 * source    Ranzato et al., "Unsupervised Learning of Invariant Feature Hierarchies", 2007 */
static int FD(fd_maxpool_fwd)(void *y, void *index, const void *x, const fd_pool *plan, int threads) {
    return FD(pool_run)(FD(maxpool_fwd_task), plan, y, x, index, threads);
}

/* computes  what maxpool_fwd does, and closed[n, c, i] = x[n, c, i] <= 0
 * shapes    as of maxpool_fwd; closed (N, C, D, H, W) of uint8, 0 or 1; index is wanted
 * layout    NCHW or NHWC
 * touches   all of y, index, closed and x
 * order     taps ascending; no sums
 * source    as of maxpool_fwd and gate_fwd */
static int FD(fd_maxpool_gated)(void *y, void *index, uint8_t *closed, const void *x, const fd_pool *plan,
                                int threads) {
    const FD(pool) pool = {.plan = *plan, .to = y, .from = x, .index = index, .closed = closed};
    return FD(pool_run_with)(FD(maxpool_gated_task), pool, threads);
}

FD_INLINE void FD(max_scatter)(const FD(pool) *pool, const FD(place) *at, int64_t y, int64_t x, int64_t n,
                               int64_t lane) {
    const int narrow = pool->taps <= 256;
    for (int64_t l = 0; l < n; l++) {
        const int64_t offset = narrow ? pool->offset[((const uint8_t *)pool->index)[y + l]]
                                      : FD(pool_offset)(pool, ((const int32_t *)pool->index)[y + l]);
        const int64_t cell = x + l * lane + offset;
        const int own = cell >= at->own_begin && cell < at->own_end; /* at random: a branch would be guessed wrong */
        pool->to[own ? cell : at->own_begin] += own ? pool->from[y + l] : 0;
    }
}

FD_INLINE void FD(max_scatter_row)(const FD(pool) *pool, FD(place) *at, int64_t y, int64_t x) {
    FD(pool_blocks)(pool, at, y, x, FD(max_scatter));
}

/* The cells of n windows of two columns, each in one window: they are written, and none is read. */
FD_INLINE void FD(max_paired_block)(const FD(pool) *pool, int64_t y, int64_t x, int64_t n) {
    const int64_t *size = pool->plan.size, *step = pool->step;
    const V dy = vload_upto(pool->from + y, n) + VC(0); /* what is added to 0 is never -0 */
    uint8_t index[VL] = {0};
    memcpy(index, (const uint8_t *)pool->index + y, (size_t)n);
    const I winner = vwide(index);
    for (int64_t d = 0; d < size[0]; d++)
        for (int64_t h = 0; h < size[1]; h++) {
            const TI tap = (TI)((d * size[1] + h) * 2);
            const V left = (V)((I)dy & (I)(winner == tap)), right = (V)((I)dy & (I)(winner == tap + 1));
            T *cells = pool->to + x + d * step[0] + h * step[1];
            FD(ask_ahead)(cells), FD(ask_ahead)(cells + VL);
            vstore_upto(cells, vinterleave_low(left, right), 2 * n);
            if (2 * n > VL) vstore_upto(cells + VL, vinterleave_high(left, right), 2 * n - VL);
        }
}

static void FD(max_paired_row)(const FD(pool) *pool, int64_t y, int64_t x, int64_t columns) {
    int64_t c = 0;
    for (; c + VL <= columns; c += VL) FD(max_paired_block)(pool, y + c, x + 2 * c, VL);
    if (c < columns) FD(max_paired_block)(pool, y + c, x + 2 * c, columns - c);
}

static void FD(maxpool_bwd_task)(void *arg, int64_t task, void *scratch) {
    const FD(pool) *pool = arg;
    if (pool->paired)
        FD(pool_whole)(pool, task, FD(max_paired_row));
    else
        FD(pool_walk)(pool, task, scratch, 1, FD(max_scatter_row));
}

/* computes  dx[n, c, o*stride + index[n, c, o] - pad] += dy[n, c, o], from zero
 * shapes    dx (N, C, D, H, W); dy, index (N, C, OD, OH, OW)
 * layout    NCHW or NHWC; index as maxpool_fwd wrote it
 * touches   all of dx, dy and index
 * order     outputs ascending
 * source    the adjoint of maxpool_fwd */
static int FD(fd_maxpool_bwd)(void *dx, const void *dy, const void *index, const fd_pool *plan, int threads) {
    return FD(pool_run)(FD(maxpool_bwd_task), plan, dx, dy, (void *)index, threads);
}

/* The outputs of a block, shared out over the cells of their windows that are in the strip. */
FD_INLINE void FD(share_block)(const FD(pool) *pool, const FD(place) *at, int64_t y, int64_t x, int64_t n,
                               int64_t lane) {
    const int64_t *size = pool->plan.size, *step = pool->step, *begin = at->begin, *end = at->end;
    const V best = vload_upto(pool->y + y, n);
    V count = {0};
    for (int64_t d = 0; d < size[0]; d++)
        for (int64_t h = 0; h < size[1]; h++)
            for (int64_t w = 0; w < size[2]; w++) {
                const V v = vload_step(pool->x + (x + d * step[0] + h * step[1] + w * step[2]), lane, n);
                count += (V)((I)(v == best) & (I)VC(1));
            }
    const V share = vload_upto(pool->from + y, n) / count, none = (V)((I)(count == VC(0)) & (I)VC(NAN));
    for (int64_t d = begin[0]; d < end[0]; d++)
        for (int64_t h = begin[1]; h < end[1]; h++)
            for (int64_t w = begin[2]; w < end[2]; w++) {
                const int64_t cell = x + d * step[0] + h * step[1] + w * step[2];
                const V v = vload_step(pool->x + cell, lane, n);
                vstore_step(pool->to + cell, vselect((I)(v == best), share, none), lane, n);
            }
}

FD_INLINE void FD(share_row)(const FD(pool) *pool, FD(place) *at, int64_t y, int64_t x) {
    FD(pool_blocks)(pool, at, y, x, FD(share_block));
}

/* The same for two columns a window, whose cells are then neighbours. */
static void FD(share_paired_row)(const FD(pool) *pool, int64_t y, int64_t x, int64_t columns) {
    const int64_t *size = pool->plan.size, *step = pool->step;
    for (int64_t c = 0; c < columns; c += VL) {
        const int64_t n = FD(least)(columns - c, VL);
        const V best = vload_upto(pool->y + y + c, n), one = VC(1);
        V count = {0};
        for (int64_t d = 0; d < size[0]; d++)
            for (int64_t h = 0; h < size[1]; h++) {
                const T *cells = pool->x + x + d * step[0] + h * step[1] + 2 * c;
                const V left = vload_step(cells, 2, n), right = vload_step(cells + 1, 2, n);
                count += (V)((I)(left == best) & (I)one) + (V)((I)(right == best) & (I)one);
            }
        const V share = vload_upto(pool->from + y + c, n) / count, none = (V)((I)(count == VC(0)) & (I)VC(NAN));
        for (int64_t d = 0; d < size[0]; d++)
            for (int64_t h = 0; h < size[1]; h++) {
                const int64_t at = x + d * step[0] + h * step[1] + 2 * c;
                const V left = vselect((I)(vload_step(pool->x + at, 2, n) == best), share, none);
                const V right = vselect((I)(vload_step(pool->x + at + 1, 2, n) == best), share, none);
                vstore_upto(pool->to + at, vinterleave_low(left, right), 2 * n);
                if (2 * n > VL) vstore_upto(pool->to + at + VL, vinterleave_high(left, right), 2 * n - VL);
            }
    }
}

static void FD(maxpool_share_task)(void *arg, int64_t task, void *scratch) {
    const FD(pool) *pool = arg;
    if (pool->paired)
        FD(pool_whole)(pool, task, FD(share_paired_row));
    else
        FD(pool_walk)(pool, task, scratch, 1, FD(share_row));
}

/* computes  dx[n, c, o*stride + k] = (dy[n, c, o] where x of that cell equals y[n, c, o], else 0), divided by the
 *           number of such cells in the window: 0 / 0 where y is NaN
 * shapes    dx, x (N, C, D, H, W); dy, y (N, C, OD, OH, OW); windows tile x
 * layout    NCHW or NHWC
 * touches   all of dx, dy, x and y
 * order     no sums
 * source    none: a subgradient of maxpool_fwd that treats equals alike */
static int FD(fd_maxpool_share)(void *dx, const void *dy, const void *x, const void *y, const fd_pool *plan,
                                int threads) {
    const FD(pool) pool = {.plan = *plan, .to = dx, .from = dy, .x = x, .y = y};
    return FD(pool_run_with)(FD(maxpool_share_task), pool, threads);
}
