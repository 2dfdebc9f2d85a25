"""Where a model is and of which type, in torch's words: what it is not, it does not become."""

from typing import Any

from ..model.config import shown
from ..model.ops.device import has_cuda

_TYPES = ("float32", "float64", "float16", "half", "bfloat16", "auto")


def check(device: Any, dtype: Any, runs_on: str) -> None:
    """A model that runs on ``runs_on`` would stay as it is; ``device`` may also be a type.

    Raises:
        ValueError: It would not.
    """
    if _word(device) in _TYPES:
        device, dtype = None, device
    check_float32(dtype)
    # What torch and MLX call what a model runs on.
    names = {"cpu": "cpu", "gpu": "gpu", "cuda" if has_cuda() else "mps": "gpu"}
    if device is not None and names.get(_word(device)) != runs_on:
        raise ValueError(
            f"device is {shown(device)}; this model runs on the {runs_on}, and stays there. "
            "Give from_pretrained device='cpu' or 'gpu'."
        )


def check_float32(dtype: Any) -> None:
    """A type is float32, under any library's name for it, ``"auto"`` or None.

    Raises:
        ValueError: It is not.
    """
    if dtype is not None and _word(dtype) not in ("float32", "auto"):
        raise ValueError(
            f"dtype is {shown(dtype)}; what flows through the model is float32. Leave it out; "
            "for smaller weights load a folder that `mimi-mlx convert` wrote."
        )


def _word(value: Any) -> str:
    """What a device or a type is called, be it a word, MLX's, NumPy's or torch's."""
    value = getattr(value, "type", value)
    return str(getattr(value, "__name__", value)).rpartition(".")[2]
