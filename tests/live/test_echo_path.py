"""What the speaker plays is found in what the microphone hears, whatever their clocks are."""

import numpy as np
import pytest
import soxr

from mimi_mlx.live.devices.echo_path import EchoPath, FarEnd, Lag
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


def followed(values: np.ndarray) -> tuple[np.ndarray, Lag]:
    """A lag that takes values that come every 10 ms, and what it was after each."""
    lag, found = Lag(), []
    for n, value in enumerate(values):
        lag.take(value, n / 100)
        found.append(lag.value)
    return np.array(found), lag


TIMES = np.arange(1000) / 100
JITTER = 0.008 * np.random.default_rng(0).random(1000)


@pytest.mark.parametrize("ppm", [-150, 150])
def test_a_lag_goes_with_the_clocks_and_not_with_late_blocks(ppm):
    clock = 5 + ppm * 1e-6 * TIMES
    late = clock + JITTER + 0.05 * (np.arange(1000) % 100 == 90)
    found, lag = followed(late)
    assert np.abs(found - clock)[60:].max() < 0.002 and np.abs(np.diff(found)[60:]).max() < 2e-4
    assert 0.05 < lag.late < 0.065 and lag.jumps == 1 and lag.grown <= 1
    assert lag.doubts <= 2  # of those that are as late as others were


@pytest.mark.parametrize("seconds", [-0.05, 0.05, 0.4])
def test_a_lag_follows_sound_that_was_lost_within_a_second(seconds):
    found, lag = followed(5 + JITTER + seconds * (TIMES > 5.2))
    assert np.abs(found - 5)[60:520].max() < 0.002
    assert np.abs(found - 5 - seconds)[620:].max() < 0.002
    assert lag.jumps == 2 and lag.doubts > 10 and lag.late < 0.015


def test_blocks_that_fill_a_device_when_it_begins_are_not_late_ones():
    _, lag = followed(5 + JITTER + np.maximum(0, 0.2 - 2 * TIMES))
    assert lag.late < 0.012 and lag.jumps == 1


@pytest.mark.parametrize(("rate", "near_rate"), [(48000, 48000), (44100, 48000), (96000, 16000)])
def test_the_far_end_is_read_between_its_samples_at_any_rate(rate, near_rate):
    far, tone = FarEnd(rate, near_rate), lambda seconds: np.sin(2 * np.pi * 997 * seconds)
    far.ring.write(tone(np.arange(rate // 2) / rate).astype(np.float32))
    for start in (0.1001, 0.11234567, 0.3):
        wanted = tone(start + np.arange(480) / near_rate)
        np.testing.assert_allclose(far.read(start, 480), wanted, atol=3e-3)
    assert not far.read(0.6, 480).any(), "what is not there yet is silence"


def test_the_far_end_gives_as_much_as_is_asked_for_however_its_place_is_rounded():
    far = FarEnd(48000, 48000)
    for sample in range(1, 100):
        assert len(far.read(np.nextafter(sample / 48000, 0), 480)) == 480
