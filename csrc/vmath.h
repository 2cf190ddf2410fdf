/* vmath.h: elementary functions and activations of a whole vector: no branch on a lane's value, no library call.
 *
 * NaN gives NaN and infinities give the limits. The largest errors, in units of the last place of the exact result,
 * on every instruction set, with or without fused multiply-add, and among subnormal results too:
 *
 *   1  vexp vlog      2  vexpm1      3  vlog1p vsoftplus vsigmoid vtanh      4  vnormal
 *
 * Polynomials are minimax fits, highest power first. Cody and Waite (1980) is the source of exp, fdlibm of log.
 */

#if TBYTES == 4
#define TU uint32_t
#define MANTISSA 23
#define EXPONENT_BIAS 127
#define ROUND 0x1.8p23f       /* t + ROUND has round(t) in its low bits, for |t| < 2^21 */
#define LN2_HIGH 0x1.62e4p-1f /* 15 bits: a multiple by an exponent is exact */
#define LN2_LOW 0x1.7f7d1cp-20f
#define EXP_MIN -104.0f /* exp is 0 below, Inf above */
#define EXP_MAX 89.0f
#define EXPM1_MIN -40.0f /* expm1 is -1 below */
#define NORMAL_MIN 0x1p-126f
#define SQUARE_BITS ~0xfff /* keeps 12 bits of a significand: its square is exact */
#define TAIL_MAX 14.99f    /* the normal distribution is 0 below -TAIL_MAX */
#else
#define TU uint64_t
#define MANTISSA 52
#define EXPONENT_BIAS 1023
#define ROUND 0x1.8p52
#define LN2_HIGH 0x1.62e42feep-1
#define LN2_LOW 0x1.a39ef35793c76p-33
#define EXP_MIN -746.0
#define EXP_MAX 710.0
#define EXPM1_MIN -80.0
#define NORMAL_MIN 0x1p-1022
#define SQUARE_BITS ~0x7ffffff
#define TAIL_MAX 39.0
#endif
#define U FD(fd_unsigned_lanes)
typedef TU U __attribute__((vector_size(VBYTES)));

/* ---- pieces ------------------------------------------------------------------------------------------------- */

static inline V FD(vabs)(V x) { return (V)((I)x & ~(I)VC(-0.0)); }

/* The magnitude of x with the sign of sign. */
static inline V FD(vcopysign)(V x, V sign) { return (V)(((I)x & ~(I)VC(-0.0)) | ((I)sign & (I)VC(-0.0))); }

static inline V FD(vpolynomial)(V x, const T *coefficient, int n) {
    V y = vset1(coefficient[0]);
#pragma GCC unroll 32
    for (int i = 1; i < n; i++) y = vfma(y, x, vset1(coefficient[i]));
    return y;
}

#define VPOLYNOMIAL(x, ...) \
    FD(vpolynomial)(x, (const T[]){__VA_ARGS__}, (int)(sizeof((const T[]){__VA_ARGS__}) / sizeof(T)))

/* m * 2^k, k whole: Inf above, gradually to 0 below. */
static inline V FD(vscale)(V m, V k) {
#if FD_ISA == FD_AVX512 && TBYTES == 4
    return (V)_mm512_scalef_ps((__m512)m, (__m512)k);
#elif FD_ISA == FD_AVX512
    return (V)_mm512_scalef_pd((__m512d)m, (__m512d)k);
#else
    /* 2^k may not be a normal number: two powers of half the size are, and only the last product rounds */
    V half = vfma(k, VC(0.5), VC(ROUND));
    V rest = k - (half - VC(ROUND)) + VC(ROUND);
    V power_half = (V)(((U)half << MANTISSA) + (U)VC(1));
    V power_rest = (V)(((U)rest << MANTISSA) + (U)VC(1));
    return m * power_half * power_rest;
#endif
}

/* p and k with exp(x - low) = (1 + p) * 2^k, p accurate near 0; EXP_MIN <= x - low <= EXP_MAX or NaN. */
static inline V FD(vexp_parts)(V *k, V x, V low) {
    *k = vfma(x, VC(0x1.71547652b82fep0), VC(ROUND)) - VC(ROUND);
    V r = vfma(*k, VC(-LN2_HIGH), x);
    r = vfma(*k, VC(-LN2_LOW), r) - low;
#if TBYTES == 4
    V q = VPOLYNOMIAL(r, 1.3870726e-3f, 8.366277e-3f, 4.1667435e-2f, 1.6666546e-1f, 0.49999997f);
#else
    V q = VPOLYNOMIAL(r, 2.092444795946678e-9, 2.5109046705565652e-8, 2.7557242753297895e-7, 2.7557244186874905e-6,
                      2.4801587360549777e-5, 1.98412698861417e-4, 1.3888888888866852e-3, 8.333333333321629e-3,
                      4.16666666666667e-2, 1.6666666666666677e-1, 0.5);
#endif
    return vfma(r * r, q, r);
}

