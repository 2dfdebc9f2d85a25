"""What ports of Mimi get wrong, each against a plain NumPy form of what is right.

Every test also shows that the wrong form would be seen: it is far from the right one.
"""

import math

import mlx.core as mx
import numpy as np
import pytest
import seeded
from kyutai import to_kyutai
from models import model
from replay import entries, relative_error, whole

from mimi_mlx import Mimi, MimiConfig

WINDOW = 250

# Small in everything but the window.
SMALL = seeded.FULL | {
    "num_filters": 4,
    "hidden_size": 32,
    "upsample_groups": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "intermediate_size": 64,
    "num_quantizers": 3,
    "codebook_size": 16,
    "codebook_dim": 8,
    "vector_quantization_hidden_dimension": 8,
    "sliding_window": WINDOW,
}
LAYER = "encoder_transformer.layers.0"


@pytest.fixture
def tensors() -> dict[str, np.ndarray]:
    """The small model's weights, in the Hub's layout, to change at will."""
    return seeded.tensors(SMALL, 1, [1.0] * SMALL["num_quantizers"])


@pytest.fixture
def load(tmp_path):
    """A model from tensors."""

    def load(tensors: dict[str, np.ndarray], **changes) -> Mimi:
        return model(tensors, MimiConfig.from_dict(SMALL | changes), tmp_path)

    return load


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def check(found: mx.array, right: np.ndarray, wrong: np.ndarray) -> None:
    assert relative_error(np.array(found), right) < 1e-5
    assert relative_error(wrong, right) > 1e-4


# Exact GELU


def mlp(tensors: dict[str, np.ndarray], x: np.ndarray, gelu) -> np.ndarray:
    wide = gelu(x @ tensors[f"{LAYER}.mlp.fc1.weight"].T.astype(np.float64))
    y = wide @ tensors[f"{LAYER}.mlp.fc2.weight"].T
    return tensors[f"{LAYER}.mlp_layer_scale.scale"] * y


def exact_gelu(x: np.ndarray) -> np.ndarray:
    return x * (1 + np.vectorize(math.erf)(x / 2**0.5)) / 2


def tanh_gelu(x: np.ndarray) -> np.ndarray:
    return x * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3))) / 2


def test_gelu_is_exact(tensors, load):
    x = noise(1, 50, 32)
    layer = load(tensors).codec.encoder_transformer.layers[0]
    found = layer.mlp(mx.array(x), mx.zeros(x.shape))
    check(found, mlp(tensors, x, exact_gelu), mlp(tensors, x, tanh_gelu))


# Epsilon of LayerNorm


def norm(tensors: dict[str, np.ndarray], name: str, x: np.ndarray, epsilon: float) -> np.ndarray:
    x = x - x.mean(axis=-1, keepdims=True, dtype=np.float64)
    x = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + epsilon)
    return x * tensors[f"{LAYER}.{name}.weight"] + tensors[f"{LAYER}.{name}.bias"]


@pytest.mark.parametrize("epsilon", [1e-5, 1e-3])
def test_epsilon_of_layer_norm(tensors, load, epsilon):
    x = 0.01 * noise(1, 5, 32)  # so quiet that epsilon counts
    layer = load(tensors, norm_eps=epsilon).codec.encoder_transformer.layers[0]
    for name in ("input_layernorm", "post_attention_layernorm"):
        wrong = norm(tensors, name, x, 1e-6)
        check(getattr(layer, name)(mx.array(x)), norm(tensors, name, x, epsilon), wrong)


# Rotation layout and window, by a layer in NumPy


def halves(x: np.ndarray, cos: np.ndarray, sin: np.ndarray) -> np.ndarray:
    """Rotate pairs that lie half a head apart: the Hub's layout. ``x [heads, T, D]``."""
    a, b = np.split(x, 2, axis=-1)
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def pairs(x: np.ndarray, cos: np.ndarray, sin: np.ndarray) -> np.ndarray:
    """Rotate neighbours: Kyutai's layout."""
    a, b = x[..., ::2], x[..., 1::2]
    return np.stack([a * cos - b * sin, b * cos + a * sin], axis=-1).reshape(x.shape)


