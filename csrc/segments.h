/* segments.h: functions as polynomials of a segment each, where one instruction finds the coefficients of all lanes.
 *
 * # Design: 16 segments, so that a table of one coefficient is a vector, and a permutation by the segment's number
 * looks it up. Two segments an octave, or four: the number is what the exponent and the first bits of the significand
 * say. No division, which takes longer than all of this. Tables are of segment 0, 1, .. 15; polynomials are minimax
 * fits about the segment's begin, lowest power first, each coefficient rounded before the next is fitted.
 */

/* table[n[i] % 16] in lane i. */
static inline V FD(vlookup)(const float table[16], U n) {
    return (V)_mm512_permutexvar_ps((__m512i)n, _mm512_loadu_ps(table));
}

static inline V FD(vsegment)(V t, U n, const float table[][16], int degree) {
    V y = FD(vlookup)(table[degree], n);
#pragma GCC unroll 8
    for (int i = degree - 1; i >= 0; i--) y = vfma(y, t, FD(vlookup)(table[i], n));
    return y;
}

/* tanh(a) for a >= 0. Two segments an octave from 1/16 to 10, and one, of the odd powers, below. */
static inline V FD(vtanh_segments)(V a) {
    static const float begin[16] = {2.0f,   3.0f,    4.0f,  6.0f,   8.0f, 0.0f,  0.0625f, 0.09375f,
                                    0.125f, 0.1875f, 0.25f, 0.375f, 0.5f, 0.75f, 1.0f,    1.5f};
    static const float table[7][16] = {
        {0.9640276f, 0.9950548f, 0.9993293f, 0.9999877f, 0.99999976f, 0.0f, 0.062418748f, 0.0934763f, 0.124353f,
         0.1853332f, 0.24491866f, 0.3583574f, 0.46211717f, 0.63514894f, 0.7615942f, 0.90514827f},
        {0.07065032f, 0.009863855f, 0.0013389614f, 2.4211866e-5f, 9.179877e-7f, 1.0f, 0.9961016f, 0.99126464f,
         0.9845396f, 0.965643f, 0.9400167f, 0.8715792f, 0.7864453f, 0.5965887f, 0.4199718f, 0.18070485f},
        {-0.068102404f, -0.009788616f, -0.0013219805f, -2.2310558e-5f, -3.1609472e-6f, -1.2568272e-9f, -0.06128685f,
         -0.09360298f, -0.12307141f, -0.17731662f, -0.23040548f, -0.3122599f, -0.36331287f, -0.37905577f, -0.3197991f,
         -0.16352965f},
        {0.042081453f, 0.0063385624f, 0.000831221f, 1.10944275e-5f, 6.059595e-6f, -0.33333305f, -0.45347834f,
         -0.19015808f, -0.26775715f, -0.40378052f, -0.2506801f, -0.18129063f, -0.09631189f, 0.044122443f, 0.103259265f,
         0.0875612f},
        {-0.017882938f, -0.0028410698f, -0.0003442668f, -2.2793722e-6f, -5.680527e-6f, -2.1259908e-5f, 7.9727006f,
         -8.199957f, -1.3499159f, 3.7231126f, 0.040617142f, 0.21036313f, 0.18180355f, 0.08197057f, 0.028565664f,
         -0.024342282f},
        {0.0049773124f, 0.00080630183f, 8.543972e-5f, -2.3884448e-7f, 2.4992905e-6f, 0.13401604f, -230.05037f,
         238.34206f, 20.854963f, -51.93519f, 0.79020655f, -0.28618118f, -0.092707016f, -0.0021459302f, -0.046524152f,
         -0.002422262f},
        {-0.00069657795f, -0.00010448913f, -9.487975e-6f, 1.2873278e-7f, -4.146299e-7f, -0.009944977f, 2495.6614f,
         -2569.7449f, -112.44897f, 280.49826f, -2.015224f, 0.75569606f, 0.052262515f, -0.07575689f, 0.017862095f,
         0.0039202757f},
    };
    a = vmin(VC(10), a);
    const U n = (U)vmax(VC(0x1.8p-5), a) >> (MANTISSA - 1);
    return FD(vsegment)(a - FD(vlookup)(begin, n), n, table, 6);
}

/* (1 - Phi(a)) * exp(a^2 / 2) for 0 <= a < 15, Phi the normal distribution: four segments an octave of a + 1. */
static inline V FD(vmills_segments)(V a) {
    static const float table[6][16] = {
        {0.2615783f, 0.20578067f, 0.168102f, 0.14133133f, 0.12151394f, 0.094410636f, 0.0769193f, 0.06477931f,
         0.055893477f, 0.04379879f, 0.03597489f, 0.030509414f, 0.5f, 0.4140321f, 0.34961882f, 0.30023247f},
        {-0.13736345f, -0.09027128f, -0.06273775f, -0.04561379f, -0.034399875f, -0.021299375f, -0.014345608f,
         -0.010266247f, -0.0076877275f, -0.0047531594f, -0.0032184916f, -0.002319882f, -0.39894208f, -0.29543394f,
         -0.22413047f, -0.17376937f},
        {0.06209205f, 0.035183847f, 0.021303352f, 0.013645244f, 0.009149726f, 0.0046025314f, 0.0025938754f,
         0.0015892328f, 0.0010380613f, 0.00050990336f, 0.00028568256f, 0.00017536056f, 0.24998881f, 0.17007412f,
         0.1186996f, 0.08499721f},
        {-0.024945298f, -0.012457446f, -0.0066433554f, -0.003810627f, -0.0022815638f, -0.0009463504f, -0.00045164823f,
         -0.00023738784f, -0.00013588808f, -5.370232e-5f, -2.50567e-5f, -1.3101136e-5f, -0.13277301f, -0.0841169f,
         -0.05404254f, -0.037153702f},
        {0.008672088f, 0.0039197705f, 0.0017970505f, 0.0009532278f, 0.00049707823f, 0.00017158988f, 7.048341e-5f,
         3.0721963e-5f, 1.577835e-5f, 5.2019477e-6f, 2.067424e-6f, 9.127278e-7f, 0.06079445f, 0.035981197f,
         0.018647112f, 0.016347358f},
        {-0.0020083473f, -0.0008575462f, -0.00030467252f, -0.00016140295f, -6.867062e-5f, -1.9721758e-5f,
         -7.0887518e-6f, -2.146324e-6f, -1.1509733e-6f, -3.3775484e-7f, -1.2025491e-7f, -4.368184e-8f, -0.020047655f,
         -0.010894063f, -0.0009051173f, -0.007677838f},
    };
    const V u = a + VC(1), begin = (V)((U)u & ~(((TU)1 << (MANTISSA - 2)) - 1));
    return FD(vsegment)(a - (begin - VC(1)), (U)u >> (MANTISSA - 2), table, 5);
}
