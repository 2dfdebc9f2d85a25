"""Gradients through a frozen Mimi: waveform to latents and latents to waveform, by ``mx.grad``."""

from collections.abc import Callable

import mlx.core as mx
import numpy as np
import pytest

from mimi_mlx import Mimi
from mimi_mlx.model.codec import Codec

STEP = 16  # frames of a long step on the CPU, which a clip of more crosses
FRAMES = STEP + 2
RAGGED = 1920 - 700  # samples that the last frame lacks

# Of a latent's RMS: at that size the decoder is straight within CLOSE, and has digits enough.
LATENT_STEP = 0.0044

# Of the slope. The encoder bends so much that only tiny differences are straight, and those have
# few digits in float32.
CLOSE = 0.01

Function = Callable[[mx.array], mx.array]


@pytest.fixture(scope="module")
def pcm(speech) -> mx.array:
    start = 6000  # past the silence before the sentence
    return mx.array(speech("kathleen-1")[start : start + FRAMES * 1920 - RAGGED])[None, None]


@pytest.fixture(scope="module")
def latent(tiny, pcm) -> mx.array:
    return tiny.decode_latent(tiny.encode(pcm))


def noise(seed: int, shape: tuple[int, ...], where: slice) -> np.ndarray:
    """Noise at ``where`` of the last axis, and nothing elsewhere."""
    drawn = np.zeros(shape, np.float32)
    drawn[..., where] = np.random.default_rng(seed).standard_normal(drawn[..., where].shape)
    return drawn


def latent_step(latent: mx.array) -> float:
    return LATENT_STEP * mx.square(latent).mean().sqrt().item()


def check_gradient(
    function: Function, x: mx.array, step: float, into: slice, of: slice = slice(None)
) -> None:
    """Along directions within ``into`` of time, the slopes of a random sum over ``of`` of it."""
    weights = noise(0, function(x).shape, of)
    gradient = mx.grad(lambda x: (function(x) * mx.array(weights)).sum())(x)
    assert gradient.shape == x.shape
    found, expected = [], []
    for seed in range(1, 5):
        along = noise(seed, x.shape, into)
        after, before = (np.array(function(x + h * mx.array(along))) for h in (step, -step))
        found.append(np.vdot(np.array(gradient, np.float64), along))
        expected.append(np.vdot(weights, after.astype(np.float64) - before) / (2 * step))
    error = np.linalg.norm(np.subtract(found, expected)) / np.linalg.norm(expected)
    assert error <= CLOSE, (found, expected)


@pytest.mark.parametrize(
    "into", [slice(500), slice(5000, 9000), slice(-700, None)], ids=["start", "middle", "ragged"]
)
def test_latents_of_a_waveform(tiny, pcm, into):
    check_gradient(lambda x: tiny.encode_to_latent(x, quantize=False), pcm, 2e-5, into)


def test_a_latent_by_the_samples_of_the_step_before(tiny, pcm):
    """Through the state of the encoder alone."""
    before, after = slice((STEP - 1) * 1920, STEP * 1920), slice(STEP, None)
    check_gradient(tiny.encode_to_latent, pcm, 2e-5, before, after)


@pytest.mark.parametrize(
    "into", [slice(None), slice(1), slice(FRAMES - 1, None)], ids=["all", "first", "last"]
)
def test_a_waveform_of_latents(tiny, latent, into):
    check_gradient(tiny.decode_from_latent, latent, latent_step(latent), into)


def test_samples_by_the_latent_of_the_step_before(tiny, latent):
    """Through the state of the decoder alone."""
    before, after = slice(STEP), slice(STEP * 1920, None)
    check_gradient(tiny.decode_from_latent, latent, latent_step(latent), before, after)


def test_both_ways_in_batches(tiny, pcm):
    """A row's gradient is its own: rows of one batch, each as if alone."""

    def through(x: mx.array) -> mx.array:
        return tiny.decode_from_latent(tiny.encode_to_latent(x)).square().sum()

    rows = mx.concatenate([pcm[..., :5760], pcm[..., 5760:11520]])
    together = np.array(mx.grad(through)(rows))
    alone = np.concatenate([np.array(mx.grad(through)(row[None])) for row in rows])
    assert np.abs(together - alone).max() <= 1e-4 * np.abs(alone).max()
    assert (np.abs(alone).max(axis=-1) > 0).all()


def test_descent_brings_a_latent_to_a_waveform(tiny, pcm):
    """What the gradients are for: a latent found through a frozen Mimi."""
    target = tiny.decode(tiny.encode(pcm[..., :5760]))

    def loss(z: mx.array) -> mx.array:
        return (tiny.decode_from_latent(z) - target).square().mean() / target.square().mean()

    z = mx.zeros((1, tiny.config.hidden_size, 3))
    losses = []
    for _ in range(12):
        value, gradient = mx.value_and_grad(loss)(z)
        z = z - 5 * gradient / mx.linalg.norm(gradient)
        losses.append(value.item())
    assert losses[-1] < 0.7 * losses[0]


def test_decoding_the_latents_of_codes_is_decoding_codes(tiny, pcm, latent):
    expected = np.array(tiny.decode(tiny.encode(pcm)))
    np.testing.assert_array_equal(np.array(tiny.decode_from_latent(latent)), expected)
    np.testing.assert_array_equal(np.array(tiny.decode_from_latent(np.array(latent))), expected)


def test_wrong_latents_are_refused(tiny):
    half = Mimi(Codec(tiny.config, only="encoder"))
    with pytest.raises(ValueError, match="decode_from_latent: this model was loaded with only"):
        half.decode_from_latent(mx.zeros((1, 128, 2)))
    for shape in ((128, 2), (1, 2, 128), (1, 128, 0), (0, 128, 2)):
        with pytest.raises(ValueError, match=r"it must be float32 \[B, 128, F\]"):
            tiny.decode_from_latent(mx.zeros(shape))
    with pytest.raises(ValueError, match="latent is int32; it must be float32"):
        tiny.decode_from_latent(mx.zeros((1, 128, 2), mx.int32))
