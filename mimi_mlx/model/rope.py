"""Rotary positions that neither grow nor drift.

An angle is a whole number of 2^-32 turns, held in 32 bits: a position adds a whole number to it,
and what goes past a whole turn falls off, as turns do. So positions may count for ever and wrap
with the angles, and between any two the rotation is exactly that of their distance, after a
minute or a year. Only the last step to a float32 angle rounds, and that is the same everywhere.

Source: Su et al., RoFormer (arXiv 2104.09864).
"""

from typing import NamedTuple

import mlx.core as mx
import numpy as np


class Rotation(NamedTuple):
    """Cosines, and sines with their sign, of L positions: ``[B, 3, 1, L, 2, head_dim / 2]``.

    They are for queries, keys and values side by side, as one projection makes them, so that one
    kernel rotates all three. Values have no position: theirs is the rotation by 0.
    """

    cos: mx.array
    sin: mx.array

    def __call__(self, qkv: mx.array) -> mx.array:
        """Rotate queries, keys and values ``[B, 3, heads, L, head_dim]``, each pair half apart.

        Compiled, this is one kernel: swapping the halves is a view.
        """
        halves = qkv.reshape(*qkv.shape[:-1], 2, -1)
        return (halves * self.cos + halves[..., ::-1, :] * self.sin).reshape(qkv.shape)


class Rope:
    """The rotations of a head of ``head_dim`` numbers; the first pair turns by 1 / ``theta`` ** 0.

    Args:
        head_dim: An even number; number i and number i + head_dim / 2 are a pair.
        theta: The slowest pair's turns take some 2 pi ``theta`` positions.
    """

    def __init__(self, head_dim: int, theta: float):
        pairs = np.arange(0, head_dim, 2) / head_dim
        turns = np.round(theta**-pairs / (2 * np.pi) * 2**32)
        # What a position adds to each angle: [3, 1, 1, 1, head_dim / 2] for q, k and v.
        self._turns = np.multiply.outer([1, 1, 0], turns).astype(np.uint32)[:, None, None, None]
        # Each angle at position 0, [2, 1, 3, 1, 1, 2, 1]: a cosine is a sine a quarter of a turn
        # on; the sine that goes with the first half of a pair has a minus, half a turn.
        self._start = np.zeros((2, 1, 3, 1, 1, 2, 1), np.uint32)
        self._start[0] = 2**30
        self._start[1, :, :2, :, :, 0] = 2**31

    def __call__(self, position: mx.array, length: int) -> Rotation:
        """The rotation of ``length`` positions from ``position [B]``, uint32, on."""
        start = self._start + self._turns * np.arange(length, dtype=np.uint32)[:, None, None]
        at = position[:, None, None, None, None, None] * mx.array(self._turns) + mx.array(start)
        # As a signed number, half a turn either way: all the precision that float32 can give.
        angle = at.view(mx.int32).astype(mx.float32) * (np.pi / 2**31)
        cos, sin = mx.split(mx.sin(angle), 2)
        return Rotation(cos.squeeze(0), sin.squeeze(0))
