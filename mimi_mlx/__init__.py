"""Mimi, Kyutai's streaming neural audio codec, on MLX."""

from .blas import prefer_openblas

prefer_openblas()

from .compat.features import MimiFeatureExtractor  # noqa: E402
from .compat.transformers import MimiModel  # noqa: E402
from .config import MimiConfig  # noqa: E402
from .mimi import DecoderState, EncoderState, Mimi  # noqa: E402
from .streaming import DecoderStream, EncoderStream  # noqa: E402

__all__ = [
    "DecoderState",
    "DecoderStream",
    "EncoderState",
    "EncoderStream",
    "Mimi",
    "MimiConfig",
    "MimiFeatureExtractor",
    "MimiModel",
]
