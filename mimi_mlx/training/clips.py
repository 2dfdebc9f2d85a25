"""Sound files and their codes on disk, as training reads them.

A file is coded in a few variants, of other loudness and with other places where its frames begin;
what is decoded is compared with sound as loud as what was coded. Codes are the frozen encoder's,
of the whole file.
"""

import hashlib
import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors.numpy import save

from .. import audio
from ..atomic import replacing
from ..files import open_safetensors
from ..mimi import Mimi
from .sounds import CUT, SoundFile

# Of each variant: dB, as far as the loudest sample stays in [-1, 1], and samples cut off in front.
_VARIANTS = ((0.0, 0), (-10.0, CUT // 3), (5.0, 2 * CUT // 3), (-5.0, CUT))

VARIANTS = len(_VARIANTS)
"""Of each clip; the first one is the sound as it is."""

_FORMAT = 1  # of the files here; another one has other names


class CodedClip(NamedTuple):
    """A sound file at a model's rate and its codes, in a file on disk."""

    file: Path  # "samples" [T] and "codes" [variants, K, frames]
    gains: tuple[float, ...]  # of each variant
    frames: int
    source: Path


def prepare(
    files: Sequence[SoundFile],
    mimi: Mimi,
    codebooks: int,
    mono: bool,
    folder: Path,
    note: Callable[[SoundFile], None],
) -> list[CodedClip]:
    """The clips of files, whose samples and codes are in ``folder`` afterwards.

    What is there of an earlier run is taken, if the file and all else is as it was then. A file
    that turns out to be damaged, silent or too short is passed over, with a warning.

    Args:
        files: Of :func:`index`.
        mimi: The encoder.
        codebooks: Of its first, so many.
        mono: Mix several channels down.
        folder: Where to keep what is made.
        note: Called with each file that is done.

    Raises:
        ValueError: Nothing is left.
    """
    folder.mkdir(parents=True, exist_ok=True)
    clips = []
    for file in files:
        about = [_FORMAT, _VARIANTS, mimi.fingerprint, codebooks, mimi.sample_rate, mono]
        stat = file.path.stat()
        about += [str(file.path.resolve()), stat.st_size, stat.st_mtime_ns]
        key = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:32]
        target = folder / f"{key}.safetensors"
        try:
            if not target.exists():
                _write(target, audio.read(file.path, mimi.sample_rate, mono), mimi, codebooks)
            clips.append(_clip(target, file.path))
        except ValueError as error:
            warnings.warn(f"passed over: {error}", stacklevel=2)
        note(file)
    if not clips:
        raise ValueError(f"none of {len(files)} sound files can be trained on. Give others.")
    return clips


def _write(target: Path, samples: np.ndarray, mimi: Mimi, codebooks: int) -> None:
    peak = float(np.abs(samples).max())
    gains = [min(10 ** (dB / 20), max(1.0, 1 / peak)) if peak else 1.0 for dB, _ in _VARIANTS]
    frames = max(0, len(samples) - CUT) // mimi.frame_size
    codes = []
    for gain, (_, cut) in zip(gains, _VARIANTS, strict=True):
        part = np.float32(gain) * samples[cut : cut + frames * mimi.frame_size]
        codes.append(np.array(mimi.encode(part, codebooks))[0].astype(np.uint16))
    facts = {"gains": json.dumps(gains), "peak": str(peak)}
    data = save({"samples": samples, "codes": np.stack(codes)}, facts)
    with replacing(target) as file:
        file.write(data)


def _clip(target: Path, source: Path) -> CodedClip:
    with open_safetensors(target, "Delete it.") as file:
        facts = file.metadata()
        frames = file.get_slice("codes").get_shape()[2]
    if float(facts["peak"]) == 0:
        raise ValueError(f"{source} is silent")
    return CodedClip(target, tuple(json.loads(facts["gains"])), frames, source)


def read(
    clip: CodedClip, start: int, frames: int, variant: int, frame_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Codes ``[K, frames]``, int32, and samples ``[1920 frames]`` of a variant of a clip."""
    first = _VARIANTS[variant][1] + start * frame_size
    with open_safetensors(clip.file, "Delete it, and resume.") as file:
        codes = file.get_slice("codes")[variant : variant + 1, :, start : start + frames]
        samples = file.get_slice("samples")[first : first + codes.shape[2] * frame_size]
    return codes[0].astype(np.int32), np.float32(clip.gains[variant]) * samples


def digest(clips: Sequence[CodedClip]) -> str:
    """What differs between different clips, in 16 hexadecimal digits."""
    return hashlib.sha256("".join(clip.file.name for clip in clips).encode()).hexdigest()[:16]
