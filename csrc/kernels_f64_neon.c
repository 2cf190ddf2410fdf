/* kernels_f64_neon.c: every kernel, for float64 on NEON. */
#define FD_TYPE FD_TYPE_F64
#define FD_ISA FD_NEON
#include "bodies.h"
