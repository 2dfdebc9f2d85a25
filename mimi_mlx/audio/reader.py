"""Sound in: files and pipes, read in blocks, in constant memory.

Blocks are float32 ``[T]``, one channel, in [-1, 1].
"""

import math
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import soundfile

from ..arrays import whole
from .containers import cut_off

LOWEST_RATE, HIGHEST_RATE = 1000, 1000000
"""Samples a second that sound may have, in Hz: to resample it takes memory by their ratio."""

_UNKNOWN = 1 << 62  # samples: libsndfile's number for what a FLAC does not say

# Samples without a header, by what ffmpeg calls them: the bytes of one.
RAW_FORMATS = {"s16le": 2, "s24le": 3, "s32le": 4, "f32le": 4, "f64le": 8}

# Samples read at once, at most; and where a block with an error is lost: a frame of FLAC.
_BLOCK, _SHORT = 1 << 16, 1 << 12


class FileReader:
    """The blocks of a sound file, at its own rate.

    Args:
        file: A path, or a file that the system has opened, at its beginning.
        mono: Mix several channels down to their mean.
        name: Of an opened file, in errors.
        keep: Of a file that is cut off or damaged, let what is there count: ``damage`` then says
            what is wrong, and nothing is raised.

    Raises:
        ValueError: The file is missing, unreadable or empty, has a rate that no sound has, or
            several channels without ``mono``; while it is read, it is cut off, or has samples that
            are NaN or infinite.
    """

    def __init__(
        self,
        file: str | Path | IO[bytes],
        mono: bool = False,
        name: str = "stdin",
        keep: bool = False,
    ):
        self.name, self._keep = name, keep
        if isinstance(file, (str, Path)):
            self.name = str(file)
            if not Path(file).is_file():
                raise ValueError(f"{file} is no file; the input is a sound file. Check the path.")
            if not os.access(file, os.R_OK):
                raise ValueError(f"{file} may not be read by this user. Check its permissions.")
        try:
            # As bytes a name need not be UTF-8; without one libsndfile takes the descriptor.
            opened = os.fsencode(file) if isinstance(file, (str, Path)) else file.fileno()
            if os.stat(opened).st_size == 0:
                raise ValueError(
                    f"{self.name} has 0 bytes; a sound file has samples. Record it again."
                )
            self._file = soundfile.SoundFile(opened, closefd=False)  # type: ignore[arg-type]
        except (soundfile.SoundFileError, TypeError) as error:  # TypeError: a headerless format
            raise self._unreadable(error) from error
        self.about = f"{self._file.format_info}, {self._file.subtype_info}"
        self.sample_rate = self._file.samplerate
        self.channels = self._file.channels
        self.samples: int = self._file.frames  # that the file says it has
        self.given = 0  # samples read so far
        self.damage: str | None = None
        """What is wrong with a file that was read to its end with ``keep``, in one line."""
        try:
            check_rate(f"{self.name} has {self.sample_rate} samples a second", self.sample_rate)
            if not self.samples:
                raise _no_samples(self.name)
            if self.samples >= _UNKNOWN:
                raise ValueError(
                    f"{self.name} does not say how many samples it has. Convert it to WAV or "
                    "FLAC, for example with ffmpeg."
                )
            _check_channels(self.name, self.channels, mono)
            self._lacks = _lacks(file)
        except ValueError:
            self._file.close()
            raise

    def __enter__(self) -> "FileReader":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[np.ndarray]:
        lacks, size = None, _SHORT if self._keep else _BLOCK
        while lacks is None:
            try:
                block = self._file.read(size, dtype="float32", always_2d=True)  # [T, channels]
            except soundfile.SoundFileError as error:
                if not (self._keep and self.given):
                    raise self._unreadable(error) from error
                lacks = f"what follows cannot be read ({_said(error)})"
                break
            if not block.size:
                break
            self.given += len(block)
            _check_finite(self.name, block)
            yield _mixed(block)
        if self.given < self.samples:
            lacks = lacks or f"its header promises {self.samples}"
        if lacks := lacks or self._lacks:
            damage = f"{self.name} ends after {self.given} samples; {lacks}, so it is cut off or "
            self.damage = f"{damage}damaged"
            if not (self._keep and self.given):
                raise ValueError(
                    f"{self.damage}. Get it anew, or convert what is there with ffmpeg."
                )

    def _unreadable(self, error: Exception) -> ValueError:
        return ValueError(
            f"{self.name} cannot be read as sound ({_said(error)}). Convert it to WAV or FLAC, for "
            "example with ffmpeg."
        )


