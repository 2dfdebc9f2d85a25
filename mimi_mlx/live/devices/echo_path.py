"""The way of sound from the speaker back to the microphone, and taking out what went it."""

import math
import time
from collections import deque
from collections.abc import Callable

import numpy as np

from .echo_canceller import CleanBlock, EchoCanceller
from .polyphase import apply, filters
from .ring import Ring

# To ask of devices, in Hz: all of a voice in one rate that most have.
RATE = 48000

# Seconds of what was played that are kept until they are read, and then.
_KEPT, _SPARE = 1.0, 0.1

# Blocks come late, never early: the least that a device lags behind the clock in a span of so many
# seconds, and blocks, is its own. Clocks change it slowly, by at most 200 ppm, which the canceller
# does not mind; sound that was lost changes it at once. A busy machine alone makes 5 ms.
_SPAN, _BLOCKS, _PACE, _JUMP = 0.5, 10, 2e-4, 0.008

# Seconds to allow for blocks that come later still: at each change of that, all is learnt anew.
_ROOM = 0.003

# Of the filters that read between samples: taps on either side, and places in a sample.
_HALF, _PHASES = 16, 256


class Lag:
    """The clock less the sound that a device has had, in seconds: late blocks do not change it.

    :meth:`take` is its callback's.
    """

    def __init__(self) -> None:
        self.value = 0.0
        self.late = 0.0  # how much later than that blocks are, at most, while no sound is lost
        self.jumps = 0  # how many times the value was set anew; 0: nothing is known yet
        self.grown = 0  # how many times ``late`` was, after the first span
        self.doubts = 0  # blocks that came so late, or early, that sound may be lost
        self._spans = 0
        self._before = 0.0  # as ``late``, of the span before: was sound lost in it?
        self._begin(0.0)

    def _begin(self, now: float) -> None:
        self._since, self._blocks = now, 0
        self._least, self._late = math.inf, 0.0

    def take(self, value: float, now: float) -> None:
        """Take what it is at a block, and the seconds of the clock."""
        if not self.jumps:
            self.jumps = 1
            self._begin(now)
        elif self._blocks >= _BLOCKS and now - self._since >= _SPAN:
            self._end(now - self._since)
            self._begin(now)
        self._blocks += 1
        self._least = min(self._least, value)
        self._late = max(self._late, value - self._least)  # not what came before: a buffer fills
        if not self._spans:
            self.value, self.late = self._least, self._late + _ROOM
        elif not -_JUMP < value - self.value < self.late + _JUMP:
            self.doubts += 1

    def _end(self, seconds: float) -> None:
        """A span of so many seconds is over."""
        moved, most = self._least - self.value, _PACE * seconds
        if abs(moved) > _JUMP:
            self.value, self.jumps = self._least, self.jumps + 1
            if self._spans == 1:  # what the first one said of it may not hold
                self.late = self._late + _ROOM
            self._late = 0.0
        else:
            self.value += min(most, max(-most, moved))
            if self._before > self.late:
                self.late, self.grown = self._before + _ROOM, self.grown + 1
        self._before = self._late
        self._spans += 1


class FarEnd:
    """What a speaker was given, in a ring that its callback writes, to be read at another rate.

    Args:
        rate: Of the speaker, in Hz.
        near_rate: To read it at.
    """

    def __init__(self, rate: int, near_rate: int):
        self.rate = rate
        self.ring = Ring(int(_KEPT * rate))
        self.lag = Lag()
        self._held = np.zeros(0, np.float32)
        self._start = 0  # the number of the first one that is held
        self.set_near_rate(near_rate)

    def set_near_rate(self, near_rate: int) -> None:
        """Read it at another rate from now on."""
        self._step = self.rate / near_rate
        self._half = int(_HALF * max(1.0, self._step))
        self._taps = filters(_PHASES, self._half, 0.5 / max(1.0, self._step), beta=5.0)

    def read(self, start: float, count: int) -> np.ndarray:
        """So many samples ``[count]`` from ``start`` seconds on; silence where there are none."""
        self._take()
        places = start * self.rate - self._start + self._step * np.arange(count)
        whole = np.floor(places).astype(int)
        if self._step == 1:  # the same place between two samples, however it is rounded
            whole = whole[0] + np.arange(count)
        first, end = whole[0] - self._half + 1, whole[-1] + self._half + 1
        part = self._held[max(0, first) : max(0, end)]
        before = min(max(0, -first), end - first)
        part = np.pad(part, (before, max(0, end - first - before - len(part))))
        phases = ((places - whole) * _PHASES).astype(int)
        gone = min(max(0, first - int(_SPARE * self.rate)), len(self._held))
        self._held, self._start = self._held[gone:], self._start + gone
        if self._step == 1:
            return np.convolve(part, self._taps[phases[0]][::-1], "valid")
        return apply(part, whole - whole[0], self._taps[phases])

    def _take(self) -> None:
        """Take over what has come."""
        dropped = self.ring.dropped
        new = self.ring.read()
        if self.ring.dropped != dropped:
            self._held = np.zeros(0, np.float32)
        self._held = np.concatenate([self._held, new])[-self.ring.capacity :]
        self._start = self.ring.taken - len(self._held)


