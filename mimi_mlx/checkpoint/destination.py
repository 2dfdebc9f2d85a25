"""The folder of a model that is to be written: whether it may be, and the room for it."""

import shutil
from collections.abc import Collection
from pathlib import Path

from .. import atomic, files

SPARE = 1_000_000
"""Bytes for what is written beside the tensors, and for their file's header."""


def check(
    folder: Path, sources: list[Path], force: bool, holds: Collection[str], remedy: str
) -> None:
    """A folder may be written: it is not there, or may be replaced, and is not of the sources.

    What a killed process left beside it is removed.

    Args:
        sources: The files that it is made of.
        force: Whether a folder of such files alone is replaced.
        holds: The names of all files that such a folder can have.
        remedy: What names the folder: ``"--mlx-path"``.

    Raises:
        ValueError: It may not.
    """
    files.check_parent(folder)
    atomic.remove_unfinished(folder.parent, holds=holds)
    if any(folder.resolve() in file.resolve().parents for file in sources):
        raise ValueError(f"{folder} is what is converted. Give another {remedy}.")
    if not folder.exists():
        return
    if not force:
        raise ValueError(f"{folder} exists; nothing is overwritten unasked. Give -f to replace it.")
    if not folder.is_dir() or {path.name for path in folder.iterdir()} - set(holds):
        raise ValueError(
            f"{folder} holds other things than a converted model; -f would delete them. Give "
            f"another {remedy}."
        )


def check_room(folder: Path, size: int, remedy: str) -> None:
    """The disk of a folder has room for tensors of ``size`` bytes.

    Raises:
        ValueError: It has not.
    """
    free = shutil.disk_usage(folder.parent).free
    if free < size + SPARE:
        raise ValueError(
            f"{folder} needs {size / 1e6:.0f} MB, and its disk has {free / 1e6:.0f} MB left. Make "
            f"room, or give another {remedy}, on another disk."
        )
