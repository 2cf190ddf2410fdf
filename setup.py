"""Build the one extension, fastdl.backends._native. Everything else about the package is in pyproject.toml.

FASTDL_NO_EXT=1 leaves the extension out. Where it cannot be compiled, the installation goes on without it and fastdl
computes with NumPy. Compiler flags of your own, such as -fsanitize=address, come from CFLAGS and LDFLAGS as usual.
"""

import os
import shutil
import sys
from glob import glob

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# The kernels say themselves where they fuse a multiplication and an addition (-ffp-contract=off); nothing reads errno.
FLAGS = ["-O3", "-std=c11", "-ffp-contract=off", "-fno-math-errno", "-fvisibility=hidden", "-pthread"]
CLANG_CL_FLAGS = ["/O2", "/std:c11", "/clang:-ffp-contract=off", "/clang:-fno-math-errno"]

native = Extension(
    "fastdl.backends._native",
    sources=["fastdl/backends/_native.pyx", "csrc/kernels.c", "csrc/threads.c"],
    depends=sorted(glob("csrc/*.h")),
    include_dirs=["csrc"],
    optional=True,
)


class BuildNative(build_ext):
    """Compile with the flags of the compiler at hand, and say what a failure means for the person who installs."""

    def build_extension(self, ext):
        if self.compiler.compiler_type == "msvc":
            # The kernels are GNU C, which Microsoft's own compiler does not read.
            self.compiler.initialize()
            self.compiler.cc = shutil.which("clang-cl") or "clang-cl"
            ext.extra_compile_args = CLANG_CL_FLAGS
        else:
            ext.extra_compile_args = FLAGS
            ext.extra_link_args = ["-pthread"]
        try:
            super().build_extension(ext)
        except Exception:
            print("fastdl: the compiled kernels could not be built; fastdl will compute with NumPy.", file=sys.stderr)
            raise  # setuptools reports the reason and goes on: the extension is optional


setup(
    ext_modules=[] if os.environ.get("FASTDL_NO_EXT") == "1" else [native],
    cmdclass={"build_ext": BuildNative},
)
