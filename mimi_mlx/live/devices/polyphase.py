"""A short polyphase filter between a device's rate and 24 kHz, for sound that is on its way."""

import math

import numpy as np

# Of half the lower rate: up to here the response is flat, from 1 on everything is stopped. Between
# 48 and 24 kHz that is 10 and 12 kHz, and takes 1.4 ms.
_PASS = 5 / 6

# Rates under 11 kHz would need more for that; they get a wider transition instead.
_LONGEST = 3e-3

_STOP = 88.0  # dB, by design; 80 is what is promised


class PolyphaseResampler:
    """Changes the rate of sound, in Hz, in pieces of any size, at most 3 ms late.

    Between 24 kHz and any higher rate: flat to 10 kHz within 0.1 dB, aliases and images more than
    80 dB down, 1.4 ms late. What lies between 10 and 12 kHz falls off. At a lower rate than 24 kHz
    all of this scales with it: at 16 kHz flat to 6.7 kHz, and 2.1 ms late.

    Sample 0 of the result stands for sample 0 of what goes in.

    Source: Kaiser, Nonrecursive digital filter design using the I0-sinh window function (1974).
    """

    def __init__(self, source_rate: int, rate: int):
        common = math.gcd(source_rate, rate)
        self._up, self._down = rate // common, source_rate // common
        lower = min(source_rate, rate) / 2
        length = (_STOP - 7.95) / (14.36 * lower * (1 - _PASS))  # Kaiser's, in seconds
        self._half = math.ceil(min(length / 2, _LONGEST) * source_rate)
        self._taps = filters(self._up, self._half, lower * (1 + _PASS) / 2 / source_rate)
        self._pending = np.zeros(self._half - 1, np.float32)  # silence before the beginning
        self._at = 0  # the next result's position in what is pending, in 1 / up samples
        # Seconds by which samples come out later than they go in.
        self.delay = 0.0 if source_rate == rate else self._half / source_rate

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Take the next samples ``[T]``, give those of the result that are ready."""
        if not self.delay:
            return samples
        self._pending = np.concatenate([self._pending, samples])
        room = (len(self._pending) - 2 * self._half + 1) * self._up - self._at
        count = max(0, -(-room // self._down))
        at = self._at + self._down * np.arange(count)
        result = apply(self._pending, at // self._up, self._taps[at % self._up])
        first, self._at = divmod(self._at + self._down * count, self._up)
        self._pending = self._pending[first:]
        return result


def filters(phases: int, half: int, cutoff: float, beta: float | None = None) -> np.ndarray:
    """Low-pass filters ``[phases, 2 * half]``, filter p to interpolate at p / phases.

    That is between the middle two of the samples it is applied to. Each passes a constant as it
    is.

    Args:
        cutoff: Where the response is half, as a share of the sampling rate (Nyquist is 0.5).
        beta: Of the Kaiser window; None means that for ``_STOP``.
    """
    beta = 0.1102 * (_STOP - 8.7) if beta is None else beta
    distance = np.arange(phases)[:, None] / phases - np.arange(1 - half, half + 1)  # [phases, taps]
    window = np.i0(beta * np.sqrt(np.maximum(0, 1 - (distance / half) ** 2)))
    taps = np.sinc(2 * cutoff * distance) * window
    return (taps / taps.sum(axis=1, keepdims=True)).astype(np.float32)


def apply(samples: np.ndarray, starts: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """Filters ``taps [n, width]``, each on the samples from its start ``[n]`` on; ``[n]``."""
    if not len(starts):
        return np.zeros(0, np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(samples, taps.shape[1])
    return np.einsum("nt,nt->n", windows[starts], taps)
