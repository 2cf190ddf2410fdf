/* simd.h: the vector vocabulary of one instance, whose FD_ISA and FD_TYPE are set.
 *
 * T element, V vector of VL elements, I its integer twin (comparisons give all-ones or zero lanes of I).
 * GCC and Clang vector types supply + - * / and comparisons; the functions here supply the rest.
 *
 *   ISA      vector    fused multiply-add   tails
 *   generic  16 bytes  no (x86-64 baseline) element by element
 *   avx2     32 bytes  yes                  masked load and store
 *   avx512   64 bytes  yes                  masked load and store
 *   neon     16 bytes  yes                  element by element
 */

#if FD_ISA == FD_AVX512
#define FD_ISA_NAME avx512
#define VBYTES 64
#elif FD_ISA == FD_AVX2
#define FD_ISA_NAME avx2
#define VBYTES 32
#elif FD_ISA == FD_NEON
#define FD_ISA_NAME neon
#define VBYTES 16
#else
#define FD_ISA_NAME generic
#define VBYTES 16
#endif

#if FD_TYPE == FD_TYPE_F64
#define T double
#define TI int64_t
#define FD_TYPE_NAME f64
#define FD_DTYPE FD_F64
#define TBYTES 8
#else
#define T float
#define TI int32_t
#define FD_TYPE_NAME f32
#define FD_DTYPE FD_F32
#define TBYTES 4
#endif

/* FD(name) is name_f32__avx512: a function's name says what it computes, on what, and with what. */
#define FD_PASTE_(name, type, isa) name##_##type##__##isa
#define FD_PASTE(name, type, isa) FD_PASTE_(name, type, isa)
#define FD(name) FD_PASTE(name, FD_TYPE_NAME, FD_ISA_NAME)

#define FD_INLINE static inline __attribute__((always_inline))

#define VL (VBYTES / TBYTES)
#define V FD(fd_vector)
#define I FD(fd_lanes)
#define VU FD(fd_vector_unaligned)
typedef T V __attribute__((vector_size(VBYTES)));
typedef TI I __attribute__((vector_size(VBYTES)));
typedef T VU __attribute__((vector_size(VBYTES), aligned(TBYTES), may_alias));

#define vload FD(vload)
#define vstore FD(vstore)
#define vheld FD(vheld)
#define vload_tail FD(vload_tail)
#define vstore_tail FD(vstore_tail)
#define vload_upto FD(vload_upto)
#define vstore_upto FD(vstore_upto)
#define vload_where FD(vload_where)
#define vrange FD(vrange)
#define vset1 FD(vset1)
#define vfma FD(vfma)
#define vselect FD(vselect)
#define vmin FD(vmin)
#define vmax FD(vmax)
#define vmax_nan FD(vmax_nan)
#define vsqrt FD(vsqrt)
#define vsum FD(vsum)
#define vsum_four FD(vsum_four)
#define vadd_wide FD(vadd_wide)
#define vsum_wide FD(vsum_wide)
#define vsum_lanes FD(vsum_lanes)
#define vmax_lanes FD(vmax_lanes)
#define vinterleave_low FD(vinterleave_low)
#define vinterleave_high FD(vinterleave_high)
#define vtranspose FD(vtranspose)
#define vload_step FD(vload_step)
#define vstore_step FD(vstore_step)
#define vwide FD(vwide)
#define vnarrow FD(vnarrow)

FD_INLINE int64_t FD(least)(int64_t a, int64_t b) { return a < b ? a : b; }
FD_INLINE int64_t FD(most)(int64_t a, int64_t b) { return a > b ? a : b; }
FD_INLINE int64_t FD(ceil_div)(int64_t a, int64_t b) { return a >= 0 ? (a + b - 1) / b : -(-a / b); } /* b > 0 */
FD_INLINE int64_t FD(whole)(int64_t a, int64_t unit) { return FD(ceil_div)(a, unit) * unit; } /* in whole units */

