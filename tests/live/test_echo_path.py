"""What the speaker plays is found in what the microphone hears, whatever their clocks are."""

import numpy as np
import pytest
import soxr

from mimi_mlx.live.devices.echo_path import EchoPath
from mimi_mlx.live.devices.ring import Ring
from mimi_mlx.live.meters import level

ECHO = 0.012  # seconds through the air


class Room:
    """A speaker and a microphone, whose blocks of 10 ms come as much too late as they like.

    Args:
        played: What is played, at 24 kHz.
        ppm: How much faster the microphone's clock is than the speaker's.
        jitter: Seconds by which blocks are late, at most.
    """

    def __init__(self, played: np.ndarray, rate: int, far_rate: int, ppm: float, jitter: float):
        self.path = EchoPath(lambda: self._now)
        self.rate, self.far_rate, self._jitter = rate, far_rate, jitter
        self._random = np.random.default_rng(0)
        self._pace = rate * (1 + ppm * 1e-6)
        self._far = soxr.resample(played, 24000, far_rate).astype(np.float32)
        at = np.arange(0, len(played) / 24000 - 1, 1 / self._pace)
        decay = np.exp(-np.arange(240) / 40) * self._random.standard_normal(240)
        echo = 0.3 * np.convolve(played, np.concatenate([np.zeros(20), [1], decay]))
        noise = 1e-4 * self._random.standard_normal(len(at))
        times = np.arange(len(echo)) / 24000 + ECHO
        self._near = (np.interp(at, times, echo) + noise).astype(np.float32)
        self._now, self._given, self._taken = 0.0, 0, 0  # seconds, and blocks
        self.reopen()

    def reopen(self) -> None:
        """Both devices are opened, perhaps once more."""
        self.path.set_microphone(self.rate)
        self.path.set_speaker(self.far_rate)
        self.ring = Ring(int(0.4 * self.rate))

    def go(self, seconds: float, stalled: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """What the microphone heard, and what is left of it; a stalled loop takes neither."""
        heard, clean = [], []
        for _ in range(round(seconds * 200)):
            self._now += 0.005
            self._devices(self._now - self._jitter * self._random.random(2))
            if not stalled:
                heard.append(self.ring.read().copy())
                clean.append(self.path.clean(heard[-1], self.ring))
        return np.concatenate(heard or [[]]), np.concatenate(clean or [[]])

    def _devices(self, now: np.ndarray) -> None:
        """Both take and give what is due; the speaker takes blocks 10 ms before they are heard."""
        size, far_size = self.rate // 100, self.far_rate // 100
        while self._given <= now[0] * 100:
            start, self._given = self._given * far_size, self._given + 1
            self.path.played(self._far[start : start + far_size])
        while (self._taken + 1) * size <= now[1] * self._pace:
            start, self._taken = self._taken * size, self._taken + 1
            self.ring.write(self._near[start : start + size])
            self.path.heard(self.ring.written)


def reduction(room: Room, seconds: float) -> float:
    """By how many dB the echo is less, in the next seconds."""
    heard, clean = room.go(seconds)
    return level(heard) - level(clean)


@pytest.mark.parametrize(
    ("rate", "far_rate", "ppm", "jitter"),
    [(48000, 48000, 0, 0.0), (48000, 44100, 100, 0.008), (16000, 24000, -100, 0.008)],
)
def test_the_echo_is_gone_in_three_seconds_and_stays_away(speech, rate, far_rate, ppm, jitter):
    room = Room(np.tile(speech("dialogue")[: 24000 * 8], 2), rate, far_rate, ppm, jitter)
    room.go(2.0)
    assert reduction(room, 1.0) > 25
    room.go(1.0, stalled=True)
    room.go(2.0)
    assert reduction(room, 1.0) > 25 and room.path.echo_db < -25
    room.reopen()
    room.go(2.0)
    assert reduction(room, 1.0) > 25