#define SIXTEENTHS (FD_ISA == FD_AVX512 && TBYTES == 8)
#if SIXTEENTHS
/* table[n[i] % 16] in lane i. */
static inline V FD(vsixteen)(const T table[16], U n) {
    return (V)_mm512_permutex2var_pd(_mm512_loadu_pd(table), (__m512i)n, _mm512_loadu_pd(table + VL));
}

/* p, base and k with exp(x) = (1 + p) * base * 2^floor(k), EXP_MIN <= x <= EXP_MAX or NaN. base is near 2^(j/16), j the
 * sixteenths of k, and of 12 bits, so that nothing is rounded where 1 is taken from it; what is left of the
 * exponent is low, log(2^(j/16) / base). One instruction finds those of all lanes, and a sixteenth of an octave takes
 * half of the polynomial: where each step waits for the one before, that is much of the time. (Tang 1989, with a
 * table of 32) */
static inline V FD(vexp_based)(V *k, V *base, V x) {
    static const T high[16] = {1.0,         1.04443359375, 1.09033203125, 1.138671875,   1.18896484375, 1.24169921875,
                               1.296875,    1.3544921875,  1.4140625,     1.47705078125, 1.5419921875,  1.6103515625,
                               1.681640625, 1.75634765625, 1.833984375,   1.9150390625};
    static const T low[16] = {0,
                              -1.530241380106427e-4,
                              1.6113188923369093e-4,
                              1.0253504400515208e-4,
                              2.0374578269456562e-4,
                              1.2771466226167678e-4,
                              -0.2733172694657594e-4,
                              -1.7472322040242205e-4,
                              1.068229337640738e-4,
                              -1.520952405741972e-4,
                              1.4177919377682195e-4,
                              0.8616967481659203e-4,
                              0.9050603173596645e-4,
                              -0.5437333126996834e-4,
                              0.1292882119702242e-4,
                              0.8746117805554323e-4};
    const V t = vfma(x, VC(0x1.71547652b82fep0), VC(ROUND / 16));
    *k = t - VC(ROUND / 16);
    *base = FD(vsixteen)(high, (U)t);
    V r = vfma(*k, VC(-LN2_HIGH), x);
    r = vfma(*k, VC(-LN2_LOW), r) + FD(vsixteen)(low, (U)t);
    const V square = r * r, a = vfma(VC(0.1666666666666667), r, VC(0.5000000000000003));
    const V b = vfma(VC(0.0083333333326924), r, VC(0.04166666666151468));
    const V c = vfma(VC(0.00019841513543538653), r, VC(0.0013889098446486193));
    return vfma(square, vfma(square, vfma(square, c, b), a), r);
}
#else
/* p, base and k with exp(x) = (1 + p) * base * 2^k: there is no table, and base is 1. */
static inline V FD(vexp_based)(V *k, V *base, V x) {
    *base = VC(1);
    return FD(vexp_parts)(k, x, (V){0});
}
#endif

/* f and k with x = 2^k * (1 + f), sqrt(1/2) <= 1 + f < sqrt(2); x is positive and normal. */
static inline V FD(vlog_reduce)(V *k, V x) {
    const U root = (U)VC(0x1.6a09e667f3bcdp-1); /* where the significand's range begins */
    U bits = (U)x + ((U)VC(1) - root);
    *k = (V)((U)VC(ROUND) + (bits >> MANTISSA)) - VC(ROUND + EXPONENT_BIAS);
    return (V)((bits & (((TU)1 << MANTISSA) - 1)) + root) - VC(1);
}

/* log(2^k * (1 + f)), f and k of vlog_reduce: with s = f/(2+f) it is 2 atanh(s) + k log 2. */
static inline V FD(vlog_parts)(V f, V k) {
    V s = f / (VC(2) + f);
    V z = s * s;
#if TBYTES == 4
    V tail = z * VPOLYNOMIAL(z, 2.9880142e-1f, 3.9977303e-1f, 6.6666776e-1f);
#else
    V tail = z * VPOLYNOMIAL(z, 1.4803536597958886e-1, 1.5313434171642554e-1, 1.8183582065648493e-1,
                             2.2222198376211857e-1, 2.8571428742568394e-1, 3.999999999942425e-1, 6.666666666666731e-1);
#endif
    V half_square = VC(0.5) * f * f;
    V correction = vfma(s, half_square + tail, k * VC(LN2_LOW));
    return vfma(k, VC(LN2_HIGH), f - (half_square - correction));
}

