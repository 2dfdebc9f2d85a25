"""The call shape of transformers' feature extractor for Mimi: clips to one padded batch.

Source: transformers 5.23, ``EncodecFeatureExtractor``. Departures are marked.
"""

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from ..arrays import Array, ArrayLike, host, is_one_of, kind, whole
from ..checkpoint import hub
from ..files import read_json
from ..model.config import shown


class Fields:
    """A base of dataclasses whose fields are also keys, but those that are None."""

    def keys(self) -> list[str]:
        """The names of the fields that are not None."""
        return [name for name, value in vars(self).items() if value is not None]

    def __getitem__(self, key: str) -> Any:
        if key not in self.keys():
            raise KeyError(key)
        return getattr(self, key)

    def __iter__(self):
        return iter(self.keys())


@dataclass(frozen=True, eq=False)
class MimiFeatures(Fields):
    """What the feature extractor gave: by name, by key, and as ``**keywords``.

    float32 ``input_values [B, 1, T]``, and int32 ``padding_mask [B, T]``, 1 where a sample is real.
    """

    input_values: Array
    padding_mask: Array


@dataclass(frozen=True)
class MimiFeatureExtractor:
    """Checks clips and lays them side by side as a batch. Nothing is resampled or mixed down.

    Attributes:
        feature_size: Channels: 1.
        sampling_rate: The rate in Hz that clips must have.
        padding_value: What rows are filled up with.
        padding_side: ``"right"`` or ``"left"``, where.
    """

    feature_size: int = 1
    sampling_rate: int = 24000
    padding_value: float = 0.0
    padding_side: str = "right"

    def __post_init__(self):
        rate, padding = self.sampling_rate, self.padding_value
        for name, fits, rule in (
            ("feature_size", whole(self.feature_size) == 1, "1: Mimi has 1 channel"),
            ("sampling_rate", (whole(rate) or 0) > 0, "a whole number of Hz, 1 or more"),
            (
                "padding_value",
                isinstance(padding, Real) and -1 <= padding <= 1,
                "from -1 to 1, as samples are",
            ),
            ("padding_side", is_one_of(self.padding_side, ("right", "left")), "'right' or 'left'"),
        ):
            if not fits:
                raise ValueError(
                    f"{name} is {shown(getattr(self, name))}; it must be {rule}. "
                    "Correct preprocessor_config.json."
                )

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        revision: str | None = None,
        local_files_only: bool = False,
    ) -> "MimiFeatureExtractor":
        """Read the preprocessor_config.json beside a model; without one, take the model's rate.

        Args:
            name_or_path: As for :meth:`Mimi.from_pretrained`.
            revision: The same.
            local_files_only: The same.

        Raises:
            ValueError: There is no such model, or its file asks for what Mimi cannot take.
        """
        config, files = hub.find(name_or_path, revision, local_files_only=local_files_only)
        path = files[0].parent / "preprocessor_config.json"
        if not os.path.lexists(path):
            return cls(sampling_rate=config.sampling_rate)
        values = read_json(path, "Fetch it again.")
        if values.get("chunk_length_s") is not None and values.get("overlap") is not None:
            raise ValueError(
                f"{path} asks for chunks of {shown(values['chunk_length_s'])} s; mimi_mlx encodes "
                "whole clips. Set chunk_length_s to null."
            )
        known = cls.__dataclass_fields__
        return cls(**{key: value for key, value in values.items() if key in known})

    def __call__(
        self,
        raw_audio: ArrayLike | Sequence[ArrayLike],
        padding: bool | str | None = None,
        truncation: bool | None = False,
        max_length: int | None = None,
        return_tensors: str | None = None,
        sampling_rate: int | None = None,
    ) -> MimiFeatures:
        """One clip ``[T]``, or a list of them, to ``input_values [B, 1, T]`` and a mask ``[B, T]``.

        Args:
            raw_audio: Samples in [-1, 1], of any floating type; they become float32.
            padding: None, True or ``"longest"``: to the longest clip; ``"max_length"``: to at least
                ``max_length``; False or ``"do_not_pad"``: not at all.
            truncation: Cut clips to ``max_length``. Not together with a ``padding`` that is given.
            max_length: In samples.
            return_tensors: ``"mlx"`` for MLX arrays; None or ``"np"`` for numpy's.
            sampling_rate: The rate of ``raw_audio`` in Hz. Without it nothing can be checked, and
                a warning says so.

        Raises:
            ValueError: Another rate, another shape or type, or rows of unequal length.
        """
        if sampling_rate is None:
            warnings.warn(
                f"no sampling_rate given: the audio is taken to be at {self.sampling_rate} Hz. "
                "Pass sampling_rate to have it checked.",
                stacklevel=2,
            )
        elif not (isinstance(sampling_rate, Real) and sampling_rate == self.sampling_rate):
            raise ValueError(
                f"sampling_rate is {shown(sampling_rate)}; this model takes "
                f"{self.sampling_rate} Hz. Resample the audio first."
            )
        if not (return_tensors is None or is_one_of(return_tensors, ("np", "mlx"))):
            raise ValueError(
                f"return_tensors is {shown(return_tensors)}; here arrays are of np or mlx. "
                "Use 'mlx', which every method here takes."
            )
        if truncation and not (padding is None or padding is False):
            raise ValueError(
                "padding and truncation are both set; only one may be. With truncation leave "
                "padding out: what is shorter is padded then too."
            )
        clips = [_mono(clip) for clip in _as_list(raw_audio)]
        if truncation:
            clips = [clip[: _need_length("truncation=True", max_length)] for clip in clips]
        size = _row_size(padding, max_length, clips)
        values = np.full((len(clips), 1, size), self.padding_value, np.float32)
        real = np.zeros((len(clips), size), np.int32)
        for clip, row, mask in zip(clips, values[:, 0], real, strict=True):
            at = slice(len(clip)) if self.padding_side == "right" else slice(-len(clip), None)
            row[at], mask[at] = clip, 1
        make = mx.array if return_tensors == "mlx" else np.asarray
        return MimiFeatures(make(values), make(real))


