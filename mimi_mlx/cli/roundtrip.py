"""``mimi-mlx roundtrip``: what speech sounds like after the codec."""

import argparse

from ..files import check_apart
from ..mimi import Mimi
from ..streaming import validation
from . import options, sound_io, transcode
from .progress import Progress, summarise, warn

MORE = (
    "OUT has IN's own sampling rate and exactly as many samples. Inside, the codec works at its "
    "own rate, 24 kHz for kyutai/mimi."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.sound_input(parser, f"{options.SOUND}, or - for stdin")
    options.raw(parser, "- at either end is samples without a header, not a sound file")
    options.output(parser, "OUT", f"{options.WRITTEN}; - is stdout, as WAV")
    options.num_codebooks(parser)
    options.model(parser)


def run(args: argparse.Namespace) -> int:
    """Encode and decode sound, which keeps its rate and length; the result is the exit code."""
    sound_io.check_output(args.output, args.force)
    check_apart((args.input, args.model), (args.output,))
    sound_io.check_raw(args.raw, args.input, args.output)
    with sound_io.reading(args) as source:
        mimi = Mimi.from_pretrained(args.model)
        count = validation.num_codebooks(args.num_codebooks, mimi.config)
        at_once = transcode.frames_at_once(args)
        with (
            Progress("roundtrip", sound_io.seconds(source)) as progress,
            sound_io.writing(args.output, args.raw, source.sample_rate) as writer,
        ):
            frames = transcode.roundtrip(mimi, source, count, at_once, writer, progress.advance)
    summarise(mimi, args.output, (count, frames), progress.done, progress.speed)
    if source.damage:
        warn(f"{source.damage}. What is there was encoded.")
    return 1 if source.damage else 0
