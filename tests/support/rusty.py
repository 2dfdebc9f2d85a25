"""What the tests of rustymimi's drop-in share."""

import time
from collections.abc import Callable

import numpy as np

# Samples of pieces whose sums fall inside, on and past the ends of frames, and codes of each.
PIECES = {0: 0, 1: 0, 959: 0, 960: 1, 1920: 1, 1921: 1, 100: 0, 1918: 1, 3845: 2, 5: 0, 3840: 2}


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, shape).astype(np.float32)


def some_codes(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2048, shape).astype(np.uint32)


def pieces(pcm: np.ndarray, sizes) -> list[np.ndarray]:
    return np.split(pcm, np.cumsum(list(sizes))[:-1], axis=-1)


def poll(get: Callable[[], np.ndarray | None]) -> np.ndarray:
    """The next result of a StreamTokenizer, which is sure to come."""
    end = time.monotonic() + 60
    while (result := get()) is None:
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.001)
    return result
