"""What each published layout calls its tensors, and how they become parameters.

A checkpoint's names become the Hub's first (kyutai/mimi's, as transformers saves them). Then one
short rule for each kind of module takes its tensors and gives its parameters. What is missing,
misshapen or left over ends in one error that names it.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
from safetensors import SafetensorError, safe_open

from ..model.codec import Codec, Only
from ..model.config import MimiConfig
from ..model.conv import CausalConv1d, CausalConvTranspose1d, CausalTapConv1d, Downsample, Upsample
from ..model.ops.device import on
from ..model.quantizer import SplitResidualVectorQuantizer
from ..model.transformer import TransformerLayer
from ..streaming import validation as check
from . import mlx_format as converted

Tensors = dict[str, mx.array]

# Where a Mimi lives inside a larger checkpoint: Sesame's CSM, Hugging Face's Moshi.
_PREFIXES = ("codec_model.", "audio_encoder.")

# What relatives of Mimi, with other decoders and without its codes, call their tensors.
_FOREIGN = {
    "pocket-tts": r"(flow_lm|mimi)\.",
    "the Qwen3-TTS tokenizer": r"(decoder\.pre_transformer|encoder\.encoder)\.",
}

# Kyutai's names, and the Hub's for the same tensors.
_KYUTAI = [
    (r"^(encoder|decoder)\.model\.", r"\1.layers."),
    (r"^(downsample|upsample)\.(conv|convtr)\.", r"\1."),
    (r"\.(conv|convtr)\.\1\.(weight|bias)$", r".conv.\2"),
    (r"_transformer\.transformer\.layers\.", "_transformer.layers."),
    (r"\.norm1\.", ".input_layernorm."),
    (r"\.norm2\.", ".post_attention_layernorm."),
    (r"\.linear(\d)\.", r".mlp.fc\1."),
    (r"\.layer_scale_1\.", ".self_attn_layer_scale."),
    (r"\.layer_scale_2\.", ".mlp_layer_scale."),
    (r"\.self_attn\.out_proj\.", ".self_attn.o_proj."),
    (r"^quantizer\.rvq_first\.", "quantizer.semantic_residual_vector_quantizer."),
    (r"^quantizer\.rvq_rest\.", "quantizer.acoustic_residual_vector_quantizer."),
    (r"\.vq\.layers\.", ".layers."),
    (r"\._codebook\.embedding_sum$", ".codebook.embed_sum"),
    (r"\._codebook\._?(\w+)$", r".codebook.\1"),
]

# A codebook's sums are divided by its usage, at least this. Source: MimiEuclideanCodebook.
_CODEBOOK_EPSILON = 1e-5


def load(
    paths: Sequence[Path],
    config: MimiConfig,
    only: Only = None,
    device: mx.DeviceType | None = None,
) -> Codec:
    """A network with the weights of .safetensors files, in whichever layout they are.

    Args:
        paths: The files, which together hold one Mimi.
        config: Its sizes.
        only: Load one half alone.
        device: What it will run on: a CPU has reduced weights expanded. None means the default.

    Raises:
        ValueError: A file is damaged or holds no Mimi, or its tensors are not those that
            ``config`` describes.
    """
    tensors, metadata = _read(paths)
    if converted.KEY not in metadata:
        return _published(tensors, paths, config, only)
    with on(device):
        return converted.load(tensors, metadata[converted.KEY], paths, config, only)


def _published(tensors: Tensors, paths: Sequence[Path], config: MimiConfig, only: Only) -> Codec:
    codec = Codec(config, only)
    source = _Source(_hub_names(tensors, config, paths), only)
    parameters = [
        (name, mx.contiguous(array))  # a step must not lay out a weight anew
        for path, module in codec.named_modules()
        for name, array in _parameters(path, module, source)
    ]
    source.finish(paths)
    codec.load_weights(parameters)
    mx.eval(codec.parameters())
    return codec


def _read(paths: Iterable[Path]) -> tuple[Tensors, dict[str, str]]:
    """The tensors of all files, and what is said of them."""
    tensors: Tensors = {}
    metadata: dict[str, str] = {}
    for path in paths:
        try:
            with safe_open(path, "numpy") as file:  # reads the header, checks the file's length
                metadata.update(file.metadata() or {})
            tensors.update(mx.load(str(path)))
        except (SafetensorError, RuntimeError, OSError) as error:
            raise ValueError(
                f"{path} cannot be read as .safetensors ({error}). Download it again."
            ) from error
    return tensors, metadata


def _hub_names(tensors: Tensors, config: MimiConfig, paths: Iterable[Path]) -> Tensors:
    """The Mimi among ``tensors``, under the Hub's names."""
    where = ", ".join(str(path) for path in paths)
    for prefix in _PREFIXES:
        inner = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        tensors = inner or tensors
    for relative, pattern in _FOREIGN.items():
        if any(re.match(pattern, name) for name in tensors):
            raise ValueError(
                f"{where} holds {relative}, whose decoder is another and which has no codes of "
                "Mimi's. Give Mimi's own weights, such as kyutai/mimi."
            )
    if any(".vq.layers." in name for name in tensors):
        tensors = _from_kyutai(tensors, config)
    if not any("_residual_vector_quantizer.layers." in name for name in tensors):
        raise ValueError(
            f"{where} holds no Mimi: none of its {len(tensors)} tensors is a codebook. Give "
            "kyutai/mimi's model.safetensors, or a tokenizer-*.safetensors of Kyutai's."
        )
    return tensors


