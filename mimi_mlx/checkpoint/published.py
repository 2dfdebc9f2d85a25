"""The tensors of a published checkpoint from a network: what load.py folds is unfolded.

Its rules are those of load.py the other way round. What cannot be known any more is one: layer
scales, which are in the projection before them, and the usage of codebook entries.
"""

import mlx.core as mx
import mlx.nn as nn

from ..model.codec import Codec
from ..model.conv import CausalConvTranspose1d, CausalTapConv1d, Upsample
from ..model.ops.matmul import is_packed
from ..model.quantizer import SplitResidualVectorQuantizer
from ..model.transformer import TransformerLayer
from .layouts import Tensors, kyutai_names
from .load import Convolution, Parameters


def tensors(codec: Codec, layout: str) -> Tensors:
    """Every tensor of a checkpoint in a layout, ``"hub"`` or ``"kyutai"``, float32.

    Args:
        codec: With both halves, as :func:`mimi_mlx.checkpoint.load.load` gives it.

    Raises:
        ValueError: A weight is packed, as ``from_pretrained`` gives it, or quantised.
    """
    found: Tensors = {}
    transposed = set()
    for path, module in codec.named_modules():
        weight = module.get("weight")
        if weight is not None and ("scales" in module or is_packed(weight)):
            raise ValueError(
                f"{path}.weight is packed or quantised; it must be as published weights are when "
                "load gives them, before they run. Load the model anew."
            )
        found |= _tensors(path, module)
        if isinstance(module, (CausalConvTranspose1d, Upsample)):
            transposed.add(path)
    found = {name: mx.contiguous(x.astype(mx.float32)) for name, x in found.items()}
    return kyutai_names(found, codec.config, transposed) if layout == "kyutai" else found


def _tensors(path: str, module: nn.Module) -> Parameters:
    """The checkpoint's tensors of one module (not of those inside it)."""
    if isinstance(module, Convolution):
        yield from _convolution(path, module)
    elif isinstance(module, TransformerLayer):
        yield from _transformer_layer(path, module)
    elif isinstance(module, nn.LayerNorm):
        yield from ((f"{path}.{name}", module[name]) for name in ("weight", "bias"))
    elif isinstance(module, SplitResidualVectorQuantizer):
        yield from _quantizer(path, module)


def _convolution(path: str, module: Convolution) -> Parameters:
    """To [out, in, kernel], or [in, out, kernel] of a transposed one."""
    weight = module.conv.weight
    if isinstance(module, CausalTapConv1d):
        weight = weight.reshape(-1, module.conv.bias.size, weight.shape[1]).transpose(1, 2, 0)
    elif isinstance(module, CausalConvTranspose1d):
        taps = 2 * module.stride
        weight = weight.reshape(taps, -1, weight.shape[1]).transpose(2, 1, 0)
    elif isinstance(module, Upsample):  # depthwise
        weight = weight.reshape(-1, 1, weight.shape[-1]).transpose(2, 1, 0)
    else:
        weight = weight.transpose(0, 2, 1)
    yield f"{path}.conv.weight", weight
    if "bias" in module.conv:
        yield f"{path}.conv.bias", module.conv["bias"]


def _transformer_layer(path: str, module: TransformerLayer) -> Parameters:
    """q, k and v apart; layer scales of one, for they are in the projections."""
    qkv = mx.split(module.self_attn.qkv_proj.weight, 3)
    yield from ((f"{path}.self_attn.{x}_proj.weight", w) for x, w in zip("qkv", qkv, strict=True))
    yield f"{path}.self_attn.o_proj.weight", module.self_attn.o_proj.weight
    yield f"{path}.mlp.fc1.weight", module.mlp.fc1.weight
    yield f"{path}.mlp.fc2.weight", module.mlp.fc2.weight
    for part in ("self_attn", "mlp"):
        yield f"{path}.{part}_layer_scale.scale", mx.ones_like(module.input_layernorm.weight)


def _quantizer(path: str, module: SplitResidualVectorQuantizer) -> Parameters:
    """Each half's projections, if there are any; codebooks as sums over a usage of one."""
    _, width, size = module.codebooks.columns.shape
    inputs = mx.split(module.input_proj.weight, 2)
    outputs = mx.split(module.output_proj.weight, 2, axis=1)
    entries = list(module.codebooks.columns.swapaxes(1, 2))
    halves = {
        "semantic": entries[: module.num_semantic],
        "acoustic": entries[module.num_semantic :],
    }
    for (half, books), into, out_of in zip(halves.items(), inputs, outputs, strict=True):
        base = f"{path}.{half}_residual_vector_quantizer"
        for name, weight in (("input_proj", into), ("output_proj", out_of)):
            if width != module.output_proj.weight.shape[0]:
                yield f"{base}.{name}.weight", weight[..., None]
            elif not mx.array_equal(weight, mx.eye(width)):  # then transformers has none
                raise ValueError(
                    f"{base}.{name} is no identity, though entries are as wide as latents: "
                    "PyTorch's Mimis have no such projection. Train the others alone."
                )
        for level, sums in enumerate(books):
            book = f"{base}.layers.{level}.codebook"
            yield f"{book}.embed_sum", sums
            yield f"{book}.cluster_usage", mx.ones(size)
            yield f"{book}.initialized", mx.ones(1)
