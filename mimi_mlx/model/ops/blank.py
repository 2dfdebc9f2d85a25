"""Layers of zeros, which a checkpoint fills.

mlx.nn's own constructors draw random weights, which would move the caller's random generator and
leave one behind in every thread that loads a model.
"""

import mlx.core as mx
import mlx.nn as nn


def linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer without bias: weight ``[outputs, inputs]``."""
    layer = nn.Linear.__new__(nn.Linear)
    nn.Module.__init__(layer)
    layer.weight = mx.zeros((outputs, inputs))
    return layer


def weight(*shape: int, bias: int = 0) -> nn.Module:
    """A weight of any shape and, if it is not 0, a bias of so many channels."""
    layer = nn.Module()
    layer.weight = mx.zeros(shape)
    if bias:
        layer.bias = mx.zeros((bias,))
    return layer
