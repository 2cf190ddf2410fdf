/* depthwise_halve.h: 3x3 taps with stride 2 of each channel on its own, channels first, in all passes: what halves the
 * images of a small network.
 *
 * # Design: rows of the larger side are met one after the other, and each is loaded once: its vectors are parted into
 * every second column, which are the taps' sources, or put together from two. What waits for the next row is one sum a
 * vector, and the sums of all taps where weights are asked for. A task does not know strands or reaches, which for
 * planes of a few vectors would take as long as the sums themselves.
 *
 * Order of summation: bias, rows ascending and in them columns; one accumulator an output. Weights: a part's images and
 * in them bands of rows, vectors of columns and rows, then as depthwise_dw.h.
 */

/* Every second lane of a and b, one lane after the other; the lanes after lane 0 of a, and lane 0 of b. */
#if VL == 16
#define HALVE_EVEN 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define HALVE_ODD 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#define HALVE_NEXT 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16
#elif VL == 8
#define HALVE_EVEN 0, 2, 4, 6, 8, 10, 12, 14
#define HALVE_ODD 1, 3, 5, 7, 9, 11, 13, 15
#define HALVE_NEXT 1, 2, 3, 4, 5, 6, 7, 8
#elif VL == 4
#define HALVE_EVEN 0, 2, 4, 6
#define HALVE_ODD 1, 3, 5, 7
#define HALVE_NEXT 1, 2, 3, 4
#else
#define HALVE_EVEN 0, 2
#define HALVE_ODD 1, 3
#define HALVE_NEXT 1, 2
#endif

/* One band of rows of one plane, for these kernels and that of depthwise_dw.h: `source` and `out` are rows of x and y,
 * or in dx of dy and dx, at row 0. */
typedef struct {
    const T *source;
    T *out;
    int64_t first, last;   /* rows of out */
    int64_t height, width; /* of the source */
    int64_t ahead, beyond; /* elements to where the next band is read, and written or, of dw, its dy read */
} FD(half_band);

/* The vectors of one row of x that three columns meet, lane by lane two apart. */
FD_INLINE void FD(half_columns)(V at[3], const T *row, const FD(lanes) inside[3]) {
    const V a = vload(row), b = vload(row + VL);
    at[0] = VSHUFFLE(a, b, HALVE_EVEN);
    at[1] = VSHUFFLE(a, b, HALVE_ODD);
    at[2] = VSHUFFLE(at[0], vset1(row[2 * VL]), HALVE_NEXT);
#pragma GCC unroll 3
    for (int u = 0; u < 3; u++) at[u] = vheld(FD(strand_inside)(at[u], inside[u]));
}

/* Which lanes of three columns exist, of n outputs from `lane` on. */
FD_INLINE void FD(half_inside)(FD(lanes) inside[3], int64_t lane, int64_t n, int64_t pad, int64_t width) {
#pragma GCC unroll 3
    for (int u = 0; u < 3; u++) {
        const int64_t edge = u - pad; /* lane + i meets column 2 * (lane + i) + edge */
        inside[u] = FD(lanes_of)(vrange(((1 - edge) >> 1) - lane, FD(least)(((width - edge + 1) >> 1) - lane, n)));
    }
}

FD_INLINE V FD(half_row)(V sum, const V weight[3], const V at[3], const FD(lanes) inside[3]) {
#pragma GCC unroll 3
    for (int u = 0; u < 3; u++) sum = FD(strand_add)(weight[u], at[u], sum, inside[u], LANES_COLUMNS);
    return sum;
}

/* Two vectors of each of two rows, which a later band meets: the processor's own prefetching begins anew with each
 * plane. */
FD_INLINE void FD(half_ask)(const T *row, int64_t step, const int written) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        const T *at = row + i / 2 * step + i % 2 * VL;
        if (written)
            __builtin_prefetch(at, 1);
        else
            __builtin_prefetch(at);
    }
}

FD_INLINE V FD(half_end)(V sum, int act) { return act == FD_RELU ? FD(vact)(sum, FD_RELU, (V){0}) : sum; }

