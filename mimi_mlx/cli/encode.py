"""``mimi-mlx encode``: a sound file or pipe to codes; a folder of them to a folder."""

import argparse
from pathlib import Path

from ..files import check_apart, check_output
from ..mimi import Mimi
from ..streaming import validation
from . import code_io, folder, options, sound_io, transcode
from .progress import Progress, summarise, warn

MORE = (
    "How many samples IN has, and its sampling rate, is kept with the codes, except in .npy. "
    "From a folder, every sound file is encoded to a .mimi in the same place under the folder "
    "CODES, with a manifest.jsonl that lists them; what is there and of the same sound stays, so "
    "the same command goes on after an interruption."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.sound_input(parser, f"{options.SOUND}, - for stdin, or a folder of them")
    options.raw(parser, "IN is - and has samples without a header")
    written = f"{options.CODES}; - is stdout, as .mimi; for a folder, a folder"
    options.output(parser, "CODES", written)
    add, folders = parser.add_argument, "folders inside the folder too"
    add("--recursive", action="store_true", default=None, help=folders)
    size = "files of a folder, of about the same length, to encode together (8; on a CPU 1)"
    add("--batch-size", type=int, metavar="N", help=size)
    jobs = (
        "batches of a folder to encode at once, each in a thread (1; on a CPU one a core, at most "
        "4); the result is the same"
    )
    add("--jobs", type=int, metavar="N", help=jobs)
    options.num_codebooks(parser)
    options.model(parser)


def run(args: argparse.Namespace) -> int:
    """Encode what ``args.input`` is; the result is the exit code."""
    if Path(args.input).is_dir():
        return folder.run(args)
    for name in ("recursive", "batch_size", "jobs"):
        if getattr(args, name) is not None:
            raise ValueError(
                f"--{name.replace('_', '-')} is for a folder, and {args.input} is none. "
                "Leave it out."
            )
    code_io.check_format(args.output)
    check_output(args.output, args.force)
    check_apart((args.input, args.model), (args.output,))
    sound_io.check_raw(args.raw, args.input)
    with sound_io.reading(args) as source:
        mimi = Mimi.from_pretrained(args.model, only="encoder")
        count = validation.num_codebooks(args.num_codebooks, mimi.config)
        at_once = transcode.frames_at_once(args)
        with (
            Progress("encode", sound_io.seconds(source)) as progress,
            code_io.writing(args, mimi, count, source) as writer,
        ):
            frames = transcode.encode(mimi, source, count, at_once, writer, progress.advance)
    summarise(mimi, args.output, (count, frames), progress.done, progress.speed)
    if source.damage:
        warn(f"{source.damage}. What is there was encoded.")
    return 1 if source.damage else 0
