"""A GPU that cuts float32 to 11 bits, as M5 and NVIDIA GPUs do: a stand-in on any machine.

What it does was read from MLX 0.32 and its issues 3534 and 4411: matmuls of 2 and more rows and
columns, and attention but of few queries in heads that its kernel knows, multiply numbers of which
only the first 11 bits are kept. Convolutions of this model's sizes are as ever; ``conv=True`` is a
GPU that cuts them too. ``cuda=True`` is NVIDIA's at its worst: MLX has no kernel for one row of
every layout there, nor for float32 attention with a mask, and its libraries choose a way for each
size; so all is cut, but the size of a convolution that is measured.
"""

import mlx.core as mx
import pytest

from mimi_mlx.model.ops import device

CAST = {
    "cut": lambda bits: bits & 0xFFFFE000,
    "rounded": lambda bits: (bits + 0xFFF + ((bits >> 13) & 1)) & 0xFFFFE000,
}


def pretend(
    monkeypatch: pytest.MonkeyPatch, how: str = "cut", conv: bool = False, cuda: bool = False
) -> None:
    """From now on, in this test, MLX computes as such a GPU. Load models afterwards."""
    matmul, addmm, conv1d = mx.array.__matmul__, mx.addmm, mx.conv1d
    attention = mx.fast.scaled_dot_product_attention

    def short(x: mx.array) -> mx.array:
        bits = mx.view(mx.stop_gradient(x), mx.uint32)
        return x + mx.stop_gradient(mx.view(CAST[how](bits), mx.float32) - x)  # has a gradient

    def shortened(x: mx.array, y: mx.array) -> tuple[mx.array, mx.array]:
        rows = x.shape[-2] if y.ndim > 2 else x.size // x.shape[-1]
        if x.dtype != mx.float32 or (not cuda and (rows < 2 or y.shape[-1] < 2)):
            return x, y
        return short(x), short(y)

    def short_attention(q, k, v, *, scale, mask):
        if not cuda and q.shape[2] <= 8 and q.shape[3] in (64, 96, 128):
            return attention(q, k, v, scale=scale, mask=mask)
        scores = mx.where(mask, matmul(*shortened(q * scale, k.swapaxes(-1, -2))), -mx.inf)
        return matmul(*shortened(mx.softmax(scores, axis=-1), v))

    monkeypatch.setattr(mx.array, "__matmul__", lambda x, y: matmul(*shortened(x, y)))
    monkeypatch.setattr(mx, "addmm", lambda c, x, y: addmm(c, *shortened(x, y)))
    monkeypatch.setattr(mx.fast, "scaled_dot_product_attention", short_attention)
    if conv or cuda:
        monkeypatch.setattr(mx, "conv1d", lambda x, w, stride: conv1d(short(x), short(w), stride))
    monkeypatch.setattr(device, "is_gpu", lambda: True)
    for measured in ("_gpu_cuts_matmul", "_gpu_cuts_conv"):  # anew: a process has one GPU
        monkeypatch.setattr(device, measured, getattr(device, measured).__wrapped__)
    monkeypatch.setattr(device, "has_cuda", lambda: cuda)
    if cuda:
        monkeypatch.setattr(device, "_gpu_cuts_conv", lambda: False)


def unprotected(monkeypatch: pytest.MonkeyPatch) -> None:
    """And this package does not measure it."""
    for measured in ("_gpu_cuts_matmul", "_gpu_cuts_conv"):
        monkeypatch.setattr(device, measured, lambda: False)
