"""The filter between a device's rate and 24 kHz: flat, clean, quick."""

import math

import numpy as np
import pytest
from tones import decibels, tone

from mimi_mlx.live.devices.polyphase import PolyphaseResampler

RATES = [(48000, 24000), (44100, 24000), (96000, 24000), (24000, 48000), (24000, 44100)]


@pytest.mark.parametrize("rates", RATES)
def test_a_resampler_is_flat_to_10_khz_and_in_time(rates):
    source, rate = rates
    for hertz in (50, 440, 3000, 7000, 9000, 10000):
        there = PolyphaseResampler(source, rate).push(tone(hertz, source))
        wanted = tone(hertz, rate)[: len(there)]
        # In time and level at once: nothing but the tone is left, and nothing is left of it.
        assert decibels(there - wanted) < -60
        assert abs(decibels(there) - decibels(wanted)) < 0.1


@pytest.mark.parametrize("rates", [pair for pair in RATES if pair[0] > pair[1]])
def test_what_a_lower_rate_cannot_hold_is_gone(rates):
    for hertz in (12050, 13000, 14000, 16000, 19000, 21000):
        assert decibels(PolyphaseResampler(*rates).push(tone(hertz, rates[0]))) < -80


@pytest.mark.parametrize("rates", [pair for pair in RATES if pair[0] < pair[1]])
def test_a_higher_rate_gets_no_images(rates):
    source, rate = rates
    for hertz in (1000, 6000, 10000, 11500):
        there = PolyphaseResampler(source, rate).push(tone(hertz, source))[1000:16000]
        spectrum = np.abs(np.fft.rfft(there * np.blackman(len(there)))) / (0.21 * len(there))
        above = spectrum[math.ceil(12100 * len(there) / rate) :]
        assert 20 * math.log10(above.max()) < -80


@pytest.mark.parametrize("rates", [*RATES, (16000, 24000), (24000, 16000), (8000, 24000)])
def test_a_resampler_is_quick_and_does_not_mind_the_cutting(rates):
    resampler, random = PolyphaseResampler(*rates), np.random.default_rng(0)
    assert 0 < resampler.delay <= 3.01e-3
    sound = random.normal(0, 0.1, rates[0] // 2).astype(np.float32)
    whole = PolyphaseResampler(*rates).push(sound)
    ends = np.sort(random.integers(0, len(sound), 60))
    pieces = np.concatenate([resampler.push(piece) for piece in np.split(sound, ends)])
    np.testing.assert_allclose(pieces, whole, atol=1e-6)
    missing = len(sound) / rates[0] - len(pieces) / rates[1]
    assert missing == pytest.approx(resampler.delay, abs=1.01 / min(rates))


def test_at_24_khz_nothing_is_changed():
    sound = tone(440, 24000)
    assert PolyphaseResampler(24000, 24000).push(sound) is sound
