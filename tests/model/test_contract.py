"""Everything that has a step keeps the contract, and a module that breaks it is found out."""

import contract
import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
import seeded
from contract import Functions, check_streaming
from models import SMALL, model

from mimi_mlx import Mimi, MimiConfig
from mimi_mlx.model.conv import (
    CausalConv1d,
    CausalConvTranspose1d,
    CausalTapConv1d,
    Downsample,
    Upsample,
)


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Mimi:
    drawn = seeded.tensors(SMALL, 1, [0.5, 0.5, 0.4, 0.3])
    config = MimiConfig.from_dict({**SMALL, "frame_rate": None})
    return model(drawn, config, tmp_path_factory.mktemp("small"))


def noise(*shape: int, seed: int = 0) -> mx.array:
    return mx.array(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def drawn(module: nn.Module) -> nn.Module:
    """The module with random weights."""
    for i, (name, leaf) in enumerate(nn.utils.tree_flatten(module.parameters())):
        module.load_weights([(name, 0.3 * noise(*leaf.shape, seed=i))], strict=False)
    return module


@pytest.mark.parametrize(("kernel", "stride"), [(7, 1), (1, 1), (8, 4), (10, 5), (12, 6)])
def test_causal_conv(kernel, stride):
    module = drawn(CausalConv1d(3, 4, kernel, stride))
    check_streaming(module, noise(3, 23 * stride + stride // 2, 3), unit=stride)


@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (3, 1), (3, 2), (5, 4)])
def test_causal_tap_conv(kernel, dilation):
    module = drawn(CausalTapConv1d(3, 4, kernel, dilation))
    check_streaming(module, noise(3, 23, 3))


@pytest.mark.parametrize("stride", [1, 4, 5])
def test_causal_conv_transpose(stride):
    check_streaming(drawn(CausalConvTranspose1d(3, 4, stride)), noise(3, 23, 3))


@pytest.mark.parametrize("length", [46, 47])
def test_downsample(length):
    check_streaming(drawn(Downsample(4, 2)), noise(3, length, 4), unit=2)


def test_upsample():
    check_streaming(drawn(Upsample(4, 2)), noise(3, 23, 4))


def test_resnet_block(small):
    check_streaming(small.codec.encoder.layers[1], noise(3, 23, 4))


@pytest.mark.parametrize("ragged", [0, 1, 17])
def test_seanet_encoder(small, ragged):
    latent_size = small.config.latent_size
    check_streaming(small.codec.encoder, noise(3, 19 * latent_size + ragged, 1), unit=latent_size)


def test_seanet_decoder(small):
    check_streaming(small.codec.decoder, noise(3, 23, 32))


@pytest.mark.parametrize("half", ["encoder_transformer", "decoder_transformer"])
@pytest.mark.parametrize("unit", [1, 2])
def test_transformer_past_its_window(small, half, unit):
    check_streaming(small.codec[half], noise(3, 42, 32), unit=unit)


def encoder(mimi: Mimi) -> Functions:
    """Samples ``[B, 1, T]`` to codes."""
    return Functions(mimi.encode_step, mimi.init_encoder_state)


def decoder(mimi: Mimi) -> Functions:
    """Codes ``[B, K, F]`` to samples."""
    return Functions(mimi.decode_step, mimi.init_decoder_state)


@pytest.mark.parametrize("ragged", [0, 1, 30])
def test_whole_encoder(small, ragged):
    pcm = 0.3 * noise(3, 1, 21 * small.frame_size + ragged)
    check_streaming(encoder(small), pcm, unit=small.frame_size, axis=2)


def test_whole_decoder(small):
    codes = np.random.default_rng(0).integers(0, small.codebook_size, (3, 4, 21))
    check_streaming(decoder(small), mx.array(codes.astype(np.int32)), axis=2)


@pytest.mark.slow
def test_the_trained_model(tiny, speech):
    pcm = mx.array(speech("kathleen-1")[: 3 * 20 * 1920].reshape(3, 1, -1))
    check_streaming(encoder(tiny), pcm, unit=1920, axis=2)
    codes = tiny.encode(pcm, num_codebooks=8)
    check_streaming(decoder(tiny), codes, axis=2)


# Each of these breaks the property it is named after; x is [B, T, C].


class Sum:
    """Keeps the contract: each output is the sum of all inputs so far."""

    def init_state(self, batch_size):
        return [mx.zeros((batch_size, 1, 2))]

    def step(self, x, state):
        y = state[0] + mx.cumsum(x, axis=1)
        return y, [mx.contiguous(y[:, -1:])]


class Forgets(Sum):
    def step(self, x, state):
        return super().step(x, [mx.zeros_like(state[0])])


class Grows(Sum):
    def step(self, x, state):
        y, (total,) = super().step(x, state)
        return y, [total, *state[1:], total]


class Widens(Sum):
    def step(self, x, state):
        y, (total,) = super().step(x, state)
        return y, [total.astype(mx.float16)]


class Numbers(Sum):
    def init_state(self, batch_size):
        return [*super().init_state(batch_size), 0]

    def step(self, x, state):
        y, (total,) = super().step(x, state[:1])
        return y, [total, state[1] + 1]


class Retraces(Sum):
    """Its state has a row more after the first step, which no input shows."""

    def init_state(self, batch_size):
        return [mx.zeros((1, 1, 2))]


class MixesRows(Sum):
    def step(self, x, state):
        return super().step(x + 0.01 * x.mean(axis=0, keepdims=True), state)


class LooksAhead(Sum):
    def step(self, x, state):
        y, state = super().step(x, state)
        return y + 0.01 * x[:, -1:], state


class Remembers(Sum):
    """Its memory is its own, not in the state."""

    def init_state(self, batch_size):
        self.hidden = mx.zeros((batch_size, 1, 2))
        return super().init_state(batch_size)

    def step(self, x, state):
        y, (self.hidden,) = super().step(x, [self.hidden])
        return y, state


class Alters(Sum):
    def step(self, x, state):
        y, state[:] = super().step(x, state)
        return y, state


PROPERTIES = {
    Forgets: contract.any_cutting_equals_offline,
    Grows: contract.state_keeps_its_form,
    Widens: contract.state_keeps_its_form,
    Numbers: contract.state_keeps_its_form,
    Retraces: contract.compiled_equals_eager_with_one_trace,
    MixesRows: contract.rows_are_independent,
    LooksAhead: contract.the_future_leaves_the_past_equal,
    Remembers: contract.interleaved_streams_equal_each_alone,
    Alters: contract.a_step_does_not_alter_the_state_it_was_given,
}


@pytest.mark.parametrize("broken", PROPERTIES)
def test_a_broken_module_is_found_out(broken):
    check = PROPERTIES[broken]
    x = noise(3, 20, 2)
    check_streaming(Sum(), x)
    rng = [np.random.default_rng(0)] if check.__code__.co_argcount == 2 else []
    with pytest.raises(AssertionError):
        check(contract.Case(broken(), x), *rng)
