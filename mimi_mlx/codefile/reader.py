"""Reading .mimi files: from pipes, while they grow, and what is good of damaged ones."""

import os
from collections.abc import Iterator
from typing import IO

import numpy as np

from ..arrays import whole
from ..files import check_file
from ..model.config import shown
from ..text import counted
from . import bitpack
from . import header as headers
from .header import Header
from .records import SIZE, Block, End
from .scanner import Scanner

_JOINED = "it is joined from several recordings"

File = str | os.PathLike[str] | IO[bytes]


class Reader:
    """Reads codes block by block, from a path or any binary file.

    Iterating gives int32 ``[K, F]`` for each good block and ends where the file does; when the
    file has grown, iterating again goes on. It never seeks, in a good file never reads past what
    it gives, and holds one block of at most 64 KiB, whatever the file promises.

    Args:
        file: A path, or a binary file such as a pipe.
        num_codebooks: Read only the first K codebooks; None means all that the file holds.

    Raises:
        ValueError: It cannot be opened, is not a .mimi file, is of a later version, or holds
            fewer codebooks; or its header is damaged and no good block follows.
    """

    header: Header
    """What the file says of its codes. The counts are unknown until the file is closed."""
    num_codebooks: int
    """The K of what iterating gives."""

    def __init__(self, file: File, num_codebooks: int | None = None):
        check_file(file, "read")
        self._own: IO[bytes] | None = None
        if isinstance(file, (str, os.PathLike)):
            self._name = str(file)
            try:
                file = self._own = open(file, "rb")  # noqa: SIM115
            except OSError as error:
                raise ValueError(
                    f"{file} cannot be opened ({error.strerror}); codes come from a .mimi file. "
                    "Check the path."
                ) from error
        else:
            name = getattr(file, "name", None)  # of a pipe it is a number
            self._name = "the stream" if name is None or isinstance(name, int) else str(name)
        self._scanner = Scanner(file)
        self._facts: list[str] = []  # what is wrong, apart from what counting shows
        self._ahead: tuple[Block, bytes] | None = None
        self._end: End | None = None
        self._first_lost: int | None = None
        self.frames = 0
        """Frames read so far."""
        self.position = 0
        """The number of the next frame: all that were read, and all that were lost between.

        After codes ``[K, F]`` came, the first of them has the number ``position - F``.
        """
        self.good_end = 0  # the offset in bytes of the end of the last good block, or the header
        self.chain: int | None = None  # the next record's ``previous``; None is unknown
        # Then ``header`` has what blocks tell, and else what every published Mimi has.
        self.header_damaged = False
        try:
            self._begin()
            self.num_codebooks = check_count(num_codebooks, self.header.num_codebooks, self._name)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, if it was given as a path."""
        if self._own:
            self._own.close()

    def __iter__(self) -> Iterator[np.ndarray]:
        while not self.ended and (found := self._ahead or self._scanner.next()):
            record, payload = found
            self._ahead = None
            first = record.frames if isinstance(record, End) else record.first
            if first < self.position and isinstance(record, Block):  # it goes back
                self._scanner.skipped += SIZE + len(payload)
                continue
            # A record that goes on where the one before ended must know that one.
            joined = first == self.position and self.chain not in (None, record.previous)
            if joined and _JOINED not in self._facts:
                self._facts.append(_JOINED)
            if isinstance(record, End):
                self._end = record
                return
            if first > self.position and self._first_lost is None:
                self._first_lost = self.position
            self.chain = record.crc
            self.frames += record.frames
            self.position = first + record.frames
            self.good_end = self._scanner.offset
            yield bitpack.unpack(payload, record.frames, record.bits_per_code, self.num_codebooks)

    @property
    def ended(self) -> bool:
        """Whether the end record was read: the file was closed, and is read to its end."""
        return self._end is not None

    @property
    def samples(self) -> int:
        """Samples that the frames read so far stand for."""
        size, (frames, samples) = self.header.frame_size, self.span
        missing = frames * size - samples if frames == self.position else 0  # the last is not here
        return self.frames * size - missing

    @property
    def span(self) -> tuple[int, int]:
        """Frames and samples of the whole clip, lost ones included.

        What is lost after the last good block counts if the header or the end says that it was
        there, which is a claim: nothing should be made of it unbounded.
        """
        size = self.header.frame_size
        frames, samples = self._counts()[-1]
        total, missing = max(frames, self.position), frames * size - samples
        ragged = frames == total and 0 <= missing < size
        return total, total * size - (missing if ragged else 0)

    @property
    def damage(self) -> str | None:
        """What is wrong with a file that was read to its end, in one line, or None.

        A file that is still being written has no end record, and so is not whole either.
        """
        facts = list(self._facts)
        stray = self._scanner.skipped + (0 if self.ended else self._scanner.waiting)
        if stray:
            facts.append(f"{counted(stray, 'byte is', 'bytes are')} in no good block")
        size, counts = self.header.frame_size, self._counts()
        total = self.span[0]
        if total > self.frames:
            first = self.position if self._first_lost is None else self._first_lost
            lost = counted(total - self.frames, "frame is", "frames are")
            facts.append(f"{lost} lost, the first is number {first}")
        if not self.ended:
            facts.append("it has no end: it was cut off, or is still being written")
        elif len(set(counts[1:])) > 1 or any(
            frames < self.position or not 0 <= frames * size - samples < size
            for frames, samples in counts[1:]
        ):
            facts.append("its counts contradict each other")
        return f"{self._name} is damaged: {'; '.join(facts)}" if facts else None

    def _begin(self) -> None:
        """Read the header; if it is damaged, learn what is needed from the first good block."""
        self._scanner.fill(headers.SIZE)
        head = self._scanner.peek(headers.SIZE)
        short = len(head) < headers.SIZE
        if short or not head.startswith(headers.MAGIC):
            what = f"has {len(head)} bytes" if short else f"begins with {head[:8]!r}"
            raise ValueError(
                f"{self._name} {what}; a .mimi file begins with a header of {headers.SIZE} bytes, "
                f"and that with {headers.MAGIC!r}. Check that it is one."
            )
        try:
            found = headers.unpack(head)
        except ValueError as error:
            raise ValueError(f"{self._name} cannot be read: {error}") from error
        if found is None:
            self._begin_without_header()
            return
        self.header, metadata_size, metadata_crc = found
        self.chain = headers.identity(head)
        self._scanner.take(headers.SIZE)
        self._scanner.kind = (self.header.num_codebooks, self.header.bits_per_code)
        self._scanner.fill(metadata_size)
        data = self._scanner.peek(metadata_size)
        header = headers.with_metadata(self.header, data, metadata_crc)
        if header:
            self.header = header
            self._scanner.take(len(data))
        else:  # skipped on the way to the first block
            self._facts.append("its metadata is damaged")
        self.good_end = self._scanner.offset

    def _begin_without_header(self) -> None:
        block, payload = self._scanner.next() or (None, b"")
        if not isinstance(block, Block):
            raise ValueError(
                f"{self._name} has a damaged header and no good block. Encode the clip again."
            )
        self._ahead = block, payload
        self._scanner.kind = (block.num_codebooks, block.bits_per_code)
        self.header = Header(*self._scanner.kind)
        self.header_damaged = True
        self._facts.append(
            "its header is damaged, so its maker is not known, and its rate taken to be "
            f"{self.header.sample_rate} Hz"
        )

    def _counts(self) -> list[tuple[int, int]]:
        """Frames and samples as the header and the end give them, the best last."""
        counts = [(0, 0)]
        for said in (self.header, self._end):
            if said and said.frames is not None and said.samples is not None:
                counts.append((said.frames, said.samples))
        return counts


def check_count(asked: int | None, held: int, name: str) -> int:
    """How many codebooks to read of a file that holds so many; None means all.

    Raises:
        ValueError: It does not hold as many as are asked for.
    """
    count = held if asked is None else whole(asked) or 0
    if not 1 <= count <= held:
        raise ValueError(
            f"num_codebooks is {shown(asked)}; {name} holds {held}. Choose 1 to {held}."
        )
    return count
