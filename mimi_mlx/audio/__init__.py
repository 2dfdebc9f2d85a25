"""Whole sound files in and out, and resampling. Samples are float32 ``[T]``, one channel."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..arrays import ArrayLike, as_float32, host, whole
from ..files import check_path
from ..model.config import shown
from ..model.ops.device import machine_memory
from .reader import FileReader, check_rate
from .resampler import Resampler
from .writer import FORMATS, check_format, writing

__all__ = ["FORMATS", "SUFFIXES", "Sound", "check_format", "load", "read", "resample", "write"]

SUFFIXES = {*FORMATS, *(".aifc", ".au", ".oga", ".opus", ".rf64", ".snd", ".w64")}
"""What a sound file's name ends in, in lower case, where a folder is searched for them."""


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
    check_path("path", path, "Give a sound file.")
    with FileReader(path, mono) as source:
        return Sound(np.concatenate(list(source)), source.sample_rate)


def read(path: str | Path, sample_rate: int, mono: bool = False) -> np.ndarray:
    """A whole sound file at ``sample_rate``: :func:`load`, then :func:`resample`."""
    check_rate(f"sample_rate is {shown(sample_rate)}", sample_rate)
    sound = load(path, mono)
    return resample(sound.samples, sound.sample_rate, sample_rate)


def resample(
    samples: ArrayLike, source_rate: int, sample_rate: int, length: int | None = None
) -> np.ndarray:
    """Samples ``[T]`` at another rate, with soxr's best filter ("VHQ"), float32 ``[T]``.

    Args:
        samples: At ``source_rate``, as for :func:`write`.
        source_rate: In Hz.
        sample_rate: In Hz.
        length: Samples of the result; None means ``ceil(T * sample_rate / source_rate)``, which
            covers all of the source. What is past the source's end is silence.

    Raises:
        ValueError: A rate is not from 1000 to 1000000, or ``samples`` or ``length`` as above.
    """
    most = machine_memory() // 8
    if length is not None and not 0 <= (-1 if (n := whole(length)) is None else n) <= most:
        raise ValueError(
            f"length is {shown(length)}; it must be a whole number of samples from 0 to {most}, "
            "which the memory holds. Leave it out for all."
        )
    resampler = Resampler(source_rate, sample_rate)
    there = resampler.push(_one_channel(samples))
    return np.concatenate([there, resampler.flush(length)])[:length]


def write(path: str | Path, samples: ArrayLike, sample_rate: int) -> None:
    """Write samples in the format of the extension; what is past [-1, 1] is clipped.

    Args:
        path: Its extension is one of ``FORMATS``.
        samples: ``[T]``, or ``[1, T]`` or ``[1, 1, T]`` as :meth:`Mimi.decode` gives it; floats.
        sample_rate: In Hz.

    Raises:
        ValueError: The extension is not known, its format cannot hold this rate, or the samples
            are of another shape or type, or not finite.
    """
    check_path("path", path, "Give the sound file to write.")
    check_rate(f"sample_rate is {shown(sample_rate)}", sample_rate)
    clip = _one_channel(samples)
    if not np.isfinite(clip).all():
        raise ValueError("samples has NaN or infinite numbers; all must be finite. Repair them.")
    with writing(path, sample_rate) as file:
        file.write(clip)


def _one_channel(samples: ArrayLike) -> np.ndarray:
    """Samples as float32 ``[T]``."""
    rule = "they must be floats in [-1, 1]. Convert them to float32; divide int16 by 32768."
    found = host("samples", as_float32("samples", samples, rule))
    if not found.ndim or found.size != found.shape[-1]:
        raise ValueError(
            f"samples has shape {found.shape}; it must be [T], [1, T] or [1, 1, T], one channel. "
            "Take one row, or mix channels down."
        )
    return found.reshape(-1)
