"""A queue between two clocks keeps its length."""

import math

import numpy as np
import pytest

from mimi_mlx.live.devices import drift
from mimi_mlx.live.devices.playout import Playout
from mimi_mlx.live.devices.stretch import Stretch


class Clocks:
    """A queue that is filled by one clock and emptied by another, and nothing else."""

    def __init__(self, ppm: float):
        self.drift = drift.DriftControl(0.015, 1920, 24000)
        self.queue, self.stretch = Playout(24000, 120), Stretch(1920)
        self.out = np.empty(240, np.float32)
        self.rate = 24000 * (1 + ppm * 1e-6)
        self.pulled, self.cut = 0, 0
        self.left: list[float] = []
        self.trims: list[float] = []

    def frame(self, number: int, late: float = 0.0) -> None:
        """The device takes what it needs until the frame comes, which goes in."""
        while self.pulled < (0.08 * number + late) * self.rate:
            self.queue.pull(self.out, 0.0)
            self.pulled += 240
        least = self.queue.take_least() / 24000
        change = self.drift.next(least) if math.isfinite(least) else drift.Change()
        self.left.append(least)
        self.trims.append(self.drift.trim)
        samples = self.stretch.push(np.zeros(1920, np.float32), change.stretch)
        if change.cut:
            self.cut += 1
            samples = samples[int(change.cut * 24000) :]
        self.queue.push(samples, int(self.drift.margin * 24000))


@pytest.mark.parametrize(
    ("ppm", "seconds"),
    [(200, 300), (-200, 300), pytest.param(200, 3600, marks=pytest.mark.slow)],
)
def test_drifting_clocks_leave_the_queue_as_it_should_be(ppm, seconds):
    clocks, random = Clocks(ppm), np.random.default_rng(0)
    for number in range(1, round(seconds / 0.08)):
        clocks.frame(number, late=0.004 * random.random())
    assert clocks.queue.underruns == clocks.queue.ring.dropped == clocks.cut == 0
    half = len(clocks.left) // 2
    assert np.mean(clocks.trims[half:]) == pytest.approx(-ppm * 1e-6, abs=30e-6)
    settled = np.array(clocks.left[half:])
    # The device takes 10 ms at once: where its blocks begin wanders past where frames do.
    assert settled.min() > 0.001 and settled.max() < 0.035


def test_a_queue_that_is_far_too_long_is_cut():
    clocks = Clocks(0)
    for number in range(1, 20):
        clocks.frame(number)
    clocks.queue.push(np.zeros(7200, np.float32), 0)  # 0.3 s at once
    for number in range(20, 60):
        clocks.frame(number)
    assert clocks.cut > 0 and clocks.queue.underruns == 0
    assert clocks.left[-1] < 0.07  # the rest goes slowly
