"""What the tests of products share: noise, and how close is close."""

import mlx.core as mx
import numpy as np


def noise(*shape: int) -> mx.array:
    return mx.array(np.random.default_rng(len(shape)).standard_normal(shape, np.float32))


def assert_close(found: mx.array, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    assert np.abs(np.array(found) - expected).max() < 8e-6 * np.abs(expected).max()
