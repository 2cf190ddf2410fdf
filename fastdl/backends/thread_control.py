"""How threadpoolctl, if it is installed, sees the thread pool of the compiled engine."""

from __future__ import annotations


def register() -> None:
    """Let ``threadpoolctl.threadpool_limits`` reach the pool, as it reaches a BLAS."""
    try:
        import threadpoolctl
    except ImportError:
        return
    if not hasattr(threadpoolctl, "register"):  # before version 3.2
        return

    class FastdlController(threadpoolctl.LibController):
        user_api = "fastdl"
        internal_api = "fastdl"
        filename_prefixes = ("_native",)
        check_symbols = ("fd_get_num_threads", "fd_set_num_threads")

        def get_num_threads(self) -> int:
            return self.dynlib.fd_get_num_threads()

        def set_num_threads(self, num_threads: int) -> None:
            self.dynlib.fd_set_num_threads(num_threads)

        def get_version(self) -> str:
            from .. import __version__

            return __version__

    threadpoolctl.register(FastdlController)
