"""Waiting for the Hub as long as something comes: huggingface_hub's limits are for each read.

What comes is seen from outside, in every version of it: in the answers of its HTTP library, in
its progress bar, and on the disk.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

_SLOWEST = 1000  # bytes a second; a Hub that sends fewer might as well be silent

_BLOCK = 1 << 13  # bytes


class Traffic:
    """What came of a download so far.

    Args:
        folder: Where it grows. Another process may be downloading the same.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._answers: list[Any] = []
        self._shown = 0.0

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Note what this thread's session is answered inside."""
        from huggingface_hub.utils import get_session

        session: Any = get_session()  # httpx's, or requests' before version 1
        hooks = getattr(session, "event_hooks", None) or session.hooks
        thread = threading.get_ident()

        def note(answer: Any, *args: Any, **named: Any) -> None:
            if threading.get_ident() == thread:
                self._answers.append(answer)
                if hasattr(answer, "iter_content"):  # else it says nothing for 10 MB at a time
                    given = answer.iter_content
                    answer.iter_content = lambda *size, **named: given(_BLOCK)

        hooks["response"].append(note)
        try:
            yield
        finally:
            hooks["response"].remove(note)

    def bar(self) -> type:
        """A class for the bar that is shown anyway: what has another way than HTTP moves it."""
        from huggingface_hub.utils import tqdm

        traffic = self

        class Bar(tqdm):
            def update(self, n: float | None = 1) -> Any:
                traffic._shown += n or 0
                return super().update(n)

        return Bar

    def bytes(self) -> float:
        """A number that grows by a byte, or by a few, with each byte that comes."""
        return self._shown + sum(map(_received, self._answers)) + _size(self._folder)


def patiently(call: Callable[[], T], traffic: Traffic, first: float, stall: float) -> T:
    """What a call gives, as long as there is progress.

    It runs in a thread: resolving a host's name heeds no limit, and neither does a server that
    sends a byte now and then. A thread that is given up ends when it can.

    Args:
        call: Goes to the Hub.
        traffic: Of this call.
        first: Seconds for the first byte.
        stall: Seconds after it in which at least 1000 bytes a second must come.

    Raises:
        TimeoutError: Nothing, or too little, came.
    """
    answer: futures.Future[T] = futures.Future()

    def work() -> None:
        try:
            with traffic.listening():
                answer.set_result(call())
        except Exception as error:
            answer.set_exception(error)

    mark, since, limit, enough = traffic.bytes(), time.monotonic(), first, 1.0
    threading.Thread(target=work, daemon=True).start()
    while not futures.wait([answer], limit / 20).done:
        total = traffic.bytes()
        if total >= mark + enough:
            mark, since, limit, enough = total, time.monotonic(), stall, stall * _SLOWEST
        elif time.monotonic() - since > limit:
            raise TimeoutError(f"{'too little' if enough > 1 else 'no answer'} in {limit:g} s")
    return answer.result()


def _received(answer: Any) -> float:
    """Bytes of an answer's body, and one for its head."""
    if hasattr(answer, "num_bytes_downloaded"):  # httpx
        return 1 + answer.num_bytes_downloaded
    with contextlib.suppress(ValueError):  # it is closed
        return 1 + answer.raw.tell()
    return 1


def _size(folder: Path) -> int:
    total = 0
    for path in folder.iterdir() if folder.is_dir() else ():
        with contextlib.suppress(FileNotFoundError):  # it has just got another name
            total += path.stat().st_size
    return total