class EchoPath:
    """Knows what the speaker was given when the microphone gave what it heard, and takes it out.

    Both are counted and held against the clock, so that clocks that differ are followed,
    whatever the devices say of their delays. Where sound was lost or a device opened anew, it
    begins anew as well. :meth:`played` and :meth:`heard` are the callbacks', all else the loop's.

    Args:
        clock: Seconds.
        noise_suppression: See :class:`echo_canceller.EchoCanceller`.
        auto_gain: The same.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        noise_suppression: bool = False,
        auto_gain: bool = False,
    ):
        self._clock = clock
        self._options = {"noise_suppression": noise_suppression, "auto_gain": auto_gain}
        self._canceller: EchoCanceller | None = None
        self._far: FarEnd | None = None
        self._near_rate, self._next = RATE, 0
        self._lag = Lag()  # the microphone's
        self._jumps, self._doubts = (0, 0, 0), (0, 0)  # of both, that are known of
        self._spent = 0.0
        self.problem: str | None = None  # why nothing is taken out of this microphone's sound

    def set_speaker(self, rate: int) -> None:
        """A speaker was opened at a rate in Hz."""
        self._far = FarEnd(rate, self._near_rate)
        self._jumps = (0, 0, 0)

    def set_microphone(self, rate: int) -> None:
        """A microphone was opened at a rate in Hz; if it does not do, see :attr:`problem`."""
        self._near_rate, self._lag = rate, Lag()
        if self._far:
            self._far.set_near_rate(rate)
        try:
            self._canceller, self.problem = EchoCanceller(rate, **self._options), None
        except ValueError as error:
            self._canceller, self.problem = None, str(error)

    def restart(self) -> None:
        """What the devices have done so far says nothing of what they do."""
        self._lag = Lag()
        if self._far:
            self._far.lag = Lag()

    def played(self, block: np.ndarray) -> None:
        """The speaker is given samples ``[T]``."""
        far, now = self._far, self._clock()
        assert far is not None
        far.lag.take(now - far.ring.written / far.rate, now)
        far.ring.write(block)

    def heard(self, written: int) -> None:
        """The microphone has given so many samples in all."""
        now = self._clock()
        self._lag.take(now - written / self._near_rate, now)

    def clean(self, samples: np.ndarray, ring: Ring) -> np.ndarray:
        """Take the newest samples ``[T]`` read from a microphone's ring; give what is ready."""
        if self._canceller is None or not len(samples):
            return samples
        start = time.perf_counter()
        first = ring.taken - len(samples)
        if first != self._next:
            self._canceller.reset()
        self._next = ring.taken
        far = self._far_end(first, len(samples))
        clean = self._canceller.process(samples, far)
        self._spent += time.perf_counter() - start
        return clean

    @property
    def delay(self) -> float:
        """Seconds that it adds."""
        return self._canceller.delay if self._canceller else 0.0

    @property
    def echo_db(self) -> float | None:
        """See :attr:`echo_canceller.EchoCanceller.echo_db`."""
        return self._canceller.echo_db if self._canceller else None

    def take_blocks(self) -> list[CleanBlock]:
        """What is known of each 10 ms since the last call."""
        blocks = self._canceller.blocks if self._canceller else deque()
        return [blocks.popleft() for _ in range(len(blocks))]

    def take_spent(self) -> float:
        """Seconds of computing since the last call."""
        spent, self._spent = self._spent, 0.0
        return spent

    def _far_end(self, first: int, count: int) -> np.ndarray:
        """What the speaker was given for samples of the microphone ``[count]``.

        As late as it is sure to be there: no echo comes before.
        """
        if not self._far or not self._canceller:
            return np.zeros(count, np.float32)
        far, near = self._far.lag, self._lag
        jumps, doubts = (far.jumps, near.jumps, far.grown), (far.doubts, near.doubts)
        if jumps != self._jumps:
            self._canceller.reset()
        elif doubts != self._doubts:
            self._canceller.doubt()
        self._jumps, self._doubts = jumps, doubts
        start = first / self._near_rate + near.value - far.value - far.late
        return self._far.read(start, count)
