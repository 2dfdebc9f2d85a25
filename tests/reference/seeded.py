"""Weights of any size from a seed, the same to the last bit wherever they are drawn.

The recorder and the tests both draw them, so that no full-size checkpoint needs to be kept. They
are healthy: attention looks at some positions more than at others, norms and layer scales differ
between channels, and each codebook is as large as the residual that reaches it, so that every
level chooses among many entries. No torch, no MLX.
"""

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

Config = dict[str, Any]

# kyutai/mimi's sizes, in the words of config.json.
FULL: Config = {
    "model_type": "mimi",
    "num_filters": 64,
    "upsampling_ratios": [8, 6, 5, 4],
    "kernel_size": 7,
    "last_kernel_size": 3,
    "residual_kernel_size": 3,
    "compress": 2,
    "hidden_size": 512,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "intermediate_size": 2048,
    "sliding_window": 250,
    "upsample_groups": 512,
    "num_quantizers": 32,
    "codebook_size": 2048,
    "codebook_dim": 256,
    "vector_quantization_hidden_dimension": 256,
}

# 0.24 of the deviation of the residual that reaches each codebook of FULL with SEED, on the
# recorded signal; `record.py scales` finds them. The semantic codebook, then the acoustic ones.
SEED = 20240917
SCALES = [0.8679, 0.8835, 0.8638, 0.8444, 0.8256, 0.8061, 0.7879, 0.7702]
SCALES += [0.7533, 0.7366, 0.7201, 0.7044, 0.6891, 0.6737, 0.6585, 0.6438]
SCALES += [0.6296, 0.6160, 0.6024, 0.5892, 0.5764, 0.5637, 0.5513, 0.5393]
SCALES += [0.5275, 0.5157, 0.5040, 0.4928, 0.4819, 0.4714, 0.4611, 0.4511]


def tensors(config: Config, seed: int, scales: list[float]) -> dict[str, np.ndarray]:
    """Every tensor of a checkpoint in the Hub's layout, float32.

    Args:
        config: What config.json says, with at least the keys of :data:`FULL`.
        seed: Each tensor depends on this and on its name alone.
        scales: The deviation of each codebook's entries.
    """
    drawn = {name: _healthy(seed, name, shape) for name, shape in _shapes(config)}
    for level, scale in enumerate(scales):
        book = codebook_name(level)
        usage = 25 + 14 * _noise(seed, f"{book}.cluster_usage", (config["codebook_size"],))
        shape = (config["codebook_size"], config["codebook_dim"])
        entries = np.float32(scale) * _noise(seed, f"{book}.embed_sum", shape)
        drawn[f"{book}.cluster_usage"] = usage
        drawn[f"{book}.embed_sum"] = entries * usage[:, None]
        drawn[f"{book}.initialized"] = np.ones(1, np.float32)
    return drawn


def codebook_name(level: int) -> str:
    """The tensors' prefix of a codebook: the first is semantic, the others acoustic."""
    half, layer = ("semantic", 0) if level == 0 else ("acoustic", level - 1)
    return f"quantizer.{half}_residual_vector_quantizer.layers.{layer}.codebook"


def checksum(drawn: dict[str, np.ndarray]) -> int:
    """A number that tells whether two machines drew the same weights."""
    total = 0
    for name in sorted(drawn):
        total = zlib.crc32(drawn[name], zlib.crc32(name.encode(), total))
    return total


