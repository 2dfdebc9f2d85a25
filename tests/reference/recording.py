"""Recordings of the reference: which clips, how they are thinned out, how they are kept.

What the recorder and the tests share, with NumPy alone.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile

HERE = Path(__file__).parent
SPEECH = HERE.parent / "speech"

# In the order of the codec. What a model gives at each, time on the second axis: [B, time, C].
STAGES = (
    "seanet encoder",
    "encoder transformer",
    "downsample",
    "dequantised",
    "upsample",
    "decoder transformer",
    "waveform",
)


class Clip(NamedTuple):
    """A part of a file of speech, and of which positions a recording keeps every how manyth."""

    file: str
    start: int = 0
    length: int | None = None
    stride: int = 11

    def read(self) -> np.ndarray:
        """float32 samples ``[1, 1, T]`` at 24 kHz."""
        frames = -1 if self.length is None else self.length
        path = SPEECH / f"{self.file}.flac"
        pcm, rate = soundfile.read(path, frames, self.start, dtype="float32")
        assert rate == 24000 and frames in (-1, len(pcm)), path
        return pcm[None, None]


class Recording(NamedTuple):
    """What the reference made of some clips.

    ``about`` tells versions, seed and command; ``arrays`` has ``"clip/stage"`` and
    ``"clip/codes"``.
    """

    about: dict[str, Any]
    clips: dict[str, Clip]
    arrays: dict[str, np.ndarray]

    def codes(self, clip: str) -> np.ndarray:
        """All codebooks' codes, ``[B, K, F]``, int32."""
        return self.arrays[f"{clip}/codes"].astype(np.int32)


def thin(x: np.ndarray, stride: int) -> np.ndarray:
    """Every ``stride``-th position of ``[B, time, C]``, counted from the end: the last is kept."""
    return x[:, ::-1][:, ::stride]


def save(name: str, recording: Recording) -> Path:
    """Keep a recording beside this file."""
    about = {**recording.about, "clips": {k: v._asdict() for k, v in recording.clips.items()}}
    path = HERE / f"{name}.npz"
    np.savez_compressed(path, about=np.array(json.dumps(about, indent=1)), **recording.arrays)
    return path


def load(name: str) -> Recording:
    """A recording that is kept beside this file."""
    with np.load(HERE / f"{name}.npz") as file:
        arrays = dict(file)
    about = json.loads(str(arrays.pop("about")))
    clips = {key: Clip(**fields) for key, fields in about.pop("clips").items()}
    return Recording(about, clips, arrays)
