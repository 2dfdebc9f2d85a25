"""The balancer: whatever the scale of losses, the shares of the gradient are their weights."""

import mlx.core as mx
import numpy as np
import pytest

from mimi_mlx.training.balancer import balance, gradients, init_state


def norm(x: mx.array) -> float:
    return mx.linalg.norm(x.flatten()).item()


@pytest.fixture
def apart() -> list[mx.array]:
    """Three gradients that are orthogonal, of norms a million apart."""
    drawn = np.zeros((3, 2, 30), np.float32)
    for i, size in enumerate((1e-3, 1.0, 1e3)):
        drawn[i, :, 10 * i : 10 * i + 10] = size * np.random.default_rng(i).normal(size=(2, 10))
    return [mx.array(x) for x in drawn]


def shares(total: mx.array) -> list[float]:
    return [norm(total[:, 10 * i : 10 * i + 10]) for i in range(3)]


def test_shares_are_the_weights(apart):
    total, _ = balance(apart, (1, 2, 5), init_state(3))
    np.testing.assert_allclose(shares(total), [1 / 8, 2 / 8, 5 / 8], rtol=1e-5)
    half, _ = balance(apart, (10, 20, 50), init_state(3), norm=0.5)
    np.testing.assert_allclose(half, total / 2, rtol=1e-5)
    for i, gradient in enumerate(apart):  # none has turned
        cosine = (gradient * total).sum().item() / norm(gradient) / shares(total)[i]
        assert cosine == pytest.approx(1, rel=1e-5)


def test_norms_are_averaged_over_steps(apart):
    """A gradient that jumps keeps its jump: the average forgets 1 in 1000 a step."""
    _, state = balance(apart, (1, 1, 1), init_state(3))
    jump = [7 * apart[0], apart[1], 0 * apart[2]]
    total, state = balance(jump, (1, 1, 1), state)
    mean = (0.999 * 1 + 7) / (0.999 + 1)
    np.testing.assert_allclose(shares(total), [7 / mean / 3, 1 / 3, 0], rtol=1e-5)
    for _ in range(3):
        total, state = balance(jump, (1, 1, 1), state)
    assert state.steps.item() == pytest.approx(sum(0.999**i for i in range(5)))
    assert shares(total)[0] < 7 / mean / 3


def test_a_flat_loss_gives_nothing(apart):
    total, state = balance([0 * apart[0], apart[1], apart[2]], (1, 1, 1), init_state(3))
    np.testing.assert_allclose(shares(total), [0, 1 / 3, 1 / 3], rtol=1e-5)
    total, _ = balance(apart, (1, 1, 1), state)
    assert np.isfinite(shares(total)).all()


def test_a_state_is_a_value(apart):
    before = init_state(3)
    balance(apart, (1, 2, 3), before)
    assert before.steps.item() == 0 and not before.sums.any().item()


@pytest.mark.slow
def test_it_compiles(apart):
    compiled = mx.compile(lambda gradients, state: balance(gradients, (1, 2, 3), state))
    total, state = compiled(apart, init_state(3))
    total, _ = compiled(apart, state)
    np.testing.assert_allclose(shares(total), [1 / 6, 2 / 6, 3 / 6], rtol=1e-5)


def test_each_losss_gradient_is_its_own():
    x = mx.array([[1.0, -2.0]])
    values, found = gradients([lambda x: x.sum(), lambda x: mx.square(x).sum()], x)
    assert [value.item() for value in values] == [-1, 5]
    np.testing.assert_allclose(found[0], [[1, 1]])
    np.testing.assert_allclose(found[1], [[2, -4]])
