"""Which weights a recipe reduces, and to what; everything else is float32 in every recipe.

Reduced are the convolutions and the linears of the transformers: their weights, and for float16
and bfloat16 also what is multiplied with them. Never reduced are the quantiser (codebooks, its
projections, distances), the norms, biases, the depthwise upsampling, and every state and residual
stream between layers. How close each recipe stays: tests/benchmarks/precision.py.
"""

from collections.abc import Iterator
from typing import NamedTuple

import mlx.core as mx
import mlx.nn as nn

from ..model.config import shown
from ..model.conv import CausalConv1d, CausalConvTranspose1d, CausalTapConv1d, Downsample
from ..model.ops.device import is_gpu
from ..model.ops.linear import Conv1d, Linear
from ..model.ops.matmul import is_packed
from ..model.transformer import MLP, Attention

DTYPES = {"float32": mx.float32, "float16": mx.float16, "bfloat16": mx.bfloat16}

# Of a recipe's bits, those of the convolutions that are matmuls: 4 there leave 24 dB of SNR.
CONVOLUTION_BITS = {8: 8, 4: 8}

GROUP_SIZES = (32, 64, 128)  # what mx.quantize can do

WORST_SNR = 30.0
"""dB of the waveform of the same codes against float32's; a recipe below this is not offered."""

_FEWEST_OUTPUTS = 32  # a matmul of fewer is the last convolution's: a few hundred weights


class Recipe(NamedTuple):
    """How precise the reducible weights are."""

    dtype: str = "float32"  # of what is not quantised
    bits: int = 0  # of the transformers' linears; 0: nothing is quantised
    group_size: int = 64  # weights of a row that share a scale, which is float32

    def __str__(self) -> str:
        if not self.bits:
            return self.dtype
        return f"{self.bits} bit in groups of {self.group_size}, the rest {self.dtype}"


def check(recipe: Recipe) -> None:
    """Raise a ValueError if there is no such recipe."""
    for name, value, legal in (
        ("dtype", recipe.dtype, tuple(DTYPES)),
        ("bits", recipe.bits, (0, *CONVOLUTION_BITS)),
        ("group_size", recipe.group_size, GROUP_SIZES),
    ):
        if type(value) is not type(legal[0]) or value not in legal:
            listed = ", ".join(map(str, legal))
            raise ValueError(f"{name} is {shown(value)}; it must be one of {listed}")


def reduce(model: nn.Module, recipe: Recipe) -> None:
    """Give the reducible layers of a model, or of blanks, the precision of a recipe.

    Raises:
        ValueError: The weights are packed (ops/matmul.py), as ``from_pretrained`` gives them.
    """
    for path, layer, bits in layers(model, recipe):
        if is_packed(layer.weight):
            raise ValueError(f"{path}.weight is packed. Reduce what load gives, before it runs.")
        if isinstance(layer, Linear) and bits:
            quantised = mx.quantize(layer.weight, recipe.group_size, bits)
            layer.weight, layer.scales, layer.biases = quantised
            layer.bits, layer.group_size = bits, recipe.group_size
        else:
            layer.weight = layer.weight.astype(DTYPES[recipe.dtype])


def expand_on_cpu(model: nn.Module) -> None:
    """Where the device is a CPU, give reduced layers float32 weights of the same values.

    MLX's CPU backend multiplies halves and quantised weights some 10 times slower than float32.
    """
    if is_gpu():
        return
    for _, layer, _ in layers(model, Recipe()):
        if isinstance(layer, Linear) and "scales" in layer:
            quantised = layer.weight, layer.scales, layer.biases
            layer.weight = mx.dequantize(*quantised, layer.group_size, layer.bits)
            for name in ("scales", "biases", "group_size", "bits"):
                delattr(layer, name)
        else:
            layer.weight = layer.weight.astype(mx.float32)


def layers(model: nn.Module, recipe: Recipe) -> Iterator[tuple[str, Linear | Conv1d, int]]:
    """The path, the layer and the bits of every reducible weight; 0 bits are not quantised."""
    for path, module in model.named_modules():
        if isinstance(module, (CausalConv1d, CausalTapConv1d, CausalConvTranspose1d, Downsample)):
            bits = CONVOLUTION_BITS.get(recipe.bits, 0)
        elif isinstance(module, (Attention, MLP)):
            bits = recipe.bits
        else:
            continue
        for name, layer in module.children().items():
            assert isinstance(layer, (Linear, Conv1d))
            outputs, *rest = layer.weight.shape
            is_matmul = len(rest) == 1 and outputs >= _FEWEST_OUTPUTS
            has_whole_groups = rest[-1] % recipe.group_size == 0
            yield f"{path}.{name}", layer, bits if is_matmul and has_whole_groups else 0
