/* softmax.h: softmax, and softmax with cross-entropy. */

/* Elements that one accumulator takes before it goes to the total: rounding grows by blocks. */
#define BLOCK (64 * VL)

/* ---- softmax ------------------------------------------------------------------------------------------------ */

/* Lanes from n on are fill. */
FD_INLINE V FD(vload_or)(const T *p, int64_t n, V fill) {
    static const T lane[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    if (n >= VL) return vload(p);
    return vselect((I)(vload(lane) < vset1((T)n)), vload_tail(p, n), fill);
}

#define CHAINS 4 /* maxima that are found side by side: each of the processor's takes some cycles */

/* The largest of x (n,), in every lane; NaN counts as the smallest. */
FD_INLINE V FD(largest_row)(const T *x, int64_t n) {
    V most[CHAINS];
    for (int i = 0; i < CHAINS; i++) most[i] = VC(-INFINITY);
    int64_t k = 0;
    for (; k + CHAINS * VL <= n; k += CHAINS * VL)
        for (int i = 0; i < CHAINS; i++) most[i] = vmax(vload(x + k + i * VL), most[i]);
    for (; k < n; k += VL) most[0] = vmax(FD(vload_or)(x + k, n - k, most[0]), most[0]);
    for (int i = 1; i < CHAINS; i++) most[0] = vmax(most[i], most[0]);
    return vmax_lanes(most[0]);
}

#define ROW_ASKS (8192 / TBYTES) /* elements of a row from which on the next is asked for meanwhile: two pages */

/* computes  largest = max_k x[k], y[k] = exp(x[k] - largest) unless y is NULL, and returns sum_k exp(x[k] - largest)
 * shapes    y, x (n,); y may be x
 * layout    contiguous
 * touches   exactly those elements; asks for the n after them, if those are many
 * order     lane k % VL, in blocks, then vsum
 * source    none; a NaN, or an infinite largest, makes the sum NaN and with it all that is divided by it */
FD_INLINE V FD(exp_row)(V *largest, T *y, const T *x, int64_t n) {
    const V most = FD(largest_row)(x, n);
    const int asks = n >= ROW_ASKS;
    V total = {0};
    for (int64_t k = 0; k < n;) {
        V sum = {0};
        for (const int64_t end = FD(least)(k + BLOCK, n / VL * VL); k < end; k += VL) {
            const V e = FD(vexp)(vload(x + k) - most);
            if (y != NULL) vstore(y + k, e);
            if (asks) __builtin_prefetch(x + k + n, 0, 2);
            if (asks && y != NULL) __builtin_prefetch(y + k + n, 1, 2);
            sum += e;
        }
        if (n - k < VL && k < n) {
            V e = FD(vexp)(FD(vload_or)(x + k, n - k, most) - most);
            e = (V)((I)e & vrange(0, n - k)); /* not exp(-Inf): what underflows takes long */
            if (y != NULL) vstore_upto(y + k, e, n - k);
            sum += e;
            k = n;
        }
        total += sum;
    }
    *largest = most;
    return vsum_lanes(total);
}

/* computes  sum_k a[k] * (b[k] - shift), or sum_k a[k] where b is NULL, in every lane
 * shapes    a, b (n,)
 * layout    contiguous
 * touches   exactly those elements
 * order     lane k % VL, in blocks, then vsum
 * source    none */
FD_INLINE V FD(sum_row)(const T *a, const T *b, int64_t n, V shift) {
    V total = {0};
    for (int64_t k = 0; k < n;) {
        V sum = {0};
        for (const int64_t end = FD(least)(k + BLOCK, n); k < end; k += VL) {
            V term = vload_upto(a + k, n - k);
            sum += b == NULL ? term : term * (vload_upto(b + k, n - k) - shift);
        }
        total += sum;
    }
    return vsum_lanes(total);
}

/* The sum over k of x[k] - largest, in every lane; in the order of sum_row. */
FD_INLINE V FD(sum_below)(const T *x, int64_t n, V largest) {
    V total = {0};
    for (int64_t k = 0; k < n;) {
        V sum = {0};
        for (const int64_t end = FD(least)(k + BLOCK, n); k < end; k += VL)
            sum += FD(vload_or)(x + k, n - k, largest) - largest;
        total += sum;
    }
    return vsum_lanes(total);
}

/* y[k] = a[k] * scale for k < n; y may be a. */
FD_INLINE void FD(scale_row)(T *y, const T *a, int64_t n, V scale) {
    for (int64_t k = 0; k < n; k += VL) vstore_upto(y + k, vload_upto(a + k, n - k) * scale, n - k);
}

/* out, a and b are (outer, n, inner). A task is some rows where inner is 1, else up to COLUMNS vectors of columns. */
typedef struct {
    T *out;
    const T *a, *b;
    int64_t outer, n, inner, share; /* share: rows a task */
    int log;
} FD(softmax);

#define COLUMNS 32

static void FD(softmax_rows)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    const FD(softmax) *s = arg;
    const int64_t end = FD(least)((task + 1) * s->share, s->outer), n = s->n;
    for (int64_t row = task * s->share; row < end; row++) {
        T *y = s->out + row * n;
        const T *x = s->a + row * n;
        V largest, total = FD(exp_row)(&largest, s->log ? NULL : y, x, n);
        if (!s->log) {
            FD(scale_row)(y, y, n, VC(1) / total);
            continue;
        }
        total = FD(vlog)(total);
        for (int64_t k = 0; k < n; k += VL) vstore_upto(y + k, vload_upto(x + k, n - k) - largest - total, n - k);
    }
}

