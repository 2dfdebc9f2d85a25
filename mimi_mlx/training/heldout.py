"""How good a decoder is on clips that it is not trained on."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import mlx.core as mx
import numpy as np

from .. import audio
from ..evaluation import quality
from ..mimi import Mimi
from ..model.codec import Codec
from . import losses
from .clips import CodedClip, read

_MOST_CLIPS = 32  # that are looked at,
_MOST_SECONDS = 15.0  # and of each so much from its beginning
_HEARD = 3  # clips that are written, to hear them


class Excerpt(NamedTuple):
    """The beginning of a clip."""

    name: str
    codes: np.ndarray  # [K, F]
    samples: np.ndarray  # [1920 F]


class HeldOut:
    """Clips that a decoder is judged on.

    Args:
        clips: The first of them are looked at.
        codec: Of the sizes of what is judged; its quantiser is used.

    Raises:
        ValueError: All of them are silent where they are looked at.
    """

    def __init__(self, clips: Sequence[CodedClip], codec: Codec):
        self._codec, size = codec, codec.config.frame_size
        most = int(_MOST_SECONDS * codec.config.frame_rate)
        self._excerpts = []
        for clip in clips[:_MOST_CLIPS]:
            codes, samples = read(clip, 0, min(clip.frames, most), 0, size)
            if samples.any():
                self._excerpts.append(Excerpt(clip.source.stem, codes, samples))
        if not self._excerpts:
            raise ValueError(
                f"what is held out begins with {_MOST_SECONDS:g} s of silence. Hold out other "
                "sound."
            )

    def figures(self, weights: dict[str, Any]) -> dict[str, float]:
        """The loss that is trained, and the means of what ``eval`` shows, over the clips.

        What is no finite number, as the SI-SDR of silence, is left out: JSON has none.

        Args:
            weights: Of the decoder, as :meth:`Trainer.weights` has them.
        """
        mimi = self._decoder(weights)
        found = []
        for each in self._excerpts:
            decoded = _decoded(mimi, each)
            pair = mx.array(each.samples)[None], mx.array(decoded)[None]
            loss = losses.total(losses.reconstruction(*pair, mimi.sample_rate))
            figures = quality.row_of(each.samples, decoded, mimi.sample_rate)
            found.append({"loss": float(np.array(loss)), **figures})
        with warnings.catch_warnings():  # PESQ has no number for a clip without speech
            warnings.simplefilter("ignore", RuntimeWarning)
            means = {name: float(np.nanmean([row[name] for row in found])) for name in found[0]}
        return {name: mean for name, mean in means.items() if np.isfinite(mean)}

    def write(self, weights: dict[str, Any], folder: Path, word: str) -> None:
        """Write the first clips as ``N-NAME-WORD.wav``."""
        mimi = self._decoder(weights)
        for number, each in enumerate(self._excerpts[:_HEARD], 1):
            path = folder / f"{number}-{each.name}-{word}.wav"
            audio.write(path, _decoded(mimi, each), mimi.sample_rate)

    def write_originals(self, folder: Path) -> None:
        """Write the same clips as they are."""
        for number, each in enumerate(self._excerpts[:_HEARD], 1):
            path = folder / f"{number}-{each.name}-original.wav"
            audio.write(path, each.samples, self._codec.config.sampling_rate)

    def _decoder(self, weights: dict[str, Any]) -> Mimi:
        """A decoder with these weights, laid out and run as any other."""
        codec = Codec(self._codec.config, "decoder")
        codec.update({"quantizer": self._codec.quantizer.parameters(), **weights})
        return Mimi(codec)


def _decoded(mimi: Mimi, excerpt: Excerpt) -> np.ndarray:
    return np.array(mimi.decode(excerpt.codes))[0, 0]
