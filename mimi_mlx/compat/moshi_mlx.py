"""The call shapes of moshi_mlx's ``Mimi``, over :class:`mimi_mlx.Mimi` and its streams.

A program changes its import, and nothing else::

    from mimi_mlx.compat.moshi_mlx import Mimi, mimi_202407

    mimi = Mimi(mimi_202407(32))
    mimi.load_pytorch_weights("tokenizer-e351c8d8-checkpoint125.safetensors")

What differs: the codes are PyTorch's, whole clips' too; ``encode``, ``decode`` and ``warmup``
leave the state of the steps alone; ``reset_state`` resets all of it, as ``reset_all`` does; a step
takes any number of samples and gives no frame, ``[B, K, 0]``, until one is complete; memory does
not grow.

Source: moshi_mlx 0.3.0, ``models/mimi.py``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from ..arrays import ArrayLike
from ..mimi import Mimi as Model
from .steps import Steps


@dataclass(frozen=True)
class MimiConfig:
    """What moshi_mlx's configuration says here: how many codebooks are used."""

    quantizer_nq: int


def mimi_202407(num_codebooks: int) -> MimiConfig:
    """The configuration of Kyutai's Mimi with the first ``num_codebooks`` codebooks."""
    return MimiConfig(num_codebooks)


class Mimi:
    """moshi_mlx's interface to a :class:`mimi_mlx.Mimi`, its field ``mimi`` once it is loaded.

    Shapes: B rows, T samples, K codebooks, F frames.

    Args:
        cfg: What ``mimi_202407`` gave, this module's or moshi_mlx's own.
    """

    def __init__(self, cfg: Any):
        self.cfg = cfg
        self._steps: Steps | None = None

    def load_pytorch_weights(self, file: str | Path, strict: bool = True) -> "Mimi":
        """Load Kyutai's tokenizer file, or whatever :meth:`mimi_mlx.Mimi.from_pretrained` takes.

        Args:
            file: A ``.safetensors`` file in any published layout, a folder, a Hub id, ``"tiny"``.
            strict: As in moshi_mlx, the file has no more codebooks than are used.

        Raises:
            ValueError: There is no such file, it is not Mimi's, or it has too few codebooks, or
                with ``strict`` too many.
        """
        steps = Steps(Model.from_pretrained(file), self.cfg.quantizer_nq)
        count, most = steps.num_codebooks, steps.mimi.num_codebooks
        if strict and count != most:
            raise ValueError(
                f"{file} has {most} codebooks, {count} are used; strict wants all. "
                f"Give mimi_202407({most}), or strict=False."
            )
        self._steps = steps
        return self

    @property
    def mimi(self) -> Model:
        """The model."""
        return self._loaded().mimi

    def encode(self, xs: ArrayLike) -> mx.array:
        """A whole clip ``[B, 1, T]`` to codes ``[B, K, ceil(T / 1920)]``, uint32."""
        return _unsigned(self.mimi.encode(xs, self.cfg.quantizer_nq))

    def decode(self, xs: ArrayLike) -> mx.array:
        """A whole clip's codes ``[B, K, F]``, of any K, to samples ``[B, 1, 1920 F]``, float32."""
        return self.mimi.decode(xs)

    def encode_step(self, xs: ArrayLike) -> mx.array:
        """The next samples ``[B, 1, T]`` to codes ``[B, K, F]`` of what they complete, uint32."""
        return _unsigned(self._loaded().encode(xs))

    def decode_step(self, xs: ArrayLike) -> mx.array:
        """The next codes ``[B, K, F]`` to samples ``[B, 1, 1920 F]``, float32."""
        return self._loaded().decode(xs)

    def reset_all(self) -> None:
        """Begin anew both ways; the next steps may have another number of rows."""
        self._loaded().reset()

    reset_state = reset_all

    def warmup(self) -> None:
        """Compile a step of one row each way, so that the first one is as fast as the rest."""
        silence = np.zeros((1, 1, self.mimi.frame_size), np.float32)
        codes = self.mimi.encoder_stream(num_codebooks=self.cfg.quantizer_nq).push(silence)
        self.mimi.decoder_stream().push(codes)

    @property
    def frame_rate(self) -> float:
        """Frames a second: 12.5."""
        return self.mimi.frame_rate

    @property
    def sample_rate(self) -> int:
        """Samples a second: 24000."""
        return self.mimi.sample_rate

    def _loaded(self) -> Steps:
        if self._steps is None:
            raise ValueError(
                "this Mimi has no weights yet; only with them is it a codec. Call "
                "load_pytorch_weights first."
            )
        return self._steps


def _unsigned(codes: mx.array) -> mx.array:
    codes = codes.astype(mx.uint32)
    mx.eval(codes)
    return codes
