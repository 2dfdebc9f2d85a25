"""What an assistant says, on its way to the speaker, and how much of it was heard."""

import threading
from collections import deque

import numpy as np

from .devices.playout import Playout
from .devices.speaker import Speaker
from .devices.stretch import rise

# Seconds before a piece is needed that it is handed over: two turns of the loop.
_EARLY = 0.005

# Seconds that may wait to be said.
_MOST = 600

# Samples over which sound begins and ends, 5 ms: what is said may have a gap anywhere.
_RISING = rise(120)


class Voice:
    """Feeds a speaker without a pause: with what is to be said, and with silence in between.

    :meth:`turn` is the loop's, all else may be called from any thread.

    Args:
        rate: Of what is said, in Hz.
        piece: Samples that the speaker is fed at once.
    """

    def __init__(self, speaker: Speaker, rate: int, piece: int):
        self._speaker, self._rate, self._piece = speaker, rate, piece
        self._lock = threading.Lock()
        self._queue: deque[np.ndarray] = deque()
        self._queued = 0  # samples in it
        self._fed = 0  # samples, silence included
        # What was fed and is not yet heard to its end: where among all that was fed.
        self._spans: deque[tuple[int, int]] = deque()
        self._before = 0  # samples heard before the first span
        self._hushed: Playout | None = None  # the queue that is to be dropped, until it is
        self._last: float | None = None  # sample that was fed; None: silence
        self.heard = 0  # samples of all that was said

    @property
    def waiting(self) -> int:
        """Samples that are still to be heard; 0: nothing is being said."""
        with self._lock:
            spans = 0 if self._hushed else sum(end - start for start, end in self._spans)
            return self._queued + max(0, spans - (self.heard - self._before))

    def say(self, pcm: np.ndarray) -> None:
        """Have ``pcm [T]`` said, after all that waits.

        Raises:
            ValueError: More would wait than may.
        """
        with self._lock:
            if self._queued + len(pcm) > _MOST * self._rate:
                seconds = (self._queued + len(pcm)) / self._rate
                raise ValueError(
                    f"{seconds:.0f} s would wait to be said; it is at most {_MOST}. Say the rest "
                    "when less is waiting."
                )
            self._queue.append(pcm.copy())
            self._queued += len(pcm)

    def hush(self) -> None:
        """Fade what is being said, and drop what waits."""
        with self._lock:
            self._queue.clear()
            self._queued = 0
            if self._spans and not self._hushed:
                self._hushed = self._speaker.playout
                self._hushed.hushing = True

    def turn(self, now: float) -> None:
        """Count what is heard at some seconds of the clock, and feed the speaker."""
        with self._lock:
            if not self._hushed:
                self._count(self._place(now))
            elif self._hushed is not self._speaker.playout or not self._hushed.hushing:
                self._end(self._hushed is self._speaker.playout)
            while not self._hushed and self._speaker.playout.pulled and self._speaker.needs(_EARLY):
                self._feed()

    def _feed(self) -> None:
        piece = self._take()
        if len(piece):
            joins = self._spans and self._spans[-1][1] == self._fed
            start = self._spans.pop()[0] if joins else self._fed
            self._spans.append((start, self._fed + len(piece)))
        self._fed += self._piece
        self._speaker.feed(self._faded(piece))

    def _take(self) -> np.ndarray:
        """The next piece from the queue ``[T]``, or what there is of it."""
        parts, room = [np.zeros(0, np.float32)], self._piece
        while self._queue and room:
            part = self._queue.popleft()
            if len(part) > room:
                self._queue.appendleft(part[room:])
            parts.append(part[:room])
            room -= len(parts[-1])
        self._queued -= self._piece - room
        return np.concatenate(parts)

    def _faded(self, piece: np.ndarray) -> np.ndarray:
        """A piece that goes on after the one before, filled up with silence."""
        whole = np.pad(piece, (0, self._piece - len(piece)))
        if self._last is None:
            whole[: len(_RISING)] *= _RISING
        elif len(piece) < self._piece:
            last = piece[-1] if len(piece) else self._last
            fade = whole[len(piece) :][: len(_RISING)]
            fade += last * _RISING[::-1][: len(fade)]
        self._last = float(piece[-1]) if len(piece) == self._piece else None
        return whole

    def _place(self, now: float) -> float:
        """Where among all that was fed the speaker is; 0: nobody knows yet."""
        offset = self._speaker.clock_offset
        if offset is None:
            return self._fed if self._speaker.playout.dry else 0
        return (now + offset) * self._rate

    def _count(self, place: float) -> None:
        """All up to a place among what was fed has been heard."""
        while self._spans and self._spans[0][1] <= place:
            start, end = self._spans.popleft()
            self._before += end - start
        part = max(0, round(place - self._spans[0][0])) if self._spans else 0
        self.heard = max(self.heard, self._before + part)

    def _end(self, is_known: bool) -> None:
        """What was to be dropped is; if the speaker is the same, it is known where."""
        if is_known:
            self._count(self._speaker.place(self._speaker.playout.hushed) * self._rate)
            self._speaker.clear()
        self._spans.clear()
        self._before, self._hushed, self._last = self.heard, None, None