#define SEGMENTS (FD_ISA == FD_AVX512 && TBYTES == 4)
#if SEGMENTS
#include "segments.h"
#endif

/* ---- functions ---------------------------------------------------------------------------------------------- */

static inline V FD(vexp)(V x) {
    V k, base, p = FD(vexp_based)(&k, &base, vmin(VC(EXP_MAX), vmax(VC(EXP_MIN), x)));
    return FD(vscale)(vfma(base, p, base), k);
}

/* exp(x) - 1, for x <= 0. */
static inline V FD(vexpm1)(V x) {
    V k, base, p = FD(vexp_based)(&k, &base, vmin(VC(EXP_MAX), vmax(VC(EXPM1_MIN), x)));
    V power = FD(vscale)(base, k);
    return vfma(power, p, power - VC(1));
}

static inline V FD(vlog)(V x) {
    I tiny = (I)(x < VC(NORMAL_MIN));
    V k, f = FD(vlog_reduce)(&k, vselect(tiny, x * VC((TU)1 << MANTISSA), x));
    V y = FD(vlog_parts)(f, k - (V)(tiny & (I)VC(MANTISSA)));
    y = vselect((I)(x < VC(INFINITY)), y, x);
    return vselect((I)(x <= VC(0)), vselect((I)(x < VC(0)), VC(NAN), VC(-INFINITY)), y);
}

/* log(1 + x), for x > -1. */
static inline V FD(vlog1p)(V x) {
    V u = VC(1) + x;
    V k, f = FD(vlog_reduce)(&k, u);
    V y = FD(vlog_parts)(vselect((I)(k == VC(0)), x, f), k); /* x, where u has rounded its last digits away */
    return vselect((I)(u < VC(INFINITY)), y, u);
}

static inline V FD(vsoftplus)(V x) { return (V)((I)x & ~(I)(x <= VC(0))) + FD(vlog1p)(FD(vexp)(-FD(vabs)(x))); }

static inline V FD(vtanh)(V x) {
#if SEGMENTS
    return (V)((I)FD(vtanh_segments)(FD(vabs)(x)) | ((I)x & (I)VC(-0.0)));
#else
    V e = FD(vexpm1)(VC(-2) * FD(vabs)(x));
    return FD(vcopysign)(e / (VC(2) + e), x);
#endif
}

static inline V FD(vsigmoid)(V x) {
    V e = FD(vexp)(-FD(vabs)(x));
    return vselect((I)(x >= VC(0)), VC(1), e) / (VC(1) + e);
}

/* The normal distribution function of x, and its density: with a = |x|, Phi(-a) = exp(-a^2/2) * P(q) / (a + c) and
 * q = (a - b) / (a + c), as Shepherd and Laframboise (1981) do for erfc. a^2 is kept to twice the precision, or exp
 * would magnify its rounding: Phi keeps its digits to where it underflows, while 1 + erf(x) cancels. */
static inline V FD(vnormal)(V x, V *density) {
    V a = vmin(VC(TAIL_MAX), FD(vabs)(x));
#if FD_ISA == FD_GENERIC
    V high = (V)((I)a & (SQUARE_BITS));
    V square = VC(-0.5) * high * high, rest = VC(0.5) * (a - high) * (a + high);
#else
    V half = VC(-0.5) * a, square = half * a, rest = vfma(-half, a, square); /* what rounding took, exactly */
#endif
    V k, p = FD(vexp_parts)(&k, square, rest);
#if SEGMENTS
    V g = FD(vmills_segments)(a);
#elif TBYTES == 4
    V d = VC(1) / (a + VC(3));
    V g = d * VPOLYNOMIAL((a - VC(2)) * d, 3.3738255e-4f, 1.15331524e-4f, -1.6470202e-3f, -1.8066376e-3f, 6.349139e-3f,
                          1.2451468e-2f, -3.4338452e-2f, -6.276395e-2f, 3.6768645e-1f, -7.2794694e-1f, 8.4051e-1f);
#else
    V d = VC(1) / (a + VC(3.5));
    V g = d * VPOLYNOMIAL((a - VC(2)) * d, 3.8383669083264825e-7, -8.981192906821114e-7, -8.386990447820398e-7,
                          2.084071692133429e-6, 2.6571091294294253e-6, -4.886967884671798e-7, -7.0786310603165784e-6,
                          -1.194693957048448e-5, 4.437109904364659e-6, 4.921328678346262e-5, 5.4917341237544944e-5,
                          -1.0772804319123585e-4, -3.441535691035535e-4, 4.2263082450417904e-5, 1.4732694022781033e-3,
                          9.781800999379025e-4, -6.304015764781911e-3, -6.513588484500545e-3, 3.5162127953087e-2,
                          1.4432951289538608e-2, -2.66057994963015e-1, 6.747994224185666e-1, -9.732719014140784e-1,
                          9.245610067274384e-1);
#endif
    *density = FD(vscale)(VC(0.3989422804014327) * (VC(1) + p), k);
    V below = FD(vscale)(vfma(g, p, g), k);
    return vselect((I)(x < VC(0)), below, VC(1) - below);
}