def _as_list(raw_audio: Any) -> Sequence[Any]:
    """One clip as a list of one."""
    many = isinstance(raw_audio, list | tuple)
    if many and not raw_audio:
        raise ValueError("raw_audio is an empty list; it must hold a clip. Give at least one.")
    return raw_audio if many and not np.isscalar(raw_audio[0]) else [raw_audio]


def _mono(clip: Any) -> np.ndarray:
    """A clip as float32 ``[T]``, T at least 1."""
    samples = host("raw_audio", clip)
    if samples.ndim != 1 or not samples.size:
        raise ValueError(
            f"raw_audio has a clip of shape {samples.shape}; it must be [T] with at least one "
            "sample, one channel. Mix channels down, and give several clips as a list."
        )
    # Differs from transformers: integers are refused, for they are hardly ever in [-1, 1].
    if samples.dtype.kind != "f":
        raise ValueError(
            f"raw_audio is {kind(clip, samples)}; samples must be floats in [-1, 1]. "
            "Convert them to float32; divide int16 by 32768."
        )
    return samples.astype(np.float32)


def _need_length(what: str, max_length: int | None) -> int:
    length = whole(max_length)
    if length is None or length < 1:
        raise ValueError(
            f"max_length is {shown(max_length)}; {what} needs one, in samples. Give 1 or more."
        )
    return length


def _row_size(padding: bool | str | None, max_length: int | None, clips: list[np.ndarray]) -> int:
    """The length of every row, shorter clips being filled up to it."""
    if padding is None or padding is True or is_one_of(padding, ["longest"]):
        least = max(map(len, clips))
    elif is_one_of(padding, ["max_length"]):
        least = _need_length("padding='max_length'", max_length)
    elif padding is False or is_one_of(padding, ["do_not_pad"]):
        least = 0
    else:
        raise ValueError(
            f"padding is {shown(padding)}; it must be True, False, 'longest', 'max_length' or "
            "'do_not_pad'. Leave it out to pad to the longest clip."
        )
    # Differs from transformers: it gives a list of unequal rows here, which no model takes.
    lengths = sorted({max(least, len(clip)) for clip in clips})
    if len(lengths) > 1:
        raise ValueError(
            f"the rows have {lengths} samples; a batch needs one length. Use padding=True."
        )
    return lengths[0]
