"""What a sound file's container says of its length, where libsndfile does not compare.

libsndfile takes what a cut file still has for all of it; only in FLAC and MP3 it notices. Here a
few bytes are read of each container that says how many bytes of sound it holds, or in Ogg which
page is the last. Sizes that nobody knew, as in a stream that was written as it came, promise
nothing; nor do the formats of samplers and of Matlab here.
"""

import math
import os
import re
import struct
from collections.abc import Iterator
from typing import IO

# Chunks in front of the sound that are looked at, at most.
_MOST_CHUNKS = 1000

# What live writers give: 0, 2^31 or 2^32, or what is left of these below a header; or, where a size
# has 64 bits, what no file has.
_UNKNOWN_BELOW = 1 << 16
_UNKNOWN_FROM = 1 << 62

# An Ogg page: 27 bytes, up to 255 lengths, and so many times 255 bytes.
_OGG_PAGE = 27 + 255 + 255 * 255


def cut_off(file: IO[bytes]) -> str | None:
    """What a file lacks at its end, in words; None if nothing, or if nobody can tell.

    Args:
        file: A binary file that can seek, whose position is kept.
    """
    start = file.tell()
    size = file.seek(0, os.SEEK_END)
    try:
        if _at(file, 0, 4) == b"OggS":
            return None if _has_last_page(file, size) else "its last page is missing"
        begin, promised = _promise(file) or (0, 0)
    except struct.error:  # a header that is cut off itself
        return None
    finally:
        file.seek(start)
    there = max(0, size - begin)
    if promised <= there or promised >= _UNKNOWN_FROM:
        return None
    return f"it has {there} of the {promised} bytes of sound that its header promises"


def _promise(file: IO[bytes]) -> tuple[int, int] | None:
    """Where the sound begins and how many bytes it takes; None if that is not said."""
    magic, kind = _at(file, 0, 4), _at(file, 8, 4)
    if magic in (b"RIFF", b"RIFX", b"RF64", b"BW64") and kind == b"WAVE":
        return _wave(file, ">" if magic == b"RIFX" else "<")
    if magic == b"FORM" and kind in (b"AIFF", b"AIFC"):
        return _known(_find(file, 12, ">4xI", b"SSND"))
    if magic == b"FORM" and kind in (b"8SVX", b"16SV"):
        return _known(_find(file, 12, ">4xI", b"BODY"))
    if magic == b"riff" and _at(file, 24, 4) == b"wave":  # W64
        return _find(file, 40, "<16xQ", b"data", align=8, counted=24)
    if magic == b"caff":
        return _find(file, 8, ">4xQ", b"data", align=1)
    if magic in (b".snd", b"dns."):
        begin, size = struct.unpack(">II" if magic == b".snd" else "<II", _at(file, 4, 8))
        return _known((begin, size))
    if magic == b"NIST":
        return _nist(_at(file, 0, 1024))
    return None


def _wave(file: IO[bytes], order: str) -> tuple[int, int] | None:
    found = _find(file, 12, f"{order}4xI", b"data")
    if found and found[1] == 2**32 - 1 and (large := _find(file, 12, f"{order}4xI", b"ds64")):
        return found[0], struct.unpack(f"{order}Q", _at(file, large[0] + 8, 8))[0]
    return _known(found)


def _nist(head: bytes) -> tuple[int, int] | None:
    said = dict(re.findall(rb"^(\w+) -i (\d{1,18})$", head, re.MULTILINE))
    begin = re.match(rb"NIST_1A\s+(\d{1,9})\s", head)
    if not begin or b"sample_count" not in said:
        return None
    counts = (said[b"sample_count"], said.get(b"channel_count", 1), said.get(b"sample_n_bytes", 1))
    return int(begin[1]), math.prod(map(int, counts))


def _known(found: tuple[int, int] | None) -> tuple[int, int] | None:
    """A chunk of 32 bits of size, unless that stands for one that nobody knew."""
    return None if found is None or is_open(found[1]) else found


def is_open(size: int) -> bool:
    """Whether a size of up to 32 bits stands for one that nobody knew."""
    return size < 2**32 and (size + _UNKNOWN_BELOW) % 2**31 <= _UNKNOWN_BELOW


def _find(
    file: IO[bytes], at: int, head: str, name: bytes, align: int = 2, counted: int = 0
) -> tuple[int, int] | None:
    """Where a chunk's content begins and its size, of which ``counted`` bytes are its head's."""
    for found, begin, size in _chunks(file, at, head, align, counted):
        if found == name:
            return begin, size
    return None


def _chunks(
    file: IO[bytes], at: int, head: str, align: int, counted: int
) -> Iterator[tuple[bytes, int, int]]:
    length = struct.calcsize(head)
    for _ in range(_MOST_CHUNKS):
        data = _at(file, at, length)
        if len(data) < length:
            return
        size = struct.unpack(head, data)[0] - counted
        yield data[:4], at + length, size
        at += max(length, length + -(-size // align) * align)


def _has_last_page(file: IO[bytes], size: int) -> bool:
    """The last page of an Ogg file is whole, and says that it is the last."""
    begin = max(0, size - _OGG_PAGE)
    tail = _at(file, begin, _OGG_PAGE)
    page = tail[tail.rfind(b"OggS\0") :]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return False
    length = 27 + page[26] + sum(page[27 : 27 + page[26]])
    return length <= len(page) and bool(page[5] & 4)


def _at(file: IO[bytes], at: int, size: int) -> bytes:
    """Up to so many bytes from an offset on."""
    if at >= _UNKNOWN_FROM:  # nor does any seek take it
        return b""
    file.seek(at)
    return file.read(size)
