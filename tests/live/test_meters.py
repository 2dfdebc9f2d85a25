"""Levels and durations."""

import numpy as np
import pytest
from tones import tone

from mimi_mlx.live import meters


def test_levels_and_times():
    assert meters.level(tone(100, 24000)) == pytest.approx(-3.01, abs=0.01)
    assert meters.level(np.zeros(10)) == meters.level(np.zeros(0)) == meters.SILENCE
    times = meters.Times()
    assert times.median == times.worst == 0
    for value in np.random.default_rng(0).permutation(np.linspace(0.001, 0.1, 1000)):
        times.add(value)
    assert times.median == pytest.approx(0.05, rel=0.02)
    assert times.p95 == pytest.approx(0.095, rel=0.02)
    assert times.worst == 0.1 and times.count == 1000
