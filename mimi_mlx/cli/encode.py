"""``mimi-mlx encode``: a sound file or pipe to codes; a folder of them to a folder."""

import argparse
import functools
from collections.abc import Callable

from ..codefile import arrays
from ..files import check_apart, check_output
from ..mimi import Mimi
from ..streaming import validation
from . import code_io, folder, folder_encoder, options, several, sound_io, transcode
from .progress import Progress

MORE = (
    "How many samples IN has, and its sampling rate, is kept with the codes, except in .npy. "
    "From a folder, every sound file is encoded to a .mimi in the same place under the folder "
    "CODES, with a manifest.jsonl that lists them; what is there and of the same sound stays, so "
    "the same command goes on after an interruption."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.sound_input(
        parser, f"{options.SOUND}, - for stdin, or a folder of them; or several files"
    )
    options.raw(parser, "IN is - and has samples without a header")
    written = f"{options.CODES}; - is stdout, as .mimi; for a folder or several files, a folder"
    options.output(parser, "CODES", written)
    folder.add_arguments(parser, "encode")
    options.num_codebooks(parser)
    options.model(parser)


def run(args: argparse.Namespace) -> int:
    """Encode what ``args.inputs`` are; the result is the exit code."""
    if folder.is_one(args):
        return folder.run(args, folder_encoder.TASK)
    load = functools.cache(functools.partial(Mimi.from_pretrained, only="encoder"))

    def prepare() -> None:
        validation.num_codebooks(args.num_codebooks, load(args.model).config)

    extensions = (".mimi", *arrays.FORMATS)
    work = functools.partial(_encode, load)
    return several.run(args, work, lambda path: f"{path.stem}.mimi", extensions, prepare)


def _encode(load: Callable[[str], Mimi], args: argparse.Namespace, title: str) -> several.Finished:
    code_io.check_format(args.output)
    check_output(args.output, args.force)
    check_apart((args.input, args.model), (args.output,))
    sound_io.check_raw(args.raw, args.input)
    with sound_io.reading(args) as source:
        mimi = load(args.model)
        count = validation.num_codebooks(args.num_codebooks, mimi.config)
        at_once = transcode.frames_at_once(args)
        with (
            Progress(title, sound_io.seconds(source)) as progress,
            code_io.writing(args, mimi, count, source) as writer,
        ):
            frames = transcode.encode(mimi, source, count, at_once, writer, progress.advance)
    damage = f"{source.damage}. What is there was encoded." if source.damage else None
    return several.Finished(mimi, (count, frames), progress.done, progress.speed, damage)
