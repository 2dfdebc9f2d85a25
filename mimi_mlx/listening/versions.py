"""What models make of a clip with so many codebooks."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    found = []
    for model, mimi in models.items():
        whole = functools.partial(_encoded, mimi), functools.partial(_decoded, mimi)
        for version in versions(mimi, model, sound, codebooks, *whole):
            found.append(version)
            advance(len(sound.samples) / sound.sample_rate)
    return Comparison(name, sound.sample_rate, sound.samples, found)


def check(name: str, sound: audio.Sound) -> None:
    """A clip can be compared.

    Raises:
        ValueError: It is silent, or browsers do not play its rate.
    """
    check_rate(name, sound.sample_rate)
    if not sound.samples.any():
        raise ValueError(f"{name} is silent; there is nothing to hear. Choose another clip.")


def versions(
    mimi: Mimi,
    model: str,
    sound: audio.Sound,
    codebooks: Sequence[int],
    encode: Callable[[np.ndarray, int], np.ndarray],
    decode: Callable[[np.ndarray], np.ndarray],
) -> Iterator[Version]:
    """What becomes of a clip with so many codebooks, one after the other.

    Args:
        mimi: The model.
        model: What the page calls it.
        sound: The clip.
        codebooks: Numbers of them.
        encode: Samples ``[T]`` and how many codebooks to codes ``[K, F]``.
        decode: Codes to samples, whole frames.
    """
    clip = audio.resample(sound.samples, sound.sample_rate, mimi.sample_rate)
    codes, length = encode(clip, max(codebooks)), len(sound.samples)
    for count in codebooks:
        decoded = decode(codes[:count])[: len(clip)]
        yield Version(
            label=counted(count, "codebook"),
            model=model,
            samples=audio.resample(decoded, mimi.sample_rate, sound.sample_rate, length),
            codes=codes[:count],
            codebook_size=mimi.codebook_size,
            frame_rate=mimi.frame_rate,
            kbps=mimi.config.kbps(count),
            figures=quality.row_of(clip, decoded, mimi.sample_rate),
        )


def _encoded(mimi: Mimi, clip: np.ndarray, codebooks: int) -> np.ndarray:
    return np.array(mimi.encode(clip, codebooks))[0]


def _decoded(mimi: Mimi, codes: np.ndarray) -> np.ndarray:
    return np.array(mimi.decode(codes))[0, 0]
