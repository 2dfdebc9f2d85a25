"""Finding the good records in a stream of bytes, whatever lies between them."""

import zlib
from typing import IO

from .checksums import Checksums
from .records import MAX_PAYLOAD, SIZE, SYNC, Block, End, unpack


class Scanner:
    """Reads a stream that it never seeks in, and holds two records and their payloads at most."""

    def __init__(self, file: IO[bytes]):
        self._file = file
        self._buffer = bytearray()
        self._checksums = Checksums()
        self._checked = 0  # up to here, every byte is in a CRC already: those that overlap share
        # Codebooks and bits a code that blocks must have; None lets any pass.
        self.kind: tuple[int, int] | None = None
        self.offset = 0  # bytes taken so far
        self.skipped = 0  # those of them that were in no good record

    @property
    def waiting(self) -> int:
        """Bytes read that are not yet taken."""
        return len(self._buffer)

    def fill(self, size: int) -> bool:
        """Whether the next ``size`` bytes are there; waits for them if the file can."""
        while len(self._buffer) < size:
            piece = self._file.read(size - len(self._buffer))
            if not piece:
                return False
            self._buffer += piece
        return True

    def peek(self, size: int) -> bytes:
        """The next ``size`` bytes, or those that are there."""
        return bytes(self._buffer[:size])

    def take(self, size: int) -> bytes:
        """The next ``size`` bytes, once :meth:`fill` has seen them."""
        data = self.peek(size)
        del self._buffer[:size]
        self._checksums.drop(size)
        self._checked = max(0, self._checked - size)
        self.offset += size
        return data

    def next(self) -> tuple[Block | End, bytes] | None:
        """The next good record and its payload, or None where the file ends for now."""
        at = 0  # no good record begins before this
        while self.fill(at + SIZE):
            record = self._record(at)
            end = at + SIZE + (record.payload_size if record else 0)
            if record and not self.fill(end):
                # The rest may yet come. But if a good record follows, bytes of this are lost.
                found = SYNC.finditer(self.peek(len(self._buffer)), at + 1)
                later = next((m.start() for m in found if self._good(m.start())), None)
                if later is None:
                    break
                at = later
            elif record and self._is_right(record, at + SIZE, end):
                self._skip(at)
                return record, self.take(end - at)[SIZE:]
            else:
                sync = SYNC.search(self._buffer, at + 1)
                at = sync.start() if sync else len(self._buffer) - 3
                if at > MAX_PAYLOAD:
                    self._skip(at)
                    at = 0
        self._skip(min(at, len(self._buffer)))
        return None

    def _record(self, start: int) -> Block | End | None:
        record = unpack(bytes(self._buffer[start : start + SIZE]))
        if isinstance(record, Block) and self.kind not in (None, record[2:4]):
            return None
        return record

    def _good(self, start: int) -> bool:
        """Whether a record is at ``start``, and its payload is there and right."""
        record, begin = self._record(start), start + SIZE
        return record is not None and self._is_right(record, begin, begin + record.payload_size)

    def _is_right(self, record: Block | End, begin: int, end: int) -> bool:
        """Whether the bytes from ``begin`` to ``end`` are there and the record's payload."""
        if end > len(self._buffer):
            return False
        if begin >= self._checked:
            self._checked = end
            return zlib.crc32(self._buffer[begin:end]) == record.payload_crc
        return self._checksums.crc(self._buffer, begin, end) == record.payload_crc

    def _skip(self, size: int) -> None:
        self.take(size)
        self.skipped += size
