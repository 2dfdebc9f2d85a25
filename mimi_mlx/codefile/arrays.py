"""Codes of one clip in arrays: .safetensors and .npz, which say all about them, and .npy.

A clip is what the .mimi file of this package gives too, a :class:`CodeFile`.
"""

import contextlib
import math
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from safetensors.numpy import save

from ..atomic import replacing
from ..files import check_extension, open_safetensors, put
from . import CodeFile, Header
from .reader import check_count

# What numpy and zipfile raise for files that are damaged.
_UNREADABLE = (
    *(ValueError, TypeError, OverflowError, OSError, EOFError, MemoryError, RuntimeError),
    *(tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)

LARGEST = 24 * 3600 * 25 // 2 * 32 * 8
"""Bytes that a small .npz may unpack to: the codes of a day, 32 a frame of 64 bits each."""

# A larger one may unpack to so many times its size: codes of 11 bits never do, in 64 bits either.
_MOST_PACKED = 16

_NUMBERS = ("samples", "sample_rate", "source_rate", "source_samples")
_WORDS = ("fingerprint", "model")
_METADATA = ("model", "source_samples")  # what a header has no field for

Facts = dict[str, str]  # what a file says of its codes, in words


def write(path: str | Path, clip: CodeFile) -> None:
    """Write a clip's codes in the format of the extension.

    Of the header's metadata, ``model`` is kept, and ``source_samples``: those of the file that was
    encoded, at its own rate.

    Raises:
        ValueError: The extension is not known.
    """
    check_extension(path, FORMATS, "codes are kept in")
    header = clip.header
    known = {
        "samples": clip.samples,
        "sample_rate": header.sample_rate,
        "source_rate": header.source_rate,
        "source_samples": header.metadata.get("source_samples"),
        "fingerprint": header.fingerprint,
        "model": header.metadata.get("model"),
    }
    facts = {key: str(value) for key, value in known.items() if value is not None}
    with replacing(path) as file:
        FORMATS[Path(path).suffix.lower()][1](file, clip.codes.astype(np.int32), facts)


def read(path: str | Path, num_codebooks: int | None = None) -> CodeFile:
    """Read a clip's codes, of the first ``num_codebooks``; None means all.

    No file says how long its frames are, and .npy says nothing at all: the header then has what
    every published Mimi has. Its metadata may have what :func:`write` keeps.

    Raises:
        ValueError: The file is missing, damaged, of another format, does not hold the codes of
            one clip, or holds fewer codebooks.
    """
    path = Path(path)
    check_extension(path, FORMATS, "codes are kept in")
    if not path.is_file():
        raise ValueError(f"{path} is no file; codes come from one. Check the path.")
    stored, facts = FORMATS[path.suffix.lower()][0](path)
    said = _with_numbers(path, facts)
    _check_kind(path, stored.dtype.name, stored.shape)
    codes = stored[None] if stored.ndim == 2 else stored
    if codes.min() < -1 or codes.max() >= 2**16:
        worst = codes.max() if codes.max() >= 2**16 else codes.min()
        raise ValueError(
            f"{path} has {worst}; a code is from 0 to {2**16 - 1}. Check which array was saved."
        )
    try:
        header = Header(
            codes.shape[1],
            sample_rate=said.get("sample_rate", Header.sample_rate),
            frames=codes.shape[2],
            samples=said.get("samples"),
            source_rate=said.get("source_rate"),
            fingerprint=said.get("fingerprint"),
            metadata={key: said[key] for key in _METADATA if key in said},
        )
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    count = check_count(num_codebooks, header.num_codebooks, str(path))
    whole = codes.shape[2] * header.frame_size
    samples = whole if header.samples is None else header.samples
    return CodeFile(codes[:, :count].astype(np.int32), samples, header, None)


def _with_numbers(path: Path, facts: Facts) -> dict[str, Any]:
    """What a file says, numbers as such."""
    said: dict[str, Any] = dict(facts)
    for key in (key for key in _NUMBERS if key in facts):
        value = facts[key]
        if not value.isascii() or not value.isdigit():
            raise ValueError(
                f"{path} has {value!r} for {key}; it must be a whole number. Encode the clip again."
            )
        said[key] = int(value)
    return said


def _write_safetensors(file: IO[bytes], codes: np.ndarray, facts: Facts) -> None:
    facts = facts | {"num_codebooks": str(codes.shape[1])}
    put(file, save({"codes": np.ascontiguousarray(codes)}, metadata=facts))


def _read_safetensors(path: Path) -> tuple[np.ndarray, Facts]:
    with open_safetensors(path, "Encode the clip again.") as file:
        names, facts = sorted(file.keys()), file.metadata() or {}
        if "codes" not in names:
            raise _no_codes(path, f"tensor named codes, but {', '.join(names[:3]) or 'none'}")
        promised = file.get_slice("codes")  # numpy has not all types and shapes that there are
        _check_kind(path, promised.get_dtype(), promised.get_shape())
        return file.get_tensor("codes"), facts


def _write_npz(file: IO[bytes], codes: np.ndarray, facts: Facts) -> None:
    np.savez(file, codes=codes, **facts)  # type: ignore[arg-type]  # none is numpy's allow_pickle


def _read_npz(path: Path) -> tuple[np.ndarray, Facts]:
    with _reading(path), zipfile.ZipFile(path) as archive:
        members = {member.filename: member for member in archive.infolist()}
        most = max(LARGEST, _MOST_PACKED * path.stat().st_size)
        arrays = {}
        for key in ("codes", *_NUMBERS, *_WORDS):
            if member := members.get(f"{key}.npy"):
                _check_packing(member, most)
                with archive.open(member) as file:
                    arrays[key] = _read_array(file, member.file_size)
    if "codes" not in arrays:
        raise _no_codes(path, "array named codes")
    return arrays.pop("codes"), {key: str(value) for key, value in arrays.items()}


def _write_npy(file: IO[bytes], codes: np.ndarray, facts: Facts) -> None:
    np.save(file, codes)


def _read_npy(path: Path) -> tuple[np.ndarray, Facts]:
    with _reading(path), path.open("rb") as file:
        return _read_array(file, path.stat().st_size), {}


def _check_packing(member: zipfile.ZipInfo, most: int) -> None:
    """A member is packed as numpy does it, and unpacks to no more than it may."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{member.filename} is packed in another way than numpy's")
    if member.file_size > most:
        raise ValueError(
            f"{member.filename} unpacks to {member.file_size} bytes; codes take at most {most}"
        )


def _read_array(file: IO[bytes], size: int) -> np.ndarray:
    """The array in a .npy file of ``size`` bytes, which are compared with what it promises."""
    version = np.lib.format.read_magic(file)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read_header is None:
        raise ValueError(f"version {version} of .npy is not for numbers")
    shape, _, dtype = read_header(file)
    if any(length < 0 for length in shape) or dtype.itemsize == 0:
        raise ValueError(f"an array of {dtype} {list(shape)} is none")
    there = size - file.tell()
    if math.prod(shape) * dtype.itemsize > there:
        raise ValueError(f"it promises {dtype} {list(shape)}, but holds {there} bytes")
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """What numpy raises inside is one ValueError."""
    try:
        yield
    except _UNREADABLE as error:
        why = " ".join(str(error).split())[:200]  # some of numpy's have several lines
        raise ValueError(
            f"{path} cannot be read as {path.suffix.lower()} ({why}). Encode the clip again."
        ) from error


def _check_kind(path: Path, dtype: str, shape: Sequence[int]) -> None:
    """An array is of integers, by numpy's or safetensors' name of their type, and one clip's."""
    is_clip = len(shape) == 2 or (len(shape) == 3 and shape[0] == 1)
    if not is_clip or 0 in shape or dtype[0].lower() not in "iu":
        raise ValueError(
            f"{path} has {dtype} {list(shape[:9])}; the codes of a clip are integers [1, K, F] or "
            "[K, F]. Check which array was saved."
        )


def _no_codes(path: Path, what: str) -> ValueError:
    return ValueError(f"{path} has no {what}. Give a file that `mimi-mlx encode` wrote.")


_Read = Callable[[Path], tuple[np.ndarray, Facts]]
_Write = Callable[[IO[bytes], np.ndarray, Facts], None]

# Extension: how it is read, how it is written.
FORMATS: dict[str, tuple[_Read, _Write]] = {
    ".safetensors": (_read_safetensors, _write_safetensors),
    ".npz": (_read_npz, _write_npz),
    ".npy": (_read_npy, _write_npy),
}
