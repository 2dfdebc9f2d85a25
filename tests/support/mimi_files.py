"""Codes, and .mimi files of them."""

import io

import numpy as np

from mimi_mlx.codefile import Header, Writer

MARK = "0123456789abcdef"


def some_codes(count: int, frames: int, bits: int = 11, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 2**bits, (count, frames)).astype(np.int32)


def written(codes: np.ndarray, header: Header, samples: int | None = None, **options) -> bytes:
    file = io.BytesIO()
    with Writer(file, header, **options) as writer:
        writer.write(codes)
        writer.close(samples)
    return file.getvalue()
