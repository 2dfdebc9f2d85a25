"""Mimi, Kyutai's streaming neural audio codec, on MLX."""

from .model.ops.linux import prefer_openblas

prefer_openblas()

from .compat.features import MimiFeatureExtractor  # noqa: E402
from .compat.transformers import MimiModel  # noqa: E402
from .mimi import DecoderState, EncoderState, Mimi  # noqa: E402
from .model.config import MimiConfig  # noqa: E402
from .streaming.streams import DecoderStream, EncoderStream  # noqa: E402
from .streaming.worker import MimiWorker  # noqa: E402

__all__ = [
    "DecoderState",
    "DecoderStream",
    "EncoderState",
    "EncoderStream",
    "Mimi",
    "MimiConfig",
    "MimiFeatureExtractor",
    "MimiModel",
    "MimiWorker",
]