static inline V vload(const T *p) { return *(const VU *)p; }

static inline void vstore(T *p, V v) { *(VU *)p = v; }

/* v in a register: GCC would rather load what comes from memory again at each of its uses. */
static inline V vheld(V v) {
#if FD_ISA == FD_NEON
    __asm__("" : "+w"(v));
#elif FD_ISA == FD_AVX512
    __asm__("" : "+v"(v));
#else
    __asm__("" : "+x"(v));
#endif
    return v;
}

#define VC(x) vset1((T)(x)) /* a constant */

static inline V vset1(T x) { return x - (V){0}; } /* x - 0 keeps -0 and NaN */

/* The first n of VL elements, 0 <= n <= VL; the others are zero and their memory is not touched. */
static inline V vload_tail(const T *p, int64_t n) {
#if FD_ISA == FD_AVX512 && TBYTES == 4
    return (V)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1u), p);
#elif FD_ISA == FD_AVX512
    return (V)_mm512_maskz_loadu_pd((__mmask8)((1u << n) - 1u), p);
#elif FD_ISA == FD_AVX2 && TBYTES == 4
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return (V)_mm256_maskload_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lane));
#elif FD_ISA == FD_AVX2
    const __m256i lane = _mm256_setr_epi64x(0, 1, 2, 3);
    return (V)_mm256_maskload_pd(p, _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), lane));
#else
    V v = {0};
    for (int64_t i = 0; i < n; i++) v[i] = p[i];
    return v;
#endif
}

static inline void vstore_tail(T *p, V v, int64_t n) {
#if FD_ISA == FD_AVX512 && TBYTES == 4
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1u), (__m512)v);
#elif FD_ISA == FD_AVX512
    _mm512_mask_storeu_pd(p, (__mmask8)((1u << n) - 1u), (__m512d)v);
#elif FD_ISA == FD_AVX2 && TBYTES == 4
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    _mm256_maskstore_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lane), (__m256)v);
#elif FD_ISA == FD_AVX2
    const __m256i lane = _mm256_setr_epi64x(0, 1, 2, 3);
    _mm256_maskstore_pd(p, _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), lane), (__m256d)v);
#else
    for (int64_t i = 0; i < n; i++) p[i] = v[i];
#endif
}

/* The body of a loop over n elements in steps of VL: a whole vector, or in the last step what is left. */
static inline V vload_upto(const T *p, int64_t n) { return n >= VL ? vload(p) : vload_tail(p, n); }

static inline void vstore_upto(T *p, V v, int64_t n) {
    if (n >= VL)
        vstore(p, v);
    else
        vstore_tail(p, v, n);
}

/* All ones in lanes begin .. end - 1. */
static inline I vrange(int64_t begin, int64_t end) {
    I lane;
#pragma GCC unroll 16
    for (int i = 0; i < VL; i++) lane[i] = i;
    const TI low = (TI)(begin < 0 ? 0 : begin > VL ? VL : begin), high = (TI)(end < 0 ? 0 : end > VL ? VL : end);
    return (I)(lane >= low) & (I)(lane < high);
}

/* The elements whose lane of m is set; the others are zero. VL elements are there to be read. */
static inline V vload_where(const T *p, I m) {
#if FD_ISA == FD_AVX512 && TBYTES == 4
    return (V)_mm512_maskz_loadu_ps(_mm512_movepi32_mask((__m512i)m), p);
#elif FD_ISA == FD_AVX512
    return (V)_mm512_maskz_loadu_pd(_mm512_movepi64_mask((__m512i)m), p);
#else
    return (V)((I)vload(p) & m);
#endif
}

/* a * b + c, rounded once where the instruction set has it (the build says -ffp-contract=off: nothing fuses unasked).
 */
static inline V vfma(V a, V b, V c) {
#if FD_ISA == FD_AVX512 && TBYTES == 4
    return (V)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif FD_ISA == FD_AVX512
    return (V)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif FD_ISA == FD_AVX2 && TBYTES == 4
    return (V)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif FD_ISA == FD_AVX2
    return (V)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#elif FD_ISA == FD_NEON && TBYTES == 4
    return (V)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#elif FD_ISA == FD_NEON
    return (V)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
#else
    return a * b + c;
#endif
}

