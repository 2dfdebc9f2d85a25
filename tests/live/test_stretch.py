"""Frames made longer or shorter so that nobody hears it."""

import numpy as np
import pytest
from tones import decibels, tone

from mimi_mlx.live.devices.stretch import Stretch, shorten


@pytest.mark.parametrize("change", [-4, -1, 0, 1, 4])
def test_a_stretched_tone_is_the_same_tone_a_little_slower_or_faster(change):
    stretch, frames = Stretch(1920), 50
    sound = tone(3000, 24000, 4.0)[: frames * 1920].reshape(frames, 1920)
    there = np.concatenate([stretch.push(frame, change) for frame in sound])
    assert len(there) == frames * (1920 + change)
    speed = 1920 / (1920 + change)
    at = np.arange(len(there)) * speed - stretch.delay  # samples of the source
    wanted = np.sin(2 * np.pi * 3000 * at / 24000)
    assert decibels((there - wanted)[200:]) < -60


def test_shorten_leaves_no_edge():
    sound = tone(200, 24000, 0.08)
    there = shorten(sound, 500, 120)
    assert len(there) == 1920 - 500
    assert there[0] == pytest.approx(sound[0], abs=1e-3)
    np.testing.assert_array_equal(there[120:], sound[620:])
    assert np.abs(np.diff(there)).max() < 3 * np.abs(np.diff(sound)).max()
