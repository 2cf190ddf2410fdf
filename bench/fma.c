/* The most multiply-adds that a core can do: many chains side by side, all in registers.
 *
 * computes  steps times acc[i] = acc[i] * a + b for each of CHAINS vectors
 * returns   operations of one step, two for each multiply-add; run with steps = 0 to ask
 */
#include <stdint.h>

#ifndef REAL
#define REAL float
#endif
#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif
#define CHAINS 12 /* a latency of 4 on two ports takes 8; 16 registers hold 12 and both operands */

typedef REAL vec __attribute__((vector_size(BYTES)));

double fma_chains(int64_t steps) {
    vec acc[CHAINS], a, b;
    volatile REAL seed = (REAL)0.999;
    for (int lane = 0; lane < (int)(BYTES / sizeof(REAL)); lane++) {
        a[lane] = seed;
        b[lane] = seed - (REAL)0.99;
    }
    for (int i = 0; i < CHAINS; i++) acc[i] = a + (REAL)i;
    for (int64_t step = 0; step < steps; step++)
        for (int i = 0; i < CHAINS; i++) acc[i] = acc[i] * a + b;

    volatile REAL sink; /* what is used is not optimised away */
    for (int i = 0; i < CHAINS; i++) sink = acc[i][0];
    (void)sink;
    return 2.0 * CHAINS * (BYTES / sizeof(REAL));
}
