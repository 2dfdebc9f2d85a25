"""Sound in: files and pipes, read in blocks, in constant memory.

Blocks are float32 ``[T]``, one channel, in [-1, 1].
"""

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import soundfile

from .containers import cut_off

LOWEST_RATE, HIGHEST_RATE = 1000, 1000000
"""Samples a second that sound may have, in Hz: to resample it takes memory by their ratio."""

# Samples without a header, by what ffmpeg calls them: the type of one.
RAW_FORMATS = {"s16le": "<i2", "f32le": "<f4"}

# Samples read at once, at most.
_BLOCK = 1 << 16


class FileReader:
    """The blocks of a sound file, at its own rate.

    Args:
        file: A path, or a binary file that can seek.
        mono: Mix several channels down to their mean.

    Raises:
        ValueError: The file is missing, unreadable or empty, has a rate that no sound has, or
            several channels without ``mono``; while it is read, it is cut off, or has samples that
            are NaN or infinite.
    """

    def __init__(self, file: str | Path | IO[bytes], mono: bool = False):
        self.name = "stdin"
        if isinstance(file, (str, Path)):
            self.name = str(file)
            if not Path(file).is_file():
                raise ValueError(f"{file} is no file; the input is a sound file. Check the path.")
            if Path(file).stat().st_size == 0:
                raise ValueError(f"{file} has 0 bytes; a sound file has samples. Record it again.")
            if not os.access(file, os.R_OK):
                raise ValueError(f"{file} may not be read by this user. Check its permissions.")
        try:
            # As bytes a name need not be UTF-8; and any file that can seek will do.
            opened = os.fsencode(file) if isinstance(file, (str, Path)) else file
            self._file = soundfile.SoundFile(opened)  # type: ignore[arg-type]
        except (soundfile.SoundFileError, TypeError) as error:  # TypeError: a headerless format
            raise self._unreadable(error) from error
        self.about = f"{self._file.format_info}, {self._file.subtype_info}"
        self.sample_rate = self._file.samplerate
        self.channels = self._file.channels
        self.samples: int = self._file.frames  # that the file says it has
        self.given = 0  # samples read so far
        try:
            check_rate(f"{self.name} has {self.sample_rate} samples a second", self.sample_rate)
            if not self.samples:
                raise _no_samples(self.name)
            if self.channels > 1 and not mono:
                raise self._several_channels()
            self._lacks = _lacks(file)
        except ValueError:
            self._file.close()
            raise

    def __enter__(self) -> "FileReader":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[np.ndarray]:
        while (block := self._read()).size:
            self.given += len(block)
            _check_finite(self.name, block)
            yield block
        lacks = self._lacks
        if self.given < self.samples:
            lacks = f"its header promises {self.samples}"
        if lacks:
            raise ValueError(
                f"{self.name} ends after {self.given} samples; {lacks}, so it is cut off or "
                "damaged. Get it anew, or convert what is there with ffmpeg."
            )

    def _read(self) -> np.ndarray:
        try:
            block = self._file.read(_BLOCK, dtype="float32", always_2d=True)  # [T, channels]
        except soundfile.SoundFileError as error:
            raise self._unreadable(error) from error
        return block.mean(axis=1) if self.channels > 1 else block[:, 0]

    def _several_channels(self) -> ValueError:
        return ValueError(
            f"{self.name} has {self.channels} channels; Mimi codes one. Give --mono (in Python "
            "mono=True) to mix them down."
        )

    def _unreadable(self, error: Exception) -> ValueError:
        return ValueError(
            f"{self.name} cannot be read as sound ({str(error).rstrip('.')}). Convert it to WAV "
            "or FLAC, for example with ffmpeg."
        )


class RawReader:
    """The blocks of a pipe of samples without a header, as they come.

    Args:
        file: Unbuffered, so that a read gives what there is.
        kind: A name of ``RAW_FORMATS``.
        sample_rate: In Hz.

    Raises:
        ValueError: While it is read: there are no samples, or some are NaN or infinite.
    """

    name = "stdin"
    samples: int | None = None  # nobody knows how many there will be

    def __init__(self, file: IO[bytes], kind: str, sample_rate: int):
        self._file = file
        self._type = np.dtype(RAW_FORMATS[kind])
        self.sample_rate = sample_rate
        self.given = 0  # samples read so far

    def __iter__(self) -> Iterator[np.ndarray]:
        rest, size = b"", self._type.itemsize
        while data := self._file.read(_BLOCK):
            data = rest + data
            whole = len(data) // size * size
            data, rest = data[:whole], data[whole:]
            if data:
                block = np.frombuffer(data, self._type)
                self.given += len(block)
                _check_finite(self.name, block)
                yield block.astype(np.float32) / np.float32(32768 if size == 2 else 1)
        if not self.given:
            raise _no_samples(self.name)
        if rest:
            warnings.warn(
                f"{self.name} ends {size - len(rest)} bytes short of a whole sample; these "
                f"{len(rest)} are left out. Is the format right?",
                stacklevel=2,
            )


SoundReader = FileReader | RawReader  # where sound comes from


def check_rate(what: str, rate: int) -> None:
    """A rate in Hz is one that sound has; ``what`` says whose it is, and the rate.

    Raises:
        ValueError: It is not.
    """
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise ValueError(
            f"{what}; a rate is from {LOWEST_RATE} to {HIGHEST_RATE} Hz. Give the true one."
        )


def _lacks(file: str | Path | IO[bytes]) -> str | None:
    if isinstance(file, (str, Path)):
        with open(file, "rb") as opened:
            return cut_off(opened)
    return cut_off(file)


def _check_finite(name: str, samples: np.ndarray) -> None:
    if not np.isfinite(samples).all():
        raise ValueError(f"{name} has NaN or infinite samples; all must be finite. Repair it.")


def _no_samples(name: str) -> ValueError:
    return ValueError(f"{name} has 0 samples; a clip has at least one. Record it again.")