def _noise(seed: int, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Uniform numbers of deviation one, from a bit generator whose stream NumPy guarantees."""
    size = int(np.prod(shape))
    bits = np.random.PCG64([seed, zlib.crc32(name.encode())]).random_raw((size + 1) // 2)
    whole = bits.view(np.int32)[:size].astype(np.float32)
    return (whole * np.float32(3**0.5 / 2**31)).reshape(shape)


def _healthy(seed: int, name: str, shape: tuple[int, ...]) -> np.ndarray:
    noise = _noise(seed, name, shape)
    if name.endswith("_layer_scale.scale"):
        return np.float32(0.2) + np.float32(0.085) * noise
    if name.endswith("layernorm.weight"):
        return 1 + np.float32(0.2) * noise
    if name.endswith(".bias"):
        return np.float32(0.1 if "layernorm" in name else 0.02) * noise
    gain = 0.8 if "_transformer." in name else 2.0
    return noise * np.float32((gain / np.prod(shape[1:])) ** 0.5)


def _shapes(config: Config) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of all tensors but the codebooks'."""
    hidden, width = config["hidden_size"], config["codebook_dim"]
    yield from _encoder(config)
    yield from _transformer(config, "encoder_transformer")
    yield "downsample.conv.weight", (hidden, hidden, 4)
    for half in ("semantic", "acoustic"):
        base = f"quantizer.{half}_residual_vector_quantizer"
        yield f"{base}.input_proj.weight", (width, hidden, 1)
        yield f"{base}.output_proj.weight", (hidden, width, 1)
    yield "upsample.conv.weight", (hidden, 1, 4)
    yield from _transformer(config, "decoder_transformer")
    yield from _decoder(config)


def _encoder(config: Config) -> Iterator[tuple[str, tuple[int, ...]]]:
    channels = config["num_filters"]
    yield from _conv("encoder.layers.0", channels, 1, config["kernel_size"])
    layer = 1
    for ratio in reversed(config["upsampling_ratios"]):
        yield from _block(config, f"encoder.layers.{layer}", channels)
        yield from _conv(f"encoder.layers.{layer + 2}", 2 * channels, channels, 2 * ratio)
        layer, channels = layer + 3, 2 * channels
    last = f"encoder.layers.{layer + 1}"
    yield from _conv(last, config["hidden_size"], channels, config["last_kernel_size"])


def _decoder(config: Config) -> Iterator[tuple[str, tuple[int, ...]]]:
    channels = config["num_filters"] * 2 ** len(config["upsampling_ratios"])
    first = "decoder.layers.0"
    yield from _conv(first, channels, config["hidden_size"], config["kernel_size"])
    layer = 2
    for ratio in config["upsampling_ratios"]:
        name = f"decoder.layers.{layer}.conv"
        yield f"{name}.weight", (channels, channels // 2, 2 * ratio)
        yield f"{name}.bias", (channels // 2,)
        yield from _block(config, f"decoder.layers.{layer + 1}", channels // 2)
        layer, channels = layer + 3, channels // 2
    yield from _conv(f"decoder.layers.{layer}", 1, channels, config["last_kernel_size"])


def _block(config: Config, name: str, channels: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    hidden = channels // config["compress"]
    yield from _conv(f"{name}.block.1", hidden, channels, config["residual_kernel_size"])
    yield from _conv(f"{name}.block.3", channels, hidden, 1)


def _conv(name: str, out: int, channels: int, kernel: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.conv.weight", (out, channels, kernel)
    yield f"{name}.conv.bias", (out,)


def _transformer(config: Config, name: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    hidden, wide = config["hidden_size"], config["intermediate_size"]
    width = config["num_attention_heads"] * config["head_dim"]
    for index in range(config["num_hidden_layers"]):
        layer = f"{name}.layers.{index}"
        for norm in ("input_layernorm", "post_attention_layernorm"):
            yield f"{layer}.{norm}.weight", (hidden,)
            yield f"{layer}.{norm}.bias", (hidden,)
        for projection in "qkv":
            yield f"{layer}.self_attn.{projection}_proj.weight", (width, hidden)
        yield f"{layer}.self_attn.o_proj.weight", (hidden, width)
        yield f"{layer}.mlp.fc1.weight", (wide, hidden)
        yield f"{layer}.mlp.fc2.weight", (hidden, wide)
        yield f"{layer}.self_attn_layer_scale.scale", (hidden,)
        yield f"{layer}.mlp_layer_scale.scale", (hidden,)
