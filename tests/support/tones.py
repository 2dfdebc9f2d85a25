"""Tones, and how loud they are."""

import math

import numpy as np


def tone(hertz: float, rate: int, seconds: float = 0.4) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(seconds * rate) / rate).astype(np.float32)


def decibels(samples: np.ndarray) -> float:
    """Of a full-scale sine; the filter's beginning is left out."""
    return 10 * math.log10(2 * np.mean(samples[1000:].astype(float) ** 2) + 1e-20)
