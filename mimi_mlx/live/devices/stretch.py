"""Making a frame a few samples longer or shorter, or much shorter, so that nobody hears it."""

import functools

import numpy as np

from .polyphase import apply, filters

# Taps on either side of the interpolation: flat to 10.5 kHz at 24 kHz.
_HALF = 16


class Stretch:
    """Gives frames back as they are, or a few samples longer or shorter, 0.7 ms late.

    Within a changed frame time runs evenly slower or faster, and at its borders nothing jumps.
    """

    delay = _HALF  # samples that are still to come out

    def __init__(self, frame_size: int):
        self._frame_size = frame_size
        self._pending = np.zeros(2 * _HALF - 1, np.float32)  # silence before the beginning

    def push(self, frame: np.ndarray, change: int = 0) -> np.ndarray:
        """Take the next frame ``[frame_size]``, give ``[frame_size + change]``: a few, or none."""
        samples = np.concatenate([self._pending, frame])
        self._pending = samples[len(frame) :]
        if not change:
            return samples[_HALF - 1 : _HALF - 1 + len(frame)]
        return apply(samples, *_places(self._frame_size, self._frame_size + change))


@functools.lru_cache(maxsize=8)
def _places(source: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each of ``length`` results lies in ``source`` samples: its start and its filter."""
    starts, phases = np.divmod(np.arange(length) * source, length)
    return starts, filters(length, _HALF, 0.5, beta=5.0)[phases]


def shorten(samples: np.ndarray, cut: int, fade: int) -> np.ndarray:
    """Samples ``[T]`` without ``cut`` of them, ``[T - cut]``, after the first ``fade``.

    Over those it fades, so T is at least ``cut + fade``; the end stays as it is.
    """
    rising = rise(fade)
    mixed = samples[:fade] * (1 - rising) + samples[cut : cut + fade] * rising
    return np.concatenate([mixed, samples[cut + fade :]])


def rise(count: int) -> np.ndarray:
    """A smooth way from 0 to 1 in ``count`` steps, float32."""
    return (0.5 - 0.5 * np.cos(np.pi * (np.arange(count) + 0.5) / count)).astype(np.float32)
