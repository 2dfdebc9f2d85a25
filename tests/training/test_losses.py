"""The losses: known values, and gradients where they are asked for."""

from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from mimi_mlx.training import losses

RATE = 24000


@pytest.fixture(scope="module")
def clip(speech) -> np.ndarray:
    return speech("kerstin-1")[12000 : 12000 + 6 * 1920][None]


@pytest.fixture(scope="module")
def recorded() -> dict[str, np.ndarray]:
    with np.load(Path(__file__).with_name("recorded.npz")) as file:
        return dict(file)


def parts(target: np.ndarray, found: np.ndarray) -> list[float]:
    return [
        float(np.array(x)) for x in losses.reconstruction(mx.array(target), mx.array(found), RATE)
    ]


def test_mel_filters_are_librosas(recorded):
    """Recorded: ``librosa.filters.mel(sr=24000, n_fft=W, n_mels=B, norm=None).T`` as mel-W-B."""
    names = [name for name in recorded if name.startswith("mel-")]
    assert len(names) == 3
    for name in names:
        found = losses.mel_filters(RATE, *map(int, name.split("-")[1:]))
        np.testing.assert_allclose(found, recorded[name], atol=1e-6)


@pytest.mark.parametrize("window", [64, 512])
def test_magnitudes_are_scipys(recorded, window):
    """Recorded: of ``ShortTimeFFT(get_window("hann", W), W // 4, RATE)``, where 1 is a full sine.

    They are of the windows from the one that begins with this noise on.
    """
    noise = np.random.default_rng(0).standard_normal(4096).astype(np.float32)[None] / 4
    found = np.array(losses.magnitudes(mx.array(noise), window))[0]
    np.testing.assert_allclose(found, recorded[f"stft-{window}"], atol=1e-6)


def test_a_sine_of_full_scale_is_1():
    wave = np.sin(2 * np.pi * 3000 * np.arange(4096) / RATE).astype(np.float32)[None]
    assert np.array(losses.magnitudes(mx.array(wave), 512))[0, :, 64] == pytest.approx(1, abs=1e-5)


def test_nothing_is_lost_of_the_same_and_all_is_of_silence(clip):
    assert parts(clip, clip) == [0, 0, 0]
    noisy = clip + 1e-3 * np.random.default_rng(0).standard_normal(clip.shape).astype(np.float32)
    some, all_of_it = parts(clip, noisy), parts(clip, 0 * clip)
    assert all(0.01 < a < b for a, b in zip(some, all_of_it, strict=True))
    assert all_of_it[2] == pytest.approx(1)


def test_rows_are_averaged(clip):
    two = np.concatenate([clip, clip[:, ::-1]])
    apart = [parts(row[None], 0.5 * row[None]) for row in two]
    np.testing.assert_allclose(parts(two, 0.5 * two), np.mean(apart, axis=0), rtol=1e-3)


def test_loudness_does_not_matter(clip):
    """But for what is near silence."""
    loud, quiet = (parts(level * clip, level * np.roll(clip, 50)) for level in (1, 0.3))
    np.testing.assert_allclose(quiet[1:], loud[1:], rtol=0.15)


def test_gradients_are_numbers_at_silence(clip):
    """Also where the target is silent, and where both are."""

    def loss(found: mx.array, target: mx.array) -> mx.array:
        return losses.total(losses.reconstruction(target, found, RATE))

    silent = mx.zeros(clip.shape)
    for found, target in ((silent, mx.array(clip)), (mx.array(clip), silent), (silent, silent)):
        assert np.isfinite(np.array(mx.grad(loss)(found, target))).all()
