"""Sound at another rate and in other pieces: exact lengths, whatever the cutting."""

import numpy as np
import pytest
from sounds import noise, sine

from mimi_mlx import audio
from mimi_mlx.audio.resampler import Resampler, pieces

RATES = [8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000, 96000, 12345]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("samples", [1, 2, 3, 1001, 44100])
def test_resampling_has_exact_lengths_both_ways(rate, samples):
    there = audio.resample(np.ones(samples, np.float32), rate, 24000)
    assert len(there) == -(-samples * 24000 // rate) >= 1
    assert there.dtype == np.float32
    back = audio.resample(there, 24000, rate, samples)
    assert len(back) == samples and back.dtype == np.float32


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_resampling_keeps_the_signal_and_its_place(rate):
    there = audio.resample(sine(440, rate, rate), rate, 24000)
    middle = slice(2000, -2000)
    np.testing.assert_allclose(there[middle], sine(440, 24000, 24000)[middle], atol=1e-4)
    back = audio.resample(there, 24000, rate, rate)
    np.testing.assert_allclose(back[middle], sine(440, rate, rate)[middle], atol=1e-4)


def test_resampling_removes_what_the_lower_rate_cannot_hold():
    high = audio.resample(sine(15000, 48000, 48000), 48000, 24000)
    assert np.abs(high[2000:-2000]).max() < 1e-4


@pytest.mark.parametrize(("source", "rate"), [(44100, 24000), (8000, 24000), (24000, 48000)])
def test_resampling_does_not_depend_on_the_cutting(source, rate):
    samples = noise(30001)
    whole = audio.resample(samples, source, rate)
    for size in (1 << 16, 1920, 441, 7):
        resampler = Resampler(source, rate)
        parts = [resampler.push(samples[i : i + size]) for i in range(0, len(samples), size)]
        given = sum(map(len, parts))
        np.testing.assert_array_equal(np.concatenate([*parts, resampler.flush()]), whole)
        assert len(whole) / rate - given / rate < 0.15, "it comes late"


def test_pieces_are_the_same_however_the_blocks_were_cut():
    whole = np.arange(2 * 1001).reshape(2, 1001)
    expected = [whole[:, i : i + 60] for i in range(0, 1001, 60)]
    for sizes in ([1001], [1] * 1001, [0, 59, 2, 500, 440], [60] * 16 + [41]):
        blocks = np.split(whole, np.cumsum(sizes)[:-1], axis=1)
        found = list(pieces(blocks, 60))
        assert len(found) == len(expected)
        for piece, wanted in zip(found, expected, strict=True):
            np.testing.assert_array_equal(piece, wanted)


def test_a_piece_does_not_wait_for_what_follows():
    def live():
        yield np.zeros(130)
        raise AssertionError("waited")

    found = pieces(live(), 60)
    assert len(next(found)) == len(next(found)) == 60
