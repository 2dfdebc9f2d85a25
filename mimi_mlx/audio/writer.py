"""Sound out: files and pipes, written in blocks, in constant memory.

Blocks are float32 ``[T]``, one channel, in [-1, 1].
"""

import contextlib
import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np
import soundfile

from ..atomic import replacing
from ..files import check_extension, put

# What can be written, by the file's extension. PCM is 16 bits, libsndfile's default.
FORMATS = {
    ".wav": "WAV",
    ".flac": "FLAC",
    ".ogg": "OGG",
    ".mp3": "MP3",
    ".aif": "AIFF",
    ".aiff": "AIFF",
    ".caf": "CAF",
}

# Samples written at once: libsndfile's Vorbis encoder overflows its stack on very long writes.
_BLOCK = 1 << 16

_SYSTEM_ERROR = 2  # libsndfile's code for an error of the system, which it does not tell

# The size of a WAV file that nobody knows yet, as ffmpeg gives it; readers go on to the end.
_OPEN = 2**32 - 1


class FileWriter:
    """Writes blocks to a sound file; what is past [-1, 1] is clipped. See :func:`writing`."""

    def __init__(self, file: soundfile.SoundFile):
        self._file = file

    def write(self, samples: np.ndarray) -> None:
        """Write the next samples ``[T]``."""
        samples = np.clip(samples, -1.0, 1.0)
        for start in range(0, len(samples), _BLOCK):
            self._file.write(samples[start : start + _BLOCK])


class PipeWriter:
    """Writes blocks to a pipe, as WAV of 16 bits and unknown length, or without a header.

    Args:
        file: Unbuffered.
        kind: A name of ``RAW_FORMATS``; None means WAV.
        sample_rate: In Hz.
    """

    def __init__(self, file: IO[bytes], kind: str | None, sample_rate: int):
        self._file, self._sample_rate = file, sample_rate
        self._subtype = "FLOAT" if kind == "f32le" else "PCM_16"
        if kind is None:
            put(file, _wav_header(sample_rate))

    def write(self, samples: np.ndarray) -> None:
        """Write the next samples ``[T]``; what is past [-1, 1] is clipped."""
        raw, samples = io.BytesIO(), np.clip(samples, -1.0, 1.0)
        soundfile.write(raw, samples, self._sample_rate, self._subtype, "LITTLE", "RAW")
        put(self._file, raw.getvalue())


SoundWriter = FileWriter | PipeWriter  # where sound goes


def check_format(path: str | Path) -> None:
    """The extension of ``path`` is one of a format that can be written.

    Raises:
        ValueError: It is not.
    """
    check_extension(path, FORMATS, "sound is written to")


@contextlib.contextmanager
def writing(path: str | Path, sample_rate: int) -> Iterator[FileWriter]:
    """A writer of a sound file in the format of the extension; after an error there is no file.

    Raises:
        ValueError: The extension is not known, or its format cannot hold this rate.
        OSError: The system refuses; it names ``path``.
    """
    check_format(path)
    with (
        replacing(path) as new,
        told(path, new, sample_rate),
        soundfile.SoundFile(
            new.fileno(),
            "w",
            sample_rate,
            channels=1,
            format=FORMATS[Path(path).suffix.lower()],
            closefd=False,
        ) as file,
    ):
        yield FileWriter(file)


@contextlib.contextmanager
def told(path: str | Path, file: BinaryIO, sample_rate: int) -> Iterator[None]:
    """What libsndfile cannot write to ``file`` inside, the user is told of ``path``.

    Raises:
        ValueError: The format cannot hold this rate.
        OSError: The system refuses.
    """
    try:
        yield
    except soundfile.LibsndfileError as error:
        if error.code == _SYSTEM_ERROR:
            try:
                put(file, bytes(_BLOCK))  # raises it, such as that the disk is full
            except OSError as refused:
                raise OSError(refused.errno, refused.strerror, str(path)) from error
        raise ValueError(
            f"{path} cannot be written at {sample_rate} Hz ({error.error_string.rstrip('.')}). "
            "Choose another format, such as .wav."
        ) from error


def _wav_header(sample_rate: int) -> bytes:
    """44 bytes: one channel of 16 bits, of unknown length."""
    kind = struct.pack("<IHHIIHH", 16, 1, 1, sample_rate, 2 * sample_rate, 2, 16)
    sizes = struct.pack("<I", _OPEN)
    return b"RIFF" + sizes + b"WAVEfmt " + kind + b"data" + sizes
