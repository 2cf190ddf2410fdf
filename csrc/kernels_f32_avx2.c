/* kernels_f32_avx2.c: every kernel, for float32 on AVX2 and FMA. */
#define FD_TYPE FD_TYPE_F32
#define FD_ISA FD_AVX2
#include "bodies.h"