/* Lane by lane: m ? a : b, for m a comparison's result. */
static inline V vselect(I m, V a, V b) {
#if FD_ISA == FD_AVX2 && TBYTES == 4
    return (V)_mm256_blendv_ps((__m256)b, (__m256)a, (__m256)m);
#elif FD_ISA == FD_AVX2
    return (V)_mm256_blendv_pd((__m256d)b, (__m256d)a, (__m256d)m);
#else
    return (V)(((I)a & m) | ((I)b & ~m)); /* one blend on avx512: compilers see through it */
#endif
}

/* The smaller, the larger; b when either is NaN. */
static inline V vmin(V a, V b) {
#if FD_ISA == FD_AVX512 && TBYTES == 4
    return (V)_mm512_min_ps((__m512)a, (__m512)b);
#elif FD_ISA == FD_AVX512
    return (V)_mm512_min_pd((__m512d)a, (__m512d)b);
#elif FD_ISA == FD_AVX2 && TBYTES == 4
    return (V)_mm256_min_ps((__m256)a, (__m256)b);
#elif FD_ISA == FD_AVX2
    return (V)_mm256_min_pd((__m256d)a, (__m256d)b);
#else
    return vselect((I)(a < b), a, b);
#endif
}

static inline V vmax(V a, V b) {
#if FD_ISA == FD_AVX512 && TBYTES == 4
    return (V)_mm512_max_ps((__m512)a, (__m512)b);
#elif FD_ISA == FD_AVX512
    return (V)_mm512_max_pd((__m512d)a, (__m512d)b);
#elif FD_ISA == FD_AVX2 && TBYTES == 4
    return (V)_mm256_max_ps((__m256)a, (__m256)b);
#elif FD_ISA == FD_AVX2
    return (V)_mm256_max_pd((__m256d)a, (__m256d)b);
#else
    return vselect((I)(a > b), a, b);
#endif
}

/* The larger; NaN when either is NaN. */
static inline V vmax_nan(V a, V b) { return vselect((I)(a > b) | (I)(a != a), a, b); }

static inline V vsqrt(V a) {
#if FD_ISA == FD_AVX512 && TBYTES == 4
    return (V)_mm512_sqrt_ps((__m512)a);
#elif FD_ISA == FD_AVX512
    return (V)_mm512_sqrt_pd((__m512d)a);
#elif FD_ISA == FD_AVX2 && TBYTES == 4
    return (V)_mm256_sqrt_ps((__m256)a);
#elif FD_ISA == FD_AVX2
    return (V)_mm256_sqrt_pd((__m256d)a);
#elif defined(FD_X86) && TBYTES == 4
    return (V)_mm_sqrt_ps((__m128)a);
#elif defined(FD_X86)
    return (V)_mm_sqrt_pd((__m128d)a);
#elif FD_ISA == FD_NEON && TBYTES == 4
    return (V)vsqrtq_f32((float32x4_t)a);
#elif FD_ISA == FD_NEON
    return (V)vsqrtq_f64((float64x2_t)a);
#else
    for (int64_t i = 0; i < VL; i++) a[i] = TBYTES == 4 ? (T)sqrtf((float)a[i]) : (T)sqrt((double)a[i]);
    return a;
#endif
}

/* Lanes of a and b by number: 0 .. VL-1 are a's, VL .. 2*VL-1 are b's. */
#ifdef __clang__
#define VSHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define VSHUFFLE(a, b, ...) __builtin_shuffle(a, b, (I){__VA_ARGS__})
#endif