def _from_kyutai(tensors: Tensors, config: MimiConfig) -> Tensors:
    renamed: Tensors = {}
    fused = (3 * config.num_attention_heads * config.head_dim, config.hidden_size)
    for name, tensor in tensors.items():
        for pattern, replacement in _KYUTAI:
            name = re.sub(pattern, replacement, name)
        if name.endswith(".self_attn.in_proj_weight") and tensor.shape == fused:
            base = name.removesuffix("in_proj_weight")
            q, k, v = mx.split(tensor, 3)
            renamed[base + "q_proj.weight"] = _half_split(q, config)
            renamed[base + "k_proj.weight"] = _half_split(k, config)
            renamed[base + "v_proj.weight"] = v
        else:
            renamed[name] = tensor
    return renamed


def _half_split(weight: mx.array, config: MimiConfig) -> mx.array:
    """Rows of a query or key projection, from interleaved pairs to one half after the other."""
    pairs = weight.reshape(config.num_attention_heads, -1, 2, weight.shape[-1])
    return pairs.swapaxes(1, 2).reshape(weight.shape)


class _Source:
    """Tensors to take from by name and shape; what goes wrong is gathered into one error."""

    def __init__(self, tensors: Tensors, only: str | None):
        self._tensors = dict(tensors)
        self._missing: list[str] = []
        self._misshapen: list[str] = []
        unused = {
            None: r"$^",
            "encoder": r"decoder|upsample",
            "decoder": r"encoder|downsample",
        }[only]
        self._dropped = re.compile(rf"{unused}|.*\.codebook\.initialized$")

    def take(self, name: str, *shape: int) -> mx.array:
        """A tensor that must be there and have this shape, as float32."""
        tensor = self._tensors.pop(name, None)
        if tensor is None:
            self._missing.append(name)
        elif tensor.shape != shape:
            self._misshapen.append(f"{name} {list(tensor.shape)} instead of {list(shape)}")
        elif not mx.issubdtype(tensor.dtype, mx.floating):
            self._misshapen.append(f"{name} is {tensor.dtype} instead of floating point")
        else:
            return tensor.astype(mx.float32)
        return mx.zeros(shape)

    def finish(self, paths: Iterable[Path]) -> None:
        """Raise if anything was missing or misshapen, or is left."""
        left = [name for name in self._tensors if not self._dropped.match(name)]
        found = {"missing": self._missing, "misshapen": self._misshapen, "unknown": left}
        check.tensors(paths, found)


def _parameters(path: str, module: nn.Module, source: _Source) -> Iterator[tuple[str, mx.array]]:
    """The parameters of one module (not of those inside it) from a checkpoint's tensors."""
    if isinstance(module, (CausalConv1d, Downsample)):
        yield from _conv(path, module, source)
    elif isinstance(module, CausalTapConv1d):
        yield from _tap_conv(path, module, source)
    elif isinstance(module, CausalConvTranspose1d):
        yield from _conv_transpose(path, module, source)
    elif isinstance(module, Upsample):
        _, stride, channels = module.conv.weight.shape
        weight = source.take(f"{path}.conv.weight", channels, 1, 2 * stride)
        yield f"{path}.conv.weight", weight.T.reshape(2, stride, channels)
    elif isinstance(module, TransformerLayer):
        yield from _transformer_layer(path, module, source)
    elif isinstance(module, nn.LayerNorm):
        for name in ("weight", "bias"):
            yield f"{path}.{name}", source.take(f"{path}.{name}", *module.weight.shape)
    elif isinstance(module, SplitResidualVectorQuantizer):
        yield from _quantizer(path, module, source)


