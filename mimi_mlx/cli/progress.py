"""What a command says on stderr while it works, and of its work when it is done."""

import sys
import threading
import time
from typing import TYPE_CHECKING

from ..text import counted, printable

if TYPE_CHECKING:
    from tqdm import tqdm

    from ..mimi import Mimi

_quiet = False
_shard = ""  # in front of each line, where several processes say them

_PATIENCE = 60.0  # seconds, between two lines of a shard that has no terminal to show a bar on


def be_quiet(quiet: bool) -> None:
    """From now on show no bar, and say nothing but what is wrong; or do so again."""
    global _quiet
    _quiet = quiet


def name_shard(name: str) -> None:
    """From now on put this in front of each line; "" is nothing."""
    global _shard
    _shard = f"[{name}] " if name else ""


class Progress:
    """A bar of seconds of audio done, on a terminal, when there is enough to do; and the time.

    Args:
        what: The name of the work.
        seconds: Of audio, in all; None if nobody knows, and then there is no bar.
    """

    def __init__(self, what: str, seconds: float | None):
        self._what, self._seconds = what, seconds
        self.done = 0.0  # seconds of audio done
        self._lock = threading.Lock()

    def __enter__(self) -> "Progress":
        from tqdm import tqdm  # slow to import, and --help needs none

        self._bar = tqdm(
            total=self._seconds,
            desc=f"{_shard}{self._what}",
            bar_format="{desc} {percentage:3.0f}%|{bar}| {n:.0f} of {total:.0f} s of audio"
            "{postfix}, {remaining} left",
            delay=0.5,
            leave=False,
            disable=True if _quiet or self._seconds is None else None,
        )
        self._start = self._said = time.perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def advance(self, seconds: float) -> None:
        """So much more audio is done. Any thread may call it."""
        with self._lock:
            self.done += seconds
            if not self._bar.disable:
                # The last frame may reach past the clip's end.
                self._bar.set_postfix_str(f"{self.speed:.1f} x real time", refresh=False)
                self._bar.update(min(seconds, self._bar.total - self._bar.n))
            elif _shard and self._seconds and time.perf_counter() > self._said + _PATIENCE:
                self._said = time.perf_counter()
                of = f"of {self._seconds:.0f} s of audio"
                say(f"{self.done:.0f} {of}, {self.speed:.1f} x real time")

    @property
    def speed(self) -> float:
        """Seconds of audio done in a second."""
        return self.done / self.elapsed

    @property
    def elapsed(self) -> float:
        """Seconds since the work began."""
        return time.perf_counter() - self._start


def counter(what: str, total: int, form: str, done: int = 0) -> "tqdm":
    """A bar of things, ``done`` of them before; ``form`` is of tqdm's, for what is behind it."""
    from tqdm import tqdm

    return tqdm(
        total=total,
        initial=done,
        desc=what,
        bar_format="{desc} {percentage:3.0f}%|{bar}| " + form,
        leave=False,
        dynamic_ncols=True,
        disable=True if _quiet else None,
    )


def say(line: str) -> None:
    """One line on stderr, above the bar if there is one; nothing when all is quiet."""
    if not _quiet:
        _write(f"{_shard}{line}")


def warn(what: str) -> None:
    """Say in one line what is wrong."""
    _write(f"{_shard}mimi-mlx: {' '.join(what.split())}")


def _write(line: str) -> None:
    from tqdm import tqdm

    with tqdm.external_write_mode(file=sys.stderr):
        print(printable(line), file=sys.stderr)


def summarise(
    mimi: "Mimi", output: str, shape: tuple[int, int], seconds: float, speed: float
) -> None:
    """Say in one line what was done: ``shape`` is ``[K, F]`` of the codes."""
    from ..files import PIPE  # not before --help

    count, frames = shape
    say(
        f"{'stdout' if output == PIPE else output}: {seconds:.2f} s, {counted(frames, 'frame')} of "
        f"{counted(count, 'code')}, {mimi.config.kbps(count):.3g} kbps, {speed:.1f} times as fast "
        "as real time"
    )
