"""What models make of a clip with so many codebooks."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from .. import audio
from ..audio.reader import FileReader
from ..evaluation import quality
from ..mimi import Mimi
from ..text import counted
from .document import Comparison, Version, check_length, check_rate


def load(path: str | Path, mono: bool = False, seconds: float | None = None) -> audio.Sound:
    """A sound file at its own rate, or its first seconds: no more is read.

    Raises:
        ValueError: As for :func:`mimi_mlx.audio.load`; or browsers do not play its rate, or it is
            longer than a page may be.
    """
    with FileReader(path, mono) as source:
        check_rate(str(path), source.sample_rate)
        rate, most = source.sample_rate, source.samples
        if seconds is not None:
            most = min(most, round(seconds * rate))
        check_length([most / rate])
        blocks: list[np.ndarray] = []
        for block in source:
            blocks.append(block)
            if source.given > most:
                break
        return audio.Sound(np.concatenate(blocks)[:most], rate)


def compare(
    models: Mapping[str, Mimi],
    name: str,
    sound: audio.Sound,
    codebooks: Sequence[int],
    advance: Callable[[float], None] = lambda seconds: None,
) -> Comparison:
    """A clip and its versions: each model's with so many codebooks, as ``roundtrip`` makes them.

    Args:
        models: By the names that the page calls them.
        name: The clip's.
        sound: ``[T]`` in [-1, 1] at any rate, which its versions have too.
        codebooks: Numbers of them, which every model has.
        advance: Is told of the seconds of audio that are done, after each version.

    Raises:
        ValueError: The clip is silent, or a model has not so many codebooks.
    """
    check(name, sound)
    versions = []
    for model, mimi in models.items():
        clip = audio.resample(sound.samples, sound.sample_rate, mimi.sample_rate)
        codes = np.array(mimi.encode(clip, max(codebooks)))[0]
        for count in codebooks:
            decoded = np.array(mimi.decode(codes[:count], length=len(clip)))[0, 0]
            versions.append(version(mimi, model, sound, clip, codes[:count], decoded))
            advance(len(clip) / mimi.sample_rate)
    return Comparison(name, sound.sample_rate, sound.samples, versions)


def check(name: str, sound: audio.Sound) -> None:
    """A clip can be compared.

    Raises:
        ValueError: It is silent, or browsers do not play its rate.
    """
    check_rate(name, sound.sample_rate)
    if not sound.samples.any():
        raise ValueError(f"{name} is silent; there is nothing to hear. Choose another clip.")


def version(
    mimi: Mimi,
    model: str,
    sound: audio.Sound,
    clip: np.ndarray,
    codes: np.ndarray,
    decoded: np.ndarray,
) -> Version:
    """What became of a clip.

    Args:
        mimi: The model.
        model: What the page calls it.
        sound: The clip.
        clip: ``[T]``, the same at the model's rate.
        codes: ``[K, F]``, those of ``clip``.
        decoded: ``[T]``, what they decode to.
    """
    length = len(sound.samples)
    return Version(
        label=counted(len(codes), "codebook"),
        model=model,
        samples=audio.resample(decoded, mimi.sample_rate, sound.sample_rate, length),
        codes=codes,
        codebook_size=mimi.codebook_size,
        frame_rate=mimi.frame_rate,
        kbps=mimi.config.kbps(len(codes)),
        figures=quality.row_of(clip, decoded, mimi.sample_rate),
    )
