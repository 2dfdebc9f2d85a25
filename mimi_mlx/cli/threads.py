"""Work for several threads, which end soon when it is given up."""

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

from ..model.ops.linux import one_blas_thread

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    jobs: int,
    given_up: threading.Event,
    note: Callable[[Result], None],
) -> None:
    """Call ``function`` with each item in so many threads, and ``note`` in this one.

    The first error of either, or a signal, ends it: ``given_up`` is set, which ``function`` must
    heed, no more items are begun, and the error is raised when all threads are done. One job, or
    one item, needs no other thread.
    """
    items = list(items)
    if min(jobs, len(items)) <= 1:
        for item in items:
            note(function(item))
        return
    with one_blas_thread(), ThreadPoolExecutor(jobs) as pool:
        try:
            for done in as_completed([pool.submit(function, item) for item in items]):
                note(done.result())
        except BaseException:
            given_up.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