def _conv(path: str, module: CausalConv1d | Downsample, source: _Source):
    out, kernel, channels = module.conv.weight.shape
    weight = source.take(f"{path}.conv.weight", out, channels, kernel)
    yield f"{path}.conv.weight", weight.swapaxes(1, 2)
    if "bias" in module.conv:
        yield f"{path}.conv.bias", source.take(f"{path}.conv.bias", out)


def _tap_conv(path: str, module: CausalTapConv1d, source: _Source):
    out, channels = module.conv.bias.size, module.conv.weight.shape[1]
    kernel = module.conv.weight.shape[0] // out
    weight = source.take(f"{path}.conv.weight", out, channels, kernel)
    yield f"{path}.conv.weight", weight.transpose(2, 0, 1).reshape(-1, channels)
    yield f"{path}.conv.bias", source.take(f"{path}.conv.bias", out)


def _conv_transpose(path: str, module: CausalConvTranspose1d, source: _Source):
    out, channels = module.conv.bias.size, module.conv.weight.shape[1]
    weight = source.take(f"{path}.conv.weight", channels, out, 2 * module.stride)
    yield f"{path}.conv.weight", weight.transpose(2, 1, 0).reshape(-1, channels)
    yield f"{path}.conv.bias", source.take(f"{path}.conv.bias", out)


def _transformer_layer(path: str, module: TransformerLayer, source: _Source):
    """q, k and v become one matrix; each layer scale goes into the projection before it."""
    width, hidden = module.self_attn.o_proj.weight.shape[::-1]
    attention = f"{path}.self_attn"
    qkv = [source.take(f"{attention}.{x}_proj.weight", width, hidden) for x in "qkv"]
    yield f"{attention}.qkv_proj.weight", mx.concatenate(qkv)
    scale = source.take(f"{path}.self_attn_layer_scale.scale", hidden)
    out = source.take(f"{attention}.o_proj.weight", hidden, width)
    yield f"{attention}.o_proj.weight", scale[:, None] * out
    wide = module.mlp.fc1.weight.shape[0]
    yield f"{path}.mlp.fc1.weight", source.take(f"{path}.mlp.fc1.weight", wide, hidden)
    scale = source.take(f"{path}.mlp_layer_scale.scale", hidden)
    out = source.take(f"{path}.mlp.fc2.weight", hidden, wide)
    yield f"{path}.mlp.fc2.weight", scale[:, None] * out


def _quantizer(path: str, module: SplitResidualVectorQuantizer, source: _Source):
    """Both halves' projections become one matrix; each codebook's sums become its entries.

    What rounds is done on the CPU, whose division is exact, whatever the device. Not by ``with
    mx.stream``: that switches the default device of every thread.
    """
    levels, width, size = module.codebooks.columns.shape
    hidden = module.output_proj.weight.shape[0]
    inputs, outputs, entries = [], [], []
    for half, count in (
        ("semantic", module.num_semantic),
        ("acoustic", levels - module.num_semantic),
    ):
        base = f"{path}.{half}_residual_vector_quantizer"
        if width == hidden:  # then transformers has no projections
            inputs.append(mx.eye(width))
            outputs.append(mx.eye(width))
        else:
            inputs.append(source.take(f"{base}.input_proj.weight", width, hidden, 1)[..., 0])
            outputs.append(source.take(f"{base}.output_proj.weight", hidden, width, 1)[..., 0])
        for level in range(count):
            book = f"{base}.layers.{level}.codebook"
            usage = source.take(f"{book}.cluster_usage", size)
            sums = source.take(f"{book}.embed_sum", size, width).astype(mx.float32)
            usage = mx.maximum(usage, _CODEBOOK_EPSILON)[:, None]
            entries.append(mx.divide(sums, usage, stream=mx.cpu))
    codebooks = mx.stack(entries)
    squares = mx.sum(mx.square(codebooks, stream=mx.cpu), axis=-1, stream=mx.cpu)
    yield f"{path}.input_proj.weight", mx.concatenate(inputs)
    yield f"{path}.output_proj.weight", mx.concatenate(outputs, axis=1)
    yield f"{path}.codebooks.columns", codebooks.swapaxes(1, 2)
    yield f"{path}.codebooks.biases", squares / -2
