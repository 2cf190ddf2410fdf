/* kernels_f32_generic.c: every kernel, for float32 on the vectors that every processor of its kind has. */
#define FD_TYPE FD_TYPE_F32
#define FD_ISA FD_GENERIC
#include "bodies.h"
