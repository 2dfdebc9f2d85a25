"""The records of a .mimi file, in front of each block and at the end (docs/mimi-format.md)."""

import re
import struct
import zlib
from typing import NamedTuple

from .bitpack import frame_bytes
from .header import Header, is_sealed, sealed

SIZE = 28
MAX_PAYLOAD = 1 << 16  # bytes of packed codes in a block: all that a reader ever holds
MAX_FRAMES = 1 << 40  # in a file, 2800 years: with the largest frame, samples stay below 2**64

# How a record begins. No UTF-8 text has the byte 0xff, so metadata is never taken for a record.
SYNC = re.compile(rb"\xff(?:BLK|END)")
_BLOCK, _END = b"\xffBLK", b"\xffEND"

# After the sync: first frame, frames, codebooks, bits, previous, payload's CRC.
_BLOCK_FORMAT = "<4sQHBBII"
# After the sync: frames, samples, previous.
_END_FORMAT = "<4sQQI"
_CRC = "I"  # of these 24 bytes, at the end of both


class Block(NamedTuple):
    """The record in front of a block's packed codes."""

    first: int  # the number of its first frame
    frames: int
    num_codebooks: int
    bits_per_code: int
    previous: int  # the CRC of the record before it; the first block's is ``header.identity``
    payload_crc: int
    crc: int  # of this record

    @property
    def payload_size(self) -> int:
        """Bytes of packed codes that follow."""
        return self.frames * frame_bytes(self.num_codebooks, self.bits_per_code)


class End(NamedTuple):
    """The record at the end of a file that was closed."""

    frames: int
    samples: int
    previous: int
    crc: int
    payload_size: int = 0  # nothing follows it
    payload_crc: int = 0


def unpack(record: bytes) -> Block | End | None:
    """The record in 28 bytes, or None if they are not a good one."""
    if not record.startswith((_BLOCK, _END)) or len(record) != SIZE or not is_sealed(record):
        return None
    if record.startswith(_END):
        return End(*struct.unpack(_END_FORMAT + _CRC, record)[1:])
    block = Block(*struct.unpack(_BLOCK_FORMAT + _CRC, record)[1:])
    good = (
        0 < block.payload_size <= MAX_PAYLOAD
        and block.bits_per_code <= 16
        and block.first + block.frames <= MAX_FRAMES
    )
    return block if good else None


def pack_block(payload: bytes, header: Header, first: int, previous: int) -> bytes:
    """The bytes of a block, packed frames from ``first`` on; ``previous`` is the last CRC."""
    kind = (len(payload) // header.frame_bytes, header.num_codebooks, header.bits_per_code)
    record = struct.pack(_BLOCK_FORMAT, _BLOCK, first, *kind, previous, zlib.crc32(payload))
    return sealed(record) + payload


def pack_end(frames: int, samples: int, previous: int) -> bytes:
    """The bytes of the record at the end of a file."""
    return sealed(struct.pack(_END_FORMAT, _END, frames, samples, previous))
