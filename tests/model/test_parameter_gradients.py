"""The gradient of a waveform by every parameter of the decoder's half, against differences."""

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
import seeded
from mlx.utils import tree_flatten
from models import SMALL
from safetensors.numpy import save_file

from mimi_mlx import MimiConfig
from mimi_mlx.checkpoint.load import load
from mimi_mlx.model.codec import Codec

STEP = 1e-3  # of a parameter: straight within CLOSE, and with digits enough
CLOSE = 0.01  # of the slope, in float32; the worst is below 0.005


@pytest.fixture(scope="module")
def codec(tmp_path_factory) -> Codec:
    path = tmp_path_factory.mktemp("small") / "model.safetensors"
    save_file(seeded.tensors(SMALL, 1, [0.5, 0.5, 0.4, 0.3]), path)
    codec = load([path], MimiConfig.from_dict(SMALL), "decoder")
    codec.unfreeze()
    return codec


def waveform(codec: Codec, codes: mx.array) -> mx.array:
    """Two steps, so that what is remembered counts, of more positions than the window has."""
    first, state = codec.decode_step(codes[..., :3], codec.init_decoder_state())
    second, _ = codec.decode_step(codes[..., 3:], state)
    return mx.concatenate([first, second], axis=-1)


def test_every_parameter_of_the_decoder_has_the_gradient_of_its_effect(codec):
    draw = np.random.default_rng(0)
    codes = mx.array(draw.integers(0, 64, (1, 4, 6)))
    weights = draw.standard_normal(waveform(codec, codes).shape).astype(np.float32)
    loss = nn.value_and_grad(codec, lambda: (waveform(codec, codes) * mx.array(weights)).sum())
    values = dict(tree_flatten(codec.parameters()))
    gradients = dict(tree_flatten(loss()[1]))
    trained = [name for name in values if not name.startswith(("quantizer.c", "quantizer.i"))]
    assert len(trained) == 1 + 1 + 2 * 8 + 2 * 11  # output_proj, upsample, transformer, SEANet

    def sound(name: str, value: mx.array) -> np.ndarray:
        codec.load_weights([(name, value)], strict=False)
        return np.array(waveform(codec, codes), np.float64)

    for name in trained:
        value, gradient = values[name], np.array(gradients[name], np.float64)
        # Any direction, but not so that the slope is small by chance.
        along = draw.standard_normal(value.shape) + 3 * gradient / np.linalg.norm(gradient)
        moved = (value + h * mx.array(along.astype(np.float32)) for h in (STEP, -STEP))
        after, before = (sound(name, x) for x in moved)
        codec.load_weights([(name, value)], strict=False)
        expected = np.vdot(weights, after - before) / (2 * STEP)
        assert np.vdot(gradient, along) == pytest.approx(expected, rel=CLOSE), name
