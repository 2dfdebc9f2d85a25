"""``mimi-mlx decode``: a file of codes to a sound file."""

import argparse

from .. import audio, check, codes_io
from ..files import check_output
from ..mimi import Mimi
from . import work


def run(args: argparse.Namespace) -> None:
    """Decode codes to a sound file at the model's rate."""
    audio.check_format(args.output)
    check_output(args.output, args.force)
    clip = codes_io.read(args.input)
    mimi = Mimi.from_pretrained(args.model, only="decoder")
    _same_model(args, clip, mimi)
    codes = check.codes(clip.codes, mimi.config)
    whole = codes.shape[2] * mimi.frame_size
    samples = whole if clip.samples is None else clip.samples
    if not whole - mimi.frame_size < samples <= whole:
        raise ValueError(
            f"{args.input} says {samples} samples, but {codes.shape[2]} frames hold more than "
            f"{whole - mimi.frame_size} and at most {whole}. Encode the clip again."
        )
    seconds = samples / mimi.sample_rate
    with work.Progress("decode", seconds) as progress:
        pcm = work.decode(mimi, codes, progress)[:samples]
    audio.write(args.output, pcm, mimi.sample_rate)
    work.summarise(mimi, args.output, codes, seconds, progress.speed)


def _same_model(args: argparse.Namespace, clip: codes_io.CodedClip, mimi: Mimi) -> None:
    """Codes mean nothing to another model."""
    if clip.fingerprint not in (None, mimi.fingerprint):
        raise ValueError(
            f"{args.input} was encoded by {clip.model or 'a model'} (fingerprint "
            f"{clip.fingerprint}), and {args.model} is another ({mimi.fingerprint}); only the "
            f"first can decode it. Give --model {clip.model or 'with that fingerprint'}."
        )