/* The lower, or upper, halves of a and b, lane by lane in turn. */
static inline V vinterleave_low(V a, V b) {
#if VL == 16
    return VSHUFFLE(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
#elif VL == 8
    return VSHUFFLE(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
#elif VL == 4
    return VSHUFFLE(a, b, 0, 4, 1, 5);
#else
    return VSHUFFLE(a, b, 0, 2);
#endif
}

static inline V vinterleave_high(V a, V b) {
#if VL == 16
    return VSHUFFLE(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
#elif VL == 8
    return VSHUFFLE(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
#elif VL == 4
    return VSHUFFLE(a, b, 2, 6, 3, 7);
#else
    return VSHUFFLE(a, b, 1, 3);
#endif
}

/* Transpose a square of VL vectors in place: log2(VL) rounds of perfect shuffles. */
static inline void vtranspose(V square[VL]) {
    V other[VL];
#pragma GCC unroll 4
    for (int round = 1; round < VL; round *= 2) {
#pragma GCC unroll 8
        for (int i = 0; i < VL / 2; i++) {
            other[2 * i] = vinterleave_low(square[i], square[i + VL / 2]);
            other[2 * i + 1] = vinterleave_high(square[i], square[i + VL / 2]);
        }
#pragma GCC unroll 16
        for (int i = 0; i < VL; i++) square[i] = other[i];
    }
}

/* The first n of VL elements p[0], p[step], p[2*step] ...; nothing else is touched. */
static inline V vload_step(const T *p, int64_t step, int64_t n) {
    if (step == 1) return vload_upto(p, n);
    if (step == 2) { /* the second load starts one early, and so ends on the last element wanted */
        const V a = n == VL ? vload(p) : vload_tail(p, 2 * n - 1 < VL ? 2 * n - 1 : VL);
        const V b = n == VL ? vload(p + VL - 1) : vload_tail(p + VL - 1, 2 * n > VL ? 2 * n - VL : 0);
#if VL == 16
        return VSHUFFLE(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 17, 19, 21, 23, 25, 27, 29, 31);
#elif VL == 8
        return VSHUFFLE(a, b, 0, 2, 4, 6, 9, 11, 13, 15);
#elif VL == 4
        return VSHUFFLE(a, b, 0, 2, 5, 7);
#else
        return VSHUFFLE(a, b, 0, 3);
#endif
    }
    T lane[VL] = {0};
    for (int64_t i = 0; i < n; i++) lane[i] = p[i * step];
    return vload(lane);
}

/* p[i * step] = v[i] for i < n; nothing between them is touched. */
static inline void vstore_step(T *p, V v, int64_t step, int64_t n) {
    if (step == 1) {
        vstore_upto(p, v, n);
#if FD_ISA == FD_AVX512
    } else if (step == 2) {
        const uint32_t even = 0x55555555u & (uint32_t)((1ull << 2 * n) - 1);
        const V low = vinterleave_low(v, v), high = vinterleave_high(v, v);
#if TBYTES == 4
        _mm512_mask_storeu_ps(p, (__mmask16)even, (__m512)low);
        _mm512_mask_storeu_ps(p + VL, (__mmask16)(even >> VL), (__m512)high);
#else
        _mm512_mask_storeu_pd(p, (__mmask8)even, (__m512d)low);
        _mm512_mask_storeu_pd(p + VL, (__mmask8)(even >> VL), (__m512d)high);
#endif
#endif
    } else {
        T lane[VL];
        vstore(lane, v);
        for (int64_t i = 0; i < n; i++) p[i * step] = lane[i];
    }
}

/* The sum, or the largest, of all lanes, in every lane, by a fixed tree: the upper half meets the lower half until
 * one value is left. The largest is any number when a lane is NaN. */
static inline V vsum_lanes(V v) {
#pragma GCC unroll 4
    for (int half = VL / 2; half > 0; half /= 2) v = vinterleave_low(v, v) + vinterleave_high(v, v);
    return v;
}

static inline V vmax_lanes(V v) {
#pragma GCC unroll 4
    for (int half = VL / 2; half > 0; half /= 2) v = vmax(vinterleave_low(v, v), vinterleave_high(v, v));
    return v;
}

static inline T vsum(V v) { return vsum_lanes(v)[0]; }

/* sum[i] = vsum(v[i]), by the same tree: what one half of a vector leaves free, another one fills. */
static inline void vsum_four(T sum[4], const V v[4]) {
    V two[2];
    for (int i = 0; i < 2; i++)
        two[i] = vinterleave_low(v[2 * i], v[2 * i + 1]) + vinterleave_high(v[2 * i], v[2 * i + 1]);
#if VL == 2
    for (int i = 0; i < 4; i++) sum[i] = two[i / 2][i % 2];
#else
    V four = vinterleave_low(two[0], two[1]) + vinterleave_high(two[0], two[1]);
#pragma GCC unroll 4
    for (int half = VL / 8; half > 0; half /= 2) four = vinterleave_low(four, four) + vinterleave_high(four, four);
    sum[0] = four[0], sum[1] = four[VL / 2], sum[2] = four[VL / 4], sum[3] = four[3 * VL / 4];
#endif
}

/* VL bytes as lanes of I, and the lowest byte of each lane. GCC takes the conversion of vectors apart. */
typedef uint8_t FD(bytes) __attribute__((vector_size(VL)));

static inline I vwide(const uint8_t *p) {
#if FD_ISA == FD_AVX512 && TBYTES == 4
    return (I)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p));
#elif FD_ISA == FD_AVX512
    return (I)_mm512_cvtepu8_epi64(_mm_loadl_epi64((const __m128i *)p));
#elif FD_ISA == FD_AVX2 && TBYTES == 4
    return (I)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p));
#elif FD_ISA == FD_AVX2
    int four;
    memcpy(&four, p, sizeof four);
    return (I)_mm256_cvtepu8_epi64(_mm_cvtsi32_si128(four));
#else
    FD(bytes) narrow;
    memcpy(&narrow, p, sizeof narrow);
    return __builtin_convertvector(narrow, I);
#endif
}

