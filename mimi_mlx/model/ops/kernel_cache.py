"""Whether MLX's CPU backend can compile on Linux, and load what it compiled, without danger.

It has g++ make a library of each fused kernel in ``mlx`` under ``$TMPDIR``, and runs any that it
finds there: also one that somebody else put there, and one that a kill cut off, which ends the
process. MLX has no other setting for that.
"""

import contextlib
import os
import shutil
import stat
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

# What C++ looks at for the folder of temporary files, in its order.
_VARIABLES = ("TMPDIR", "TMP", "TEMP", "TEMPDIR")

_IDLE = 3.0  # seconds; a library that was not written to for so long was cut off

_ELF_HEADER = 64  # bytes, of a machine of 64 bits


def problem() -> str | None:
    """What speaks against compiling, for people, or None; libraries that were cut off go first."""
    if not shutil.which("g++"):
        return "no C++ compiler (g++) found"
    if sys.platform != "linux":  # there, that folder is each user's own
        return None
    folder = Path(next(filter(None, map(os.environ.get, _VARIABLES)), "/tmp"))
    try:
        (folder / "mlx").mkdir(mode=0o700, exist_ok=True)
        if stranger := next(_open_to_others(folder), None):
            return (
                f"others may write to {stranger}, and MLX would run what it finds there (set "
                "TMPDIR to a folder of your own)"
            )
        for library in (folder / "mlx").rglob("*.so"):
            if not _becomes_whole(library):
                library.unlink(missing_ok=True)
    except OSError as error:
        return f"MLX cannot keep what it compiles in {folder} ({error.strerror})"
    return None


def _open_to_others(folder: Path) -> Iterator[Path]:
    """What others than this user could have put where MLX looks, or could exchange."""
    found = folder.stat()
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not found.st_mode & stat.S_ISVTX:
        yield folder
    top = (folder / "mlx").lstat()
    if stat.S_ISDIR(top.st_mode) and top.st_uid == os.geteuid() and not top.st_mode & 0o077:
        return  # nobody else can enter it
    for path in (folder / "mlx", *(folder / "mlx").rglob("*")):
        found = path.lstat()
        is_open = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if found.st_uid != os.geteuid() or is_open or stat.S_ISLNK(found.st_mode):
            yield path


def _becomes_whole(library: Path) -> bool:
    """Whether a library is whole, or another process is writing it and ends; or it has gone."""
    with contextlib.suppress(FileNotFoundError):
        while not _is_whole(library):
            if abs(time.time() - library.stat().st_mtime) > _IDLE:
                return False
            time.sleep(_IDLE / 100)
    return True


def _is_whole(library: Path) -> bool:
    """Whether a library reaches to the end of its table of sections, which linkers put last."""
    with library.open("rb") as file:
        head = file.read(_ELF_HEADER)
    if len(head) < _ELF_HEADER:
        return False
    (start,), (size, count) = (
        struct.unpack_from("<Q", head, 40),
        struct.unpack_from("<HH", head, 58),
    )
    return start + size * count <= library.stat().st_size
