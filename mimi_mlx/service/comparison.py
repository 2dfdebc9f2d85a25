"""A sound file to the listening page of it, in steps short enough for live sessions beside it."""

from collections.abc import Callable
from functools import partial

import numpy as np

from .. import audio, listening
from ..audio.reader import FileReader
from ..audio.resampler import pieces
from ..evaluation import quality
from ..listening.document import check_rate
from ..mimi import Mimi
from ..streaming.worker import MimiWorker
from .limits import AT_ONCE, Limits


class Comparer:
    """Makes listening pages.

    Args:
        mimi: The model.
        name: What the page calls it.
        encoder: Runs the model for all encoders.
        decoder: And for all decoders.
        limits: What a page may cost.
    """

    def __init__(
        self, mimi: Mimi, name: str, encoder: MimiWorker, decoder: MimiWorker, limits: Limits
    ):
        self._mimi, self._name, self._limits = mimi, name, limits
        self._encoder, self._decoder = encoder, decoder

    def page(self, source: FileReader, check: Callable[[float], None]) -> str:
        """The page of a file, whose channels are mixed down.

        Args:
            source: Its sound, and the name that the page gives it.
            check: Is told of the seconds that are done, and raises where nobody waits any more.

        Raises:
            ValueError: It is silent, too long, damaged, or has a rate that browsers do not play.
        """
        mimi, rate, most = self._mimi, source.sample_rate, self._limits.compared_seconds
        check_rate(source.name, rate)
        if source.samples > most * rate:
            raise ValueError(
                f"{source.name} has {source.samples / rate:.1f} s; a page compares up to "
                f"{most:g} s. Cut it."
            )
        sound = audio.Sound(np.concatenate([*source]), rate)
        listening.check(source.name, sound)
        steps = partial(self._encoded, check=check), partial(self._decoded, check=check)
        counts = quality.counts(None, [mimi])
        versions = [*listening.versions(mimi, self._name, sound, counts, *steps)]
        name = f"{source.name}, mixed down to mono" if source.channels > 1 else source.name
        return listening.page([listening.Comparison(name, rate, sound.samples, versions)])

    def _encoded(self, clip: np.ndarray, codebooks: int, check: Callable) -> np.ndarray:
        """The codes ``[K, F]`` of a clip ``[T]``."""
        mimi, parts = self._mimi, []
        stream = self._encoder.submit(mimi.encoder_stream, 1, codebooks).result()
        for pcm in pieces([clip], AT_ONCE * mimi.frame_size):
            parts.append(np.array(self._encoder.submit(stream.push, pcm).result()))
            check(sum(part.shape[-1] for part in parts) / mimi.frame_rate)
        parts.append(np.array(self._encoder.submit(stream.flush).result()))
        return np.concatenate(parts, axis=-1)[0]

    def _decoded(self, codes: np.ndarray, check: Callable) -> np.ndarray:
        """The samples of codes, whole frames."""
        mimi, parts = self._mimi, []
        stream = self._decoder.submit(mimi.decoder_stream).result()
        for frames in pieces([codes], AT_ONCE):
            parts.append(np.array(self._decoder.submit(stream.push, frames).result())[0, 0])
            check(sum(map(len, parts)) / mimi.sample_rate)
        return np.concatenate(parts)
