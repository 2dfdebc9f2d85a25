"""The header of a WAV file, read from a pipe: what samples follow it, and how many."""

import struct
from typing import IO, NamedTuple

from .containers import is_open

# Bytes in front of the samples at most, such as a cover picture's.
_MOST = 1 << 20

# By the format's tag (whole numbers, floating point) and bits: what ffmpeg calls such samples.
_KINDS = {
    (1, 16): "s16le",
    (1, 24): "s24le",
    (1, 32): "s32le",
    (3, 32): "f32le",
    (3, 64): "f64le",
}

# In the extensible form the tag is the first part of this.
_EXTENSIBLE = 0xFFFE
_SUBFORMAT = bytes.fromhex("0000 0000 1000 8000 00aa 0038 9b71")


class Wav(NamedTuple):
    """The samples of a WAV file."""

    kind: str
    """A name of ``reader.RAW_FORMATS``."""
    sample_rate: int
    channels: int
    size: int | None
    """In bytes; None if it goes on to the end of the file."""


def read_header(file: IO[bytes]) -> tuple[bytes, Wav | None]:
    """All bytes in front of the samples, and what these are.

    None means that it is another format, or samples of another kind, and that the bytes are only
    those that were needed to see it.
    """
    head = _Head(file)
    magic = head.take(12)
    large = magic[:4] in (b"RF64", b"BW64")
    if not (large or magic[:4] == b"RIFF") or magic[8:] != b"WAVE":
        return head.data, None
    format, wide = b"", 0  # what the chunks fmt and ds64 hold
    while len(chunk := head.take(8)) == 8:
        name, size = struct.unpack("<4sI", chunk)
        if name == b"data":
            return head.data, _wav(format, wide if large and size == 2**32 - 1 else size)
        if len(head.data) + size > _MOST:
            break
        content = head.take(size + size % 2)
        if name == b"fmt ":
            format = content
        elif name == b"ds64" and len(content) >= 16:
            wide = int.from_bytes(content[8:16], "little")
    return head.data, None


def _wav(format: bytes, size: int) -> Wav | None:
    if len(format) < 16:
        return None
    tag, channels, rate, _, align, bits = struct.unpack("<HHIIHH", format[:16])
    if tag == _EXTENSIBLE and format[26:40] == _SUBFORMAT:
        tag = int.from_bytes(format[24:26], "little")
    kind = _KINDS.get((tag, bits))
    if kind is None or not channels or align != channels * bits // 8:
        return None
    return Wav(kind, rate, channels, None if is_open(size) else size)


class _Head:
    """Takes bytes from a pipe, and keeps them."""

    def __init__(self, file: IO[bytes]):
        self._file = file
        self.data = b""

    def take(self, size: int) -> bytes:
        """The next bytes; fewer at the end."""
        begin = len(self.data)
        while (missing := begin + size - len(self.data)) and (piece := self._file.read(missing)):
            self.data += piece
        return self.data[begin:]
