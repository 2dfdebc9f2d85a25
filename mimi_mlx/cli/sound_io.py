"""Sound at an end of a command: a file, a pipe of a sound file, or a pipe of bare samples."""

import argparse
import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import IO

from .. import audio, files
from ..audio.reader import FileReader, RawReader, SoundReader, check_rate
from ..audio.writer import PipeWriter, SoundWriter
from ..files import PIPE, stdin, stdout

# Bytes of a sound file from stdin that are kept in memory; longer ones wait on the disk.
_IN_MEMORY = 1 << 24


def check_raw(raw: str | None, *ends: str) -> None:
    """``--raw`` is about a pipe of sound, and one of the ends is one.

    Raises:
        ValueError: None is.
    """
    if raw and PIPE not in ends:
        raise ValueError(
            f"--raw {raw} is for sound in a pipe, and here it is in {' and '.join(ends)}. Give - "
            "for the pipe, or leave --raw out."
        )


def _check_sample_rate(args: argparse.Namespace) -> None:
    raw, rate = args.raw and args.input == PIPE, args.sample_rate
    if raw and rate is None:
        raise ValueError(
            f"--raw {args.raw} samples on stdin do not say how many make a second. Give "
            "--sample-rate, such as 24000."
        )
    if rate is not None and not raw:
        raise ValueError(
            f"--sample-rate {rate} is for --raw samples on stdin; a sound file knows its own. "
            "Leave it out."
        )
    if rate is not None:
        check_rate(f"--sample-rate is {rate}", rate)


def check_output(path: str, force: bool) -> None:
    """An output can be written, and in this format.

    Raises:
        ValueError: It cannot.
    """
    if path != PIPE:
        audio.check_format(path)
    files.check_output(path, force)


def seconds(source: SoundReader) -> float | None:
    """Seconds of audio that a source says it has, if it does."""
    return None if source.samples is None else source.samples / source.sample_rate


@contextlib.contextmanager
def reading(args: argparse.Namespace) -> Iterator[SoundReader]:
    """The blocks of ``args.input``.

    Raises:
        ValueError: ``--sample-rate`` is not there and the input needs it, or the other way round.
    """
    _check_sample_rate(args)
    if args.input != PIPE:
        with FileReader(args.input, args.mono) as source:
            yield source
    elif args.raw:
        with stdin() as pipe:
            yield RawReader(pipe, args.raw, args.sample_rate)
    else:
        with buffered_stdin() as file, FileReader(file, args.mono) as source:
            yield source


@contextlib.contextmanager
def buffered_stdin() -> Iterator[IO[bytes]]:
    """All of stdin as a file that can seek, which libsndfile needs and a pipe cannot."""
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as file, stdin() as pipe:
        shutil.copyfileobj(pipe, file)
        file.seek(0)
        yield file


@contextlib.contextmanager
def writing(path: str, raw: str | None, sample_rate: int) -> Iterator[SoundWriter]:
    """What takes the blocks of an output; ``raw`` is the kind of samples in a pipe."""
    if path != PIPE:
        with audio.writing(path, sample_rate) as file:
            yield file
    else:
        with stdout() as pipe:
            yield PipeWriter(pipe, raw, sample_rate)