/* ---- activations -------------------------------------------------------------------------------------------- */

#define SELU_SCALE 1.0507009873554805 /* Klambauer et al., Self-Normalizing Neural Networks (2017) */
#define SELU_ALPHA 1.6732632423543772
#define GELU_SCALE 0.7978845608028654 /* sqrt(2/pi); Hendrycks and Gimpel (2016) */
#define GELU_CUBE 0.044715

/* What stands in for the normal distribution in gelu_tanh: (1 + tanh(u))/2 = sigmoid(2 u). */
static inline V FD(vnormal_tanh)(V x) {
    return FD(vsigmoid)(VC(2 * GELU_SCALE) * x * vfma(VC(GELU_CUBE) * x, x, VC(1)));
}

/* The activation `kind` (FD_LINEAR, ...) of each lane. Called with a constant kind, only that branch is left.
 * gelu and silu are products of x and a probability: 0 * Inf makes them NaN at -Inf. */
FD_INLINE V FD(vact)(V x, int kind, V alpha) {
    I gate = (I)(x <= VC(0));
    V density;
    switch (kind) {
    case FD_RELU: return (V)((I)x & ~gate); /* NaN passes, -0 becomes 0 */
    case FD_LEAKY_RELU: return vselect(gate, alpha * x, x);
    case FD_ELU: return vselect(gate, alpha * FD(vexpm1)(x), x);
    case FD_SELU: return vselect(gate, VC(SELU_SCALE * SELU_ALPHA) * FD(vexpm1)(x), VC(SELU_SCALE) * x);
    case FD_SIGMOID: return FD(vsigmoid)(x);
    case FD_TANH: return FD(vtanh)(x);
    case FD_SOFTPLUS: return FD(vsoftplus)(x);
    case FD_GELU: return x * FD(vnormal)(x, &density);
    case FD_GELU_TANH: return x * FD(vnormal_tanh)(x);
    case FD_SILU: return x * FD(vsigmoid)(x);
    default: return x;
    }
}

/* dx = dy * act'(x), from what forward saved: x for gelu, gelu_tanh and silu, y for the others. */
FD_INLINE V FD(vact_bwd)(V dy, V saved, int kind, V alpha) {
    I gate = (I)(saved <= VC(0));
    V density, phi, q;
    switch (kind) {
    case FD_RELU: return (V)((I)dy & ~gate); /* not a product: no NaN of dy passes a closed gate */
    case FD_LEAKY_RELU: return vselect(gate, alpha * dy, dy);
    case FD_ELU: return vselect(gate, (saved + alpha) * dy, dy);
    case FD_SELU: return vselect(gate, saved + VC(SELU_SCALE * SELU_ALPHA), VC(SELU_SCALE)) * dy;
    case FD_SIGMOID: return saved * (VC(1) - saved) * dy;
    case FD_TANH: return (VC(1) - saved) * (VC(1) + saved) * dy;
    case FD_SOFTPLUS: return -FD(vexpm1)(-saved) * dy;
    case FD_GELU: phi = FD(vnormal)(saved, &density); return vfma(saved, density, phi) * dy;
    case FD_GELU_TANH:
        phi = FD(vnormal_tanh)(saved);
        q = saved * phi * (VC(1) - phi); /* 0 before a square overflows */
        return vfma(VC(2 * GELU_SCALE), vfma(VC(3 * GELU_CUBE) * q * saved, saved, q), phi) * dy;
    case FD_SILU: phi = FD(vsigmoid)(saved); return phi * vfma(saved, VC(1) - phi, VC(1)) * dy;
    default: return dy;
    }
}

