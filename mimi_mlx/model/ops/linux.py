"""What MLX's CPU backend needs on Linux: a fast BLAS, and memory that stays. Elsewhere nothing.

Imported before mlx.core, so it does not import that.
"""

import contextlib
import ctypes
import functools
import os
import sys
import threading
import warnings
from collections.abc import Iterator

_NAMES = ("libopenblas.so.0", "libopenblas.so")

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h

_LARGEST_ARRAY = 32 << 20  # a step's arrays; larger ones are given back as ever
_KEPT = 256 << 20


def prefer_openblas() -> None:
    """Load OpenBLAS in front of MLX's BLAS, if it is installed and mlx.core is not imported yet.

    The Linux wheel of MLX links the reference BLAS, some 40 times slower. Symbols that are
    already loaded win.
    """
    if sys.platform != "linux" or "mlx.core" in sys.modules:
        return
    for name in _NAMES:
        try:
            ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
        except OSError:
            continue
        return


@functools.cache
def warn_of_slow_blas() -> None:
    """Say once, if it is so, that OpenBLAS is installed and that MLX was imported before it."""
    if sys.platform == "linux" and not any(map(_is_loaded, _NAMES)) and any(_installed()):
        warnings.warn(
            "mlx.core was imported before mimi_mlx, so that MLX computes with its own BLAS, some "
            "10 times slower than with the OpenBLAS that is installed. Import mimi_mlx first, or "
            f"start Python with LD_PRELOAD={next(_installed())}",
            stacklevel=5,
        )


def _is_loaded(name: str) -> bool:
    try:
        ctypes.CDLL(name, mode=os.RTLD_NOLOAD)
    except OSError:
        return False
    return True


def _installed() -> Iterator[str]:
    """The names under which the dynamic linker would find OpenBLAS. Nothing is loaded for that."""
    cache = b""
    with contextlib.suppress(OSError), open("/etc/ld.so.cache", "rb") as file:
        cache = file.read()
    folders = os.environ.get("LD_LIBRARY_PATH", "").split(":")
    for name in _NAMES:
        here = any(os.path.exists(f"{folder}/{name}") for folder in folders if folder)
        if here or name.encode() + b"\0" in cache:
            yield name


class _OneBlasThread:
    """Have OpenBLAS compute in the threads that call it, alone; another BLAS stays as it is.

    Its own threads serve one caller at a time, and the others would wait. Results are the same.
    The last of those who asked for it puts back what the first one found.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = self._before = 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._users:
                self._before = blas_threads() or 0
                _set_blas_threads(1)
            self._users += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                _set_blas_threads(self._before)


one_blas_thread = _OneBlasThread()


def blas_threads() -> int | None:
    """The threads that OpenBLAS computes in; None of another BLAS, which does not tell."""
    library = ctypes.CDLL(None)
    known = hasattr(library, "openblas_get_num_threads")
    return library.openblas_get_num_threads() if known else None


def _set_blas_threads(number: int) -> None:
    if blas_threads():
        ctypes.CDLL(None).openblas_set_num_threads(number)


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


def keep_freed_memory() -> None:
    """Have glibc keep up to 256 MB that were freed, for all of this process.

    MLX's CPU backend frees the arrays of a step and allocates as large ones for the next. glibc
    gives large freed memory back to the system, which clears every page before it gives it out
    again: up to a quarter of a whole clip's time.
    """
    libc = ctypes.CDLL(None)
    if sys.platform == "linux" and hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_ARRAY)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT)
