"""Whole sound files in and out, and resampling. Samples are float32 ``[T]``, one channel."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from .reader import FileReader
from .resampler import Resampler
from .writer import FORMATS, check_format, writing

__all__ = ["FORMATS", "Sound", "check_format", "load", "read", "resample", "write"]


class Sound(NamedTuple):
    """Samples ``[T]`` and how many of them make a second."""

    samples: np.ndarray
    sample_rate: int


def load(path: str | Path, mono: bool = False) -> Sound:
    """A whole sound file at its own rate, samples in [-1, 1].

    Args:
        path: Anything that libsndfile reads: WAV, FLAC, Ogg, MP3, AIFF, CAF and others.
        mono: Mix several channels down to their mean.

    Raises:
        ValueError: The file is missing, unreadable, cut off or empty, has a rate that no sound
            has, several channels without ``mono``, or samples that are NaN or infinite.
    """
    with FileReader(path, mono) as source:
        return Sound(np.concatenate(list(source)), source.sample_rate)


def read(path: str | Path, sample_rate: int, mono: bool = False) -> np.ndarray:
    """A whole sound file at ``sample_rate``: :func:`load`, then :func:`resample`."""
    sound = load(path, mono)
    return resample(sound.samples, sound.sample_rate, sample_rate)


def resample(
    samples: np.ndarray, source_rate: int, sample_rate: int, length: int | None = None
) -> np.ndarray:
    """Samples ``[T]`` at another rate, with soxr's best filter ("VHQ").

    Args:
        samples: At ``source_rate``.
        source_rate: In Hz.
        sample_rate: In Hz.
        length: Samples of the result; None means ``ceil(T * sample_rate / source_rate)``, which
            covers all of the source. What is past the source's end is silence.

    Raises:
        ValueError: A rate is not from 1000 to 1000000.
    """
    resampler = Resampler(source_rate, sample_rate)
    there = resampler.push(samples)
    return np.concatenate([there, resampler.flush(length)])[:length]


def write(path: str | Path, samples: np.ndarray, sample_rate: int) -> None:
    """Write samples ``[T]`` in the format of the extension; what is past [-1, 1] is clipped.

    Raises:
        ValueError: The extension is not known, or its format cannot hold this rate.
    """
    with writing(path, sample_rate) as file:
        file.write(samples)
