"""Codes of one clip in arrays: .safetensors and .npz, which say all about them, and .npy.

codefile.py has the format of this package, .mimi.
"""

import tokenize
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors.numpy import save

from ..files import check_extension, open_safetensors, replacing


class CodedClip(NamedTuple):
    """The codes of a clip and what is known of their origin; None is unknown."""

    codes: np.ndarray
    """int32 ``[1, K, F]``."""
    samples: int | None = None
    """Samples of the clip at ``sample_rate``; the last frame may be only partly filled."""
    sample_rate: int | None = None
    """The model's rate in Hz."""
    source_rate: int | None = None
    """The rate in Hz of the file that was encoded."""
    source_samples: int | None = None
    """Samples of the file that was encoded, at its own rate."""
    fingerprint: str | None = None
    """That of the model which made the codes; another model's codes mean something else."""
    model: str | None = None
    """What the model was called."""


# What numpy raises for files that are damaged, or promise more than there is memory for.
_UNREADABLE = (
    ValueError,
    OSError,
    EOFError,
    MemoryError,
    RuntimeError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)

_NUMBERS = ("samples", "sample_rate", "source_rate", "source_samples")
_WORDS = ("fingerprint", "model")


def write(path: str | Path, clip: CodedClip) -> None:
    """Write a clip's codes in the format of the extension.

    Raises:
        ValueError: The extension is not known.
    """
    check_format(path)
    with replacing(path) as beside:
        FORMATS[beside.suffix.lower()][1](beside, clip)


def read(path: str | Path) -> CodedClip:
    """Read a clip's codes.

    Raises:
        ValueError: The file is missing, damaged, of another format, or does not hold the codes
            of one clip.
    """
    path = Path(path)
    check_format(path)
    if not path.is_file():
        raise ValueError(f"{path} is no file; codes come from one. Check the path.")
    clip = FORMATS[path.suffix.lower()][0](path)
    codes = clip.codes[None] if clip.codes.ndim == 2 else clip.codes
    if codes.ndim != 3 or codes.shape[0] != 1 or 0 in codes.shape or codes.dtype.kind not in "iu":
        raise ValueError(
            f"{path} has {clip.codes.dtype} {list(clip.codes.shape)}; the codes of a clip are "
            "integers [1, K, F] or [K, F]. Check which array was saved."
        )
    return clip._replace(codes=codes.astype(np.int32))


def check_format(path: str | Path) -> None:
    """The extension of ``path`` is one of a format for codes.

    Raises:
        ValueError: It is not.
    """
    check_extension(path, FORMATS, "codes are kept in")


def _write_safetensors(path: Path, clip: CodedClip) -> None:
    known = _known(clip) | {"num_codebooks": str(clip.codes.shape[1])}
    codes = np.ascontiguousarray(clip.codes, np.int32)
    path.write_bytes(save({"codes": codes}, metadata=known))


def _read_safetensors(path: Path) -> CodedClip:
    with open_safetensors(path, "Encode the clip again.") as file:
        names, known = list(file.keys()), file.metadata() or {}
        codes = file.get_tensor("codes") if "codes" in names else None
    if codes is None:
        raise ValueError(
            f"{path} has no tensor named codes, but {', '.join(sorted(names)[:3]) or 'none'}. "
            "Give a file that `mimi-mlx encode` wrote."
        )
    return _with_facts(path, codes, known)


def _known(clip: CodedClip) -> dict[str, str]:
    """What is known of a clip, in words."""
    return {k: str(v) for k, v in clip._asdict().items() if k != "codes" and v is not None}


def _with_facts(path: Path, codes: np.ndarray, known: dict[str, str]) -> CodedClip:
    """A clip and what is known of it; what else a file says is left out."""
    for key in _NUMBERS:
        if not known.get(key, "1").isascii() or not known.get(key, "1").isdigit():
            raise ValueError(
                f"{path} has {known[key]!r} for {key}; it must be a whole number. "
                "Encode the clip again."
            )
    numbers = {key: int(known[key]) for key in _NUMBERS if key in known}
    words = {key: known[key] for key in _WORDS if key in known}
    return CodedClip(codes, **numbers, **words)


def _write_npz(path: Path, clip: CodedClip) -> None:
    np.savez(path, codes=clip.codes.astype(np.int32), **_known(clip))


def _read_npz(path: Path) -> CodedClip:
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            raise ValueError("it is a single array")
        with found as file:
            arrays = {key: file[key] for key in file.files if key in CodedClip._fields}
    except _UNREADABLE as error:
        raise ValueError(
            f"{path} cannot be read as .npz ({error}). Encode the clip again."
        ) from error
    if "codes" not in arrays:
        raise ValueError(
            f"{path} has no array named codes. Give a file that `mimi-mlx encode` wrote."
        )
    return _with_facts(path, arrays.pop("codes"), {k: str(v) for k, v in arrays.items()})


def _write_npy(path: Path, clip: CodedClip) -> None:
    np.save(path, clip.codes.astype(np.int32))


def _read_npy(path: Path) -> CodedClip:
    try:
        with path.open("rb") as file:
            return CodedClip(np.lib.format.read_array(file, allow_pickle=False))
    except _UNREADABLE as error:
        raise ValueError(
            f"{path} cannot be read as .npy ({error}). Encode the clip again."
        ) from error


_Format = tuple[Callable[[Path], CodedClip], Callable[[Path, CodedClip], None]]

# Extension: how it is read, how it is written.
FORMATS: dict[str, _Format] = {
    ".safetensors": (_read_safetensors, _write_safetensors),
    ".npz": (_read_npz, _write_npz),
    ".npy": (_read_npy, _write_npy),
}
