"""Codes at an end of a command: a file of any format, or a pipe of .mimi."""

import argparse
import contextlib
import select
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .. import codefile
from ..audio.reader import SoundReader
from ..codefile import arrays as codes_io
from ..files import PIPE, check_extension, check_output, replacing, stdin, stdout
from ..mimi import Mimi

_OWN = ".mimi"

# Seconds that a live pipe may be still before what was held back for its end goes out.
_PATIENCE = 0.05


def check_format(path: str) -> None:
    """``path`` is the pipe, or its extension that of a format for codes.

    Raises:
        ValueError: It is not.
    """
    if path != PIPE:
        check_extension(path, (_OWN, *codes_io.FORMATS), "codes are kept in")


def check_codes_output(path: str, force: bool) -> None:
    """An output can be written, and in this format.

    Raises:
        ValueError: It cannot.
    """
    check_format(path)
    check_output(path, force)


class MimiSource:
    """The codes of a .mimi file or pipe, as they come."""

    def __init__(self, args: argparse.Namespace, file: str | BinaryIO):
        self._reader = codefile.Reader(file, args.num_codebooks)
        header = self._reader.header
        self.num_codebooks = self._reader.num_codebooks
        self.fingerprint, self.model = header.fingerprint, header.metadata.get("model")
        self.expected = header.frames
        """Frames that the file says it has, if it does."""

    def __enter__(self) -> "MimiSource":
        return self

    def __exit__(self, *error: object) -> None:
        self._reader.close()

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self._reader)

    def check_frames(self, mimi: Mimi) -> None:
        """The frames are those of a model, whatever its codebooks."""
        self._reader.header.check_model(mimi, force=True)

    @property
    def samples(self) -> int:
        """Samples of the clip; known at its end."""
        return self._reader.samples

    @property
    def damage(self) -> str | None:
        """What is wrong with it, in one line; known at its end."""
        return self._reader.damage


class ClipSource:
    """The codes of a clip in a file of another format."""

    damage = None

    def __init__(self, args: argparse.Namespace):
        clip = codes_io.read(args.input)
        held, asked = clip.codes.shape[1], args.num_codebooks
        if asked is not None and not 1 <= asked <= held:
            raise ValueError(
                f"num_codebooks is {asked}; {args.input} holds {held}. Choose 1 to {held}."
            )
        self._name = args.input
        self._codes = clip.codes[0, :asked]  # [K, F]
        self.num_codebooks, self.expected = self._codes.shape
        self.fingerprint, self.model, self.samples = clip.fingerprint, clip.model, clip.samples

    def __enter__(self) -> "ClipSource":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def __iter__(self) -> Iterator[np.ndarray]:
        yield self._codes

    def check_frames(self, mimi: Mimi) -> None:
        """The samples that the clip is said to have fit its frames."""
        whole = self.expected * mimi.frame_size
        self.samples = whole if self.samples is None else self.samples
        if not whole - mimi.frame_size < self.samples <= whole:
            raise ValueError(
                f"{self._name} says {self.samples} samples, but {self.expected} frames hold more "
                f"than {whole - mimi.frame_size} and at most {whole}. Encode the clip again."
            )


Source = MimiSource | ClipSource


@contextlib.contextmanager
def reading(args: argparse.Namespace, idle: Callable[[], None]) -> Iterator[Source]:
    """The codes of ``args.input``, ``[K, F]``; ``idle`` is called when a pipe has to wait."""
    check_format(args.input)
    with contextlib.ExitStack() as stack:
        if args.input == PIPE:
            pipe = stack.enter_context(stdin())
            source = MimiSource(args, _Live(pipe, idle))
        elif Path(args.input).suffix.lower() == _OWN:
            source = MimiSource(args, args.input)
        else:
            source = ClipSource(args)
        yield stack.enter_context(source)


class _Live:
    """A pipe to read from, which says when it must wait."""

    name = "stdin"

    def __init__(self, pipe: BinaryIO, idle: Callable[[], None]):
        self._pipe, self._idle = pipe, idle

    def read(self, size: int) -> bytes:
        if not select.select([self._pipe], [], [], _PATIENCE)[0]:
            self._idle()
        return self._pipe.read(size)


class MimiSink:
    """Writes a .mimi file or pipe as codes come."""

    def __init__(self, writer: codefile.Writer):
        self._writer = writer

    def write(self, codes: np.ndarray) -> None:
        """Take the next codes ``[1, K, F]``."""
        self._writer.write(codes)

    def finish(self, codes: np.ndarray, source: SoundReader, samples: int) -> None:
        """Take the last codes, of a clip that has so many samples at the model's rate."""
        self._writer.close(samples, codes)


class ClipSink:
    """Collects codes for a format that is written at once: they are small."""

    def __init__(self, args: argparse.Namespace, mimi: Mimi):
        self._args, self._mimi = args, mimi
        self._codes: list[np.ndarray] = []

    def write(self, codes: np.ndarray) -> None:
        """Take the next codes ``[1, K, F]``."""
        self._codes.append(codes)

    def finish(self, codes: np.ndarray, source: SoundReader, samples: int) -> None:
        """Take the last codes, of a clip that has so many samples at the model's rate."""
        clip = codes_io.CodedClip(
            np.concatenate([*self._codes, codes], axis=-1),
            samples=samples,
            sample_rate=self._mimi.sample_rate,
            source_rate=source.sample_rate,
            source_samples=source.given,
            fingerprint=self._mimi.fingerprint,
            model=self._args.model,
        )
        codes_io.write(self._args.output, clip)


Sink = MimiSink | ClipSink


def header(mimi: Mimi, model: str, num_codebooks: int, source_rate: int) -> codefile.Header:
    """What a .mimi file says of codes that a model makes."""
    return codefile.Header.for_model(mimi, num_codebooks, source_rate, {"model": model})


@contextlib.contextmanager
def writing(
    args: argparse.Namespace, mimi: Mimi, num_codebooks: int, source_rate: int
) -> Iterator[Sink]:
    """What takes the codes of ``args.output``; after an error there is no file."""
    head = header(mimi, args.model, num_codebooks, source_rate)
    if args.output == PIPE:
        with stdout() as file:
            yield MimiSink(codefile.Writer(file, head, block_frames=1))
    elif Path(args.output).suffix.lower() == _OWN:
        with replacing(args.output) as beside, codefile.Writer(beside, head) as writer:
            yield MimiSink(writer)
    else:
        yield ClipSink(args, mimi)
