"""The way of sound from the speaker back to the microphone, and taking out what went it."""

import time

import numpy as np

from .echo_canceller import EchoCanceller
from .polyphase import apply, filters
from .ring import Ring

# To ask of devices, in Hz: all of a voice in one rate that most have.
RATE = 48000

# Seconds of what was played that are kept; and over which a device's clock is averaged.
_KEPT, _AVERAGE = 1.0, 2.0

# How fast the two devices' clocks are followed, a second for each second that they are apart, and
# at most: 200 ppm, that the canceller does not mind. What is apart by more than that many seconds
# is no drift: some sound was lost.
_GAIN, _MOST, _JUMP = 0.02, 2e-4, 0.03

# Of the filters that read between samples: taps on either side, and places in a sample.
_HALF, _PHASES = 16, 256


class SampleClock:
    """Seconds of a device's samples less those of the clock, averaged over its blocks."""

    def __init__(self, rate: int):
        self._rate = rate
        self._mark: tuple[float, int] | None = None
        self._count = 0
        self.offset: float | None = None  # None: nothing is known yet

    def follow(self, mark: tuple[float, int] | None) -> None:
        """Take a block's time at the converter, in seconds of the clock, and first sample."""
        if mark is None or mark == self._mark:
            return
        heard, number = mark
        offset = number / self._rate - heard
        passed = heard - self._mark[0] if self._mark else 0.0
        self._mark, self._count = mark, self._count + 1
        if self.offset is None:
            self.offset = offset
        else:
            share = min(1.0, max(1 / self._count, passed / _AVERAGE))
            self.offset += share * (offset - self.offset)


class FarEnd:
    """What a speaker has played: its callback writes, the loop reads any part, at any rate.

    Args:
        rate: Of the speaker, in Hz.
        near_rate: To read it at.
    """

    def __init__(self, rate: int, near_rate: int):
        self.rate = rate
        self.ring = Ring(int(_KEPT * rate))
        self.mark: tuple[float, int] | None = None
        self.clock = SampleClock(rate)
        self._held = np.zeros(0, np.float32)
        self._start = 0  # the number of the first one that is held
        self.set_near_rate(near_rate)

    def set_near_rate(self, near_rate: int) -> None:
        """Read it at another rate from now on."""
        self._step = self.rate / near_rate
        self._half = int(_HALF * max(1.0, self._step))
        self._taps = filters(_PHASES, self._half, 0.5 / max(1.0, self._step), beta=5.0)

    def write(self, block: np.ndarray, heard: float) -> None:
        """Samples ``[T]`` that are heard at some seconds of the clock; for the callback."""
        self.mark = (heard, self.ring.written)
        self.ring.write(block)

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
        gone = min(max(0, first), len(self._held))  # later reads are later in time
        self._held, self._start = self._held[gone:], self._start + gone
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
    """Knows what the speaker played when the microphone heard, and takes it out.

    Both devices' clocks are followed; where sound was lost or a device opened anew, it begins
    anew as well. :meth:`played` is the speaker's callback's, all else the loop's.

    Args:
        noise_suppression: See :class:`echo_canceller.EchoCanceller`.
        auto_gain: The same.
    """

    def __init__(self, *, noise_suppression: bool = False, auto_gain: bool = False):
        self._options = {"noise_suppression": noise_suppression, "auto_gain": auto_gain}
        self._canceller: EchoCanceller | None = None
        self._far: FarEnd | None = None
        self._near_rate, self._next = RATE, 0
        self._near_clock = SampleClock(RATE)
        self._shift: float | None = None  # seconds from near to far; None: nobody knows yet
        self._early = 0.0  # seconds of it by which the far end comes before its time
        self.problem: str | None = None  # why nothing is taken out of this microphone's sound
        self._spent = 0.0

    def set_speaker(self, rate: int) -> None:
        """A speaker was opened at a rate in Hz."""
        self._far = FarEnd(rate, self._near_rate)
        self._shift = None

    def set_microphone(self, rate: int) -> None:
        """A microphone was opened at a rate in Hz; if it does not do, see :attr:`problem`."""
        self._near_rate, self._near_clock = rate, SampleClock(rate)
        self._next, self._shift = 0, None
        if self._far:
            self._far.set_near_rate(rate)
        try:
            self._canceller, self.problem = EchoCanceller(rate, **self._options), None
        except ValueError as error:
            self._canceller, self.problem = None, str(error)

    def played(self, block: np.ndarray, heard: float) -> None:
        """The speaker plays samples ``[T]``, the first at ``heard`` seconds of the clock."""
        assert self._far is not None
        self._far.write(block, heard)

    def clean(self, samples: np.ndarray, ring: Ring, mark: tuple[float, int] | None) -> np.ndarray:
        """Take the newest samples ``[T]`` read from a microphone's ring; give what is ready.

        Args:
            mark: When the microphone heard which sample, in seconds of the clock.
        """
        if self._canceller is None or not len(samples):
            return samples
        begin = time.perf_counter()
        first = ring.taken - len(samples)
        if first != self._next:
            self._shift = None
        self._next = ring.taken
        self._near_clock.follow(mark)
        self._follow(len(samples), ring.written)
        far = np.zeros_like(samples)
        if self._far and self._shift is not None:
            far = self._far.read(first / self._near_rate + self._shift, len(samples))
        clean = self._canceller.process(samples, far)
        self._spent += time.perf_counter() - begin
        return clean

    @property
    def delay(self) -> float:
        """Seconds that it adds."""
        return self._canceller.delay if self._canceller else 0.0

    @property
    def echo_db(self) -> float | None:
        """See :attr:`echo_canceller.EchoCanceller.echo_db`."""
        return self._canceller.echo_db if self._canceller else None

    @property
    def speech_probability(self) -> float:
        """See :attr:`echo_canceller.EchoCanceller.speech_probability`."""
        return self._canceller.speech_probability if self._canceller else 0.0

    def take_spent(self) -> float:
        """Seconds of computing since the last call."""
        spent, self._spent = self._spent, 0.0
        return spent

    def _follow(self, count: int, written: int) -> None:
        """Follow the clocks for so many samples; ``written`` by the microphone are there."""
        far, near = self._far, self._near_clock.offset
        if far is None or self._canceller is None:
            return
        far.clock.follow(far.mark)
        if far.clock.offset is None or near is None:
            return
        shift = far.clock.offset - near  # as the devices' words on their delays have it
        if self._shift is None or abs(shift + self._early - self._shift) > _JUMP:
            # These words may be wrong, and no echo can be before its cause. Half of what has
            # come from the speaker beyond what is needed is given early.
            ahead = far.ring.written / far.rate - (written / self._near_rate + shift)
            self._early = max(0.0, ahead / 2)
            self._shift = shift + self._early
            self._canceller.reset()
            self._canceller.hint(self._early)
        seconds = count / self._near_rate
        most = _MOST * seconds
        apart = shift + self._early - self._shift
        self._shift += min(most, max(-most, _GAIN * seconds * apart))
