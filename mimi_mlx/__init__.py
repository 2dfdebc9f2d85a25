"""Mimi, Kyutai's streaming neural audio codec, on MLX."""

import signal
import sys

# Python was told to run this package, and looks for it: until it is there, Ctrl-C just ends it.
if (
    getattr(sys, "argv", [])[:1] == ["-m"]
    and "-m" in sys.orig_argv
    and "".join(sys.orig_argv[sys.orig_argv.index("-m") :][1:2]).split(".")[0] == "mimi_mlx"
    and signal.getsignal(signal.SIGINT) == signal.default_int_handler
):
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import importlib
from typing import TYPE_CHECKING, Any

from .model.ops.linux import prefer_openblas

prefer_openblas()  # before anything imports mlx.core

if TYPE_CHECKING:
    from .compat.features import MimiFeatureExtractor
    from .compat.transformers import MimiModel
    from .mimi import Mimi
    from .model.codec import DecoderState, EncoderState
    from .model.config import MimiConfig
    from .streaming.streams import DecoderStream, EncoderStream
    from .streaming.worker import MimiWorker

    __version__: str

# Each is imported when it is first asked for: `mimi-mlx --help` needs none of them.
_HOMES = {
    "DecoderState": ".model.codec",
    "DecoderStream": ".streaming.streams",
    "EncoderState": ".model.codec",
    "EncoderStream": ".streaming.streams",
    "Mimi": ".mimi",
    "MimiConfig": ".model.config",
    "MimiFeatureExtractor": ".compat.features",
    "MimiModel": ".compat.transformers",
    "MimiWorker": ".streaming.worker",
}

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


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("mimi_mlx")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found = getattr(importlib.import_module(_HOMES[name], __name__), name)
    return found
