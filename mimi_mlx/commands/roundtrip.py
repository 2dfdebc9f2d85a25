"""``mimi-mlx roundtrip``: what speech sounds like after the codec."""

import argparse

from .. import audio
from ..files import check_output
from ..mimi import Mimi
from . import work


def run(args: argparse.Namespace) -> None:
    """Encode and decode a sound file; the result has its rate and its number of samples."""
    audio.check_format(args.output)
    check_output(args.output, args.force)
    source = audio.load(args.input, args.mono)
    mimi = Mimi.from_pretrained(args.model)
    pcm = audio.resample(source.samples, source.sample_rate, mimi.sample_rate)
    seconds = len(pcm) / mimi.sample_rate
    with work.Progress("encode", seconds) as encoding:
        codes = work.encode(mimi, pcm, args.num_codebooks, encoding)
    with work.Progress("decode", seconds) as decoding:
        pcm = work.decode(mimi, codes, decoding)[: len(pcm)]
    speed = 1 / (1 / encoding.speed + 1 / decoding.speed)
    result = audio.resample(pcm, mimi.sample_rate, source.sample_rate, len(source.samples))
    audio.write(args.output, result, source.sample_rate)
    work.summarise(mimi, args.output, codes, seconds, speed)
