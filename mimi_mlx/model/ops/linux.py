"""A fast BLAS under MLX's CPU backend on Linux; on macOS nothing is done.

The Linux wheel of MLX links the reference BLAS, some 40 times slower than OpenBLAS. Symbols that
are already loaded win, so an installed OpenBLAS is loaded first. This must run before mlx.core is
imported, and changes nothing when it comes too late.
"""

import contextlib
import ctypes
import sys
from collections.abc import Iterator

_NAMES = ("libopenblas.so.0", "libopenblas.so")


def prefer_openblas() -> None:
    """Load OpenBLAS in front of MLX's BLAS, if this is Linux and it is installed."""
    if sys.platform != "linux" or "mlx.core" in sys.modules:
        return
    for name in _NAMES:
        try:
            ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
        except OSError:
            continue
        return


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Have OpenBLAS compute in the threads that call it, alone; another BLAS stays as it is.

    Its own threads serve one caller at a time, and the others would wait. Results are the same.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "openblas_set_num_threads"):
        yield
        return
    before = library.openblas_get_num_threads()
    library.openblas_set_num_threads(1)
    try:
        yield
    finally:
        library.openblas_set_num_threads(before)


def blas_in_use() -> str:
    """The BLAS that MLX's CPU backend calls, for people."""
    if sys.platform == "darwin":
        return "Accelerate"
    # The first definition in load order is the one that MLX's calls reach.
    try:
        config = ctypes.CDLL(None).openblas_get_config
    except AttributeError:
        return "the wheel's own BLAS (slow; install libopenblas0-pthread)"
    config.restype = ctypes.c_char_p
    return config().decode()
