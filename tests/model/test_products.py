"""Products of packed weights are the plain products, and a row's bits are its own."""

import mlx.core as mx
import numpy as np
import pytest
import streams

from mimi_mlx.model.ops import matmul as products


@pytest.fixture(autouse=True)
def without_gpu(monkeypatch):
    monkeypatch.setattr(products, "PACKS", True)


def noise(*shape: int) -> mx.array:
    return mx.array(np.random.default_rng(len(shape)).standard_normal(shape, np.float32))


def assert_close(found: mx.array, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    assert np.abs(np.array(found) - expected).max() < 8e-6 * np.abs(expected).max()


@pytest.mark.parametrize("rows", [(1, 1), (1, 2), (2, 2), (1, 31), (3, 40)], ids=str)
@pytest.mark.parametrize("out, width", [(512, 1024), (64, 2048), (192, 520), (100, 1500)])
def test_a_product_in_any_form(rows, out, width):
    x, weight, residual = noise(*rows, width), noise(out, width), noise(*rows, out)
    expected = np.array(x, np.float64) @ np.array(weight, np.float64).T
    for form in (weight, products.packed(weight)):
        assert_close(products.matmul(x, form), expected)
        assert_close(products.add_matmul(residual, x, form), expected + np.array(residual))


def test_what_is_packed():
    for shape, found in (
        ((192, 512), (3, 1, 512, 64)),
        ((192, 2048), (3, 4, 512, 64)),
        ((64, 7, 128), (1, 2, 448, 64)),  # a convolution's
    ):
        weight = noise(*shape)
        packed = products.packed(weight)
        assert packed.shape == found
        assert products.packed(packed) is packed
        assert products.inputs(packed) == products.inputs(weight) == weight.size // shape[0]
    odd = noise(100, 512)
    assert products.packed(odd) is odd


@pytest.mark.skipif(not streams.EXACT, reason=streams.NOT_EXACT)
@pytest.mark.parametrize("out, width", [(64, 2048), (192, 512)])
def test_a_rows_bits_do_not_depend_on_the_others(out, width):
    x, weight = noise(33, width), products.packed(noise(out, width))
    alone = mx.concatenate([products.matmul(x[i : i + 1], weight) for i in range(33)])
    for rows in (2, 30, 31, 33):
        assert mx.array_equal(products.matmul(x[:rows], weight), alone[:rows])


def test_beside_a_gpu_nothing_is(monkeypatch):
    monkeypatch.setattr(products, "PACKS", False)
    weight = noise(192, 512)
    assert products.packed(weight) is weight


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("width, size", [(256, 2048), (32, 1024), (8, 36)])
def test_scores_and_columns(rows, width, size):
    bias, x, matrices = noise(size), noise(rows, width), noise(3, width, size)
    index = mx.array(np.random.default_rng(0).integers(size, size=(2, 3, rows)))
    for form in (matrices, products.packed_columns(matrices)):
        expected = np.array(bias) + np.array(x, np.float64) @ np.array(matrices[1], np.float64)
        assert_close(products.scores(bias, x, form[1]), expected)
        assert_close(
            products.columns(form[1], index[0, 0]), np.array(matrices[1][:, index[0, 0]].T)
        )
        found = products.columns_of_each(form, index)
        for k in range(3):
            for b in range(2):
                assert mx.array_equal(found[b, k], matrices[k][:, index[b, k]])


def test_packed_columns():
    matrices = noise(2, 8, 128)
    packed = products.packed_columns(matrices)
    assert packed.shape == (2, 2, 8, 64)
    assert products.packed_columns(packed) is packed
