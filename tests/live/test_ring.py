"""The ring between a callback and the loop: nothing is lost unseen."""

import numpy as np
import pytest

from mimi_mlx.live.devices.ring import Ring


def numbers(count: int, start: int = 0) -> np.ndarray:
    return np.arange(start, start + count, dtype=np.float32)


def test_a_ring_gives_what_it_took():
    ring, given, random = Ring(100), [], np.random.default_rng(0)
    taken = 0
    for size in random.integers(0, 40, 200):
        ring.write(numbers(size, taken))
        taken += size
        out = np.empty(random.integers(0, 90), np.float32)
        given.append(out[: ring.read_into(out)].copy())
        if ring.waiting > 50:
            given.append(ring.read())
    given.append(ring.read())
    np.testing.assert_array_equal(np.concatenate(given), numbers(taken))
    assert ring.dropped == 0 and ring.waiting == 0


@pytest.mark.parametrize("piece", [7, 64, 1000])
def test_a_full_ring_drops_the_oldest_and_counts(piece):
    ring = Ring(100)
    for start in range(0, 1000, piece):
        ring.write(numbers(min(piece, 1000 - start), start))
    assert ring.waiting == 100
    np.testing.assert_array_equal(ring.read(), numbers(100, 900))
    assert ring.dropped == 900
