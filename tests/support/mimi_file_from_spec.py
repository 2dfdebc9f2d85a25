"""A second reader of .mimi files, from docs/mimi-format.md alone, for a file held in memory.

It shares no code with mimi_mlx.codefile, which the tests compare with it.
"""

import struct
import zlib


def records(data: bytes):
    """Every good record of a file: ``(first, frames of codes)``, and in the end ``"end"``.

    Raises:
        ValueError: It is no .mimi file of version 1, or has neither a good header nor a block.
    """
    if len(data) < 64 or data[:8] != b"MIMI\r\n\x1a\n":
        raise ValueError("not a .mimi file")
    at, kind = 0, None
    if zlib.crc32(data[:60]) == u32(data, 60):
        version, flags = data[8] + 256 * data[9], u32(data, 12)
        codebooks, bits, rate, size = data[10], data[11], u32(data, 16), u32(data, 20)
        length = u32(data, 44)
        fine = version == 1 and flags % 65536 == 0 and codebooks and 1 <= bits <= 16 and rate
        if not (fine and 1 <= size <= 2**20 and length <= 65536):
            raise ValueError("not a header of version 1")
        at, kind = 64, (codebooks, bits)
        metadata = data[64 : 64 + length]
        if len(metadata) == length and zlib.crc32(metadata) == u32(data, 56):
            at += length
    found, expected = [], 0
    while at < len(data):
        record = good_record(data, at, kind)
        if record is None:
            at += 1
            continue
        first, frames, kind_here, size = record
        if kind is None and kind_here is None:
            break
        kind = kind or kind_here
        at += size
        if kind_here is None:
            found.append("end")
            break
        if first >= expected:
            found.append((first, frames))
            expected = first + len(frames)
    if kind is None:
        raise ValueError("neither a good header nor a good block")
    return found


def good_record(data: bytes, at: int, kind):
    """``(first, frames, (codebooks, bits), size)`` of the good record at an offset, or None."""
    if data[at : at + 4] not in (b"\xffBLK", b"\xffEND") or len(data) < at + 28:
        return None
    if zlib.crc32(data[at : at + 24]) != u32(data, at + 24):
        return None
    if data[at + 1 : at + 4] == b"END":
        return 0, [], None, 28
    first, count, codebooks, bits = struct.unpack("<QHBB", data[at + 4 : at + 16])
    width = (codebooks * bits + 7) // 8
    payload = data[at + 28 : at + 28 + count * width]
    if not (1 <= count * width <= 65536 and bits <= 16 and first + count <= 2**40):
        return None
    if kind not in (None, (codebooks, bits)) or len(payload) < count * width:
        return None
    if zlib.crc32(payload) != u32(data, at + 20):
        return None
    frames = [unpack(payload[n * width : (n + 1) * width], codebooks, bits) for n in range(count)]
    return first, frames, (codebooks, bits), 28 + count * width


def unpack(frame: bytes, codebooks: int, bits: int):
    """The codes of one packed frame."""
    number = int.from_bytes(frame, "little")
    return [number >> (k * bits) & (1 << bits) - 1 for k in range(codebooks)]


def u32(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")
