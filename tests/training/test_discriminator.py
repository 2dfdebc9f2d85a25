"""The discriminator: its shapes, its convolutions, and that it learns."""

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
import pytest
from mlx.utils import tree_flatten

from mimi_mlx.training.discriminator import (
    WINDOWS,
    MultiScaleDiscriminator,
    NormalisedConv2d,
    adversarial_loss,
    discriminator_loss,
    feature_loss,
    spectra,
)

SMALL = {"channels": 4, "windows": (256, 128)}


def noise(*shape: int, seed: int = 0) -> mx.array:
    return mx.array(np.random.default_rng(seed).normal(0, 0.1, shape).astype(np.float32))


def test_each_scale_judges_in_time_and_frequency():
    model = MultiScaleDiscriminator(channels=2)
    judged = model(noise(2, 4096))
    assert len(judged) == len(WINDOWS) == 5
    for window, (*features, logits) in zip(WINDOWS, judged, strict=True):
        frames, bins = 4096 // (window // 4) - 3, window // 2
        assert [x.shape for x in features] == [(2, frames, bins // n, 2) for n in (1, 2, 4, 8)]
        assert logits.shape == (2, frames, bins // 8, 1)
    linear = model.scales[-1].layers[1](features[0])
    assert mx.array_equal(features[1], mx.where(linear > 0, linear, 0.2 * linear))


def test_spectra_are_those_of_numpy():
    x = np.array(noise(2, 1000))
    found = np.array(spectra(mx.array(x), 128))
    taper = np.hanning(129)[:-1]
    starts = range(0, 1000 - 128 + 1, 32)
    expected = np.stack([np.fft.rfft(x[:, i : i + 128] * taper) for i in starts], 1)[..., :-1]
    expected = expected / np.sqrt(np.square(taper).sum())
    assert found.shape == (*expected.shape, 2) == (2, 28, 64, 2)
    np.testing.assert_allclose(found[..., 0] + 1j * found[..., 1], expected, atol=1e-5)


@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (2, 2), (2, 4)])
def test_a_convolution_is_mlxs_with_weight_normalisation(stride, dilation):
    layer = NormalisedConv2d(3, 5, (3, 8), mx.random.key(0), stride, dilation)
    layer.gain, layer.bias = noise(5, seed=1), noise(5, seed=2)
    lengths = mx.sqrt(mx.square(layer.direction).sum(axis=(1, 2, 3), keepdims=True))
    weight = layer.gain[:, None, None, None] * layer.direction / lengths
    x = noise(2, 7, 12, 3)
    left = (8 - stride) // 2
    padded = mx.pad(x, [(0, 0), (dilation, dilation), (left, 8 - stride - left), (0, 0)])
    expected = mx.conv2d(padded, weight, (1, stride), 0, (dilation, 1)) + layer.bias
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)


def test_weights_depend_on_the_seed_alone():
    mx.random.seed(3)
    expected = mx.random.uniform(shape=(4,))
    mx.random.seed(3)
    one, two, other = (MultiScaleDiscriminator(**SMALL, seed=seed) for seed in (1, 1, 2))
    assert mx.array_equal(mx.random.uniform(shape=(4,)), expected)  # the caller's generator is
    flat = [dict(tree_flatten(d.parameters())) for d in (one, two, other)]
    name = "scales.0.layers.1.direction"
    assert mx.array_equal(flat[0][name], flat[1][name])
    assert not mx.array_equal(flat[0][name], flat[2][name])
    assert not mx.array_equal(flat[0][name], flat[0]["scales.1.layers.1.direction"])


def judgement(*logits: float) -> list[list[mx.array]]:
    return [[mx.full((1, 2, 3, 4), 0.5), mx.full((1, 2, 3, 1), x)] for x in logits]


def test_losses_have_the_values_of_the_paper():
    assert discriminator_loss(judgement(0, 0), judgement(0, 0)).item() == 2
    assert discriminator_loss(judgement(1, 3), judgement(-1, -2)).item() == 0
    assert discriminator_loss(judgement(-1, 1), judgement(-1, 0)).item() == (2 + 0 + 0 + 1) / 2
    assert adversarial_loss(judgement(2, -1)).item() == (0 + 2) / 2
    real, decoded = judgement(0, 0), judgement(5, 5)
    assert feature_loss(real, decoded).item() == 0  # logits are none
    decoded[1][0] = decoded[1][0] * 3
    assert feature_loss(real, decoded).item() == (0 + 1.0 / 0.5) / 2


def test_training_tells_noise_from_a_tone():
    """One step lowers its loss, more do so nearly to 0, and every parameter has a gradient."""
    model = MultiScaleDiscriminator(**SMALL)
    tone = 0.1 * mx.sin(mx.arange(1024) * 0.1)[None]
    real, decoded = tone + 0.01 * noise(2, 1024), noise(2, 1024, seed=1)
    step = nn.value_and_grad(model, lambda: discriminator_loss(model(real), model(decoded)))
    optimiser = optim.Adam(3e-3)
    losses = []
    for number in range(12):
        loss, gradients = step()
        if number == 0:
            still = {name for name, g in tree_flatten(gradients) if mx.abs(g).max() == 0}
            assert {name.rpartition(".last.")[2] for name in still} <= {"bias"}  # real and not: 0
        optimiser.update(model, gradients)
        losses.append(loss.item())
    assert losses[1] < losses[0] and losses[-1] < 0.7 * losses[0], losses


def test_the_generators_losses_lead_to_the_real_sound():
    """A step along the gradient lowers each loss; what is real is not moved."""
    model = MultiScaleDiscriminator(**SMALL)
    real, decoded = noise(1, 1024), noise(1, 1024, seed=1)
    target = model(real)
    for loss in (lambda x: feature_loss(target, model(x)), lambda x: adversarial_loss(model(x))):
        value, gradient = mx.value_and_grad(loss)(decoded)
        moved = decoded - 0.1 * gradient / mx.linalg.norm(gradient)
        assert loss(moved).item() < value.item()
    assert feature_loss(target, target).item() == 0
    learned = mx.grad(lambda x: feature_loss(model(x), target))(decoded)
    assert mx.array_equal(learned, mx.zeros_like(learned))  # the real side learns nothing
