"""The page: its text, style and scripts are files beside this one, and the clips are data in it."""

import base64
import hashlib
import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from ..evaluation import quality
from ..text import printable

LONGEST = 1200
"""Seconds of sound that a page may hold, all versions of all clips together: some 60 MB."""

# Samples a second that every browser plays, in Hz.
_RATES = 8000, 96000

_SCRIPTS = ("player.js", "pictures.js", "abx.js", "page.js")


@dataclass(frozen=True)
class Version:
    """What became of a clip.

    Attributes:
        label: Such as "8 codebooks".
        model: What coded it, such as "kyutai/mimi".
        samples: ``[T]`` in [-1, 1], as many as the clip has and at its rate.
        codes: ``[K, F]``.
        codebook_size: Entries that a code chooses from.
        frame_rate: Frames a second.
        kbps: Thousands of bits a second of the codes.
        figures: By name, as :func:`mimi_mlx.evaluation.quality.row_of` gives them.
    """

    label: str
    model: str
    samples: np.ndarray
    codes: np.ndarray
    codebook_size: int
    frame_rate: float
    kbps: float
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """A clip, ``samples [T]`` in [-1, 1] at ``sample_rate`` Hz, and its versions."""

    name: str
    sample_rate: int
    samples: np.ndarray
    versions: Sequence[Version]


def page(clips: Sequence[Comparison]) -> str:
    """The page of clips, whole: HTML with its style, scripts and sound.

    Sound is FLAC of 16 bits: what is past [-1, 1] is clipped, and nothing is made louder.

    Raises:
        ValueError: There is nothing to compare, more sound than :data:`LONGEST`, a rate that
            browsers do not play, or a version that is not as long as its original.
    """
    if not clips:
        raise ValueError("there is no clip; a page is of at least one. Give a clip.")
    for clip in clips:
        _check(clip)
    check_length(len(clip.samples) / clip.sample_rate * (1 + len(clip.versions)) for clip in clips)
    data = {"heads": quality.HEADS, "clips": [_data(clip) for clip in clips]}
    parts = {
        "style": _style(),
        "script": _script(),
        "policy": policy(),
        # A "<" of a name could end the element that the data is in.
        "data": json.dumps(data, allow_nan=False).replace("<", "\\u003c"),
    }
    return re.sub(r"{{(\w+)}}", lambda found: parts[found[1]], _file("page.html"))


def policy(*others: str) -> str:
    """What a Content-Security-Policy says of the page's style and script: these, and ``others``."""
    sources = {"style-src": _hash(_style()), "script-src": _hash(_script())}
    return "; ".join(" ".join([kind, own, *others]) for kind, own in sources.items())


def check_length(seconds: Iterable[float]) -> None:
    """A page can hold sound of these lengths.

    Raises:
        ValueError: It cannot.
    """
    total = sum(seconds)
    if total > LONGEST:
        raise ValueError(
            f"the clips and all their versions are {total:.0f} s of sound; a page holds at most "
            f"{LONGEST} s. Give fewer clips or codebooks, or --seconds to cut the clips."
        )


def check_rate(name: str, sample_rate: int) -> None:
    """Browsers play sound of this rate.

    Raises:
        ValueError: Some do not.
    """
    if not _RATES[0] <= sample_rate <= _RATES[1]:
        raise ValueError(
            f"{name} has {sample_rate} samples a second; browsers play {_RATES[0]} to {_RATES[1]}. "
            "Resample it."
        )


def _check(clip: Comparison) -> None:
    check_rate(clip.name, clip.sample_rate)
    if not clip.versions:
        raise ValueError(f"{clip.name} has no version to compare it with. Give at least one.")
    for version in clip.versions:
        if np.shape(version.samples) != np.shape(clip.samples) or np.ndim(clip.samples) != 1:
            raise ValueError(
                f"{clip.name} has samples of shape {np.shape(clip.samples)} and its version "
                f"{version.label} {np.shape(version.samples)}; both must be the same [T]. Cut one."
            )


def _data(clip: Comparison) -> dict[str, Any]:
    """What the scripts read of a clip; the original is its first version."""
    original = {
        "label": "Original",
        "kbps": 16 * clip.sample_rate / 1000,
        "sound": _sound(clip.samples, clip.sample_rate),
    }
    versions = [_version(each, clip.sample_rate) for each in clip.versions]
    return {
        "name": printable(clip.name),
        "rate": clip.sample_rate,
        "seconds": len(clip.samples) / clip.sample_rate,
        "versions": [original, *versions],
    }


def _version(version: Version, sample_rate: int) -> dict[str, Any]:
    codes = np.asarray(version.codes)
    return {
        "label": version.label,
        "model": printable(version.model),
        "kbps": version.kbps,
        "sound": _sound(version.samples, sample_rate),
        "codes": _base64(codes.astype("<u2").tobytes()),
        "codebooks": len(codes),
        "size": version.codebook_size,
        "frameRate": version.frame_rate,
        # JSON has no infinity, and a figure may have no value.
        "figures": {k: x if math.isfinite(x) else None for k, x in version.figures.items()},
    }


def _sound(samples: np.ndarray, sample_rate: int) -> str:
    """Base64 of FLAC, in which samples are those that ``mimi-mlx roundtrip`` writes to one."""
    with io.BytesIO() as file:
        clipped = np.clip(samples, -1.0, 1.0)
        soundfile.write(file, clipped, sample_rate, format="FLAC", subtype="PCM_16")
        return _base64(file.getvalue())


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _hash(text: str) -> str:
    """By which a policy knows a script or a style, and lets no other in."""
    return f"'sha256-{_base64(hashlib.sha256(text.encode()).digest())}'"


def _style() -> str:
    return _file("page.css")


def _script() -> str:
    return "\n".join(map(_file, _SCRIPTS))


def _file(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
