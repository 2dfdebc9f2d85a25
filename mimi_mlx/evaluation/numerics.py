"""How exact float32 products are on the current device: MLX's own, and those of the codec."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import mlx.core as mx
import numpy as np

from ..model.ops.attention import attention
from ..model.ops.matmul import convolve, matmul
from . import metrics


class Errors(NamedTuple):
    """RMS of the difference from float64 over RMS of what is right, the worst of some sizes."""

    name: str
    own: float  # of MLX's operation
    codec: float  # of the same as the codec does it


# What is right, in float64; MLX's own way to it and the codec's; and what these are given.
Product = tuple[np.ndarray, Callable[..., mx.array], Callable[..., mx.array], list[np.ndarray]]


def errors() -> Iterator[Errors]:
    """Every kind of operation that a GPU's matrix units may do."""
    draw = np.random.default_rng(0)
    for name, product, sizes in (
        ("float32 matmul, 1 to 256 rows", _matmul, (1, 2, 8, 256)),
        ("float32 convolution", _convolution, (8, 1024)),
        ("float32 attention, 1 to 256 queries", _attention, (1, 2, 16, 256)),
    ):
        worst = [0.0, 0.0]
        for size in sizes:
            right, *ways, inputs = product(draw, size)
            found = [np.array(way(*map(mx.array, inputs)), np.float64) for way in ways]
            worst = [
                max(w, metrics.relative_error(right, x)) for w, x in zip(worst, found, strict=True)
            ]
        yield Errors(name, *worst)


def _matmul(draw: np.random.Generator, rows: int) -> Product:
    x, weight = inputs = _drawn(draw, (rows, 512), (512, 512))
    return x.astype(np.float64) @ weight.T, lambda x, w: x @ w.T, matmul, inputs


def _convolution(draw: np.random.Generator, length: int) -> Product:
    x, weight = inputs = _drawn(draw, (1, length, 64), (128, 8, 64))
    windows = np.lib.stride_tricks.sliding_window_view(x[0], 8, axis=0)[::4]  # [count, 64, 8]
    right = np.einsum("tck,okc->to", windows.astype(np.float64), weight)
    return right, lambda x, w: mx.conv1d(x, w, 4), lambda x, w: convolve(x, w, 4), inputs


def _attention(draw: np.random.Generator, queries: int) -> Product:
    q, k, v = inputs = _drawn(draw, (1, 8, queries, 64), *[(1, 8, 249 + queries, 64)] * 2)
    scores = q.astype(np.float64) @ k.swapaxes(-1, -2) / 8
    share = np.exp(scores - scores.max(axis=-1, keepdims=True))
    right = share @ v / share.sum(axis=-1, keepdims=True)
    mask = mx.ones((1, 1, queries, 249 + queries), mx.bool_)
    own = partial(mx.fast.scaled_dot_product_attention, scale=1 / 8, mask=mask)
    return right, own, lambda q, k, v: attention(q, k, v, 1 / 8, mask), inputs


def _drawn(draw: np.random.Generator, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    return [draw.normal(size=shape).astype(np.float32) for shape in shapes]