static void FD(half_fwd)(const FD(depthwise) *g, const FD(half_band) *h, const T *w, T bias) {
    const fd_conv *p = g->p;
    const int64_t width = p->out[2], n = FD(least)(width, VL), step = h->width;
    const V start = vset1(bias);
    V weight[3][3];
#pragma GCC unroll 9
    for (int t = 0; t < 9; t++) weight[t / 3][t % 3] = vset1(w[t]);
    for (int64_t l = 0; l < width; l += VL) {
        const int64_t lane = FD(least)(l, width - n); /* the last vector begins early */
        FD(lanes) inside[3];
        FD(half_inside)(inside, lane, n, p->pad[2], h->width);
        int64_t y = 2 * h->first - p->pad[1];
        const T *row = h->source + y * step + 2 * lane - p->pad[2];
        T *to = h->out + h->first * width + lane;
        V at[3], sum = start;
        if (y >= 0 && y < h->height) {
            FD(half_columns)(at, row, inside);
            sum = FD(half_row)(sum, weight[0], at, inside);
        }
        for (int64_t i = h->first; i < h->last; i++, y += 2, row += 2 * step, to += width) {
            V next = start;
            FD(half_ask)(row + step + h->ahead, step, 0);
            __builtin_prefetch(to + h->beyond, 1);
            if (y + 1 >= 0 && y + 1 < h->height) {
                FD(half_columns)(at, row + step, inside);
                sum = FD(half_row)(sum, weight[1], at, inside);
            }
            if (y + 2 >= 0 && y + 2 < h->height) {
                FD(half_columns)(at, row + 2 * step, inside);
                sum = FD(half_row)(sum, weight[2], at, inside);
                next = FD(half_row)(next, weight[0], at, inside);
            }
            vstore_upto(to, FD(half_end)(sum, g->act), n);
            sum = next;
        }
    }
}

FD_INLINE void FD(half_pair)(T *to, V even, V odd, int64_t n, int act) {
    even = FD(half_end)(even, act);
    odd = FD(half_end)(odd, act);
    vstore_upto(to, vinterleave_low(even, odd), n);
    if (n > VL) vstore_upto(to + VL, vinterleave_high(even, odd), n - VL);
}

/* Row r of dy meets rows 2r - pad .. 2r + 2 - pad of dx, of which the last one waits for the next row of dy. In each,
 * two columns meet at every second one of dx (`twice`), and the middle column at the others (`once`); odd: those are
 * the even ones. */
FD_INLINE void FD(half_dx)(const FD(depthwise) *g, const FD(half_band) *h, const T *w, T bias, const int odd) {
    const fd_conv *p = g->p;
    const int64_t width = p->in[2], pairs = (width + 1) / 2, step = h->width;
    const int64_t edge = (p->pad[2] + 1) / 2 - 1; /* pair m meets columns m + edge and m + edge + 1 of dy */
    const V start = vset1(bias);
    V weight[3][3];
#pragma GCC unroll 9
    for (int t = 0; t < 9; t++) weight[t / 3][t % 3] = vset1(w[t]);
    const int64_t begin = (h->first + p->pad[1]) >> 1, end = (h->last - 1 + p->pad[1]) >> 1;
    const int64_t before = (h->first + p->pad[1] - 1) >> 1; /* whose sums the first row of dx waits for */
    for (int64_t l = 0; l < pairs; l += VL) {
        const int64_t lane = FD(least)(l, FD(most)(pairs - VL, 0)), n = width - 2 * lane;
        FD(lanes) inside[2];
#pragma GCC unroll 2
        for (int j = 0; j < 2; j++) inside[j] = FD(lanes_of)(vrange(-edge - j - lane, step - edge - j - lane));
        const T *row = h->source + before * step + lane + edge;
        int64_t y = 2 * begin - p->pad[1];
        T *to = h->out + y * width + 2 * lane;
        V twice = start, once = start;
        for (int64_t r = before; r <= end; r++, row += step) {
            V twice_next = start, once_next = start, twice_middle = start, once_middle = start;
            if (r >= 0 && r < h->height) {
                const V near = vheld(FD(strand_inside)(vload(row), inside[0]));
                const V far = vheld(FD(strand_inside)(vload(row + 1), inside[1]));
                const V middle = odd ? near : far;
                const FD(lanes) within = odd ? inside[0] : inside[1];
#define ADD(weight, v, inside, sum) sum = FD(strand_add)(weight, v, sum, inside, LANES_COLUMNS)
                ADD(weight[0][2], near, inside[0], twice);
                ADD(weight[0][0], far, inside[1], twice);
                ADD(weight[0][1], middle, within, once);
                ADD(weight[1][2], near, inside[0], twice_middle);
                ADD(weight[1][0], far, inside[1], twice_middle);
                ADD(weight[1][1], middle, within, once_middle);
                ADD(weight[2][2], near, inside[0], twice_next);
                ADD(weight[2][0], far, inside[1], twice_next);
                ADD(weight[2][1], middle, within, once_next);
#undef ADD
            }
            if (r >= begin) {
                __builtin_prefetch(row + h->ahead);
                FD(half_ask)(to + h->beyond, width, 1);
                if (y >= h->first && y < h->last) FD(half_pair)(to, odd ? once : twice, odd ? twice : once, n, g->act);
                if (y + 1 >= h->first && y + 1 < h->last)
                    FD(half_pair)(to + width, odd ? once_middle : twice_middle, odd ? twice_middle : once_middle, n,
                                  g->act);
                y += 2;
                to += 2 * width;
            }
            twice = twice_next;
            once = once_next;
        }
    }
}

