"""Sounds to test with: float32 ``[T]``."""

import numpy as np


def sine(frequency: float, rate: int, samples: int) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(samples) / rate)).astype(np.float32)


def noise(samples: int) -> np.ndarray:
    """Always the same, and some of it past [-1, 1]."""
    return np.random.default_rng(0).uniform(-1.2, 1.2, samples).astype(np.float32)
