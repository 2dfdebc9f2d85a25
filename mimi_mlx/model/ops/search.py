"""The search of the residual codebooks, level by level: a kernel a level on a GPU, or operations.

A level is four operations, and a GPU's step is as long as it has kernels. Those of our own are used
where they were seen to find what the operations find.
"""

import functools
import os
import warnings

import mlx.core as mx

from . import search_kernel
from .codebooks import Codebook, Codebooks
from .device import is_assumed, is_gpu
from .matmul import is_packed

SWITCH = "MIMI_MLX_KERNELS"
"""The environment variable that turns kernels off if it is 0."""

MOST_ROWS = 16
"""That kernels search for: each row reads the codebooks anew, where a matmul reads them once."""


def search(x: mx.array, books: Codebooks, count: int, num_semantic: int) -> mx.array:
    """The codes ``[B, count, F]``, int32, of latents ``[B, F, 2 D]`` of which both halves are seen.

    Each is the nearest entry of its codebook to what the levels before it left.

    Args:
        x: What the semantic codebooks search for, and the acoustic ones.
        books: The semantic codebooks, then the acoustic ones.
        count: The first so many codebooks.
        num_semantic: How many are semantic.
    """
    if x.shape[0] * x.shape[1] <= MOST_ROWS and has_kernels(books, num_semantic):
        return by_kernels(x, books, count)
    return by_operations(x, books, count, num_semantic)


def by_operations(x: mx.array, books: Codebooks, count: int, num_semantic: int) -> mx.array:
    """What :func:`search` gives, by MLX's operations."""
    levels = books.split(count)
    semantic, acoustic = mx.split(x, 2, axis=-1)
    codes = _descend(semantic, levels[:num_semantic]) + _descend(acoustic, levels[num_semantic:])
    return mx.stack([level.reshape(x.shape[:2]) for level in codes], axis=1).astype(mx.int32)


def by_kernels(x: mx.array, books: Codebooks, count: int) -> mx.array:
    """What :func:`search` gives with one semantic codebook, by kernels."""
    batch, frames, both = x.shape
    # Codes have no slope, and a kernel would refuse to be asked for one.
    latents = mx.stop_gradient(x).reshape(batch * frames, 2, both // 2)
    codes = search_kernel.search(latents, books.columns, books.biases[:count])
    return codes.reshape(batch, frames, count).swapaxes(1, 2)


def has_kernels(books: Codebooks, num_semantic: int) -> bool:
    """Whether kernels search these codebooks here; the first call with a size finds it out."""
    if not is_gpu() or os.environ.get(SWITCH) == "0":
        return False
    if num_semantic != 1 or is_packed(books.columns):
        return False
    return is_assumed() or _are_proven(*books.columns.shape[1:])


@functools.cache
def _are_proven(width: int, size: int) -> bool:
    """Whether kernels and operations agree on codebooks of whole numbers, whose sums are exact."""

    def drawn(seed: int, *shape: int) -> mx.array:
        return mx.random.randint(-8, 9, shape, key=mx.random.key(seed)).astype(mx.float32)

    books = Codebooks(3, size, width)
    books.columns = drawn(0, 3, width, size)
    books.biases = books.columns.square().sum(axis=1) / -2
    x = drawn(1, 1, 3, 2 * width)
    try:
        agree = mx.array_equal(by_kernels(x, books, 3), by_operations(x, books, 3, 1)).item()
        problem = "" if agree else "finds other codes than MLX's operations"
    except (RuntimeError, ValueError) as error:  # it does not compile, or is too large
        problem = f"does not run ({' '.join(str(error).split())[:200]})"
    if problem:
        warnings.warn(f"the quantiser's kernel {problem}: operations are used", stacklevel=2)
    return not problem


def _descend(residual: mx.array, books: list[Codebook]) -> list[mx.array]:
    """The codes ``[B * F]`` of each level, chosen on what the levels before it left."""
    residual = residual.flatten(0, 1)  # [B * F, D]
    codes: list[mx.array] = []
    for book in books:
        codes.append(mx.argmax(book.scores(residual), axis=-1))
        residual = residual - book.entry(codes[-1])  # lazy: nobody asks for the last one
    return codes
