/* kernels.c: the table of all instances, a row for each instruction set, from which cpuid picks one. */
#include "target.h"

#include <stdlib.h>
#include <string.h>

/* What kernels_<type>_<isa>.c defines. */
#define FD_ROW(isa) {&fd_row_f32__##isa, &fd_row_f64__##isa}
#ifdef FD_ARM
extern const fd_kernels fd_row_f32__neon, fd_row_f64__neon;
#else
extern const fd_kernels fd_row_f32__generic, fd_row_f64__generic;
#endif
#ifdef FD_X86
extern const fd_kernels fd_row_f32__avx2, fd_row_f64__avx2;
extern const fd_kernels fd_row_f32__avx512, fd_row_f64__avx512;
#endif

/* From the plainest to the best. */
static const fd_kernels *const rows[][2] = {
#ifdef FD_ARM
    FD_ROW(neon),
#else
    FD_ROW(generic),
#endif
#ifdef FD_X86
    FD_ROW(avx2),
    FD_ROW(avx512),
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
