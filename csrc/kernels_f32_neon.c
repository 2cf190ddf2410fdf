/* kernels_f32_neon.c: every kernel, for float32 on NEON. */
#define FD_TYPE FD_TYPE_F32
#define FD_ISA FD_NEON
#include "bodies.h"
