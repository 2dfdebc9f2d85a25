"""Metrics against values worked out by hand."""

import numpy as np
import pytest

from mimi_mlx.evaluation import metrics

RATE = 24000


def tone(frequency: float, seconds: float = 0.5) -> np.ndarray:
    return np.sin(2 * np.pi * frequency * np.arange(int(seconds * RATE)) / RATE)


def test_si_sdr_of_orthogonal_noise_is_the_ratio_of_powers():
    # Powers 100 and 1, and no part of the noise is along the signal: 10 log10(100) = 20 dB.
    signal, noise = np.array([10.0, 0, 0, 0]), np.array([0, 1.0, 0, 0])
    assert metrics.si_sdr(signal, signal + noise) == pytest.approx(20)


def test_si_sdr_ignores_scale_and_sign():
    signal, noise = np.array([3.0, 4, 0]), np.array([0, 0, 0.5])
    expected = 10 * np.log10(25 / 0.25)
    for scale in (1, 0.01, -7):
        assert metrics.si_sdr(signal, scale * (signal + noise)) == pytest.approx(expected)


def test_si_sdr_at_its_ends():
    signal = np.array([1.0, 2, 3])
    assert metrics.si_sdr(signal, 2 * signal) == np.inf
    assert metrics.si_sdr(signal, np.zeros(3)) == -np.inf
    assert metrics.si_sdr(np.array([1.0, 0]), np.array([0.0, 1])) == -np.inf


def test_si_sdr_refuses_silence_and_other_lengths():
    with pytest.raises(ValueError, match="silent"):
        metrics.si_sdr(np.zeros(3), np.ones(3))
    with pytest.raises(ValueError, match=r"\(3,\) and \(4,\)"):
        metrics.si_sdr(np.ones(3), np.ones(4))
    with pytest.raises(ValueError, match=r"must be \[T\]"):
        metrics.si_sdr(np.ones((1, 3)), np.ones((1, 3)))


def test_snr_is_a_ratio_of_powers():
    draw = np.random.default_rng(1)
    clip, noise = draw.normal(size=(2, 24000))
    noise *= np.linalg.norm(clip) / np.linalg.norm(noise)
    for expected in (-10.0, 0.0, 30.0):
        assert metrics.snr(clip, clip + noise * 10 ** (-expected / 20)) == pytest.approx(expected)
    assert metrics.snr(clip, clip) == np.inf
    assert metrics.snr(clip, clip / 2) == pytest.approx(20 * np.log10(2))
    assert metrics.relative_error(clip.reshape(2, -1), clip / 2) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="silent"):
        metrics.snr(0 * clip, clip)


def test_stft_distance_of_a_gain_is_known(speech):
    clip = 0.3 * np.random.default_rng(2).normal(size=24000)  # no bin is silent
    assert metrics.stft_distance(clip, clip) == 0
    # convergence |1 - g|, log magnitude |log g|
    assert metrics.stft_distance(clip, clip / 2) == pytest.approx(0.5 + np.log(2), rel=1e-3)
    voice = speech("kathleen-1")
    noise = np.random.default_rng(3).normal(size=voice.shape)
    near, far = (metrics.stft_distance(voice, voice + x * noise) for x in (0.001, 0.01))
    assert 0 < near < far
    with pytest.raises(ValueError, match="silent"):
        metrics.stft_distance(0 * clip, clip)


def test_log_mel_distance_of_half_the_amplitude_is_6_db(speech):
    # Noise reaches every band, well above the floor: each changes by 20 log10(2) = 6.02 dB.
    noise = np.random.default_rng(0).standard_normal(RATE)
    assert metrics.log_mel_distance(noise, noise / 2, RATE) == pytest.approx(6.0206, abs=1e-4)
    clip = speech("kathleen-1")
    assert metrics.log_mel_distance(clip, clip, RATE) == 0
    assert metrics.log_mel_distance(clip, -clip, RATE) == 0


def test_log_mel_of_silence_is_the_floor_and_of_a_tone_its_band():
    assert (metrics.log_mel(np.zeros(RATE), RATE) == -100).all()
    # 1500 Hz is exactly bin 64 of 1024 at 24 kHz, where a full-scale sine is 0 dB.
    levels = metrics.log_mel(tone(1500), RATE)[10]
    bands = metrics.mel_bands(RATE)
    assert np.argmax(levels) == np.argmax(bands[64])
    neighbours = 20 * np.log10(bands[64].max() + (bands[63] + bands[65])[levels.argmax()] / 2)
    assert levels.max() == pytest.approx(neighbours, abs=0.01)


@pytest.mark.parametrize("rate", [8000, 24000, 48000])
def test_every_mel_band_has_weight(rate):
    bands = metrics.mel_bands(rate)
    assert bands.shape == (513, 80)
    np.testing.assert_allclose(bands.sum(axis=0), 1)
    assert (np.diff(bands.argmax(axis=0)) >= 0).all()


def test_code_agreement_counts_each_codebook():
    a = np.array([[[1, 2, 3, 4], [5, 6, 7, 8]]])
    b = np.array([[[1, 2, 3, 4], [5, 0, 0, 8]]])
    np.testing.assert_array_equal(metrics.code_agreement(a, b), [1, 0.5])
    np.testing.assert_array_equal(metrics.code_agreement(a[0], b[0]), [1, 0.5])
    two = metrics.code_agreement(np.concatenate([a, a]), np.concatenate([a, b]))
    np.testing.assert_array_equal(two, [1, 0.75])
    for wrong in (a[..., :3], a[:, :1], np.zeros((1, 2, 0), int)):
        with pytest.raises(ValueError, match="codes have shapes"):
            metrics.code_agreement(wrong, b if wrong.size else wrong)
