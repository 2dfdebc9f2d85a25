"""Sound files in and out, and resampling. Samples are float32 ``[T]``, one channel, in [-1, 1]."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr

from .files import replacing

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


class Sound(NamedTuple):
    """Samples ``[T]`` and how many of them make a second."""

    samples: np.ndarray
    sample_rate: int


def load(path: str | Path, mono: bool = False) -> Sound:
    """A whole sound file at its own rate.

    Args:
        path: Anything that libsndfile reads: WAV, FLAC, Ogg, MP3, AIFF, CAF and others.
        mono: Mix several channels down to their mean.

    Raises:
        ValueError: The file is missing, unreadable or empty, has several channels without
            ``mono``, or samples that are NaN or infinite.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path} is no file; the input is a sound file. Check the path.")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} has 0 bytes; a sound file has samples. Record it again.")
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)  # [T, channels]
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: a headerless format
        raise ValueError(
            f"{path} cannot be read as sound ({str(error).rstrip('.')}). Convert it to WAV or "
            "FLAC, for example with ffmpeg."
        ) from error
    length, channels = samples.shape
    if length == 0:
        raise ValueError(f"{path} has 0 samples; a clip has at least one. Record it again.")
    if channels > 1 and not mono:
        raise ValueError(
            f"{path} has {channels} channels; Mimi codes one. Give --mono (in Python mono=True) "
            "to mix them down."
        )
    samples = samples.mean(axis=1) if channels > 1 else samples[:, 0]
    if not np.isfinite(samples).all():
        raise ValueError(f"{path} has NaN or infinite samples; all must be finite. Repair it.")
    return Sound(samples, rate)


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
    """
    if length is None:
        length = -(-len(samples) * sample_rate // source_rate)
    if source_rate != sample_rate:
        # Silence after the end makes soxr give a sample or two more than are needed.
        end = np.zeros(-(-2 * source_rate // sample_rate), np.float32)
        samples = np.concatenate([samples, end])
        samples = soxr.resample(samples, source_rate, sample_rate, quality="VHQ")
    return np.pad(samples[:length], (0, max(0, length - len(samples))))


def check_format(path: str | Path) -> None:
    """The extension of ``path`` is one of a format that can be written.

    Raises:
        ValueError: It is not.
    """
    suffix = Path(path).suffix
    if suffix.lower() not in FORMATS:
        raise ValueError(
            f"{path} has the extension {suffix!r}; sound is written to {', '.join(FORMATS)}. "
            "Choose one of these."
        )


def write(path: str | Path, samples: np.ndarray, sample_rate: int) -> None:
    """Write samples ``[T]`` in the format of the extension; what is past [-1, 1] is clipped.

    Raises:
        ValueError: The extension is not known, or its format cannot hold this rate.
    """
    check_format(path)
    samples = np.clip(samples, -1.0, 1.0)
    with replacing(path) as beside:
        try:
            name = FORMATS[beside.suffix.lower()]
            with soundfile.SoundFile(beside, "w", sample_rate, channels=1, format=name) as file:
                for start in range(0, len(samples), _BLOCK):
                    file.write(samples[start : start + _BLOCK])
        except soundfile.LibsndfileError as error:
            raise ValueError(
                f"{path} cannot be written at {sample_rate} Hz ({error.error_string.rstrip('.')}). "
                "Choose another format, such as .wav."
            ) from error
