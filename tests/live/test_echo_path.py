"""What the speaker plays is found in what the microphone hears, whatever their clocks are."""

import numpy as np
import pytest
import soxr

from mimi_mlx.live.devices.echo_path import EchoPath, FarEnd, Least
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
    [
        pytest.param(48000, 48000, 0, 0.0, marks=pytest.mark.slow),
        (48000, 44100, 100, 0.008),
        pytest.param(16000, 24000, -100, 0.008, marks=pytest.mark.slow),
    ],
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


def followed(values: np.ndarray) -> tuple[np.ndarray, int]:
    """The least of values that come every 10 ms, and how many times it fell at once."""
    least, found = Least(), []
    for n, value in enumerate(values):
        least.take(value, n / 100)
        found.append(least.value)
    return np.array(found), least.falls


def test_the_least_follows_clocks_and_losses_and_leaves_late_blocks_alone():
    times = np.arange(1000) / 100
    jitter = 0.01 * np.random.default_rng(0).random(1000)
    for ppm in (-150, 150):
        clock = 5 + ppm * 1e-6 * times
        found, falls = followed(clock + jitter)
        assert np.abs(found - clock)[100:].max() < 0.002 and falls == 1
    late = 5 + jitter - 0.05 * (np.arange(1000) % 200 == 100)
    found, falls = followed(late)
    assert np.ptp(found[100:]) < 0.002 and falls == 1
    lost = 5 + jitter - 0.05 * (times > 5)
    found, falls = followed(lost)
    assert found[505] > 4.99 and abs(found[520] - 4.95) < 0.01 and falls == 2
    gained = 5 + jitter + 0.05 * (times > 1)
    found, falls = followed(gained)
    assert found[110] < 5.01 and abs(found[999] - 5.05) < 0.005 and falls == 1


@pytest.mark.parametrize(("rate", "near_rate"), [(48000, 48000), (44100, 48000), (96000, 16000)])
def test_the_far_end_is_read_between_its_samples_at_any_rate(rate, near_rate):
    far, tone = FarEnd(rate, near_rate), lambda seconds: np.sin(2 * np.pi * 997 * seconds)
    far.ring.write(tone(np.arange(rate // 2) / rate).astype(np.float32))
    for start in (0.1001, 0.11234567, 0.3):
        wanted = tone(start + np.arange(480) / near_rate)
        np.testing.assert_allclose(far.read(start, 480), wanted, atol=3e-3)
    assert not far.read(0.6, 480).any(), "what is not there yet is silence"
