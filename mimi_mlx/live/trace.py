"""A trace of what happened when, for chrome://tracing or https://ui.perfetto.dev."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from ..atomic import growing
from ..files import put

_LOOP, _WORKER = 1, 2  # "threads" of the picture


class Trace:
    """Writes Chrome's array of events; after a kill it is left open, which is valid too.

    The file takes its name with the first events that are handed over.
    The ``clock`` gives seconds; times in the file are microseconds since now.
    """

    def __init__(self, path: str | Path, clock: Callable[[], float]):
        self._clock = clock
        self._zero = clock()
        self._open = ExitStack()
        self._file, self._keep = self._open.enter_context(growing(path))
        self._waiting: list[str] = []
        self._separator = "[\n"
        for thread, name in ((_LOOP, "loop"), (_WORKER, "codec")):
            self._add({"name": "thread_name", "ph": "M", "tid": thread, "args": {"name": name}})

    def span(self, name: str, start: float, end: float) -> None:
        """The codec was at something from ``start`` to ``end``."""
        at, duration = self._microseconds(start), round((end - start) * 1e6)
        self._add({"name": name, "ph": "X", "tid": _WORKER, "ts": at, "dur": duration})

    def instant(self, name: str) -> None:
        """Something happened just now."""
        at = self._microseconds(self._clock())
        self._add({"name": name, "ph": "i", "s": "p", "tid": _LOOP, "ts": at})

    def counters(self, name: str, values: dict[str, float]) -> None:
        """Values to draw over time, as of now."""
        at = self._microseconds(self._clock())
        self._add({"name": name, "ph": "C", "tid": _LOOP, "ts": at, "args": values})

    def flush(self) -> None:
        """Hand all events to the system, in one piece, so that none is there in part."""
        put(self._file, "".join(self._waiting).encode())
        self._waiting.clear()
        self._keep()

    def close(self) -> None:
        """End the array."""
        self._waiting.append("\n]\n")
        with self._open:
            self.flush()

    def _microseconds(self, seconds: float) -> int:
        return round((seconds - self._zero) * 1e6)

    def _add(self, event: dict) -> None:
        self._waiting.append(self._separator + json.dumps({"pid": 1, **event}))
        self._separator = ",\n"
