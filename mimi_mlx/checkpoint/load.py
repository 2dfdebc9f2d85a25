"""From the .safetensors files of any layout to a model with its weights.

Once tensors have the Hub's names (layouts.py), one short rule for each kind of module takes its
tensors and gives its parameters.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn

from ..files import open_safetensors
from ..model.codec import Codec, Only
from ..model.config import MimiConfig
from ..model.conv import CausalConv1d, CausalConvTranspose1d, CausalTapConv1d, Downsample, Upsample
from ..model.ops.device import on
from ..model.quantizer import SplitResidualVectorQuantizer
from ..model.transformer import TransformerLayer
from . import finite, mlx_format
from .layouts import Source, Tensors, check_layers, hub_names

Parameters = Iterator[tuple[str, mx.array]]

Convolution = CausalConv1d | CausalTapConv1d | CausalConvTranspose1d | Downsample | Upsample

# A codebook's sums are divided by its usage, at least this. Source: MimiEuclideanCodebook.
_CODEBOOK_EPSILON = 1e-5


def load(
    paths: Sequence[Path],
    config: MimiConfig,
    only: Only = None,
    device: mx.DeviceType | mx.Device | None = None,
) -> Codec:
    """A network with the weights of .safetensors files, in whichever layout they are.

    Args:
        paths: The files, which together hold one Mimi.
        device: What it will run on: a CPU has reduced weights expanded. None means the default.

    Raises:
        ValueError: A file is damaged or holds no Mimi, its tensors are not those that
            ``config`` describes, or a number among them is not finite.
    """
    tensors: Tensors = {}
    metadata: dict[str, str] = {}
    for path in paths:
        with open_safetensors(path, "Download it again.") as file:
            metadata.update(file.metadata() or {})
            found = mx.load(str(path), format="safetensors")
            assert isinstance(found, dict)
            tensors.update(found)
    if mlx_format.KEY in metadata:
        with on(device):
            return mlx_format.load(tensors, metadata[mlx_format.KEY], paths, config, only)
    tensors = hub_names(tensors, config, paths)
    check_layers(tensors, config, paths)
    codec = Codec(config, only)
    source = Source(tensors, only)
    parameters = [
        (name, mx.contiguous(array))  # a step must not lay out a weight anew
        for path, module in codec.named_modules()
        for name, array in _parameters(path, module, source)
    ]
    source.finish(paths)
    codec.load_weights(parameters)
    mx.eval(codec.parameters())
    finite.check(codec, tensors, paths)
    return codec


def _parameters(path: str, module: nn.Module, source: Source) -> Parameters:
    """The parameters of one module (not of those inside it) from a checkpoint's tensors."""
    if isinstance(module, Convolution):
        yield from _convolution(path, module, source)
    elif isinstance(module, TransformerLayer):
        yield from _transformer_layer(path, module, source)
    elif isinstance(module, nn.LayerNorm):
        for name in ("weight", "bias"):
            yield f"{path}.{name}", source.take(f"{path}.{name}", *module.weight.shape)
    elif isinstance(module, SplitResidualVectorQuantizer):
        yield from _quantizer(path, module, source)


def _convolution(path: str, module: Convolution, source: Source) -> Parameters:
    """A checkpoint's weight is [out, in, kernel], or [in, out, kernel] of a transposed one."""
    weight = module.conv.weight
    if isinstance(module, CausalTapConv1d):
        out = module.conv.bias.size
        shape, axes = (out, weight.shape[1], weight.shape[0] // out), (2, 0, 1)
    elif isinstance(module, CausalConvTranspose1d):
        out = module.conv.bias.size
        shape, axes = (weight.shape[1], out, 2 * module.stride), (2, 1, 0)
    elif isinstance(module, Upsample):  # depthwise
        _, stride, out = weight.shape
        shape, axes = (out, 1, 2 * stride), (2, 1, 0)
    else:
        out, kernel, channels = weight.shape
        shape, axes = (out, channels, kernel), (0, 2, 1)
    name = f"{path}.conv.weight"
    yield name, source.take(name, *shape).transpose(axes).reshape(weight.shape)
    if "bias" in module.conv:
        yield f"{path}.conv.bias", source.take(f"{path}.conv.bias", out)


def _transformer_layer(path: str, module: TransformerLayer, source: Source) -> Parameters:
    """q, k and v become one matrix; each layer scale goes into the projection before it."""
    width, hidden = module.self_attn.o_proj.weight.shape[::-1]
    attention = f"{path}.self_attn"
    qkv = [source.take(f"{attention}.{x}_proj.weight", width, hidden) for x in "qkv"]
    yield f"{attention}.qkv_proj.weight", mx.concatenate(qkv)
    wide = module.mlp.fc1.weight.shape[0]
    yield f"{path}.mlp.fc1.weight", source.take(f"{path}.mlp.fc1.weight", wide, hidden)
    for part, last, inputs in (("self_attn", "o_proj", width), ("mlp", "fc2", wide)):
        scale = source.take(f"{path}.{part}_layer_scale.scale", hidden)
        name = f"{path}.{part}.{last}.weight"
        yield name, scale[:, None] * source.take(name, hidden, inputs)


def _quantizer(path: str, module: SplitResidualVectorQuantizer, source: Source) -> Parameters:
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
            sums = source.take(f"{book}.embed_sum", size, width)
            # 0 * usage: one that is not finite would vanish in the maximum or the division.
            usage = (mx.maximum(usage, _CODEBOOK_EPSILON) + 0 * usage)[:, None]
            entries.append(mx.divide(sums, usage, stream=mx.cpu))
    codebooks = mx.stack(entries)
    squares = mx.sum(mx.square(codebooks, stream=mx.cpu), axis=-1, stream=mx.cpu)
    yield f"{path}.input_proj.weight", mx.concatenate(inputs)
    yield f"{path}.output_proj.weight", mx.concatenate(outputs, axis=1)
    yield f"{path}.codebooks.columns", codebooks.swapaxes(1, 2)
    yield f"{path}.codebooks.biases", squares / -2
