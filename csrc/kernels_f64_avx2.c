/* kernels_f64_avx2.c: every kernel, for float64 on AVX2 and FMA. */
#define FD_TYPE FD_TYPE_F64
#define FD_ISA FD_AVX2
#include "bodies.h"
