"""ELU and GELU. Not mlx.nn's, which are compiled.

MLX keeps a compiled function in every thread that calls it, and aborts when such a thread ends
while the interpreter exits.
"""

import mlx.core as mx
import mlx.nn as nn

from .device import has_fast_exp

# erf(x / sqrt(2)) / x as a quotient of polynomials in x^2: of least relative error up to _END,
# from which on the float32 erf is 1. Lowest powers first.
_OVER = (0.79788452, 0.068429448, 0.0093872212, 3.4325515e-4, 1.257653e-5, 4.3902887e-8)
_UNDER = (1.0, 0.25242987, 0.028837787, 0.0019009389, 7.4101103e-5, 1.1694068e-6)
_END = 5.657

# expm1(x) / x: of least relative error on [-17/32, 0].
_EXPM1 = (0.999999896, 0.499990514, 0.166525714, 0.040921675, 0.00668411717)


class ELU(nn.Module):
    """x where positive, exp(x) - 1 elsewhere."""

    def __call__(self, x: mx.array) -> mx.array:
        if not has_fast_exp():
            return _elu_without_exp(x)
        # Of an exp that is infinite the gradient is no number, even where it is not chosen.
        return mx.where(x > 0, x, mx.exp(mx.minimum(x, 0)) - 1)


class TrainedELU(nn.Module):
    """The same where gradients are asked for all the time: the slope is taken from what came out.

    Without exp, the slope through the polynomial costs more than all the convolutions around it.
    In a compiled step it would be a kernel of its own, so nothing else uses it.
    """

    def __call__(self, x: mx.array) -> mx.array:
        y: mx.array = ELU()(x) if has_fast_exp() else _elu_with_slope(x)  # type: ignore[assignment]
        return y


def gelu(x: mx.array) -> mx.array:
    """The exact GELU, x times the share of a normal distribution that is below x."""
    return x * (1 + mx.erf(x / 2**0.5)) / 2 if has_fast_exp() else _gelu_without_erf(x)


def _elu_without_exp(x: mx.array) -> mx.array:
    """ELU within 2e-7: expm1(x / 32), doubled five times.

    expm1(2 y) = expm1(y) (expm1(y) + 2) keeps the relative error; below -17, exp(x) is nothing.
    """
    y = mx.minimum(mx.maximum(x, -17.0), 0.0) * (1 / 32)
    m = _polynomial(_EXPM1, y) * y
    for _ in range(5):
        m = m * (m + 2.0)
    return mx.maximum(x, m)


@mx.custom_function
def _elu_with_slope(x: mx.array) -> mx.array:
    return _elu_without_exp(x)


@_elu_with_slope.vjp
def _(x: mx.array, cotangent: mx.array, y: mx.array) -> mx.array:
    return cotangent * (mx.minimum(y, 0.0) + 1.0)  # exp(x) where x is negative


def _gelu_without_erf(x: mx.array) -> mx.array:
    """GELU within 3e-7 of x."""
    y = mx.minimum(mx.maximum(x, -_END), _END)
    square = y * y
    erf = y * _polynomial(_OVER, square) / _polynomial(_UNDER, square)
    return x * (mx.minimum(mx.maximum(erf, -1.0), 1.0) * 0.5 + 0.5)


def _polynomial(coefficients: tuple[float, ...], x: mx.array) -> mx.array:
    """By Horner's rule; compiled, one kernel with what is around it."""
    top, second, *lower = reversed(coefficients)
    y = top * x + second
    for coefficient in lower:
        y = y * x + coefficient
    return y
