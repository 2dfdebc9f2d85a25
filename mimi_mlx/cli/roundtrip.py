"""``mimi-mlx roundtrip``: what speech sounds like after the codec."""

import argparse
import functools
from collections.abc import Callable
from pathlib import Path

from ..audio import FORMATS
from ..files import check_apart
from ..mimi import Mimi
from ..streaming import validation
from . import options, several, sound_io, transcode
from .progress import Progress

MORE = (
    "OUT has IN's own sampling rate and exactly as many samples. Inside, the codec works at its "
    "own rate, 24 kHz for kyutai/mimi. Several files go to a folder OUT under their own names, or "
    "as .wav where their format cannot be written."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.sound_input(parser, f"{options.SOUND}, or - for stdin; or several files")
    options.raw(parser, "- at either end is samples without a header, not a sound file")
    options.output(parser, "OUT", f"{options.WRITTEN}; - is stdout, as WAV; or a folder")
    options.num_codebooks(parser)
    options.model(parser)


def run(args: argparse.Namespace) -> int:
    """Encode and decode sound, which keeps its rate and length; the result is the exit code."""
    load = functools.cache(Mimi.from_pretrained)

    def prepare() -> None:
        validation.num_codebooks(args.num_codebooks, load(args.model).config)

    work = functools.partial(_roundtrip, load)
    return several.run(args, work, _name_of, tuple(FORMATS), prepare)


def _name_of(path: Path) -> str:
    """Its own, if sound can be written to such a file."""
    return path.name if path.suffix.lower() in FORMATS else f"{path.stem}.wav"


def _roundtrip(
    load: Callable[[str], Mimi], args: argparse.Namespace, title: str
) -> several.Finished:
    sound_io.check_output(args.output, args.force)
    check_apart((args.input, args.model), (args.output,))
    sound_io.check_raw(args.raw, args.input, args.output)
    with sound_io.reading(args) as source:
        mimi = load(args.model)
        count = validation.num_codebooks(args.num_codebooks, mimi.config)
        at_once = transcode.frames_at_once(args)
        with (
            Progress(title, sound_io.seconds(source)) as progress,
            sound_io.writing(args.output, args.raw, source.sample_rate) as writer,
        ):
            frames = transcode.roundtrip(mimi, source, count, at_once, writer, progress.advance)
    damage = f"{source.damage}. What is there was encoded." if source.damage else None
    return several.Finished(mimi, (count, frames), progress.done, progress.speed, damage)
