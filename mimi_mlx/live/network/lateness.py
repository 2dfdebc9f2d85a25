"""How far apart the earliest and the latest frames come: what a jitter buffer must even out."""

_WINDOW = 125  # calls, 10 s; the window before is remembered too


class Lateness:
    """Remembers how late frames came, in calls of the playout, on a scale without a zero."""

    LEAST, MOST = 2, 12  # frames: the range of ``target``

    def __init__(self):
        self.target = self.LEAST
        """Frames to hold before playing begins: one more than the frames came apart."""
        self._ticks = 0
        self._now: list[int] = []  # the least and the greatest of this window, or nothing
        self._before: list[int] | None = None  # of the window before; None: there was none

    def add(self, lateness: int) -> None:
        """A frame came: the number of calls before it, less the frame's own number."""
        self._now = _range([*self._now, lateness])

    def tick(self) -> None:
        """One more call of the playout, while frames come."""
        self._ticks += 1
        if self._ticks % _WINDOW == 0:
            seen = _range([*(self._before or []), *self._now])
            if seen:
                self.target = min(max(1 + seen[1] - seen[0], self.LEAST), self.MOST)
            self._now, self._before = [], self._now

    @property
    def latest(self) -> int | None:
        """The greatest lateness of the last 10 to 20 s; None if that is not known yet."""
        if self._before is None:
            return None
        return max([*self._before, *self._now], default=None)


def _range(values: list[int]) -> list[int]:
    return [min(values), max(values)] if values else []
