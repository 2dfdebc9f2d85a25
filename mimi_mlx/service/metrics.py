"""Figures of the service, in Prometheus' text format (version 0.0.4)."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_BOUNDS = 0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64  # seconds; a frame is 0.08

_DROPPED = "Sessions that the service ended with an error."


class Histogram:
    """How many of what was observed, in seconds, were at most so long."""

    def __init__(self) -> None:
        self._counts, self._sum = [0] * (len(_BOUNDS) + 1), 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        self._counts[bisect_left(_BOUNDS, seconds)] += 1
        self._sum += seconds

    def lines(self, name: str, labels: str) -> Iterable[str]:
        """Its samples; ``labels`` are as in braces."""
        total = 0
        for bound, count in zip((*_BOUNDS, "+Inf"), self._counts, strict=True):
            total += count
            yield f'{name}_bucket{{{labels},le="{bound}"}} {total}'
        yield f"{name}_sum{{{labels}}} {self._sum:.6f}"
        yield f"{name}_count{{{labels}}} {total}"


class Metrics:
    """What is counted of all sessions since the start, each by a label."""

    def __init__(self) -> None:
        self.live = Counter[str]()  # by kind
        self.begun = Counter[str]()  # by kind
        self.frames = Counter[str]()  # by kind
        self.dropped = Counter[int]()  # by the code that a session was closed with
        self.refused = Counter[int]()  # by the status of a request
        self.clips = Counter[str]()  # by kind

    def text(self, waiting: Mapping[str, int], steps: Mapping[str, Histogram]) -> str:
        """All of them, and what the batches know: frames that wait, and steps."""
        table: tuple[tuple[str, str, str, str, Mapping[Any, int]], ...] = (
            ("mimi_sessions", "gauge", "Live sessions.", "kind", self.live),
            ("mimi_sessions_total", "counter", "Sessions that began.", "kind", self.begun),
            ("mimi_frames_total", "counter", "Frames that were answered.", "kind", self.frames),
            ("mimi_frames_waiting", "gauge", "Frames that wait for a step.", "half", waiting),
            ("mimi_sessions_dropped_total", "counter", _DROPPED, "code", self.dropped),
            ("mimi_refused_total", "counter", "Requests that failed.", "status", self.refused),
            ("mimi_clips_total", "counter", "Whole clips that were coded.", "kind", self.clips),
        )
        lines = []
        for name, kind, help, label, values in table:
            lines += [f"# HELP {name} {help}", f"# TYPE {name} {kind}"]
            lines += [f'{name}{{{label}="{key}"}} {value}' for key, value in values.items()]
        name = "mimi_step_seconds"
        lines += [f"# HELP {name} Seconds of a step.", f"# TYPE {name} histogram"]
        for half, histogram in steps.items():
            lines += histogram.lines(name, f'half="{half}"')
        return "\n".join([*lines, ""])
