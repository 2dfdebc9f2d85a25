"""What the speaker plays is found in what the microphone hears, whatever their clocks are."""

import numpy as np
import pytest
import soxr

from mimi_mlx.live.devices.echo_path import EchoPath
from mimi_mlx.live.devices.ring import Ring
from mimi_mlx.live.meters import level

ECHO = 0.012  # seconds through the air


class Room:
    """A speaker and a microphone, whose blocks of 10 ms come at jittered times.

    Args:
        played: What is played, at 24 kHz.
        ppm: How much faster the microphone's clock is than the speaker's.
        jitter: Seconds by which the devices' words on their delays differ from block to block.
    """

    def __init__(self, played: np.ndarray, rate: int, far_rate: int, ppm: float, jitter: float):
        self.path = EchoPath()
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
        self.reopen()
        self._blocks = 0

    def reopen(self) -> None:
        """Both devices are opened, perhaps once more."""
        self.path.set_microphone(self.rate)
        self.path.set_speaker(self.far_rate)
        self.ring = Ring(int(0.4 * self.rate))

    def go(self, seconds: float, stalled: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """What the microphone heard, and what is left of it; a stalled loop takes neither."""
        size, far_size = self.rate // 100, self.far_rate // 100
        heard, clean = [], []
        for _ in range(round(seconds * 100)):
            jitter = self._jitter * self._random.uniform(-1, 1, 2)
            n, self._blocks = self._blocks, self._blocks + 1
            ahead = n + 2  # the speaker is given its blocks 20 ms before they are heard
            part = self._far[ahead * far_size : (ahead + 1) * far_size]
            self.path.played(part, ahead / 100 + jitter[0])
            mark = (n * size / self._pace + jitter[1], self.ring.written)
            self.ring.write(self._near[n * size : (n + 1) * size])
            if not stalled and self._random.random() < 0.7:
                heard.append(self.ring.read())
                clean.append(self.path.clean(heard[-1], self.ring, mark))
        return np.concatenate(heard or [[]]), np.concatenate(clean or [[]])


def reduction(room: Room, seconds: float) -> float:
    """By how many dB the echo is less, in the next seconds."""
    heard, clean = room.go(seconds)
    return level(heard) - level(clean)


@pytest.mark.parametrize(
    ("rate", "far_rate", "ppm", "jitter"),
    [(48000, 48000, 0, 0.0), (48000, 44100, 100, 0.005), (16000, 24000, -100, 0.005)],
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
