/* kernels.c: the bodies, written once, instantiated for every (instruction set, element type); cpuid picks a row.
 *
 * # Design: target pragmas around an include, rather than per-file compiler flags, so that setup.py stays one
 * extension with one set of flags, and rather than ifunc or target_clones, which musl, macOS and MSVC do not have.
 */
#include "fastdl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) || defined(_M_X64)
#define FD_X86 1
#include <immintrin.h>
#elif defined(__aarch64__)
#define FD_ARM 1
#include <arm_neon.h>
#endif

#define FD_TYPE_F32 0
#define FD_TYPE_F64 1

#ifdef __clang__
#define FD_PRAGMA(x) _Pragma(#x)
#define FD_TARGET(features) FD_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define FD_TARGET_END FD_PRAGMA(clang attribute pop)
#else
#define FD_PRAGMA(x) _Pragma(#x)
#define FD_TARGET(features) FD_PRAGMA(GCC push_options) FD_PRAGMA(GCC target(features))
#define FD_TARGET_END FD_PRAGMA(GCC pop_options)
#endif

#ifdef FD_ARM

#define FD_ISA 3
#define FD_TYPE FD_TYPE_F32
#include "bodies.h"
#define FD_TYPE FD_TYPE_F64
#include "bodies.h"
#undef FD_ISA

#else

#define FD_ISA 0
#define FD_TYPE FD_TYPE_F32
#include "bodies.h"
#define FD_TYPE FD_TYPE_F64
#include "bodies.h"
#undef FD_ISA

#endif

#ifdef FD_X86

FD_TARGET("avx2,fma")
#define FD_ISA 1
#define FD_TYPE FD_TYPE_F32
#include "bodies.h"
#define FD_TYPE FD_TYPE_F64
#include "bodies.h"
#undef FD_ISA
FD_TARGET_END

FD_TARGET("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")
#define FD_ISA 2
#define FD_TYPE FD_TYPE_F32
#include "bodies.h"
#define FD_TYPE FD_TYPE_F64
#include "bodies.h"
#undef FD_ISA
FD_TARGET_END

#endif

/* Rows from the plainest to the best, float32 then float64. */
static const fd_kernels *const rows[][2] = {
#ifdef FD_ARM
    {&fd_row_f32__neon, &fd_row_f64__neon},
#else
    {&fd_row_f32__generic, &fd_row_f64__generic},
#endif
#ifdef FD_X86
    {&fd_row_f32__avx2, &fd_row_f64__avx2},
    {&fd_row_f32__avx512, &fd_row_f64__avx512},
#endif
};

static int cpu_level(void) {
#ifdef FD_X86
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 0;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512dq") ||
        !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512vl"))
        return 1;
    return 2;
#else
    return 0;
#endif
}

const fd_kernels *fd_kernels_for(int dtype) {
    static int level = -1; /* every thread that races here computes the same value */
    int known = __atomic_load_n(&level, __ATOMIC_RELAXED);
    if (known < 0) {
        known = cpu_level();
        const char *cap = getenv("FASTDL_CPU");
        for (int i = 0; cap != NULL && i < known; i++)
            if (strcmp(cap, rows[i][0]->isa) == 0) known = i;
        __atomic_store_n(&level, known, __ATOMIC_RELAXED);
    }
    return rows[known][dtype];
}
