"""``mimi-mlx decode``: a file or pipe of codes to sound."""

import argparse
import functools
from collections.abc import Callable

from ..audio import FORMATS
from ..files import check_apart
from ..mimi import Mimi
from . import code_io, folder, folder_decoder, maker, options, several, sound_io, transcode
from .progress import Progress

MORE = (
    "OUT has the model's sampling rate, 24 kHz for kyutai/mimi, and lasts exactly as long as "
    "what was encoded; codes from .npy last whole frames. Of a damaged .mimi all good frames "
    "are decoded, and silence of up to an hour in all is in place of those that are lost, so that "
    "what follows stays where it was; the exit code is then 1. From a folder, every .mimi file is "
    "decoded to a .wav in the same place under the folder OUT, with a manifest.jsonl that lists "
    "them, and the same command goes on after an interruption; a damaged file is passed over."
)

# Seconds of silence, at most, in place of what a damaged file says is lost: it may say anything.
_MOST_SILENCE = 3600.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    codes = f"{options.CODES}; - is stdin, as .mimi; a folder of .mimi; or several files"
    parser.add_argument("inputs", metavar="CODES", nargs="+", help=codes)
    written = f"{options.WRITTEN}; - is stdout, as WAV; or a folder, where each becomes a .wav"
    options.output(parser, "OUT", written)
    folder.add_arguments(parser, "decode")
    options.raw(parser, "OUT is - and gets samples without a header")
    options.num_codebooks(parser, None, "codes a frame to read, at most what CODES holds (all)")
    options.model(parser, f"{options.MODELS} (the one that CODES names, if it is here)", None)
    skip = "put no silence in place of what is lost of a damaged .mimi"
    parser.add_argument("--skip-lost", action="store_true", help=skip)
    force = "decode codes that another model made, whatever that sounds like"
    parser.add_argument("--force-model", action="store_true", help=force)


def run(args: argparse.Namespace) -> int:
    """Decode codes to sound at the model's rate; the result is the exit code."""
    if folder.is_one(args):
        return folder.run(args, folder_decoder.TASK)
    load = functools.cache(functools.partial(Mimi.from_pretrained, only="decoder"))

    def prepare() -> None:
        if args.model:
            load(args.model)

    work = functools.partial(_decode, load)
    return several.run(args, work, lambda path: f"{path.stem}.wav", tuple(FORMATS), prepare)


def _decode(load: Callable[[str], Mimi], args: argparse.Namespace, title: str) -> several.Finished:
    sound_io.check_raw(args.raw, args.output)
    sound_io.check_output(args.output, args.force)
    check_apart((args.input, args.model), (args.output,))
    buffer = transcode.TailBuffer()
    with code_io.reading(args, buffer.release) as source:
        args.model = maker.model_of(args, args.input, source.header)
        mimi = load(args.model)
        code_io.check_frames(source, args.input, mimi)
        maker.check(args, args.input, source.header, mimi)
        code_io.check_codebooks(source, args, mimi)
        known, at_once = source.header.frames, transcode.frames_at_once(args)
        with (
            Progress(title, None if known is None else known / mimi.frame_rate) as progress,
            sound_io.writing(args.output, args.raw, mimi.sample_rate) as writer,
        ):
            buffer.begin(writer)
            most = 0.0 if args.skip_lost else _MOST_SILENCE
            done = transcode.decode(mimi, source, at_once, buffer, progress.advance, most)
    damage = None
    if source.damage:
        damage = f"{source.damage}. What is good of it was decoded{_of_the_lost(done, mimi)}."
    shape, seconds = (source.num_codebooks, done.frames), done.samples / mimi.sample_rate
    return several.Finished(mimi, shape, seconds, progress.speed, damage)


def _of_the_lost(done: transcode.Decoded, mimi: Mimi) -> str:
    """What became of lost frames."""
    fates = {"is silent": done.silent, "is left out": done.left_out}
    lost = [f"{n / mimi.frame_rate:.2f} s that was lost {fate}" for fate, n in fates.items() if n]
    return "".join(f"; {fate}" for fate in lost)
