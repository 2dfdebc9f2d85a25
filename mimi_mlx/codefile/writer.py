"""Writing .mimi files: whole ones at once, growing ones block by block."""

import io
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import IO, Any

import numpy as np

from ..arrays import host, whole
from ..files import check_file, put
from ..model.config import shown
from . import bitpack, records
from . import header as headers
from .header import Header
from .reader import File, Reader

# Frames in a block unless said otherwise: 10 s. Records then add 2 % to 8 codebooks.
BLOCK_FRAMES = 125

# What must be the same in codes that are appended.
_KIND = ("num_codebooks", "bits_per_code", "sample_rate", "frame_size", "fingerprint")


class Writer:
    """Writes codes as they come, to a path or any binary file.

    Frames are gathered into blocks, and each block is handed to the system when it is full: a kill
    loses at most the frames since then. Leaving the context after an error keeps all frames, but
    the file then counts as cut off.

    Args:
        file: A path, or a binary file such as a pipe, which is not sought in.
        header: What to say of the codes; its counts are not read.
        append: Go on after the last good block of the file at a path, if there is one. It keeps
            its own source rate and metadata.
        block_frames: Frames in a block: what a kill loses at most, plus one. A block adds 28
            bytes.
        rewrite_header: Write the counts into the header at the end, as at a path: ``file`` can
            seek, and holds nothing else.

    Raises:
        ValueError: ``append`` without a path, to codes of another kind, or to what is no .mimi
            file with a good header; or too large a ``block_frames`` or metadata.
    """

    def __init__(
        self,
        file: File,
        header: Header,
        append: bool = False,
        block_frames: int = BLOCK_FRAMES,
        rewrite_header: bool = False,
    ):
        check_file(file, "write")
        self._owned = isinstance(file, (str, os.PathLike))
        self._rewrites_header = self._owned or rewrite_header
        if append and not self._owned:
            raise ValueError(f"append to {file!r}; only a file at a path can be. Give the path.")
        self._block_frames = _check_block_frames(block_frames, header)
        self._header = replace(header, frames=None, samples=None)
        self._pending = bytearray()  # packed frames of the next block
        self._closed = False
        self.frames: int = 0  # so far, in the file and waiting to be
        head = headers.pack(self._header)
        self._head = head[: headers.SIZE]  # as it is in the file
        self._previous = headers.identity(self._head)  # the CRC of the last record
        goes_on = False
        if isinstance(file, (str, os.PathLike)):
            goes_on = append and os.path.exists(file) and os.path.getsize(file) > 0
            # Unbuffered: what the system took is all that was written, also after an error.
            self._file: IO[bytes] = open(file, "r+b" if goes_on else "wb", buffering=0)  # noqa: SIM115
        else:
            self._file = file
        try:
            if goes_on:
                self._resume(str(file))
            else:
                put(self._file, head)
        except BaseException:
            self._release()
            raise

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is None:
            self.close()
        elif not self._closed:
            try:
                self.flush()
            finally:
                self._release()

    def write(self, codes: Any) -> None:
        """Take the next frames ``[1, K, F]`` or ``[K, F]``; F may be 0.

        Raises:
            ValueError: They are not integers from 0 to ``2 ** bits_per_code - 1`` of the header's
                K codebooks, or the file is closed or full.
        """
        self._take(codes)
        for block in self._blocks(self._block_frames):
            put(self._file, block)

    def flush(self) -> None:
        """Hand all frames to the system now, as a block of their own."""
        for block in self._blocks(1):
            put(self._file, block)

    def close(self, samples: int | None = None, last: Any = None) -> None:
        """Write what waits and the end, and the counts into the header of a file at a path.

        Args:
            samples: Of the clip, whose last frame may be only partly filled; None means whole
                frames.
            last: Frames to :meth:`write` before that. They and the end, which says how full the
                last is, are handed to the system in one piece.

        Raises:
            ValueError: The frames do not hold so many samples, or are not as :meth:`write` wants.
        """
        if self._closed:
            return
        if last is not None:
            self._take(last)
        most = self.frames * self._header.frame_size
        least = max(0, most - self._header.frame_size + 1)
        length = most if samples is None else whole(samples)
        if length is None or not least <= length <= most:
            raise ValueError(
                f"samples is {shown(samples)}; {self.frames} frames hold {least} to {most}. Give "
                "the samples that were encoded."
            )
        counts = self.frames, length
        try:
            blocks = b"".join(self._blocks(1))
            put(self._file, blocks + records.pack_end(*counts, self._previous))
            self._head = headers.with_counts(self._head, *counts)
            if self._rewrites_header and self._file.seekable():
                self._file.seek(0)
                put(self._file, self._head)
        finally:
            self._release()

    def _resume(self, name: str) -> None:
        """Take the end off a file and its counts, and go on after its last good block."""
        reader = Reader(self._file, num_codebooks=1)
        for _ in reader:
            pass
        if reader.header_damaged:
            raise ValueError(
                f"{name} has a damaged header; nothing can be appended to it. Read it, and write "
                "its codes to another file."
            )
        for field in _KIND:
            theirs, ours = getattr(reader.header, field), getattr(self._header, field)
            if theirs != ours:
                raise ValueError(
                    f"{name} holds codes whose {field} is {theirs}; that of those to append is "
                    f"{ours}. Write them to another file."
                )
        self._file.seek(0)
        self._head = headers.with_counts(self._file.read(headers.SIZE), None, None)
        assert reader.chain is not None  # its header is good
        self._previous = reader.chain
        self.frames = reader.position
        # In this order a kill in between leaves a file with all its frames.
        self._file.seek(0)
        put(self._file, self._head)
        self._file.truncate(reader.good_end)
        self._file.seek(reader.good_end)

    def _take(self, codes: Any) -> None:
        """Let frames wait to be written."""
        if self._closed:
            raise ValueError("write after close: this file has ended. Open it with append=True.")
        codes = _check_codes(codes, self._header)
        if self.frames + codes.shape[1] > records.MAX_FRAMES:
            raise ValueError(
                f"{self.frames + codes.shape[1]} frames; a file holds {records.MAX_FRAMES}. "
                "Begin another."
            )
        self._pending += bitpack.pack(codes, self._header.bits_per_code)
        self.frames += codes.shape[1]

    @property
    def _waiting(self) -> int:
        """Frames that wait."""
        return len(self._pending) // self._header.frame_bytes

    def _blocks(self, least: int) -> Iterator[bytes]:
        """Blocks, while at least so many frames wait: each is written before the next."""
        while self._waiting >= least:
            payload = bytes(self._pending[: self._block_frames * self._header.frame_bytes])
            first = self.frames - self._waiting
            block = records.pack_block(payload, self._header, first, self._previous)
            yield block
            self._previous = headers.seal(block[: records.SIZE])
            del self._pending[: len(payload)]

    def _release(self) -> None:
        self._closed = True
        if self._owned:
            self._file.close()


