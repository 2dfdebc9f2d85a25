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

# A device's count of samples is held against the clock, and the least is followed: it may rise by
# 200 ppm, which the canceller does not mind. What is less by more than 20 ms is a block that comes
# late, and costs less if it is left alone; for 0.1 s it is sound that was lost, and so is what is
# more by that for 4 s.
_RISE, _JUMP, _LOST, _GAINED = 2e-4, 0.02, 0.1, 4.0

# Of the filters that read between samples: taps on either side, and places in a sample.
_HALF, _PHASES = 16, 256


class Least:
    """The least that a value in seconds was of late; it may rise slowly. For a callback."""

    def __init__(self) -> None:
        self.value = 0.0
        self.falls = 0  # how many times it was set or fell at once; 0: nothing is known yet
        self._taken = self._near = self._risen = 0.0  # when: the newest; was near it; last rose
        self._above = math.inf  # how near it came since then

    def take(self, value: float, now: float) -> None:
        """Take its newest value, and the seconds of the clock."""
        is_late = value < self.value - _JUMP
        if not self.falls or (is_late and now - self._near > _LOST):
            self.falls += 1
            self._restart(value, now)
        self.value += _RISE * (now - self._taken)
        self._taken = now
        if value < self.value - _JUMP:
            return
        self._near, self.value = now, min(value, self.value)
        self._above = min(self._above, value - self.value)
        if now - self._risen > _GAINED:
            self._restart(self.value + (self._above if self._above > _JUMP else 0.0), now)

    def _restart(self, value: float, now: float) -> None:
        self.value = value
        self._taken = self._near = self._risen = now
        self._above = math.inf


class FarEnd:
    """What a speaker was given, in a ring that its callback writes, to be read at another rate.

    Args:
        rate: Of the speaker, in Hz.
        near_rate: To read it at.
    """

    def __init__(self, rate: int, near_rate: int):
        self.rate = rate
        self.ring = Ring(int(_KEPT * rate))
        self.given = Least()  # seconds of sound that the speaker has been given, less the clock
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
        self._lag = Least()  # the clock, less the seconds that the microphone has given
        self._falls: tuple[int, int] | None = None  # of both, that are known of
        self._spent = 0.0
        self.problem: str | None = None  # why nothing is taken out of this microphone's sound

    def set_speaker(self, rate: int) -> None:
        """A speaker was opened at a rate in Hz."""
        self._far = FarEnd(rate, self._near_rate)
        self._falls = None

    def set_microphone(self, rate: int) -> None:
        """A microphone was opened at a rate in Hz; if it does not do, see :attr:`problem`."""
        self._near_rate, self._lag = rate, Least()
        if self._far:
            self._far.set_near_rate(rate)
        try:
            self._canceller, self.problem = EchoCanceller(rate, **self._options), None
        except ValueError as error:
            self._canceller, self.problem = None, str(error)

    def restart(self) -> None:
        """What the devices have done so far says nothing of what they do."""
        self._lag = Least()
        if self._far:
            self._far.given = Least()

    def played(self, block: np.ndarray) -> None:
        """The speaker is given samples ``[T]``."""
        far, now = self._far, self._clock()
        assert far is not None
        far.given.take(far.ring.written / far.rate - now, now)
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
        given, lag = self._far.given, self._lag
        if self._falls != (given.falls, lag.falls):
            self._falls = given.falls, lag.falls
            self._canceller.reset()
        return self._far.read(first / self._near_rate + given.value + lag.value, count)
