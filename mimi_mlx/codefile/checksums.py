"""CRCs of stretches that overlap, each in the same time however long it is.

A forged record claims 64 KiB behind itself and takes 28 bytes. To compute each claim's CRC anew
would be 2000 times the work of the file's length. But a CRC is linear: that of a stretch is that
of all bytes up to its end, less that of all up to its start, moved on by the stretch's length.
"""

import functools
import zlib
from array import array

import numpy as np

# Bytes between two sums that are kept: fewer than a record has.
_STEP = 24


class Checksums:
    """The CRC-32 of any stretch of a buffer that grows at its end and loses what is in front.

    Every byte is summed once, as far as stretches were asked for.
    """

    def __init__(self) -> None:
        self._first = 0  # the offset in the buffer up to which the first sum goes; then steps
        self._sums: list[int] = []

    def crc(self, data: bytearray, start: int, end: int) -> int:
        """That of ``data[start:end]``, of no more than 64 KiB."""
        if not self._sums or start < self._first:
            self._first, self._sums = start, [0]
        return self._until(data, end) ^ _moved(self._until(data, start), end - start)

    def drop(self, size: int) -> None:
        """The buffer loses so many bytes in front."""
        gone = max(0, -(-(size - self._first) // _STEP))
        del self._sums[:gone]
        self._first += gone * _STEP - size

    def _until(self, data: bytearray, end: int) -> int:
        """The CRC of all up to an offset, wherever that began."""
        steps, rest = divmod(end - self._first, _STEP)
        sums = self._sums
        at = self._first + (len(sums) - 1) * _STEP
        while len(sums) <= steps:
            sums.append(zlib.crc32(data[at : at + _STEP], sums[-1]))
            at += _STEP
        return zlib.crc32(data[end - rest : end], sums[steps])


def _moved(crc: int, size: int) -> int:
    """What a CRC adds to that of so many more bytes."""
    low, high = _tables()
    for table in (low[size & 255], high[size >> 8]):
        crc = (
            table[crc & 255]
            ^ table[256 + (crc >> 8 & 255)]
            ^ table[512 + (crc >> 16 & 255)]
            ^ table[768 + (crc >> 24)]
        )
    return crc


@functools.cache
def _tables() -> tuple[list[array], list[array]]:
    """What each byte of a CRC becomes after 0 to 256 bytes, and after so many times 256."""
    ones = [zlib.crc32(bytes([byte])) ^ zlib.crc32(b"\0") for byte in range(256)]
    step = np.array([ones, *(np.arange(256) << 8 * k for k in range(3))], np.uint32)
    low = _powers(step)
    high = _powers(low[256])
    return [array("I", table.tobytes()) for table in low], [
        array("I", table.tobytes()) for table in high
    ]


def _powers(step: np.ndarray) -> np.ndarray:
    """Tables ``[257, 4, 256]`` that do 0 to 256 times what ``step [4, 256]`` does."""
    bits = [np.uint32(1) << np.arange(32, dtype=np.uint32)]  # what becomes of each bit of a CRC
    for _ in range(256):
        parts = bits[-1].view(np.uint8).reshape(32, 4)
        bits.append(np.bitwise_xor.reduce(step[np.arange(4), parts], axis=1))
    of_bytes = np.reshape(bits, (257, 4, 8, 1))
    tables = np.zeros((257, 4, 256), np.uint32)
    for bit in range(8):
        tables[..., 1 << bit : 2 << bit] = tables[..., : 1 << bit] ^ of_bytes[:, :, bit]
    return tables