static void FD(softmax_columns)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    const FD(softmax) *s = arg;
    const int64_t tiles = FD(pieces)(s->inner, COLUMNS * VL), n = s->n, inner = s->inner;
    const int64_t i = task % tiles * COLUMNS * VL, first = task / tiles * n * inner + i;
    const int64_t width = FD(least)(COLUMNS * VL, inner - i), end = n * inner;
    T *y = s->out + first;
    const T *x = s->a + first;
    V largest[COLUMNS], total[COLUMNS] = {{0}};
    for (int j = 0; j < COLUMNS; j++) largest[j] = VC(-INFINITY);
    for (int64_t k = 0; k < end; k += inner)
        for (int64_t j = 0; j * VL < width; j++)
            largest[j] = vmax(vload_upto(x + k + j * VL, width - j * VL), largest[j]);
    for (int64_t k = 0; k < end; k += inner)
        for (int64_t j = 0; j * VL < width; j++) {
            V e = FD(vexp)(vload_upto(x + k + j * VL, width - j * VL) - largest[j]);
            if (!s->log) vstore_upto(y + k + j * VL, e, width - j * VL);
            total[j] += e;
        }
    for (int64_t j = 0; j * VL < width; j++) total[j] = s->log ? FD(vlog)(total[j]) : VC(1) / total[j];
    for (int64_t k = 0; k < end; k += inner)
        for (int64_t j = 0; j * VL < width; j++) {
            const int64_t at = k + j * VL, left = width - j * VL;
            V v = s->log ? vload_upto(x + at, left) - largest[j] - total[j] : vload_upto(y + at, left) * total[j];
            vstore_upto(y + at, v, left);
        }
}

/* dx once the sum over the row is known. */
FD_INLINE V FD(softmax_dx)(V dy, V y, V sum, int log) { return log ? dy - FD(vexp)(y) * sum : y * (dy - sum); }

static void FD(softmax_bwd_rows)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    const FD(softmax) *s = arg;
    const int64_t end = FD(least)((task + 1) * s->share, s->outer), n = s->n;
    for (int64_t row = task * s->share; row < end; row++) {
        const T *dy = s->a + row * n, *y = s->b + row * n;
        V total = s->log ? FD(sum_row)(dy, NULL, n, (V){0}) : FD(sum_row)(dy, y, n, (V){0});
        for (int64_t k = 0; k < n; k += VL) {
            V dx = FD(softmax_dx)(vload_upto(dy + k, n - k), vload_upto(y + k, n - k), total, s->log);
            vstore_upto(s->out + row * n + k, dx, n - k);
        }
    }
}

