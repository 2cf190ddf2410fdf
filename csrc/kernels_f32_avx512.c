/* kernels_f32_avx512.c: every kernel, for float32 on AVX-512. */
#define FD_TYPE FD_TYPE_F32
#define FD_ISA FD_AVX512
#include "bodies.h"