/* Whether vact_bwd wants x of this kind, and not y. */
FD_INLINE int FD(act_keeps_x)(int kind) { return kind == FD_GELU || kind == FD_GELU_TANH || kind == FD_SILU; }

#define PASS_AHEAD (4096 / TBYTES)

/* Ask for the cache line PASS_AHEAD after p. Where memory bounds a pass, a processor that only sees what is read and
 * written leaves a third of the bandwidth unused: it stops at the end of a page, and is late for what is written. */
FD_INLINE void FD(ask_ahead)(const T *p) { __builtin_prefetch(p + PASS_AHEAD); }

/* row(kind) with the kind a constant: what depends on it is decided outside the loop over the row. */
#define FD_WITH_ACT(row, kind)                     \
    switch (kind) {                                \
    case FD_RELU: row(FD_RELU); break;             \
    case FD_LEAKY_RELU: row(FD_LEAKY_RELU); break; \
    case FD_ELU: row(FD_ELU); break;               \
    case FD_SELU: row(FD_SELU); break;             \
    case FD_SIGMOID: row(FD_SIGMOID); break;       \
    case FD_TANH: row(FD_TANH); break;             \
    case FD_SOFTPLUS: row(FD_SOFTPLUS); break;     \
    case FD_GELU: row(FD_GELU); break;             \
    case FD_GELU_TANH: row(FD_GELU_TANH); break;   \
    case FD_SILU: row(FD_SILU); break;             \
    default: row(FD_LINEAR);                       \
    }

/* y[i] = act(x[i]) for i < n; y may be x. In a pass over memory, what comes PASS_AHEAD later is asked for. */
FD_INLINE void FD(act_elements)(T *y, const T *x, int64_t n, int kind, T alpha, int pass) {
#define ROW(kind)                                                                          \
    for (int64_t i = 0; i < n; i += VL) {                                                  \
        if (pass) FD(ask_ahead)(x + i), FD(ask_ahead)(y + i);                              \
        vstore_upto(y + i, FD(vact)(vload_upto(x + i, n - i), kind, vset1(alpha)), n - i); \
    }
    FD_WITH_ACT(ROW, kind)
#undef ROW
}

static void FD(act_row)(T *y, const T *x, int64_t n, int kind, T alpha) { FD(act_elements)(y, x, n, kind, alpha, 0); }

static void FD(act_pass)(T *y, const T *x, int64_t n, int kind, T alpha) { FD(act_elements)(y, x, n, kind, alpha, 1); }

/* dx[i] = dy[i] * act'(x[i]), from saved[i]; see vact_bwd. */
FD_INLINE void FD(act_elements_bwd)(T *dx, const T *dy, const T *saved, int64_t n, int kind, T alpha, int pass) {
#define ROW(kind)                                                                                     \
    for (int64_t i = 0, left = n; i < n; i += VL, left -= VL) {                                       \
        if (pass) FD(ask_ahead)(dy + i), FD(ask_ahead)(saved + i), FD(ask_ahead)(dx + i);             \
        const V value = vload_upto(saved + i, left);                                                  \
        vstore_upto(dx + i, FD(vact_bwd)(vload_upto(dy + i, left), value, kind, vset1(alpha)), left); \
    }
    FD_WITH_ACT(ROW, kind)
#undef ROW
}

static void FD(act_row_bwd)(T *dx, const T *dy, const T *saved, int64_t n, int kind, T alpha) {
    FD(act_elements_bwd)(dx, dy, saved, n, kind, alpha, 0);
}

static void FD(act_pass_bwd)(T *dx, const T *dy, const T *saved, int64_t n, int kind, T alpha) {
    FD(act_elements_bwd)(dx, dy, saved, n, kind, alpha, 1);
}

#undef FD_WITH_ACT
#undef PASS_AHEAD
#undef TU
#undef MANTISSA
#undef EXPONENT_BIAS
#undef ROUND
#undef LN2_HIGH
#undef LN2_LOW
#undef EXP_MIN
#undef EXP_MAX
#undef EXPM1_MIN
#undef NORMAL_MIN
#undef SQUARE_BITS
#undef TAIL_MAX
#undef SEGMENTS
#undef SIXTEENTHS
#undef U
#undef VPOLYNOMIAL
#undef SELU_SCALE
#undef SELU_ALPHA
#undef GELU_SCALE
#undef GELU_CUBE