static void FD(softmax_bwd_columns)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    const FD(softmax) *s = arg;
    const int64_t tiles = FD(pieces)(s->inner, COLUMNS * VL), inner = s->inner;
    const int64_t i = task % tiles * COLUMNS * VL, first = task / tiles * s->n * inner + i;
    const int64_t width = FD(least)(COLUMNS * VL, inner - i), end = s->n * inner;
    const T *dy = s->a + first, *y = s->b + first;
    V total[COLUMNS] = {{0}};
    for (int64_t k = 0; k < end; k += inner)
        for (int64_t j = 0; j * VL < width; j++) {
            const int64_t at = k + j * VL, left = width - j * VL;
            V term = vload_upto(dy + at, left);
            total[j] += s->log ? term : term * vload_upto(y + at, left);
        }
    for (int64_t k = 0; k < end; k += inner)
        for (int64_t j = 0; j * VL < width; j++) {
            const int64_t at = k + j * VL, left = width - j * VL;
            V dx = FD(softmax_dx)(vload_upto(dy + at, left), vload_upto(y + at, left), total[j], s->log);
            vstore_upto(s->out + first + at, dx, left);
        }
}

static int FD(softmax_run)(fd_task rows, fd_task columns, FD(softmax) s, int threads) {
    const int64_t n = s.outer * s.n * s.inner;
    if (n == 0) return FD_OK;
    threads = fd_threads_for(n / VL * EXP_WORK, threads);
    if (s.inner > 1) return fd_parallel(columns, &s, s.outer * FD(pieces)(s.inner, COLUMNS * VL), 0, threads);
    s.share = FD(most)(1, CHUNK / s.n);
    return fd_parallel(rows, &s, FD(pieces)(s.outer, s.share), 0, threads);
}

/* computes  y[o, k, i] = exp(x[o, k, i]) / sum over j of exp(x[o, j, i]), or with log its logarithm
 * shapes    y, x (outer, n, inner); y may be x
 * layout    row-major
 * touches   exactly those elements
 * order     exp_row where inner is 1, else k ascending
 * source    the largest is taken out first: Blanchard, Higham and Higham 2021 */
static int FD(fd_softmax_fwd)(void *y, const void *x, int64_t outer, int64_t n, int64_t inner, int log, int threads) {
    const FD(softmax) s = {y, x, x, outer, n, inner, 1, log};
    return FD(softmax_run)(FD(softmax_rows), FD(softmax_columns), s, threads);
}

/* computes  dx[k] = y[k] * (dy[k] - sum over j of dy[j] * y[j]); with log dx[k] = dy[k] - exp(y[k]) * sum of dy[j]
 * shapes    dx, dy, y (outer, n, inner)
 * layout    row-major
 * touches   exactly those elements
 * order     lane k % VL in blocks, then vsum, where inner is 1, else k ascending
 * source    none */
static int FD(fd_softmax_bwd)(void *dx, const void *dy, const void *y, int64_t outer, int64_t n, int64_t inner, int log,
                              int threads) {
    const FD(softmax) s = {dx, dy, y, outer, n, inner, 1, log};
    return FD(softmax_run)(FD(softmax_bwd_rows), FD(softmax_bwd_columns), s, threads);
}

/* ---- softmax cross-entropy ---------------------------------------------------------------------------------- */

/* What is right is in labels, or where that is NULL in target. */
typedef struct {
    T *losses, *out; /* out: probs forward, which may be NULL, dlogits backward */
    const T *in;     /* logits forward, probs backward */
    const int64_t *labels;
    const T *target, *scale;
    T smoothing;            /* the part of a label that goes to all classes alike */
    int64_t rows, n, share; /* share: rows a task */
} FD(xent);

/* loss = log(sum of exp) * weight - rest, of so many rows as a vector has lanes: one logarithm serves them all. */
static void FD(xent_task)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    const FD(xent) *s = arg;
    const int64_t end = FD(least)((task + 1) * s->share, s->rows), n = s->n;
    for (int64_t first = task * s->share; first < end; first += VL) {
        T total[VL], weight[VL], rest[VL];
        for (int i = 0; i < VL; i++) total[i] = 1, weight[i] = rest[i] = 0;
        for (int64_t row = first; row < FD(least)(first + VL, end); row++) {
            const T *x = s->in + row * n, *t = s->target + row * n;
            T *probs = s->out == NULL ? NULL : s->out + row * n;
            const int64_t i = row - first, label = s->labels == NULL ? 0 : s->labels[row];
            if (label < 0) {
                if (probs != NULL) memset(probs, 0, (size_t)n * sizeof(T));
                continue;
            }
            V largest, sum = FD(exp_row)(&largest, probs, x, n);
            if (probs != NULL) FD(scale_row)(probs, probs, n, VC(1) / sum);
            total[i] = sum[0];
            if (s->labels == NULL) {
                weight[i] = FD(sum_row)(t, NULL, n, largest)[0];
                rest[i] = FD(sum_row)(t, x, n, largest)[0];
                continue;
            }
            weight[i] = 1;
            rest[i] = (x[label] - largest[0]) * (1 - s->smoothing);
            if (s->smoothing != 0) rest[i] += FD(sum_below)(x, n, largest)[0] * (s->smoothing / (T)n);
        }
        const V loss = FD(vlog)(vload(total)) * vload(weight) - vload(rest);
        vstore_upto(s->losses + first, loss, end - first);
    }
}

