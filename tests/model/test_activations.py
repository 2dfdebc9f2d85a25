"""ELU and GELU, with MLX's functions and without."""

import math

import mlx.core as mx
import numpy as np
import pytest

from mimi_mlx.model.ops import activations


@pytest.fixture(params=[True, False], ids=["fast", "slow"], autouse=True)
def functions(request, monkeypatch):
    """Whether MLX's exp and erf are fast, as on Metal."""
    monkeypatch.setattr(activations, "has_fast_exp", lambda: request.param)


X = np.concatenate([np.linspace(-30, 30, 60001), [-1e30, -1e-30, 0, 1e-30, 1e30]]).astype("f4")


def test_gelu():
    exact = np.array([x * math.erfc(-x / 2**0.5) / 2 for x in X.astype(float)])
    found = np.array(activations.gelu(mx.array(X)))
    assert (np.abs(found - exact) <= 3e-7 * np.abs(X)).all()
    assert np.array_equal(found[X > 6], X[X > 6]) and not found[X < -6].any()


def test_elu():
    exact = np.where(X > 0, X, np.expm1(np.minimum(X.astype(float), 0)))
    found = np.array(activations.ELU()(mx.array(X)))
    assert (np.abs(found - exact) <= 2e-7 * np.maximum(1, np.abs(X))).all()
    assert np.array_equal(found[X > 0], X[X > 0])


@pytest.mark.parametrize("function", [activations.gelu, activations.ELU()])
def test_gradients_and_what_is_no_number(function):
    x = mx.array(X[np.abs(X) < 20])
    slope = np.array(mx.grad(lambda x: function(x).sum())(x))
    rise = np.gradient(np.array(function(x), np.float64), X[1] - X[0])
    inner = (np.abs(np.array(x)) > 0.01) & (np.abs(np.array(x)) < 19)
    np.testing.assert_allclose(slope[inner], rise[inner], atol=2e-3)
    assert np.isnan(function(mx.array(math.nan)).item())


@pytest.mark.parametrize("function", [activations.gelu, activations.ELU()])
def test_gradients_where_an_exponential_overflows(function):
    x = mx.array([-1e30, -425.0, -89.0, 89.0, 425.0, 1e30])
    slope = mx.grad(lambda x: function(x).sum())(x)
    np.testing.assert_array_equal(slope, [0, 0, 0, 1, 1, 1])


def test_the_elu_of_training_is_the_same_and_has_its_slope():
    x = mx.array([-30.0, -3.0, -1e-3, 1e-3, 2.0, 90.0])
    assert mx.array_equal(activations.TrainedELU()(x), activations.ELU()(x))
    slope = np.array(mx.grad(lambda x: activations.TrainedELU()(x).sum())(x))
    expected = np.exp(np.minimum(np.array(x, np.float64), 0))
    np.testing.assert_allclose(slope, expected, atol=1e-6)
