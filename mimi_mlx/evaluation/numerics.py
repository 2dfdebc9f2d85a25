"""How exact float32 products are on the current device: MLX's own, and those of the codec."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import mlx.core as mx
import numpy as np

from ..model.ops.attention import attention
from ..model.ops.matmul import convolve, matmul
from . import metrics


class Errors(NamedTuple):
    """RMS of the difference from float64 over RMS of what is right, the worst of some sizes."""

    name: str
    own: float
    """Of MLX's operation."""
    codec: float
    """Of the same as the codec does it."""


def errors() -> Iterator[Errors]:
    """Every kind of operation that a GPU's matrix units may do."""
    draw = np.random.default_rng(0)
    for name, ways, sizes in (
        ("float32 matmul, 1 to 256 rows", _matmul, (1, 2, 8, 256)),
        ("float32 convolution", _convolution, (8, 1024)),
        ("float32 attention, 1 to 256 queries", _attention, (1, 2, 16, 256)),
    ):
        found = [ways(draw, size) for size in sizes]
        yield Errors(name, *(max(each) for each in zip(*found, strict=True)))


def _matmul(draw: np.random.Generator, rows: int) -> tuple[float, float]:
    x, weight = _drawn(draw, (rows, 512), (512, 512))
    right = x.astype(np.float64) @ weight.T
    return _off(right, lambda x, w: x @ w.T, x, weight), _off(right, matmul, x, weight)


def _convolution(draw: np.random.Generator, length: int) -> tuple[float, float]:
    x, weight = _drawn(draw, (1, length, 64), (128, 8, 64))
    windows = np.lib.stride_tricks.sliding_window_view(x[0], 8, axis=0)[::4]  # [count, 64, 8]
    right = np.einsum("tck,okc->to", windows.astype(np.float64), weight)
    own = _off(right, lambda x, w: mx.conv1d(x, w, 4), x, weight)
    return own, _off(right, lambda x, w: convolve(x, w, 4), x, weight)


def _attention(draw: np.random.Generator, queries: int) -> tuple[float, float]:
    q, k, v = _drawn(draw, (1, 8, queries, 64), *[(1, 8, 249 + queries, 64)] * 2)
    scores = q.astype(np.float64) @ k.swapaxes(-1, -2) / 8
    share = np.exp(scores - scores.max(axis=-1, keepdims=True))
    right = share @ v / share.sum(axis=-1, keepdims=True)
    mask = mx.ones((1, 1, queries, 249 + queries), mx.bool_)

    def own(q: mx.array, k: mx.array, v: mx.array) -> mx.array:
        return mx.fast.scaled_dot_product_attention(q, k, v, scale=1 / 8, mask=mask)

    codec = _off(right, lambda q, k, v: attention(q, k, v, 1 / 8, mask), q, k, v)
    return _off(right, own, q, k, v), codec


def _drawn(draw: np.random.Generator, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    return [draw.normal(size=shape).astype(np.float32) for shape in shapes]


def _off(right: np.ndarray, way: Callable, *inputs: np.ndarray) -> float:
    """The error of one way to compute what is right."""
    found = np.array(way(*(mx.array(x) for x in inputs)), np.float64)
    return metrics.relative_error(right, found)