/* The sums of nine taps, from memory into registers and back. */
FD_INLINE void FD(load_sums)(V acc[3][3], const T *sums) {
#pragma GCC unroll 9
    for (int t = 0; t < 9; t++) acc[t / 3][t % 3] = vload(sums + t * VL);
}

FD_INLINE void FD(store_sums)(T *sums, V acc[3][3]) {
#pragma GCC unroll 9
    for (int t = 0; t < 9; t++) vstore(sums + t * VL, acc[t / 3][t % 3]);
}

FD_INLINE void FD(half_products)(V sum[3], V dy, const V at[3], const FD(lanes) inside[3]) {
#pragma GCC unroll 3
    for (int u = 0; u < 3; u++) sum[u] = FD(strand_add)(dy, at[u], sum[u], inside[u], LANES_COLUMNS);
}

/* Adds to the sums of nine taps; not finite where an element of dy is not. */
static V FD(half_dw)(const FD(depthwise) *g, const FD(half_band) *h, const T *dy, T *sums) {
    const fd_conv *p = g->p;
    const int64_t width = p->out[2], step = h->width;
    V acc[3][3], check = {0};
    FD(load_sums)(acc, sums);
    for (int64_t lane = 0; lane < width; lane += VL) {
        const int64_t n = FD(least)(width - lane, VL);
        FD(lanes) inside[3];
        FD(half_inside)(inside, lane, n, p->pad[2], h->width);
        int64_t y = 2 * h->first - p->pad[1];
        const T *row = h->source + y * step + 2 * lane - p->pad[2], *from = dy + h->first * width + lane;
        V at[3], above = {0};
        for (int64_t i = h->first;; i++, y += 2, row += 2 * step, from += width) {
            const V here = i < h->last ? vheld(vload_upto(from, n)) : (V){0};
            check = vfma(here, (V){0}, check);
            FD(half_ask)(row + step + h->ahead, step, 0);
            __builtin_prefetch(from + h->beyond);
            if (y >= 0 && y < h->height) {
                FD(half_columns)(at, row, inside);
                if (i > h->first) FD(half_products)(acc[2], above, at, inside);
                if (i < h->last) FD(half_products)(acc[0], here, at, inside);
            }
            if (i == h->last) break;
            if (y + 1 >= 0 && y + 1 < h->height) {
                FD(half_columns)(at, row + step, inside);
                FD(half_products)(acc[1], here, at, inside);
            }
            above = here;
        }
    }
    FD(store_sums)(sums, acc);
    return check;
}

/* Band `number` of all planes of out, counted as in depthwise_sum.h: which rows, and where its source is found. Where
 * vectors would leave the array, the rows that are met are copied. */
static FD(half_band) FD(half_band_of)(const FD(depthwise) *g, int64_t plane, int64_t first, int64_t last, T *band) {
    const int64_t size = g->source[1] * g->source[2], begin = plane * size;
    const int64_t all = g->p->batch * g->p->in_channels * size, next = g->rows * g->target[2];
    FD(half_band) h = {.source = g->src + begin, .first = first, .last = last, .height = g->source[1]};
    h.width = g->source[2];
    const int64_t less = g->p->stride[1] * g->p->stride[2]; /* outputs than sources, or more of them */
    h.ahead = g->bands == 1 ? size : g->backward ? next / less : next * less;
    h.beyond = g->bands == 1 ? g->target[1] * g->target[2] : next;
    if (begin < g->before || begin + size + g->after > all) {
        int64_t low, high;
        FD(depthwise_rows)(g, first, last - 1, &low, &high);
        memcpy(band + g->before, h.source + low * h.width, (size_t)((high - low) * h.width) * sizeof(T));
        h.source = band + g->before - low * h.width;
    }
    return h;
}

static void FD(half_task)(void *arg, int64_t task, void *scratch) {
    const FD(depthwise) *g = arg;
    const fd_conv *p = g->p;
    const int64_t all = p->batch * p->in_channels * g->bands, size = g->target[1] * g->target[2];
    for (int64_t i = task * g->share; i < all && i < (task + 1) * g->share; i++) {
        const int64_t plane = FD(over)(i, g->bands), first = (i - plane * g->bands) * g->rows;
        const int64_t last = FD(least)(first + g->rows, g->target[1]), channel = plane % p->in_channels;
        FD(half_band) h = FD(half_band_of)(g, plane, first, last, scratch);
        const T *w = g->w + channel * 9, bias = g->bias == NULL ? 0 : g->bias[channel];
        h.out = g->out + plane * size;
        if (!g->backward)
            FD(half_fwd)(g, &h, w, bias);
        else if (p->pad[2] % 2 > 0)
            FD(half_dx)(g, &h, w, bias, 1);
        else
            FD(half_dx)(g, &h, w, bias, 0);
        FD(activate)(h.out + first * g->target[2], (last - first) * g->target[2], g);
    }
}