def pack(codes: Any, header: Header, samples: int | None) -> bytes:
    """A whole .mimi file of codes ``[1, K, F]`` or ``[K, F]``; see :func:`codefile.write`."""
    file = io.BytesIO()
    writer = Writer(file, header)
    writer.close(samples, codes)
    return writer._head + file.getvalue()[headers.SIZE :]


def _check_block_frames(block_frames: int, header: Header) -> int:
    if not isinstance(header, Header):
        raise ValueError(
            f"header is a {type(header).__name__}; it must be a Header. Give Header.for_model(...)."
        )
    most, count = min(2**16 - 1, records.MAX_PAYLOAD // header.frame_bytes), whole(block_frames)
    if count is None or not 1 <= count <= most:
        raise ValueError(
            f"block_frames is {shown(block_frames)}; with {header.frame_bytes} bytes a frame a "
            f"block has 1 to {most}. Choose one of these."
        )
    return count


def _check_codes(codes: Any, header: Header) -> np.ndarray:
    """Codes as ``[K, F]``, every one in range."""
    values = host("codes", codes)
    shape, count = values.shape, header.num_codebooks
    if values.ndim == 3 and shape[0] == 1:
        values = values[0]
    if values.ndim != 2 or len(values) != count or values.dtype.kind not in "iu":
        raise ValueError(
            f"codes is {values.dtype} {list(shape)}; here they are integers [1, {count}, F] or "
            f"[{count}, F]. Write each row of a batch to its own file."
        )
    least, most = 0, 2**header.bits_per_code - 1
    if values.size and not least <= values.min() <= values.max() <= most:
        worst = values.min() if values.min() < least else values.max()
        raise ValueError(
            f"codes has {worst}; {header.bits_per_code} bits hold {least} to {most}. Cut off "
            "frames of -1, or give the header more bits."
        )
    return values
