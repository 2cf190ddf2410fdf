/* target.h: which instruction sets this machine's compiler may be asked for, and the pragmas that ask.
 *
 * # Design: target pragmas around all of an instance, rather than a flag for each file, so that setup.py stays one
 * extension with one set of flags, and rather than ifunc or target_clones, which musl, macOS and MSVC do not have.
 */
#ifndef FASTDL_TARGET_H
#define FASTDL_TARGET_H

#include "fastdl.h"

#if defined(__x86_64__) || defined(_M_X64)
#define FD_X86 1
#include <immintrin.h>
#elif defined(__aarch64__)
#define FD_ARM 1
#include <arm_neon.h>
#endif

#define FD_TYPE_F32 0
#define FD_TYPE_F64 1

#define FD_GENERIC 0
#define FD_AVX2 1
#define FD_AVX512 2
#define FD_NEON 3

#ifdef FD_ARM
#define FD_BUILDS(isa) ((isa) == FD_NEON)
#elif defined(FD_X86)
#define FD_BUILDS(isa) ((isa) != FD_NEON)
#else
#define FD_BUILDS(isa) ((isa) == FD_GENERIC)
#endif

#define FD_PRAGMA(x) _Pragma(#x)
#ifdef __clang__
#define FD_TARGET(features) FD_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define FD_TARGET_END FD_PRAGMA(clang attribute pop)
#else
#define FD_TARGET(features) FD_PRAGMA(GCC push_options) FD_PRAGMA(GCC target(features))
#define FD_TARGET_END FD_PRAGMA(GCC pop_options)
#endif

#endif
