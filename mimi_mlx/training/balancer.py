"""EnCodec's loss balancer: each loss has the share of the gradient that its weight says.

What is balanced are gradients with respect to the decoder's output: whatever the scale of a loss
is, and however it changes, its weight is its share.

Source: Défossez et al., EnCodec (arXiv 2210.13438), section 3.4, "Balancer".
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import mlx.core as mx

_KEPT = 0.999  # of the moving averages, at each step

_LEAST = 1e-12  # norm that a gradient counts as at least: a loss may be flat


class BalancerState(NamedTuple):
    """The moving averages of N gradients' norms: sums that are forgotten slowly, and of how many.

    ``sums [N]`` and ``steps []`` are float32.
    """

    sums: mx.array
    steps: mx.array


def init_state(losses: int) -> BalancerState:
    """The state of so many losses before the first step."""
    return BalancerState(mx.zeros(losses), mx.array(0.0))


def gradients(
    losses: Sequence[Callable[[mx.array], mx.array]], x: mx.array
) -> tuple[list[mx.array], list[mx.array]]:
    """Of each loss, a scalar of ``x``, the value and the gradient, which is shaped as ``x``."""
    found = [mx.value_and_grad(loss)(x) for loss in losses]
    return [value for value, _ in found], [gradient for _, gradient in found]


def balance(
    gradients: Sequence[mx.array],
    weights: Sequence[float],
    state: BalancerState,
    norm: float = 1.0,
) -> tuple[mx.array, BalancerState]:
    """One gradient of several, and the state after this step. Pure, so that it can be compiled.

    Each gradient is divided by the moving average of its norm, and multiplied by its share of
    ``norm``: its weight over the sum of all. In the first step their norms are these shares.

    Args:
        gradients: With respect to the decoder's output, of one shape. A norm is that of a whole
            batch's gradient.
        weights: Of each, above 0.
        state: That of the step before.
        norm: The sum of all gradients' norms, on average.
    """
    norms = mx.stack([mx.sqrt(mx.square(g).sum()) for g in gradients])
    # Divided by how many, the averages are right from the first step on.
    state = BalancerState(_KEPT * state.sums + norms, _KEPT * state.steps + 1)
    scales = norm * mx.array(list(weights)) / sum(weights)
    scales = scales / mx.maximum(state.sums / state.steps, _LEAST)
    total = mx.zeros_like(gradients[0])
    for scale, gradient in zip(scales, gradients, strict=True):
        total = total + scale * gradient
    return total, state
