"""One thread that owns MLX, for audio callbacks, servers and asyncio."""

import atexit
import contextlib
import functools
import queue
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import ParamSpec, TypeVar

import mlx.core as mx
from mlx.utils import tree_flatten

from ..arrays import whole
from ..model.config import shown

P = ParamSpec("P")
T = TypeVar("T")


class MimiWorker:
    """Runs calls one after the other in a thread of its own.

    ::

        with MimiWorker() as worker:
            stream = worker.submit(mimi.encoder_stream).result()
            codes = await asyncio.wrap_future(worker.submit(stream.push, pcm))

    Arrays that a call returns are evaluated, so that any thread may use them. An exception inside
    a call is raised by its future's ``result()``. When the interpreter exits, the call that runs
    is finished and those that wait are cancelled.

    Args:
        capacity: Calls that may wait, at least 1.

    Raises:
        ValueError: ``capacity`` is less than 1.
    """

    def __init__(self, capacity: int = 64):
        if (whole(capacity) or 0) < 1:
            raise ValueError(
                f"capacity is {shown(capacity)}; a call must be able to wait. Give 1 or more."
            )
        self._capacity = capacity
        self._calls: queue.Queue = queue.Queue()  # no bound: the mark that ends it always enters
        self._closed = False
        self._lock = threading.Lock()  # no call enters behind the one that ends the thread
        self._thread = threading.Thread(
            target=_work, args=(self._calls,), name="mimi-worker", daemon=True
        )
        self._thread.start()
        for other in list(_open):
            if not other._thread.is_alive():
                _open.discard(other)
        _open.add(self)
        _register()

    def submit(self, function: Callable[P, T], /, *args: P.args, **named: P.kwargs) -> Future[T]:
        """Have the thread call ``function(*args, **named)``; never waits.

        Raises:
            queue.Full: ``capacity`` calls wait already. This one is not taken.
            RuntimeError: The worker is closed.
            ValueError: ``function`` cannot be called.
        """
        if not callable(function):
            raise ValueError(
                f"function is {shown(function)}; the thread must be able to call it. "
                "Give the function itself, and its arguments after it."
            )
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("submit after close: this worker has ended. Make a new one.")
            if self._calls.qsize() >= self._capacity:
                raise queue.Full(
                    f"{self._capacity} calls wait, all that this worker holds. Wait for the "
                    "result of one, drop this call, or give a greater capacity."
                )
            self._calls.put((future, functools.partial(function, *args, **named)))
        return future

    def close(self) -> None:
        """Take no more calls, run those that wait, and end the thread. Again: nothing.

        A call may close its own worker, whose thread then ends after this has returned.
        """
        with self._lock:
            first, self._closed = not self._closed, True
        if first:
            self._calls.put(None)
        self._join()

    def cancel(self) -> None:
        """Close without running the calls that wait: their futures are cancelled."""
        with self._lock:
            self._closed = True
            with contextlib.suppress(queue.Empty):  # the thread may take the last one first
                while True:
                    call = self._calls.get_nowait()
                    if call is not None:
                        call[0].cancel()
            self._calls.put(None)
        self._join()

    def _join(self) -> None:
        if threading.current_thread() is not self._thread:
            self._thread.join()
            _open.discard(self)

    def __enter__(self) -> "MimiWorker":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


# Those whose threads must end before the interpreter does.
_open: set[MimiWorker] = set()


@functools.cache
def _register() -> None:
    atexit.register(_end_all)


def _end_all() -> None:
    for worker in list(_open):
        worker.cancel()
    if sys.version_info < (3, 13):
        # Here join() returns a moment before the thread is gone, and what MLX keeps in a thread
        # (its random generator, functions compiled elsewhere) needs the interpreter to end.
        time.sleep(0.05)


def _work(calls: queue.Queue) -> None:
    while (call := calls.get()) is not None:
        _run(*call)
        del call  # nothing of a call is kept while the thread waits for the next


def _run(future: Future[T], call: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
        mx.eval([x for x in dict(tree_flatten(result)).values() if isinstance(x, mx.array)])
    except BaseException as error:  # the caller's to handle, whatever it is
        future.set_exception(error)
    else:
        future.set_result(result)
