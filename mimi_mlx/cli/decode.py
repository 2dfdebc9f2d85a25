"""``mimi-mlx decode``: a file or pipe of codes to sound."""

import argparse

import numpy as np

from ..audio import resampler
from ..audio import writer as soundout
from ..mimi import Mimi
from . import code_io as codes_ends
from . import progress as work
from . import sound_io as sound_ends


def run(args: argparse.Namespace) -> int:
    """Decode codes to sound at the model's rate; the result is the exit code."""
    sound_ends.check_raw(args.raw, args.output)
    sound_ends.check_sound_output(args.output, args.force)
    held = Held()
    with codes_ends.reading(args, held.release) as source:
        mimi = Mimi.from_pretrained(args.model, only="decoder")
        _check_model(args, source, mimi)
        known = source.expected
        seconds = None if known is None else known / mimi.frame_rate
        try:
            with (
                work.Progress("decode", seconds) as progress,
                sound_ends.writing(args.output, args.raw, mimi.sample_rate) as sink,
            ):
                held.begin(sink)
                frames = _decode(mimi, source, work.frames_at_once(args), held, progress)
        except _NothingGood:
            work.say(f"{source.damage}; there is nothing to decode. Encode the clip again.")
            return 1
    shape = (source.num_codebooks, frames)
    work.summarise(mimi, args.output, shape, source.samples / mimi.sample_rate, progress.speed)
    if source.damage:
        work.say(f"{source.damage}. What is good of it was decoded.")
    return 1 if source.damage else 0


class _NothingGood(Exception):
    """A damaged file has no good frame; raised, so that no sound file is left."""


class Held:
    """Holds back a clip's last frame, which may have to be cut, until it is known to be whole.

    It is if more comes; and if nothing comes for a while, since a cut frame and the end, which
    says so, come together.
    """

    def __init__(self):
        self._waiting = np.zeros(0, np.float32)
        self._given = 0

    def begin(self, sink: soundout.SoundWriter) -> None:
        """Where samples go."""
        self._sink = sink

    def push(self, pcm: np.ndarray, frame_size: int) -> None:
        """Take samples ``[T]`` of whole frames."""
        self.release()
        self._give(pcm[:-frame_size])
        self._waiting = pcm[-frame_size:]

    def release(self) -> None:
        """Give what is held back."""
        if self._waiting.size:
            self._give(self._waiting)
            self._waiting = self._waiting[:0]

    def finish(self, samples: int) -> None:
        """The clip ends here, and has so many samples."""
        self._waiting = self._waiting[: max(0, samples - self._given)]
        self.release()

    def _give(self, pcm: np.ndarray) -> None:
        self._sink.write(pcm)
        self._given += len(pcm)


def _decode(
    mimi: Mimi, source: codes_ends.Source, at_once: int, held: Held, progress: work.Progress
) -> int:
    """Decode all of a source, so many frames at once, in constant memory; the count of frames."""
    stream = mimi.decoder_stream()
    frames = 0
    for codes in resampler.pieces(source, at_once):
        held.push(np.array(stream.push(codes))[0, 0], mimi.frame_size)
        frames += codes.shape[1]
        progress.advance(codes.shape[1] / mimi.frame_rate)
    if not frames and source.damage:
        raise _NothingGood
    if not frames:
        raise ValueError(
            "the codes have no frames; there is nothing to decode. Encode the clip again."
        )
    held.finish(source.samples)
    return frames


def _check_model(args: argparse.Namespace, source: codes_ends.Source, mimi: Mimi) -> None:
    """Codes mean nothing to another model."""
    source.check_frames(mimi)
    if not args.force_model and source.fingerprint not in (None, mimi.fingerprint):
        raise ValueError(
            f"{args.input} was encoded by {source.model or 'a model'} (fingerprint "
            f"{source.fingerprint}), and {args.model} is another ({mimi.fingerprint}); only the "
            f"first can decode it. Give --model {source.model or 'with that fingerprint'}, or "
            "--force-model to decode it nevertheless."
        )
