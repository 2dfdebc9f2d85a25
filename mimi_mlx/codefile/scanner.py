"""Finding the good records in a stream of bytes, whatever lies between them."""

import zlib
from typing import IO

from .records import SIZE, SYNC, Block, End, unpack


class Scanner:
    """Reads a stream that it never seeks in, and holds a record and its payload at most."""

    def __init__(self, file: IO[bytes]):
        self._file = file
        self._buffer = bytearray()
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
        self.offset += size
        return data

    def next(self) -> tuple[Block | End, bytes] | None:
        """The next good record and its payload, or None where the file ends for now."""
        while self.fill(SIZE):
            record = self._record(0)
            if record and not self.fill(SIZE + record.payload_size):
                # The rest may yet come. But if a good record follows, bytes of this are lost.
                found = SYNC.finditer(self.peek(len(self._buffer)), 1)
                later = next((m.start() for m in found if self._good(m.start())), None)
                if later is None:
                    return None
                self._skip(later)
            elif record and self._good(0):
                self.take(SIZE)
                return record, self.take(record.payload_size)
            else:
                sync = SYNC.search(self._buffer, 1)
                self._skip(sync.start() if sync else len(self._buffer) - 3)
        return None

    def _record(self, start: int) -> Block | End | None:
        record = unpack(bytes(self._buffer[start : start + SIZE]))
        if isinstance(record, Block) and self.kind not in (None, record[2:4]):
            return None
        return record

    def _good(self, start: int) -> bool:
        """Whether a record is at ``start``, and its payload is there and right."""
        record = self._record(start)
        if record is None:
            return False
        payload = self._buffer[start + SIZE : start + SIZE + record.payload_size]
        return zlib.crc32(payload) == record.payload_crc

    def _skip(self, size: int) -> None:
        self.take(size)
        self.skipped += size