def layer(tensors, x: np.ndarray, rotate=halves, window=WINDOW, qkv=None) -> np.ndarray:
    """One transformer layer over ``x [T, hidden]``."""
    heads, width = SMALL["num_attention_heads"], SMALL["head_dim"]
    if qkv is None:
        qkv = [tensors[f"{LAYER}.self_attn.{n}_proj.weight"] for n in "qkv"]
    normed = norm(tensors, "input_layernorm", x, 1e-5)
    q, k, v = ((normed @ w.T).reshape(len(x), heads, width).swapaxes(0, 1) for w in qkv)
    at = np.arange(len(x))
    angles = at[:, None] * 10000.0 ** (-np.arange(0, width, 2) / width)
    q, k = (rotate(y, np.cos(angles), np.sin(angles)) for y in (q, k))
    distance = at[:, None] - at
    seen = (distance >= 0) & (distance < window)
    scores = np.where(seen, q @ k.swapaxes(1, 2) / width**0.5, -np.inf)
    weight = np.exp(scores - scores.max(axis=-1, keepdims=True))
    y = (weight / weight.sum(axis=-1, keepdims=True) @ v).swapaxes(0, 1).reshape(len(x), -1)
    y = y @ tensors[f"{LAYER}.self_attn.o_proj.weight"].T
    x = x + tensors[f"{LAYER}.self_attn_layer_scale.scale"] * y
    normed = norm(tensors, "post_attention_layernorm", x, 1e-5)
    return x + mlp(tensors, normed, exact_gelu)


def test_rotation_of_the_hub_layout(tensors, load):
    x = noise(1, 60, 32)
    found = whole(load(tensors).codec.encoder_transformer, mx.array(x))
    check(found, layer(tensors, x[0])[None], layer(tensors, x[0], rotate=pairs)[None])


def test_rotation_of_the_kyutai_layout(tensors, load):
    x = noise(1, 60, 32)
    kyutai = to_kyutai(tensors, SMALL["num_attention_heads"])
    qkv = np.split(kyutai["encoder_transformer.transformer.layers.0.self_attn.in_proj_weight"], 3)
    found = whole(load(kyutai).codec.encoder_transformer, mx.array(x))
    right = layer(tensors, x[0], rotate=pairs, qkv=qkv)
    check(found, right[None], layer(tensors, x[0], rotate=halves, qkv=qkv)[None])


@pytest.mark.parametrize("wrong", [WINDOW - 1, WINDOW + 1, 10**6])
def test_window_past_250_positions(tensors, load, wrong):
    x = noise(1, 600, 32)
    found = whole(load(tensors).codec.encoder_transformer, mx.array(x))
    check(found, layer(tensors, x[0])[None], layer(tensors, x[0], window=wrong)[None])


@pytest.mark.parametrize("length", [1, 2, 7, 600])
@pytest.mark.parametrize("changed", [30, 31])
def test_a_position_sees_249_before_it_and_no_more(tensors, load, length, changed):
    """In steps of any length, first and last in a step: a ring of keys can forget too early."""
    transformer = load(tensors).codec.encoder_transformer
    x = noise(1, 300, 32)
    other = x.copy()
    other[0, changed] *= -1

    def run(x: np.ndarray) -> np.ndarray:
        state, outputs = transformer.init_state(1), []
        for start in range(0, x.shape[1], length):
            y, state = transformer.step(mx.array(x[:, start : start + length]), state)
            mx.eval(y, state)
            outputs.append(np.array(y))
        return np.concatenate(outputs, axis=1)

    differs = np.abs(run(x) - run(other))[0].max(axis=1) > 1e-6
    assert np.array_equal(np.flatnonzero(differs), np.arange(changed, changed + WINDOW))


# Padding: the downsample repeats its edges, every other convolution pads with zeros


def convolve(x: np.ndarray, weight: np.ndarray, stride: int, mode: str) -> np.ndarray:
    """Strided convolution of ``x [T, C_in]`` with ``weight [C_out, C_in, kernel]``, padded."""
    kernel = weight.shape[2]
    pad = ((kernel - stride, -len(x) % stride), (0, 0))
    x = np.pad(x.astype(np.float64), pad, mode=mode)
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel, axis=0)[::stride]
    return np.einsum("tck,ock->to", windows, weight)