static inline FD(bytes) vnarrow(I lanes) {
#if FD_ISA == FD_AVX512 && TBYTES == 4
    return (FD(bytes))_mm512_cvtepi32_epi8((__m512i)lanes);
#elif FD_ISA == FD_AVX512
    const int64_t eight = _mm_cvtsi128_si64(_mm512_cvtepi64_epi8((__m512i)lanes));
    FD(bytes) narrow;
    memcpy(&narrow, &eight, sizeof narrow);
    return narrow;
#else
    return __builtin_convertvector(lanes, FD(bytes));
#endif
}

/* Sums in double precision, a pair of vectors for the lanes of one. */
typedef double FD(fd_doubles) __attribute__((vector_size(VBYTES)));
typedef struct {
    FD(fd_doubles) of[2];
} FD(fd_wide);

static inline void vadd_wide(FD(fd_wide) *sum, V v) {
#if TBYTES == 8
    sum->of[0] += v;
#elif FD_ISA == FD_AVX512
    sum->of[0] += (FD(fd_doubles))_mm512_cvtps_pd(_mm512_castps512_ps256((__m512)v));
    sum->of[1] += (FD(fd_doubles))_mm512_cvtps_pd(_mm512_extractf32x8_ps((__m512)v, 1));
#elif FD_ISA == FD_AVX2
    sum->of[0] += (FD(fd_doubles))_mm256_cvtps_pd(_mm256_castps256_ps128((__m256)v));
    sum->of[1] += (FD(fd_doubles))_mm256_cvtps_pd(_mm256_extractf128_ps((__m256)v, 1));
#else
    for (int i = 0; i < 4; i++) sum->of[i / 2][i % 2] += (double)v[i];
#endif
}

/* The sum of all of them, from the first to the last. */
static inline double vsum_wide(FD(fd_wide) sum) {
    double total = 0;
    for (int i = 0; i < VL; i++) total += sum.of[i / (VBYTES / 8)][i % (VBYTES / 8)];
    return total;
}
