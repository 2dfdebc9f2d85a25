"""Two consecutive long steps at once, where a core is idle.

MLX's CPU backend computes all but the large matmuls in one thread a stream. Steps that are made on
two streams and evaluated together run as a wavefront: the second follows the first one layer
behind, through the states that it needs. Results are the same. A GPU is busy with one step.
"""

import contextlib
import functools
import threading
from collections.abc import Iterator

import mlx.core as mx

from . import linux
from .device import cores, is_gpu

_in_use = threading.Lock()


@contextlib.contextmanager
def streams(most: int) -> Iterator[tuple[mx.Stream | None, ...]]:
    """The streams for the next steps, ``most`` at most, until they are evaluated.

    None is the default one. A second one is there where a core is idle, for one user at a time.
    """
    if most < 2 or is_gpu() or not _has_idle_core() or not _in_use.acquire(blocking=False):
        yield (None,)
        return
    try:
        with linux.one_blas_thread:
            yield None, _second()
    finally:
        _in_use.release()


def _has_idle_core() -> bool:
    """Whether this process may use two; who gives OpenBLAS one thread has other use for them."""
    threads = linux.blas_threads()
    return cores() > 1 if threads is None else threads > 1


@functools.cache
def _second() -> mx.Stream:
    """One for all threads, which MLX would leave behind with each of them."""
    return mx.new_thread_unsafe_stream(mx.cpu)
