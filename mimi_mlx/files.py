"""The ends of a command: files that are whole or not there at all, and the pipes of ``-``."""

import contextlib
import hashlib
import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from safetensors import SafetensorError, safe_open

PIPE = "-"
"""In place of a path: stdin or stdout."""


def check_extension(path: str | Path, extensions: Iterable[str], what: str) -> None:
    """``path`` ends in one of the extensions; ``what`` says whose they are.

    Raises:
        ValueError: It does not.
    """
    suffix = Path(path).suffix
    if suffix.lower() not in extensions:
        raise ValueError(
            f"{path} has the extension {suffix!r}; {what} {' or '.join(extensions)}. Choose one of "
            "these."
        )


def check_output(path: str | Path, force: bool = False) -> None:
    """An output file may be written: its folder exists, and so does no file, unless ``force``.

    Raises:
        ValueError: It may not; or it is the pipe, and stdout a terminal.
    """
    if str(path) == PIPE:
        if sys.stdout.isatty():
            raise ValueError(
                "- is stdout, a terminal; what is written there is no text. Redirect it with > or "
                "|, or give -o a file name."
            )
        return
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
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """A path beside ``path`` to write to: it takes that name at the end, or on an error goes."""
    path = Path(os.path.realpath(path))
    beside = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


@contextlib.contextmanager
def open_safetensors(
    path: str | os.PathLike, remedy: str, what: str = ".safetensors"
) -> Iterator[safe_open]:
    """The header of a file of tensors, whose length is checked; the tensors may be read inside.

    Raises:
        ValueError: The file is missing, damaged, or not ``what``, here or inside.
    """
    try:
        with safe_open(path, "numpy") as file:
            yield file
    except (SafetensorError, RuntimeError, OSError) as error:  # MLX's are RuntimeErrors
        raise ValueError(f"{path} cannot be read as {what} ({error}). {remedy}") from error


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def remove_abandoned(folder: Path, suffix: str) -> None:
    """Remove what :func:`replacing` in processes that were killed left in a folder and below."""
    for path in folder.rglob(f".*{suffix}"):
        found = re.fullmatch(r"\..+\.(\d+)", path.name.removesuffix(suffix))
        if found and not _runs(int(found[1])):
            path.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except PermissionError:  # it is another user's
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


def stdin() -> IO[bytes]:
    """Standard input as bytes, unbuffered: a read gives what there is, and waits only for some."""
    return open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)


def stdout() -> IO[bytes]:
    """Standard output as bytes, unbuffered: a write may take only some of what it is given."""
    return open(sys.stdout.fileno(), "wb", buffering=0, closefd=False)


def put(file: IO[bytes], data: bytes) -> None:
    """Hand all bytes to the system; an unbuffered file may take them in several pieces."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]
    file.flush()