@pytest.mark.parametrize("length", [1, 2, 5, 8])
def test_the_downsample_repeats_its_edges(tensors, load, length):
    x = 1 + noise(1, length, 32)
    right, wrong = (
        convolve(x[0], tensors["downsample.conv.weight"], 2, mode)[None]
        for mode in ("edge", "constant")
    )
    check(whole(load(tensors).codec.downsample, mx.array(x)), right, wrong)


@pytest.mark.parametrize("length", [1, 3, 11, 12])
def test_other_convolutions_pad_with_zeros(tensors, load, length):
    x = 1 + noise(1, length, 4)
    name = "encoder.layers.3.conv"
    right, wrong = (
        convolve(x[0], tensors[f"{name}.weight"], 4, mode)[None] + tensors[f"{name}.bias"]
        for mode in ("constant", "edge")
    )
    check(whole(load(tensors).codec.encoder.layers[3], mx.array(x)), right, wrong)


# Depthwise upsample


def test_the_upsample_is_depthwise(tensors, load):
    x, weight = noise(1, 7, 32), tensors["upsample.conv.weight"]  # [C, 1, 4]
    right = np.zeros((1, 7 * 2 + 2, 32))
    for frame in range(7):
        for tap in range(4):
            right[:, 2 * frame + tap] += x[:, frame] * weight[:, 0, tap]
    wrong = np.repeat(x, 2, axis=1)
    found = whole(load(tensors).codec.upsample, mx.array(x))
    check(found, right[:, : 7 * 2], wrong)

    x[0, :, 5] += 1
    changed = whole(load(tensors).codec.upsample, mx.array(x))
    differs = np.abs(np.array(changed - found)).max(axis=(0, 1)) > 0
    assert np.array_equal(np.flatnonzero(differs), [5])


# Codebooks: sums over usage, and usage at least 1e-5


def test_usage_of_a_codebook_entry_is_at_least_1e_5(tensors, load):
    usage = [0, 1e-6, 1e-5, 3e-5, 1e-3, 0.5, 1, 30]
    book = seeded.codebook_name(0)
    tensors[f"{book}.cluster_usage"][: len(usage)] = usage
    tensors[f"{book}.embed_sum"][:4] *= 1e-6  # entries of seldom use have small sums
    codes = np.arange(len(usage))[None, None]  # [1, 1, F], of the semantic codebook
    found = load(tensors).decode_latent(codes)

    name = "quantizer.semantic_residual_vector_quantizer.output_proj.weight"
    right = entries(tensors, 0)[: len(usage)] @ tensors[name][..., 0].T  # [F, hidden]
    sums = tensors[f"{book}.embed_sum"][: len(usage)].astype(np.float64)
    wrong = (sums / (np.array(usage)[:, None] + 1e-5)) @ tensors[name][..., 0].T
    for frame in range(len(usage)):
        assert relative_error(np.array(found)[0, :, frame], right[frame]) < 1e-5
    assert relative_error(wrong[2], right[2]) > 0.1


def test_codes_are_the_nearest_entries(tensors, load):
    """By Euclidean distance, seldom used entries among them."""
    book = seeded.codebook_name(0)
    tensors[f"{book}.embed_sum"][::2] = 1e-5 * entries(tensors, 0)[::2]
    tensors[f"{book}.cluster_usage"][::2] = 1e-6
    x = noise(1, 200, 32)
    name = "quantizer.semantic_residual_vector_quantizer.input_proj.weight"
    projected = x[0] @ tensors[name][..., 0].T
    distances = np.linalg.norm(projected[:, None] - entries(tensors, 0), axis=-1)  # [F, entries]
    right, wrong = distances.argmin(axis=1), (projected @ entries(tensors, 0).T).argmax(axis=1)
    found = np.array(load(tensors).codec.quantizer.encode(mx.array(x), 1))[0, 0]
    assert np.array_equal(found, right) and len(set(found)) == 16
    assert (wrong != right).mean() > 0.1
