"""``mimi-mlx roundtrip``: what speech sounds like after the codec."""

import argparse

import numpy as np

from ..audio import reader as soundin
from ..audio import resampler
from ..audio import writer as soundout
from ..mimi import Mimi
from ..streaming import validation as check
from . import progress as work
from . import sound_io as sound_ends


def run(args: argparse.Namespace) -> None:
    """Encode and decode sound; the result has its rate and its number of samples."""
    sound_ends.check_sound_output(args.output, args.force)
    sound_ends.check_raw(args.raw, args.input, args.output)
    sound_ends.check_sample_rate(args)
    with sound_ends.reading(args) as source:
        mimi = Mimi.from_pretrained(args.model)
        count = check.num_codebooks(args.num_codebooks, mimi.config)
        with (
            work.Progress("roundtrip", work.seconds(source)) as progress,
            sound_ends.writing(args.output, args.raw, source.sample_rate) as sink,
        ):
            frames = _roundtrip(mimi, source, count, work.frames_at_once(args), sink, progress)
    work.summarise(mimi, args.output, (count, frames), progress.done, progress.speed)


def _roundtrip(
    mimi: Mimi,
    source: soundin.SoundReader,
    num_codebooks: int,
    at_once: int,
    sink: soundout.SoundWriter,
    progress: work.Progress,
) -> int:
    """There and back, so many frames at once, in constant memory; the count of frames."""
    encoder, decoder = mimi.encoder_stream(num_codebooks=num_codebooks), mimi.decoder_stream()
    back = resampler.Resampler(mimi.sample_rate, source.sample_rate)
    samples = 0
    blocks = resampler.resampled(source, mimi.sample_rate)
    for pcm in resampler.pieces(blocks, at_once * mimi.frame_size):
        decoded = np.array(decoder.push(encoder.push(pcm)))[0, 0]
        sink.write(back.push(decoded))
        samples += len(pcm)
        progress.advance(len(pcm) / mimi.sample_rate)
    ragged = np.array(decoder.push(encoder.flush()))[0, 0, : samples % mimi.frame_size]
    sink.write(back.push(ragged))
    sink.write(back.flush(source.given))
    return -(-samples // mimi.frame_size)
