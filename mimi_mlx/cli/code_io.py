"""Codes at an end of a command: a file of any format, or a pipe of .mimi."""

import argparse
import contextlib
import io
import select
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np

from .. import codefile, files
from ..atomic import replacing
from ..audio.reader import SoundReader
from ..checkpoint import hub
from ..codefile import CodeFile, arrays
from ..files import PIPE, is_pipe, stdout
from ..mimi import Mimi
from ..text import counted

_OWN = ".mimi"

# Seconds that a live pipe may be still before what was held back for its end goes out.
_PATIENCE = 0.05


class ClipReader:
    """The codes of a clip that was read at once, as :class:`codefile.Reader` gives them."""

    damage: str | None = None

    def __init__(self, clip: CodeFile):
        self._codes = clip.codes[0]
        self.header, self.samples = clip.header, clip.samples
        self.num_codebooks, self.frames = self._codes.shape
        self.position = self.frames

    def __iter__(self) -> Iterator[np.ndarray]:
        yield self._codes

    @property
    def span(self) -> tuple[int, int]:
        """Frames and samples."""
        return self.frames, self.samples


CodeReader = codefile.Reader | ClipReader  # where codes ``[K, F]`` come from


def check_format(path: str) -> None:
    """Codes can be kept in a file of this name, or it is a pipe.

    Raises:
        ValueError: They cannot.
    """
    if path != PIPE:
        files.check_extension(path, (_OWN, *arrays.FORMATS), "codes are kept in")


def is_own(path: str | Path) -> bool:
    """Whether a path is that of a .mimi file."""
    return Path(path).suffix.lower() == _OWN


@contextlib.contextmanager
def reading(args: argparse.Namespace, idle: Callable[[], None]) -> Iterator[CodeReader]:
    """The codes of ``args.input``; ``idle`` is called when a pipe has to wait."""
    if is_pipe(args.input):
        with files.open_pipe(args.input) as pipe:
            live = _LivePipe(pipe, files.pipe_name(args.input), idle)
            yield codefile.Reader(live, args.num_codebooks)
        return
    check_format(args.input)
    if is_own(args.input):
        with codefile.Reader(args.input, args.num_codebooks) as reader:
            yield reader
    else:
        yield ClipReader(arrays.read(args.input, args.num_codebooks))


def check_frames(reader: CodeReader, name: str, mimi: Mimi) -> None:
    """The frames are those of a model, whatever its codebooks.

    Raises:
        ValueError: They are not, or hold other samples than are said to be in them.
    """
    if isinstance(reader, codefile.Reader):
        reader.header.check_model(mimi, force=True)
        return
    # Arrays do not say how long a frame is.
    least, whole = ((reader.frames - n) * mimi.frame_size for n in (1, 0))
    reader.samples = whole if reader.header.samples is None else reader.samples
    if not least < reader.samples <= whole:
        hold = counted(reader.frames, "frame holds", "frames hold")
        raise ValueError(
            f"{name} says {reader.samples} samples, but {hold} more than {least} and at most "
            f"{whole}. Encode the clip again."
        )


def check_codebooks(reader: CodeReader, args: argparse.Namespace, mimi: Mimi) -> None:
    """A model of the codes' family has all codebooks that are to be read.

    Raises:
        ValueError: It was cut to fewer.
    """
    count, held = reader.num_codebooks, mimi.num_codebooks
    if count > held and reader.header.fingerprint:
        raise ValueError(
            f"{args.input} has {count} codebooks to decode; {args.model} has {held}. Give "
            f"--codebooks {held}."
        )


@contextlib.contextmanager
def writing(
    args: argparse.Namespace, mimi: Mimi, num_codebooks: int, source: SoundReader
) -> Iterator[codefile.Writer]:
    """What takes the codes of ``args.output``; after an error there is no file."""
    about = {"model": hub.shared_name(args.model)}
    header = codefile.Header.for_model(mimi, num_codebooks, source.sample_rate, about)
    if args.output == PIPE:
        with stdout() as pipe:
            yield codefile.Writer(pipe, header, block_frames=1)
    elif is_own(args.output):
        with (
            replacing(args.output) as file,
            codefile.Writer(file, header, rewrite_header=True) as writer,
        ):
            yield writer
    else:  # a format that is written at once
        file = io.BytesIO()
        yield codefile.Writer(file, header)
        file.seek(0)
        clip = codefile.read(file)
        metadata = {**about, "source_samples": source.given}
        arrays.write(args.output, clip._replace(header=replace(header, metadata=metadata)))


class _LivePipe(io.FileIO):
    """A pipe to read from, which says when it must wait."""

    def __init__(self, pipe: IO[bytes], name: str, idle: Callable[[], None]):
        super().__init__(pipe.fileno(), closefd=False)
        self.name, self._idle = name, idle

    def read(self, size: int | None = -1, /) -> bytes:
        if not select.select([self], [], [], _PATIENCE)[0]:
            self._idle()
        return super().read(size)
