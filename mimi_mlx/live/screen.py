"""The terminal: one live line, lines above it, and a summary."""

import shutil
from collections.abc import Callable
from dataclasses import asdict
from typing import TextIO

from ..text import counted, printable
from .meters import Times
from .stats import LiveStats

# Seconds between two pictures of the live line, and the bar's ends in dBFS.
_EVERY = 0.1
_LEAST, _MOST, _CELLS = -60.0, 0.0, 6
_EIGHTHS = " ▏▎▍▌▋▊▉█"


class Screen:
    """Writes to a terminal; to anything else only whole lines, and no live one."""

    def __init__(self, file: TextIO, clock: Callable[[], float]):
        self._file = file
        self._clock = clock
        self._live = file.isatty()
        self._drawn = 0
        self._next = clock()

    def say(self, line: str) -> None:
        """One line, above the live one."""
        if self._drawn:
            self._file.write("\r" + " " * self._drawn + "\r")
        self._drawn = 0
        print(printable(line), file=self._file, flush=True)

    def show(self, stats: LiveStats) -> None:
        """Draw the live line, if it is time for it."""
        now = self._clock()
        if not self._live or now < self._next:
            return
        self._next = now + _EVERY
        text = live_line(stats)[: shutil.get_terminal_size().columns - 1]
        self._file.write("\r" + text.ljust(self._drawn))
        self._file.flush()
        self._drawn = len(text)

    def close(self) -> None:
        """End the live line, as it is."""
        if self._drawn:
            print(file=self._file, flush=True)
        self._drawn = 0


def live_line(stats: LiveStats) -> str:
    """The state of a run in one line."""
    ear = stats.mouth_to_ear_now
    both = ("enc", stats.encode), ("dec", stats.decode)
    times = [f"{name} {_times(each)}" for name, each in both if each.count]
    times.append(f"queue {1e3 * stats.queue:.0f}")
    if ear is not None:
        times.append(f"ear {1e3 * ear:.0f}")
    return " | ".join(
        (
            f"in {_bar(stats.heard)} out {_bar(stats.said)} dBFS",
            " ".join(times) + " ms",
            f"{stats.kbps:.3g} kbps",
            f"late {stats.late} drop {1e3 * stats.dropped:.0f} ms over {stats.overruns}",
        )
    )


def summary(stats: LiveStats) -> list[str]:
    """What is to be said at the end, in lines."""
    lines = [f"{stats.seconds:.1f} s, {counted(stats.frames, 'frame')}, {stats.kbps:.3g} kbps"]
    for name, times in (("encode", stats.encode), ("decode", stats.decode)):
        if times.count:
            lines.append(f"{name}: {_times(times)} ms (median/95 %/worst)")
    ear = stats.mouth_to_ear_now
    if ear is not None:
        parts = ", ".join(f"{name} {1e3 * value:.0f}" for name, value in stats.parts.items())
        lines.append(f"mouth to ear: {1e3 * ear:.0f} ms ({parts})")
    if stats.link:
        counts = asdict(stats.link).items()
        lines.append("network: " + ", ".join(f"{name} {count:.4g}" for name, count in counts))
    lines.append(
        f"late frames {stats.late}, dropped {1e3 * stats.dropped:.0f} ms, "
        f"overruns {stats.overruns}, underruns {stats.underruns}, "
        f"devices reopened {stats.reopened}"
    )
    return lines


def _bar(level: float) -> str:
    """A level in dBFS as a bar and a number."""
    share = (min(_MOST, max(_LEAST, level)) - _LEAST) / (_MOST - _LEAST)
    whole, rest = divmod(round(share * _CELLS * 8), 8)
    bar = ("█" * whole + (_EIGHTHS[rest] if rest else "")).ljust(_CELLS)
    return f"▕{bar}▏{level:4.0f}"


def _times(times: Times) -> str:
    return "/".join(f"{1e3 * x:.1f}" for x in (times.median, times.p95, times.worst))
