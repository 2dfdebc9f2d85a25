"""The sound files of a folder that can be trained on, and those of them that are held out."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .. import audio
from ..audio.reader import FileReader
from ..model.config import MimiConfig

CUT = 1440
"""Samples at a file's beginning that some variants of it lack (clips.py)."""


class SoundFile(NamedTuple):
    """A sound file, as its header has it."""

    path: Path
    frames: int  # whole ones of a model, in each variant


def check_folder(folder: Path) -> None:
    """There is a folder to take sound from.

    Raises:
        ValueError: There is none.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder; the sound to train on is in one. Check the path.")


def index(folder: Path, config: MimiConfig, frames: int, mono: bool) -> list[SoundFile]:
    """The sound files in a folder and those inside it that hold a segment of so many frames.

    What is passed over is warned of: files that cannot be read, and how many are too short.

    Raises:
        ValueError: There is no such folder, no sound in it, or none that is long enough.
    """
    check_folder(folder)
    paths = sorted(path for path in folder.rglob("*") if _is_sound(path, folder))
    if not paths:
        raise ValueError(f"{folder} has no sound files. Check the path.")
    found, wrong = [], []
    for path in paths:
        try:
            with FileReader(path, mono) as file:
                samples = file.samples * config.sampling_rate // file.sample_rate
        except ValueError as error:
            wrong.append(str(error))
        else:
            found.append(SoundFile(path, max(0, samples - CUT) // config.frame_size))
    long = [each for each in found if each.frames >= frames]
    seconds = (frames * config.frame_size + CUT) / config.sampling_rate
    if not long and not found:
        raise ValueError(wrong[0])
    if not long:
        raise ValueError(
            f"{folder} has {len(found)} sound files, all shorter than a segment ({seconds:.2f} s). "
            "Give fewer --seconds."
        )
    for line in wrong:
        warnings.warn(f"passed over: {line}", stacklevel=2)
    if short := len(found) - len(long):
        warnings.warn(
            f"{short} of {len(found)} sound files in {folder} are passed over: they are shorter "
            f"than a segment ({seconds:.2f} s)",
            stacklevel=2,
        )
    return long


def _is_sound(path: Path, folder: Path) -> bool:
    # What begins with a dot is the system's: macOS puts a ._a.wav beside a.wav on foreign disks.
    is_hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return path.suffix.lower() in audio.SUFFIXES and not is_hidden and path.is_file()


def held_out(
    files: Sequence[SoundFile], share: float, seed: int
) -> tuple[list[SoundFile], list[SoundFile]]:
    """Files to train on, and a share of them, at least one, that is never trained on.

    Raises:
        ValueError: One of both would be empty.
    """
    count = max(1, round(share * len(files))) if 0 < share < 1 else 0
    if not 0 < count < len(files):
        raise ValueError(
            f"--held-out {share:g} of {len(files)} sound files leaves nothing on one side. Give "
            "another share, more sound, or a folder of other sound."
        )
    out = set(np.random.default_rng(seed).permutation(len(files))[:count].tolist())
    return (
        [file for i, file in enumerate(files) if i not in out],
        [file for i, file in enumerate(files) if i in out],
    )
