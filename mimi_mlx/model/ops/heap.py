"""Freed memory stays in the process, on Linux.

MLX's CPU backend frees the arrays of a step and allocates as large ones for the next. glibc gives
large freed memory back to the system, which clears every page before it gives it out again: up to
a quarter of a whole clip's time.
"""

import ctypes
import sys

import mlx.core as mx

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h

_LARGEST_ARRAY = 32 << 20  # a step's arrays; larger ones are given back as ever
_KEPT = 256 << 20


def keep_freed() -> None:
    """Have glibc keep up to 256 MB that were freed; nothing is done beside a GPU or elsewhere."""
    libc = ctypes.CDLL(None)
    if sys.platform != "linux" or mx.is_available(mx.gpu) or not hasattr(libc, "mallopt"):
        return
    libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_ARRAY)
    libc.mallopt(_M_TRIM_THRESHOLD, _KEPT)