class RawReader:
    """The blocks of a pipe of samples, as they come.

    Args:
        file: Unbuffered, so that a read gives what there is.
        kind: A name of ``RAW_FORMATS``.
        sample_rate: In Hz.
        channels: Of each sample.
        mono: Mix several channels down to their mean.
        size: Bytes of sound; what follows them is none. None means all.
        name: In errors.

    Raises:
        ValueError: The rate is one that no sound has, or there are several channels without
            ``mono``; while it is read: there are no samples, or some are NaN or infinite.
    """

    def __init__(
        self,
        file: IO[bytes],
        kind: str,
        sample_rate: int,
        channels: int = 1,
        mono: bool = False,
        size: int | None = None,
        name: str = "stdin",
    ):
        check_rate(f"{name} has {sample_rate} samples a second", sample_rate)
        _check_channels(name, channels, mono)
        self._file, self._kind, self._size = file, kind, size
        self._frame = RAW_FORMATS[kind] * channels  # bytes
        self.name, self.sample_rate, self.channels = name, sample_rate, channels
        self.samples = None if size is None else size // self._frame  # None: nobody knows
        self.given = 0  # samples read so far
        self.damage: str | None = None
        """What is wrong with what was read to its end, in one line."""

    def __iter__(self) -> Iterator[np.ndarray]:
        rest, left = b"", math.inf if self._size is None else self._size
        while left and (data := self._file.read(int(min(_BLOCK, left)))):
            left -= len(data)
            data = rest + data
            whole = len(data) // self._frame * self._frame
            data, rest = data[:whole], data[whole:]
            if data:
                block = _floats(data, self._kind).reshape(-1, self.channels)
                self.given += len(block)
                _check_finite(self.name, block)
                yield _mixed(block)
        if not self.given:
            raise _no_samples(self.name)
        if self._size and left:
            self.damage = (
                f"{self.name} ends after {self.given} samples; its header promises "
                f"{self.samples}, so it is cut off or damaged"
            )
        elif rest:
            warnings.warn(
                f"{self.name} ends {self._frame - len(rest)} bytes short of a whole sample; these "
                f"{len(rest)} are left out. Is the format right?",
                stacklevel=2,
            )
        while self._size and self._file.read(_BLOCK):  # whoever writes on is let finish
            pass


SoundReader = FileReader | RawReader  # where sound comes from


def check_rate(what: str, rate: int) -> None:
    """A rate in Hz is one that sound has; ``what`` says whose it is, and the rate.

    Raises:
        ValueError: It is not.
    """
    if not LOWEST_RATE <= (whole(rate) or 0) <= HIGHEST_RATE:
        raise ValueError(
            f"{what}; a rate is from {LOWEST_RATE} to {HIGHEST_RATE} Hz. Give the true one."
        )


def _lacks(file: str | Path | IO[bytes]) -> str | None:
    if isinstance(file, (str, Path)):
        with open(file, "rb") as opened:
            return cut_off(opened)
    return cut_off(file)


def _floats(data: bytes, kind: str) -> np.ndarray:
    """Bare samples of a kind as float32, as libsndfile has them."""
    if kind == "s24le":  # NumPy has no such type: they are the upper bytes of a longer one
        longer = np.zeros((len(data) // 3, 4), np.uint8)
        longer[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        data, kind = longer.tobytes(), "s32le"
    size = RAW_FORMATS[kind]
    values = np.frombuffer(data, f"<{'i' if kind[0] == 's' else 'f'}{size}")
    with np.errstate(over="ignore"):  # it becomes infinite, which is refused
        values = values.astype(np.float32)
    return values / np.float32(2 ** (8 * size - 1)) if kind[0] == "s" else values


def _mixed(block: np.ndarray) -> np.ndarray:
    """One channel ``[T]`` of ``[T, channels]``."""
    return block.mean(axis=1) if block.shape[1] > 1 else block[:, 0]


def _check_channels(name: str, channels: int, mono: bool) -> None:
    if channels > 1 and not mono:
        raise ValueError(
            f"{name} has {channels} channels; Mimi codes one. Give --mono (in Python mono=True) to "
            "mix them down."
        )


def _said(error: Exception) -> str:
    """What libsndfile says of a file, without its name."""
    return getattr(error, "error_string", str(error)).rstrip(".")


def _check_finite(name: str, samples: np.ndarray) -> None:
    if not np.isfinite(samples).all():
        raise ValueError(f"{name} has NaN or infinite samples; all must be finite. Repair it.")


def _no_samples(name: str) -> ValueError:
    return ValueError(f"{name} has 0 samples; a clip has at least one. Record it again.")
