"""How many kernels a step is on Apple's GPU, read from its compiled graph on any machine.

Views cost nothing; every other primitive is one kernel, and so is each ``mx.fast`` call. Without a
GPU those calls expand into several primitives, so while the graph is made each is replaced by a
stand-in whose primitives are known and subtracted; kernels of our own stay what they are. Nothing
is computed. On CUDA an attention is several kernels.
"""

import collections
import contextlib
import io
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from unittest import mock

import mlx.core as mx
from mlx.utils import tree_flatten

from ..model.codec import Codec
from ..model.ops import search_kernel
from ..model.ops.device import assume_gpu

_VIEWS = {
    *("AsStrided", "Broadcast", "ExpandDims", "Flatten", "Reshape", "Slice", "Split"),
    *("Squeeze", "StopGradient", "Transpose", "Unflatten", "View"),
}


class Kernels(NamedTuple):
    """The kernels of a step by kind, and the copies that hide in some of them."""

    kinds: dict[str, int]
    # What Metal adds to one kernel a primitive: a concatenation copies each of its parts, and a
    # transposed attention output may be laid out anew.
    copies: int

    @property
    def total(self) -> int:
        """One for each primitive that is not a view: the figure that others are compared by."""
        return sum(self.kinds.values())


def count(codec: Codec, half: str, num_codebooks: int) -> Kernels:
    """The kernels of one compiled step of one row and one frame.

    Args:
        codec: Its weights as a GPU has them: not packed.
        half: ``"encoder"`` or ``"decoder"``.
    """
    masks: list[mx.array] = []
    step: Callable
    inputs: tuple
    if half == "encoder":
        x = mx.zeros((1, 1, codec.config.frame_size))
        step, inputs = codec.encode_step, (x, codec.init_encoder_state(), num_codebooks)
    else:
        x = mx.zeros((1, num_codebooks, 1), mx.int32)
        step, inputs = codec.decode_step, (x, codec.init_decoder_state())
    mx.eval(codec.parameters(), inputs)  # what a step is given is no part of its graph
    with assume_gpu(), _stand_ins(masks):
        compiled = mx.compile(lambda *inputs: (*step(*inputs), masks[:1]))
        outputs = dict(tree_flatten(compiled(*inputs))).values()
    text = io.StringIO()
    mx.export_to_dot(text, *outputs)
    return _read(text.getvalue(), attentions=len(masks))


def _read(dot: str, attentions: int) -> Kernels:
    names = dict(re.findall(r'(\d+) \[label ="([^"]+)"', dot))
    parts = collections.Counter(re.findall(r'" -> (\d+)$', dot, re.MULTILINE))
    kinds = collections.Counter(kind for kind in map(_kind, names.values()) if kind not in _VIEWS)
    # The stand-in of an attention was a Matmul and an AddMM.
    kinds.update(Matmul=-attentions, AddMM=-attentions, Attention=attentions)
    joined = [parts[node] for node, name in names.items() if name == "Concatenate"]
    return Kernels(dict(kinds.most_common()), sum(joined) - len(joined) + attentions)


def _kind(name: str) -> str:
    if name.startswith("Compiled"):
        return "Elementwise"
    name = name.split()[0]
    return {"CumSum": "LayerNorm", "Subtract": "Elementwise", "Add": "Elementwise"}.get(name, name)


@contextlib.contextmanager
def _stand_ins(masks: list[mx.array]) -> Iterator[None]:
    """Primitives that nothing fuses with, for ``mx.fast`` calls."""

    def layer_norm(x, weight, bias, eps):
        return mx.cumsum(x, axis=-1)

    def attention(q, k, v, *, scale, mask):
        masks.append(mask)
        return mx.addmm(q, q @ k.swapaxes(-1, -2), v)

    own = {kind: _anywhere(kernel) for kind, kernel in search_kernel.KERNELS.items()}
    with (
        mock.patch.multiple(mx.fast, layer_norm=layer_norm, scaled_dot_product_attention=attention),
        mock.patch.object(search_kernel, "KERNELS", own),
    ):
        yield


class _Built(Exception):
    """Ends an export that was only begun."""


def _anywhere(kernel: Callable[..., list[mx.array]]) -> Callable[..., list[mx.array]]:
    """The call of a kernel of our own, which MLX makes without a GPU only inside an export."""

    def call(**arguments: Any) -> list[mx.array]:
        outputs: list[mx.array] = []

        def build(_: mx.array) -> None:
            outputs.extend(kernel(**arguments))
            raise _Built

        with contextlib.suppress(_Built):
            mx.export_function(lambda _: None, build, mx.zeros(1))
        return outputs

    return call
