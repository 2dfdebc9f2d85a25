"""Files and folders that are whole or not there at all, whoever else is at work beside them."""

import contextlib
import ctypes
import fcntl
import os
import re
import secrets
import shutil
import stat
import sys
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import BinaryIO

# What is not finished has a name that nobody can guess, and is locked by whoever makes it.
_UNFINISHED = re.compile(r"\.[0-9a-f]{16}\.mimi_mlx")

# A name is taken and given up at once: of Linux's linux/fs.h and fcntl.h, of macOS's sys/stdio.h.
_RENAME_EXCHANGE, _AT_FDCWD, _RENAME_SWAP = 2, -100, 2


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """A new file to write to: it takes the name ``path`` at the end, or on an error goes.

    Until then ``path`` is what it was, and no other process can meddle with the new file. Of
    several writers the last one's file stays. Where the system has files without a name, not even
    a kill leaves anything. The new file has the mode of the one it replaces.

    Raises:
        ValueError: At ``path`` is something else than a file, such as a device.
        OSError: The system refuses; it names ``path``.
    """
    with growing(path) as (file, take_name):
        yield file
        take_name()


@contextlib.contextmanager
def growing(path: str | os.PathLike) -> Iterator[tuple[BinaryIO, Callable[[], None]]]:
    """A new file as of :func:`replacing`, and what gives it its name before it is whole.

    That is for who reads it while it grows, and for what is to be left by a kill or an error. It
    may be called again, for nothing. Without it the file goes at the end.

    Raises:
        ValueError: At ``path`` is something else than a file, such as a device.
        OSError: The system refuses; it names ``path``.
    """
    given, path = str(path), Path(os.path.realpath(path))
    old = path.stat() if path.exists() else None
    if old and not stat.S_ISREG(old.st_mode):
        raise ValueError(f"{path} is no regular file and is not replaced. Give another name.")
    beside, taken = _unfinished_name(path), False

    def take_name() -> None:
        nonlocal taken
        if taken:
            return
        if not os.fstat(file.fileno()).st_nlink:
            _give_name(file.fileno(), beside)
        os.replace(beside, path)
        taken = True

    try:  # a signal may come as soon as the file is there
        with _naming(given, beside), open(_create(beside), "w+b", buffering=0) as file:
            _lock(file.fileno())
            if old:
                os.fchmod(file.fileno(), stat.S_IMODE(old.st_mode))
            yield file, take_name
    finally:
        beside.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """A new folder to write to, beside ``folder``, as :func:`replacing` does it for a file."""
    given, folder = str(folder), Path(os.path.realpath(folder))
    beside = _unfinished_name(folder)
    with _naming(given, beside):
        beside.mkdir()
    lock = os.open(beside, os.O_RDONLY)
    try:
        _lock(lock)
        yield beside
        if folder.exists():
            shutil.copymode(folder, beside)
            _exchange(beside, folder)
        else:
            os.rename(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        os.close(lock)


def remove_unfinished(
    folder: Path, recursive: bool = False, holds: Collection[str] = (), idle: float = 0.0
) -> None:
    """Remove what :func:`replacing` in processes that were killed left in a folder.

    That is a file of this user's with a name of the kind that only :func:`replacing` gives, which
    no process has locked; or such a folder, if it has nothing but files called ``holds``. Of a
    disk that other machines write to, whose locks may not be seen here, nothing should go that was
    written to in the last ``idle`` seconds.
    """
    for parent, folders, files in os.walk(folder):  # passes over what it may not read
        for name in filter(_UNFINISHED.fullmatch, folders + files):
            with contextlib.suppress(OSError):  # it is gone already, or somebody is writing it
                _remove_unlocked(Path(parent, name), holds, idle)
        if not recursive:
            return


def _remove_unlocked(path: Path, holds: Collection[str], idle: float) -> None:
    lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        found = os.fstat(lock)
        if found.st_uid != os.geteuid() or (idle and found.st_mtime > time.time() - idle):
            return
        if stat.S_ISREG(found.st_mode):
            path.unlink()
        elif stat.S_ISDIR(found.st_mode) and set(os.listdir(path)) <= set(holds):
            shutil.rmtree(path)
    finally:
        os.close(lock)


@contextlib.contextmanager
def _naming(path: str, unfinished: Path) -> Iterator[None]:
    """The system's errors about what is unfinished, or about nothing by name, name ``path``."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(unfinished)):
            raise
        raise OSError(error.errno, error.strerror, path) from error


def _lock(file: int) -> None:
    with contextlib.suppress(OSError):  # where there are no locks, nothing is removed either
        fcntl.flock(file, fcntl.LOCK_EX)


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
