"""The ends of a command: files that are whole or not there at all, and the pipes of ``-``."""

import contextlib
import ctypes
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import sys
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO

from safetensors import SafetensorError, safe_open

PIPE = "-"
"""In place of a path: stdin or stdout."""

# What is not finished has a name that nobody can guess, and is locked by whoever makes it.
_UNFINISHED = re.compile(r"\.[0-9a-f]{16}\.mimi_mlx")

# A name is taken and given up at once: of Linux's linux/fs.h and fcntl.h, of macOS's sys/stdio.h.
_RENAME_EXCHANGE, _AT_FDCWD, _RENAME_SWAP = 2, -100, 2

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


def check_output(path: str | Path, force: bool = False) -> None:
    """An output file may be written: its folder exists, and so does no file, unless ``force``.

    What a killed process left in its folder is removed.

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
    if os.path.lexists(path) and not force:
        raise ValueError(f"{path} exists; nothing is overwritten unasked. Give -f to overwrite it.")
    remove_unfinished(path.parent)


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """A new file to write to: it takes the name ``path`` at the end, or on an error goes.

    Until then ``path`` is what it was, and no other process can meddle with the new file. Of
    several writers the last one's file stays. Where the system has files without a name, not even
    a kill leaves anything. The new file has the mode of the one it replaces.

    Raises:
        ValueError: At ``path`` is something else than a file, such as a device.
    """
    path = Path(os.path.realpath(path))
    old = path.stat() if path.exists() else None
    if old and not stat.S_ISREG(old.st_mode):
        raise ValueError(f"{path} is no regular file and is not replaced. Give another name.")
    beside = _unfinished_name(path)
    with open(_create(beside), "w+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            if old:
                os.fchmod(file.fileno(), stat.S_IMODE(old.st_mode))
            yield file
            if not os.fstat(file.fileno()).st_nlink:
                _give_name(file.fileno(), beside)
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """A new folder to write to, beside ``folder``, as :func:`replacing` does it for a file."""
    folder = Path(os.path.realpath(folder))
    beside = _unfinished_name(folder)
    beside.mkdir()
    lock = os.open(beside, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield beside
        if folder.exists():
            shutil.copymode(folder, beside)
            _exchange(beside, folder)
        else:
            os.rename(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        os.close(lock)


def remove_unfinished(folder: Path, recursive: bool = False, holds: Collection[str] = ()) -> None:
    """Remove what :func:`replacing` in processes that were killed left in a folder.

    That is a file of this user's with a name of the kind that only :func:`replacing` gives, which
    no process has locked; or such a folder, if it has nothing but files called ``holds``.
    """
    for parent, folders, files in os.walk(folder):  # passes over what it may not read
        for name in filter(_UNFINISHED.fullmatch, folders + files):
            with contextlib.suppress(OSError):  # it is gone already, or somebody is writing it
                _remove_unlocked(Path(parent, name), holds)
        if not recursive:
            return


def _remove_unlocked(path: Path, holds: Collection[str]) -> None:
    lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        found = os.fstat(lock)
        if found.st_uid != os.geteuid():
            return
        if stat.S_ISREG(found.st_mode):
            path.unlink()
        elif stat.S_ISDIR(found.st_mode) and set(os.listdir(path)) <= set(holds):
            shutil.rmtree(path)
    finally:
        os.close(lock)


def _unfinished_name(path: Path) -> Path:
    return path.with_name(f".{secrets.token_hex(8)}.mimi_mlx")


def _create(path: Path) -> int:
    """A new file that nobody else has open: without a name if the system can, else at ``path``."""
    if hasattr(os, "O_TMPFILE"):
        # Not every file system can; its errors for that differ.
        with contextlib.suppress(OSError):
            return os.open(path.parent, os.O_TMPFILE | os.O_RDWR, 0o666)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)


def _give_name(file: int, path: Path) -> None:
    """Give a file of :func:`_create` without a name one, as Linux's open(2) tells."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        # With dst_dir_fd it is linkat(2), which follows the link in /proc to the file.
        os.link(f"/proc/self/fd/{file}", path.name, dst_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)


def _exchange(new: Path, old: Path) -> None:
    """Let two folders change their names, in one step where the system can."""
    libc = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(new), os.fsencode(old)
    if sys.platform == "darwin":
        failed = libc.renamex_np(*names, _RENAME_SWAP)
    elif hasattr(libc, "renameat2"):
        failed = libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE)
    else:
        failed = True
    if failed:  # nor can every file system
        aside = new.with_name(f"{new.name}.old")  # what it is called is not removed unasked
        os.rename(old, aside)
        try:
            os.rename(new, old)
        except BaseException:
            os.rename(aside, old)
            raise
        os.rename(aside, new)


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
    said = said if said.isprintable() else ascii(said)
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
