"""``mimi-mlx encode``: a sound file to a file of codes."""

import argparse

from .. import audio, codes_io
from ..files import check_output
from ..mimi import Mimi
from . import work


def run(args: argparse.Namespace) -> None:
    """Encode a sound file to codes."""
    codes_io.check_format(args.output)
    check_output(args.output, args.force)
    source = audio.load(args.input, args.mono)
    mimi = Mimi.from_pretrained(args.model, only="encoder")
    pcm = audio.resample(source.samples, source.sample_rate, mimi.sample_rate)
    seconds = len(pcm) / mimi.sample_rate
    with work.Progress("encode", seconds) as progress:
        codes = work.encode(mimi, pcm, args.num_codebooks, progress)
    clip = codes_io.CodedClip(
        codes,
        samples=len(pcm),
        sample_rate=mimi.sample_rate,
        source_rate=source.sample_rate,
        source_samples=len(source.samples),
        fingerprint=mimi.fingerprint,
        model=args.model,
    )
    codes_io.write(args.output, clip)
    work.summarise(mimi, args.output, codes, seconds, progress.speed)
