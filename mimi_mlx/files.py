"""The ends of a command: what may be read, what may be written, and the pipes of ``-``."""

import contextlib
import hashlib
import json
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from safetensors import SafetensorError, safe_open

from .atomic import remove_unfinished
from .text import printable

PIPE = "-"
"""In place of a path: stdin or stdout."""

MAX_JSON = 8 << 20
"""Bytes of the largest JSON that is read: the index of a checkpoint, the Hub's list of files."""


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


def check_path(what: str, path: Any, remedy: str) -> None:
    """``path`` is a path's text or object, and not empty; ``what`` says whose it is.

    Raises:
        ValueError: It is not.
    """
    if not isinstance(path, str | os.PathLike) or not str(path) or "\0" in str(path):
        said = path if isinstance(path, str) else type(path).__name__
        raise ValueError(f"{what} is {said!r:.80}; it must be a name or a path. {remedy}")


def check_file(file: Any, method: str) -> None:
    """``file`` is a path, or has the method of a binary file that is needed.

    Raises:
        ValueError: It is neither.
    """
    if isinstance(file, str | os.PathLike):
        check_path("file", file, "Give a file's.")
    elif isinstance(file, type) or not hasattr(file, method):
        raise ValueError(f"file is a {type(file).__name__}; it must be a path or a binary file.")


def check_output(path: str | Path, force: bool = False) -> None:
    """An output file may be written: its folder exists, and so does no file, unless ``force``.

    What a killed process left in its folder is removed.

    Raises:
        ValueError: It may not; or it is the pipe, and stdout closed or a terminal.
    """
    if str(path) == PIPE:
        if sys.stdout is None:
            raise ValueError("- is stdout, which is closed. Give -o a file name.")
        if sys.stdout.isatty():
            raise ValueError(
                "- is stdout, a terminal; what is written there is no text. Redirect it with > or "
                "|, or give a file name."
            )
        return
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; the output is a file. Add a file name.")
    check_parent(path)
    if os.path.lexists(path) and not force:
        raise ValueError(f"{path} exists; nothing is overwritten unasked. Give -f to overwrite it.")
    remove_unfinished(path.parent)


def check_parent(path: Path) -> None:
    """There is a folder for a file or a folder that is to be written.

    Raises:
        ValueError: There is none.
    """
    if not path.parent.is_dir():
        raise ValueError(
            f"{path} cannot be written: there is no folder {path.parent}. Create it first."
        )


def check_apart(inputs: Iterable[str | None], outputs: Iterable[str | None]) -> None:
    """No output is one of the inputs or another output, by whatever names, links included.

    What is None, a pipe, a device or a folder, or an input that is not there, is passed over.

    Raises:
        ValueError: Two are one file.
    """
    others = [path for path in inputs if path and os.path.exists(path)]
    for output in filter(None, outputs):
        for other in others:
            if _is_same_file(other, output):
                raise ValueError(
                    f"{other} and {output} are one file; none is read and written at once, or "
                    "written twice. Give another name."
                )
        others.append(output)


def _is_same_file(one: str, other: str) -> bool:
    if PIPE in (one, other):
        return False
    if os.path.exists(one) and os.path.exists(other):
        return os.path.isfile(one) and os.path.samefile(one, other)
    return os.path.realpath(one) == os.path.realpath(other)  # neither is there yet


@contextlib.contextmanager
def open_safetensors(
    path: str | os.PathLike, remedy: str, what: str = ".safetensors"
) -> Iterator[safe_open]:
    """The header of a file of tensors, whose length is checked; the tensors may be read inside.

    Raises:
        ValueError: The file is missing, damaged, or not ``what``, here or inside.
    """
    try:
        _check_regular(path)
        with safe_open(path, "numpy") as file:
            yield file
    except (SafetensorError, RuntimeError, OSError) as error:  # MLX's are RuntimeErrors
        raise ValueError(f"{path} cannot be read as {what} ({reason(error)}). {remedy}") from error


def reason(error: Exception) -> str:
    """What an error says, in one printable line of at most 200 characters."""
    said = " ".join(
        (getattr(error, "strerror", None) or str(error) or type(error).__name__).split()
    )
    said = printable(said)
    return said if len(said) <= 200 else f"{said[:197]}..."


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """The object that a file of JSON holds.

    Raises:
        ValueError: The file cannot be read, is too large, or holds something else.
    """
    try:
        _check_regular(path)
        with path.open("rb") as file:
            text = file.read(MAX_JSON + 1)
        return parse_json(text)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path} is not JSON that can be read ({reason(error)}). {remedy}"
        ) from error


def parse_json(text: bytes | str) -> dict[str, Any]:
    """The object that a stranger's JSON is.

    Raises:
        ValueError: It is too large, nested too deeply, something else, or has a number that JSON
            does not have: NaN, Infinity.
    """
    if len(text) > MAX_JSON:
        raise ValueError(f"it has more than {MAX_JSON} bytes")
    try:
        values = json.loads(text, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(values, dict):
        raise ValueError("it is not a JSON object")
    return values


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _check_regular(path: str | os.PathLike) -> None:
    """``path`` is no folder, pipe, socket or device, which could be read for ever."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise OSError("it is a folder, a pipe or a device, not a file")


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def stdin() -> IO[bytes]:
    """Standard input as bytes, unbuffered: a read gives what there is, and waits only for some.

    Raises:
        ValueError: It is closed.
    """
    if sys.stdin is None:
        raise ValueError("- is stdin, which is closed. Give the name of a file.")
    return open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)


def is_pipe(path: str | Path) -> bool:
    """Whether an input can be read only once, as it comes: ``-``, /dev/fd/3, a FIFO."""
    if str(path) == PIPE or str(path).startswith(("/dev/fd/", "/dev/stdin")):
        return True
    return os.path.exists(path) and stat.S_ISFIFO(os.stat(path).st_mode)


def pipe_name(path: str | Path) -> str:
    """What such an input is called."""
    return "stdin" if str(path) == PIPE else str(path)


def open_pipe(path: str | Path) -> IO[bytes]:
    """Such an input, unbuffered, as :func:`stdin` is.

    Raises:
        ValueError: It cannot be opened.
    """
    if str(path) == PIPE:
        return stdin()
    try:
        return open(path, "rb", buffering=0)
    except OSError as error:
        raise ValueError(f"{path} cannot be opened ({error.strerror}). Check the path.") from error


def stdout() -> IO[bytes]:
    """Standard output as bytes, unbuffered: a write may take only some of what it is given."""
    return open(sys.stdout.fileno(), "wb", buffering=0, closefd=False)


def put(file: IO[bytes], data: bytes) -> None:
    """Hand all bytes to the system; an unbuffered file may take them in several pieces."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]
    file.flush()
