/* kernels_f64_avx512.c: every kernel, for float64 on AVX-512. */
#define FD_TYPE FD_TYPE_F64
#define FD_ISA FD_AVX512
#include "bodies.h"
