"""Output files: checked before any work is done, whole or not there at all after it."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


def check_output(path: str | Path, force: bool = False) -> None:
    """An output file may be written: its folder exists, and so does no file, unless ``force``.

    Raises:
        ValueError: It may not.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; the output is a file. Add a file name.")
    if not path.parent.is_dir():
        raise ValueError(
            f"{path} cannot be written: there is no folder {path.parent}. Create it first."
        )
    if path.exists() and not force:
        raise ValueError(f"{path} exists; nothing is overwritten unasked. Give -f to overwrite it.")


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A path beside ``path`` to write to: it takes that name at the end, or on an error goes."""
    path = Path(os.path.realpath(path))
    beside = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
