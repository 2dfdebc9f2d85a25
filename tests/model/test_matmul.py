"""Products of packed weights are the plain products, and a row's bits are its own."""

import mlx.core as mx
import numpy as np
import pytest
import streams
from products import assert_close, noise

from mimi_mlx.model.ops import device
from mimi_mlx.model.ops.matmul import inputs, matmul, packed


@pytest.fixture(autouse=True)
def without_gpu(monkeypatch):
    """As a CPU does it, whatever this machine has."""
    monkeypatch.setattr(device, "is_gpu", lambda: False)


@pytest.mark.parametrize("rows", [(1, 1), (1, 2), (2, 2), (1, 31), (3, 40)], ids=str)
@pytest.mark.parametrize("out, width", [(512, 1024), (64, 2048), (192, 520), (100, 1500)])
def test_a_product_in_any_form(rows, out, width):
    x, weight, residual = noise(*rows, width), noise(out, width), noise(*rows, out)
    expected = np.array(x, np.float64) @ np.array(weight, np.float64).T
    for form in (weight, packed(weight)):
        assert_close(matmul(x, form), expected)
        assert_close(matmul(x, form, residual), expected + np.array(residual))


def test_what_is_packed():
    for shape, found in (
        ((192, 512), (3, 1, 512, 64)),
        ((192, 2048), (3, 4, 512, 64)),
        ((64, 7, 128), (1, 2, 448, 64)),  # a convolution's
    ):
        weight = noise(*shape)
        blocks = packed(weight)
        assert blocks.shape == found
        assert packed(blocks) is blocks
        assert inputs(blocks) == inputs(weight) == weight.size // shape[0]
    odd = noise(100, 512)
    assert packed(odd) is odd


@pytest.mark.skipif(not streams.EXACT, reason=streams.NOT_EXACT)
@pytest.mark.parametrize("out, width", [(64, 2048), (192, 512)])
def test_a_rows_bits_do_not_depend_on_the_others(out, width):
    x, weight = noise(33, width), packed(noise(out, width))
    alone = mx.concatenate([matmul(x[i : i + 1], weight) for i in range(33)])
    for rows in (2, 30, 31, 33):
        assert mx.array_equal(matmul(x[:rows], weight), alone[:rows])


def test_beside_a_gpu_nothing_is(monkeypatch):
    monkeypatch.undo()
    weight = noise(192, 512)
    with device.assume_gpu():
        assert packed(weight) is weight
