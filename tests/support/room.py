"""A room in which a loudspeaker, a microphone and a person are: all at 24 kHz, in numbers."""

import numpy as np

from mimi_mlx.live.devices.polyphase import apply, filters

RATE = 24000
_HALF, _PHASES = 16, 1024  # of the interpolation between a device's samples and the room's
_HOP = 900  # samples that are convolved at once: less than the echo's delay


class Room:
    """What a microphone hears of a speaker ``delay`` seconds later, with an echo, and of a person.

    Give :meth:`played` and :meth:`sound` to a :class:`fake_audio.FakeAudio`. Both devices' clocks
    may differ from the room's, which is the fake one.

    Args:
        start, seconds: Of the clock, from where and how long there is a room.
        decay: Seconds in which the echo's tail falls by 8.7 dB, to 1 / e; for 60 dB 6.9 times that.
        echo_db: Of the whole echo, against what is played.
        direct_db: Of the sound that comes straight, against the tail.
        noise_db: In dBFS.
    """

    def __init__(
        self,
        seconds: float,
        start: float = 99.0,
        delay: float = 0.04,
        decay: float = 0.05,
        echo_db: float = -6.0,
        direct_db: float = 0.0,
        noise_db: float = -60.0,
        seed: int = 0,
    ):
        random = np.random.default_rng(seed)
        self.start = start
        self._air = np.zeros(round((seconds + 2) * RATE), np.float32)  # what the speaker plays
        self.heard = 10 ** (noise_db / 20) * random.standard_normal(len(self._air))
        self.near = np.zeros_like(self._air)  # what the person says
        self._delay = round(delay * RATE)
        self._done = 0  # samples whose echo is in what is heard
        tail = random.standard_normal(round(7 * decay * RATE)).astype(np.float32)
        tail *= np.exp(-np.arange(1, len(tail) + 1) / (decay * RATE))
        tail /= np.sqrt(np.sum(tail**2))
        response = np.concatenate([[10 ** (direct_db / 20)], tail])
        response *= 10 ** (echo_db / 20) / np.sqrt(np.sum(response**2))
        self._length = -(-(len(response) + _HOP) // 600) * 600  # a product of small primes
        self._response = np.fft.rfft(response, self._length)
        self._taps = filters(_PHASES, _HALF, 0.5)

    def say(self, at: float, pcm: np.ndarray) -> None:
        """Have the person say ``pcm [T]`` of 24 kHz from some seconds of the clock on."""
        first = round((at - self.start) * RATE)
        pcm = pcm[: max(0, len(self.near) - first)]
        self.near[first : first + len(pcm)] += pcm

    def played(self, at: float, rate: float, pcm: np.ndarray) -> None:
        """The speaker plays ``pcm [T]`` of a rate from some seconds of the clock on."""
        places = (at - self.start + np.arange(len(pcm)) / rate) * RATE
        first = np.floor(places).astype(int)
        phases = ((places - first) * _PHASES).astype(int)
        spread = self._taps[phases] * (pcm * (RATE / rate))[:, None]
        targets = first[:, None] + np.arange(1 - _HALF, _HALF + 1)
        low = targets[0, 0]
        added = np.bincount((targets - low).ravel(), spread.ravel())
        self._air[low : low + len(added)] += added

    def sound(self, seconds: np.ndarray) -> np.ndarray:
        """What is heard at some seconds of the clock ``[T]``."""
        places = (seconds - self.start) * RATE
        first = np.floor(places).astype(int)
        phases = ((places - first) * _PHASES).astype(int)
        low, high = first[0] + 1 - _HALF, first[-1] + _HALF + 1
        while self._done < high:
            self._convolve()
        window = self.heard[low:high] + self.near[low:high]
        return apply(window.astype(np.float32), first - first[0], self._taps[phases])

    def _convolve(self) -> None:
        """Add the echo of the next hop, as far as its tail goes."""
        first = max(0, self._done - self._delay)
        hop = self._air[first : max(0, self._done + _HOP - self._delay)]
        self._done += _HOP
        if hop.any():
            echo = np.fft.irfft(np.fft.rfft(hop, self._length) * self._response, self._length)
            at = first + self._delay
            part = self.heard[at : at + self._length]
            part += echo[: len(part)]
