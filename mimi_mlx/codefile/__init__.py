"""The .mimi file: codes on disk and in pipes, readable while it grows and after damage.

docs/mimi-format.md specifies the format. Shapes: K codebooks, F frames.
"""

import os
from typing import Any, NamedTuple

import numpy as np

from ..atomic import replacing
from ..files import check_file, put
from .header import Header
from .reader import File, Reader
from .writer import Writer, pack

__all__ = ["CodeFile", "Header", "Reader", "Writer", "read", "write"]


class CodeFile(NamedTuple):
    """All of a .mimi file."""

    codes: np.ndarray
    """int32 ``[1, K, F]``: every frame of every good block."""
    samples: int
    """What they stand for, at the model's rate: the length to cut the decoded clip to."""
    header: Header
    damage: str | None
    """What is wrong with the file, in one line; None if it is whole."""


def read(file: File, num_codebooks: int | None = None) -> CodeFile:
    """Read all of a .mimi file, whole or damaged; arguments and errors are :class:`Reader`'s."""
    with Reader(file, num_codebooks) as reader:
        none = np.zeros((reader.num_codebooks, 0), np.int32)
        codes = np.concatenate([none, *reader], axis=1)
        return CodeFile(codes[None], reader.samples, reader.header, reader.damage)


def write(file: File, codes: Any, header: Header, samples: int | None = None) -> None:
    """Write the codes of a clip; at a path there is then the whole file, or what was before.

    Args:
        file: A path, or a binary file to write to.
        codes: ``[1, K, F]`` or ``[K, F]``, of numpy or MLX: integers from 0 to
            ``2 ** header.bits_per_code - 1``.
        header: What to say of them; its counts are not read.
        samples: Of the clip, whose last frame may be only partly filled; None means whole frames.

    Raises:
        ValueError: The codes or ``samples`` are not as above.
    """
    check_file(file, "write")
    data = pack(codes, header, samples)
    if isinstance(file, (str, os.PathLike)):
        with replacing(file) as new:
            put(new, data)
    else:
        put(file, data)
