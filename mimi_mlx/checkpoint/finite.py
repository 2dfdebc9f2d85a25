"""Whether weights are numbers: one NaN among them is silence for ever, or noise."""

from collections.abc import Iterable
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten

from .layouts import Tensors, listed, some

# Of each type's infinity, as a whole number of as many bits; float64 is in no model.
_INFINITY = {mx.float16: 0x7C00, mx.bfloat16: 0x7F80, mx.float32: 0x7F800000}

_PART = 1 << 18  # numbers that a processor's cache holds, so that memory is read once


def check(model: nn.Module, tensors: Tensors, paths: Iterable[Path]) -> None:
    """No parameter is NaN or infinite. One pass; only if one is are the tensors asked, by name.

    Args:
        model: What was made of the tensors, evaluated, with nothing expanded yet.
        tensors: Those of the files.
        paths: The files.

    Raises:
        ValueError: One is.
    """
    parameters = dict(tree_flatten(model.parameters()))
    wrong = [name for name, x in parameters.items() if not _is_finite(x)]
    if wrong:
        found = [name for name, x in tensors.items() if not _is_finite(x)] or wrong
        raise ValueError(
            f"{listed(paths)} has NaN or infinity in {len(found)} of its tensors ({some(found)}); "
            "weights are finite. Download it again."
        )


def _is_finite(x: mx.array) -> bool:
    """By the bits as whole numbers, whose greatest NumPy finds as fast as it reads memory.

    Infinity is greater than all finite numbers, and NaN greater than that: among the positive
    ones, read with a sign, and among the negative ones, read without.
    """
    infinity = _INFINITY.get(x.dtype)
    if infinity is None or not x.size:
        return True
    bits = np.frombuffer(memoryview(x), f"u{x.dtype.size}")  # type: ignore[arg-type]
    sign = 1 << (8 * x.dtype.size - 1)
    parts = (bits[start : start + _PART] for start in range(0, bits.size, _PART))
    return all(
        part.view(f"i{x.dtype.size}").max() < infinity and part.max() < sign + infinity
        for part in parts
    )
