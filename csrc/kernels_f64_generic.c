/* kernels_f64_generic.c: every kernel, for float64 on the vectors that every processor of its kind has. */
#define FD_TYPE FD_TYPE_F64
#define FD_ISA FD_GENERIC
#include "bodies.h"
