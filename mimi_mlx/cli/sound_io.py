"""Sound at an end of a command: a file, a pipe of a sound file, or a pipe of bare samples."""

import argparse
import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import IO

from .. import audio, files
from ..audio.reader import FileReader, RawReader, SoundReader, check_rate
from ..audio.wav import read_header
from ..audio.writer import PipeWriter, SoundWriter
from ..files import PIPE, is_pipe, stdout


def check_raw(raw: str | None, *ends: str) -> None:
    """``--raw`` is about a pipe of sound, and one of the ends is one.

    Raises:
        ValueError: None is.
    """
    if raw and not any(map(is_pipe, ends)):
        raise ValueError(
            f"--raw {raw} is for sound in a pipe, and here it is in {' and '.join(ends)}. Give - "
            "for the pipe, or leave --raw out."
        )


def _check_sample_rate(args: argparse.Namespace) -> None:
    raw, rate = args.raw and is_pipe(args.input), args.sample_rate
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
    """The blocks of ``args.input``, also of a file that is cut off: see ``damage`` at the end.

    Raises:
        ValueError: ``--sample-rate`` is not there and the input needs it, or the other way round.
    """
    _check_sample_rate(args)
    if not is_pipe(args.input):
        with FileReader(args.input, args.mono, keep=True) as source:
            yield source
        return
    name = files.pipe_name(args.input)
    with files.open_pipe(args.input) as pipe:
        if args.raw:
            yield RawReader(pipe, args.raw, args.sample_rate, name=name)
            return
        begin, wav = read_header(pipe)
        if wav:
            kind, rate, channels, size = wav
            yield RawReader(pipe, kind, rate, channels, args.mono, size, name)
            return
        with (
            buffered(pipe, begin) as file,
            FileReader(file, args.mono, name, keep=True) as source,
        ):
            yield source


@contextlib.contextmanager
def buffered(pipe: IO[bytes], begin: bytes = b"") -> Iterator[IO[bytes]]:
    """What was read of a pipe and the rest, as a file that can seek: libsndfile needs one."""
    with tempfile.TemporaryFile(buffering=0) as file:
        files.put(file, begin)
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
