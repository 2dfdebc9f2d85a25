"""The terminal: one live line, lines above it, and a summary."""

import contextlib
import os
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TextIO

from ..text import counted, printable
from .meters import Times
from .stats import LiveStats

# Seconds between two pictures of the live line, and the bar's ends in dBFS.
_EVERY = 0.1
_LEAST, _MOST, _CELLS = -60.0, 0.0, 6
_COLUMNS = 80  # of a terminal that does not say
_EIGHTHS = " ▏▎▍▌▋▊▉█"


class Screen:
    """Writes to a terminal; to anything else only whole lines, and no live one.

    One that has gone is no reason to end: what cannot be written is left out.

    Args:
        quiet: Say only what may be wrong.
    """

    def __init__(self, file: TextIO, clock: Callable[[], float], quiet: bool = False):
        self._file = file
        self._clock = clock
        self._is_terminal = file.isatty()
        self._quiet = quiet
        self._drawn = 0
        self._next = clock()

    def say(self, line: str) -> None:
        """One line, above the live one; a terminal gets several if it is long."""
        line = printable(line)
        if self._is_terminal:
            width = self._columns() - 1
            line = textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False)
        blank = f"\r{' ' * self._drawn}\r" if self._drawn else ""
        self._drawn = 0
        self._write(f"{blank}{line}\n")

    def inform(self, line: str) -> None:
        """One line that tells nothing wrong."""
        if not self._quiet:
            self.say(line)

    def show(self, stats: LiveStats) -> None:
        """Draw the live line, if it is time for it."""
        now = self._clock()
        if not self._is_terminal or self._quiet or now < self._next:
            return
        self._next = now + _EVERY
        text = live_line(stats, self._columns() - 1)
        self._write("\r" + text.ljust(self._drawn))
        self._drawn = len(text)

    def close(self) -> None:
        """End the live line, as it is."""
        if self._drawn:
            self._write("\n")
        self._drawn = 0

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._file.write(text)
            self._file.flush()

    def _columns(self) -> int:
        """Of this terminal, which stdout and the environment may not know."""
        with contextlib.suppress(OSError):
            return os.get_terminal_size(self._file.fileno()).columns or _COLUMNS
        return _COLUMNS


def live_line(stats: LiveStats, columns: int) -> str:
    """The state of a run in at most so many columns: whole parts, the most important first."""
    line = ""
    for part in _parts(stats):
        longer = f"{line} | {part}" if line else part
        if len(longer) > columns:
            break
        line = longer
    return line


def _parts(stats: LiveStats) -> Iterator[str]:
    """What there is to show, in the order of its importance."""
    if stats.alone:
        yield "nobody is heard"
    ways = ("in", "enc", stats.heard, stats.encode), ("out", "dec", stats.said, stats.decode)
    if levels := [f"{name} {_bar(level)}" for name, _, level, times in ways if times.count]:
        yield " ".join(levels)
    if stats.echo_db is not None:
        yield f"echo {stats.echo_db:.0f} dB"
    ear, queue = stats.mouth_to_ear_now, f"queue {1e3 * stats.queue:.0f} ms"
    yield queue if ear is None else f"ear {1e3 * ear:.0f} ms"
    yield f"late {stats.late}"
    yield f"{stats.kbps_now:.3g} kbps"
    yield f"drop {1e3 * stats.dropped:.0f} ms"
    for _, name, _, times in ways:
        if times.count:
            yield f"{name} {_times(times)} ms"
    if ear is not None:
        yield queue
    yield f"over {stats.overruns}"


def summary(stats: LiveStats) -> list[str]:
    """What is to be said at the end, in lines."""
    lines = [f"{stats.seconds:.1f} s, {counted(stats.frames, 'frame')}, {stats.kbps:.3g} kbps"]
    ways = ("encode", stats.encode), ("decode", stats.decode), ("echo canceller", stats.cancel)
    for name, times in ways:
        if times.count:
            lines.append(f"{name}: {_times(times)} ms (median/95 %/worst)")
    if stats.echo_db is not None:
        lines.append(
            f"echo: {stats.echo_db:.0f} dB, the median of the last 3 s in which it was heard"
        )
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
