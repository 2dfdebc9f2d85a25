"""AdamW whose steps are relative to each tensor's size, its schedule, and averages of weights."""

from typing import Any

import mlx.core as mx
import mlx.optimizers as optim
from mlx.utils import tree_map

_WARM_UP = 100  # steps, or a tenth of a short run's
_END = 0.01  # of the learning rate, at the end
_SMALLEST = 1e-3  # size that a tensor counts as at least: biases may be zeros

_AVERAGED = 0.999  # of the average stays at each step; less at the beginning


class RelativeAdamW(optim.AdamW):
    """AdamW, where a learning rate of 0.001 moves a weight by 0.001 of its tensor's first RMS.

    Adam's steps know no scale, but these weights have several: some hold the layer scale that was
    folded into them (checkpoint/load.py), and are 100 times smaller than others.

    Source: Loshchilov and Hutter, AdamW (arXiv 1711.05101); the relative step is of Shazeer and
    Stern, Adafactor (arXiv 1804.04235), section 8; the betas are those of HiFi-GAN.
    """

    def __init__(self, learning_rate: float, steps: int):
        warm_up = min(_WARM_UP, max(1, steps // 10))
        rise = optim.linear_schedule(learning_rate / warm_up, learning_rate, warm_up)
        fall = optim.cosine_decay(learning_rate, max(1, steps - warm_up), _END * learning_rate)
        schedule = optim.join_schedules([rise, fall], [warm_up])
        super().__init__(schedule, betas=[0.8, 0.99], bias_correction=True)

    def init_single(self, parameter: mx.array, state: dict) -> None:
        """Begin with a tensor."""
        super().init_single(parameter, state)
        state["size"] = mx.maximum(mx.sqrt(mx.square(parameter).mean()), _SMALLEST)

    def apply_single(self, gradient: mx.array, parameter: mx.array, state: dict) -> mx.array:
        """The tensor after a step."""
        moved = super().apply_single(gradient, parameter, state)
        return parameter + state["size"] * (moved - parameter)


def averaged(average: Any, weights: Any, step: mx.array) -> Any:
    """The moving average after so many steps; in its beginning it forgets faster.

    Source: Moshi (arXiv 2410.00037), section 3.3.3, averages weights; the beginning is of
    TensorFlow's ``ExponentialMovingAverage``.
    """
    keep = mx.minimum(_AVERAGED, (1 + step) / (10 + step))
    return tree_map(lambda a, w: w + keep * (a - w), average, weights)