static void FD(xent_bwd_task)(void *arg, int64_t task, void *scratch) {
    (void)scratch;
    const FD(xent) *s = arg;
    const int64_t end = FD(least)((task + 1) * s->share, s->rows), n = s->n;
    for (int64_t row = task * s->share; row < end; row++) {
        const T *probs = s->in + row * n, *t = s->target + row * n;
        T *dx = s->out + row * n;
        const V scale = vset1(s->scale[row]);
        if (s->labels != NULL && s->labels[row] < 0) {
            memset(dx, 0, (size_t)n * sizeof(T));
            continue;
        }
        if (s->labels != NULL) {
            const T even = s->smoothing / (T)n;
            for (int64_t k = 0; k < n; k += VL)
                vstore_upto(dx + k, (vload_upto(probs + k, n - k) - vset1(even)) * scale, n - k);
            const int64_t label = s->labels[row];
            dx[label] = (probs[label] - even - (1 - s->smoothing)) * s->scale[row];
            continue;
        }
        const V total = FD(sum_row)(t, NULL, n, scale);
        for (int64_t k = 0; k < n; k += VL)
            vstore_upto(dx + k, (vload_upto(probs + k, n - k) * total - vload_upto(t + k, n - k)) * scale, n - k);
    }
}

static int FD(xent_run)(fd_task task, FD(xent) s, int work, int threads) {
    if (s.rows * s.n == 0) return FD_OK;
    if (s.labels != NULL) s.target = s.in; /* not read */
    s.share = FD(most)(1, CHUNK / s.n);
    return fd_parallel(task, &s, FD(pieces)(s.rows, s.share), 0, fd_threads_for(s.rows * s.n / VL * work, threads));
}

/* computes  probs = softmax of each row of logits; losses[r] = the sum over k of target[r, k] * -log probs[r, k],
 *           from the logits, where a label stands for smoothing / n in every column and 1 - smoothing more in its
 *           own; of a label below 0 all is 0
 * shapes    losses (rows,), probs (or NULL), logits, target (rows, n), labels (rows,) of int64
 * layout    row-major
 * touches   exactly those elements
 * order     exp_row and sum_row
 * source    Blanchard, Higham and Higham 2021, Accurately computing the log-sum-exp and softmax functions */
static int FD(fd_softmax_xent_fwd)(void *losses, void *probs, const void *logits, const int64_t *labels,
                                   const void *target, double smoothing, int64_t rows, int64_t n, int threads) {
    const FD(xent) s = {losses, probs, logits, labels, target, NULL, (T)smoothing, rows, n, 1};
    return FD(xent_run)(FD(xent_task), s, EXP_WORK, threads);
}

/* computes  dlogits[r, k] = scale[r] * (probs[r, k] * (sum over j of target[r, j]) - target[r, k]), where a label
 *           stands for what it does forward
 * shapes    dlogits, probs, target (rows, n), labels (rows,) of int64, scale (rows,)
 * layout    row-major
 * touches   exactly those elements
 * order     sum_row
 * source    none */
static int FD(fd_softmax_xent_bwd)(void *dlogits, const void *probs, const int64_t *labels, const void *target,
                                   const void *scale, double smoothing, int64_t rows, int64_t n, int threads) {
    const FD(xent) s = {NULL, dlogits, probs, labels, target, scale, (T)smoothing, rows, n, 1};
    return FD(xent_run)(FD(xent_bwd_task), s, COPY_WORK, threads);
}
