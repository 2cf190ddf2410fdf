"""Build the one extension, fastdl.backends._native. Everything else is in pyproject.toml.

FASTDL_NO_EXT=1 leaves the extension out. Where it cannot be compiled, the installation goes on
without it and fastdl computes with NumPy. Flags of your own, such as -fsanitize=address, come
from CFLAGS and LDFLAGS as usual.
"""

import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from glob import glob

import numpy
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CCompilerError

# The kernels say themselves where a product and a sum fuse (-ffp-contract=off); nothing reads errno.
FLAGS = ["-O3", "-g0", "-std=c11", "-ffp-contract=off", "-fno-math-errno", "-fvisibility=hidden", "-pthread"]
CLANG_CL_FLAGS = ["/O2", "/std:c11", "/clang:-ffp-contract=off", "/clang:-fno-math-errno"]

native = Extension(
    "fastdl.backends._native",
    sources=["fastdl/backends/_native.pyx", *sorted(glob("csrc/*.c"))],
    depends=sorted([*glob("csrc/*.h"), *glob("fastdl/backends/*.pxd"), *glob("fastdl/backends/calls/*.pxi")]),
    include_dirs=["csrc", numpy.get_include()],
    define_macros=[
        ("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION"),
        ("NPY_TARGET_VERSION", "NPY_2_0_API_VERSION"),
    ],
    export_symbols=["fd_get_num_threads", "fd_set_num_threads"],  # on Windows; elsewhere threads.c does
    optional=True,
)


def side_by_side(compile_sources):
    """Compile with as many processes as there are processors: setuptools takes one source after the other."""

    def compile_all(sources, *args, **kwargs):
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            jobs = [pool.submit(compile_sources, [source], *args, **kwargs) for source in sources]
            return [name for job in jobs for name in job.result()]

    return compile_all


class BuildNative(build_ext):
    """Use the flags of the compiler at hand, and say what a failure means for the person who installs."""

    def run(self):
        super().run()
        if not self.inplace:
            # Python run in this folder imports the package that lies here, not the one that is installed.
            self.copy_extensions_to_source()

    def build_extension(self, ext):
        try:
            if self.compiler.compiler_type == "msvc":
                # The kernels are GNU C, which Microsoft's own compiler does not read.
                self.compiler.initialize()
                self.compiler.cc = shutil.which("clang-cl") or "clang-cl"
                ext.extra_compile_args = CLANG_CL_FLAGS
            else:
                ext.extra_compile_args = FLAGS
                ext.extra_link_args = ["-pthread"]
            self.compiler.compile = side_by_side(self.compiler.compile)
            super().build_extension(ext)
        except (BaseError, CCompilerError):
            print("fastdl: could not compile its kernels; it will compute with NumPy", file=sys.stderr)
            raise  # setuptools reports the reason and goes on: the extension is optional


setup(
    ext_modules=[] if os.environ.get("FASTDL_NO_EXT") == "1" else [native],
    cmdclass={"build_ext": BuildNative},
)
