"""Work in several threads that ends as one: at the first error, or at a signal."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

from ..model.ops import linux
from . import signals

Item = TypeVar("Item")
Result = TypeVar("Result")

_PATIENCE = 0.1  # seconds, between two looks for a signal


def in_threads(
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
    ended: list[int] = []

    def stop(number: int) -> None:  # an error raised inside a wait could leave its lock taken
        ended.append(number)
        given_up.set()

    with (
        linux.one_blas_thread,
        ThreadPoolExecutor(jobs) as pool,
        signals.ended_by(stop),
    ):
        try:
            # Each wait takes as long as there are to wait for; two a thread let none be idle.
            rest = iter(items)
            waiting = {pool.submit(function, item) for item in islice(rest, 2 * jobs)}
            while waiting:
                done, waiting = wait(waiting, _PATIENCE, FIRST_COMPLETED)
                if ended:
                    raise SystemExit(signals.code(ended[0]))
                for each in done:
                    note(each.result())
                waiting |= {pool.submit(function, item) for item in islice(rest, len(done))}
        except BaseException:
            given_up.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
