"""Sound at another rate, and in pieces of another length, block by block, in constant memory."""

from collections.abc import Iterable, Iterator

import numpy as np
import soxr

from ..model.config import shown
from .reader import SoundReader, check_rate


class Resampler:
    """Changes the rate of sound in blocks, with soxr's best filter ("VHQ").

    The result does not depend on the cutting. Samples come out up to 0.1 s late, and at the same
    rate at once.

    Raises:
        ValueError: A rate is not one that sound has.
    """

    def __init__(self, source_rate: int, sample_rate: int):
        check_rate(f"source_rate is {shown(source_rate)}", source_rate)
        check_rate(f"sample_rate is {shown(sample_rate)}", sample_rate)
        self._rates = source_rate, sample_rate
        self._stream = None
        if source_rate != sample_rate:
            self._stream = soxr.ResampleStream(
                source_rate, sample_rate, 1, dtype="float32", quality="VHQ"
            )
        self._taken = self._given = 0

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Take the next samples ``[T]`` at the source's rate, give those that are ready."""
        self._taken += len(samples)
        if self._stream:
            samples = self._stream.resample_chunk(np.ascontiguousarray(samples, np.float32))
        self._given += len(samples)
        return samples

    def flush(self, length: int | None = None) -> np.ndarray:
        """End the clip: the rest of ``length`` samples.

        None means ``ceil(T * sample_rate / source_rate)``, which covers all of the source. What
        is past the source's end is silence.
        """
        source, rate = self._rates
        if length is None:
            length = -(-self._taken * rate // source)
        rest = np.zeros(0, np.float32)
        if self._stream:
            # Silence after the end makes soxr give a sample or two more than are needed.
            end = np.zeros(-(-2 * source // rate), np.float32)
            rest = self._stream.resample_chunk(end, last=True)
        missing = max(0, length - self._given)
        return np.pad(rest[:missing], (0, max(0, missing - len(rest))))


def resampled(source: SoundReader, sample_rate: int) -> Iterator[np.ndarray]:
    """The blocks of a source at another rate."""
    resampler = Resampler(source.sample_rate, sample_rate)
    for block in source:
        yield resampler.push(block)
    yield resampler.flush()


def pieces(blocks: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """The same ``[..., T]``, cut along time into pieces of exactly ``size`` and a shorter rest.

    A piece comes as soon as it is whole. However the blocks were cut, the pieces are the same.
    """
    waiting: list[np.ndarray] = []
    length = 0
    for block in blocks:
        waiting.append(block)
        length += block.shape[-1]
        if length >= size:
            whole = np.concatenate(waiting, axis=-1)
            end = length // size * size
            yield from (whole[..., start : start + size] for start in range(0, end, size))
            waiting, length = [whole[..., end:]], length - end
    if length:
        yield np.concatenate(waiting, axis=-1)
