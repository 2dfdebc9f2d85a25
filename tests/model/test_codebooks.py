"""Scores and entries of codebooks, packed and not."""

import mlx.core as mx
import numpy as np
import pytest
from products import assert_close, noise

from mimi_mlx.model.ops import device
from mimi_mlx.model.ops.codebooks import Codebooks


@pytest.fixture(autouse=True)
def without_gpu(monkeypatch):
    """As a CPU does it, whatever this machine has."""
    monkeypatch.setattr(device, "is_gpu", lambda: False)


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("width, size", [(256, 2048), (32, 1024), (8, 36)])
def test_scores_and_entries_of_codebooks(rows, width, size):
    x, columns, biases = noise(rows, width), noise(3, width, size), noise(3, size)
    codes = mx.array(np.random.default_rng(0).integers(size, size=(2, 3, rows)))
    books = Codebooks(3, size, width)
    books.columns, books.biases = columns, biases
    for _ in ("plain", "packed"):
        book = books.split(2)[1]
        expected = np.array(x, np.float64) @ np.array(columns[1], np.float64)
        assert_close(book.scores(x), expected + np.array(biases[1]))
        assert_close(book.entry(codes[0, 0]), np.array(columns[1][:, codes[0, 0]].T))
        found = books.lookup(codes)
        for k in range(3):
            for b in range(2):
                assert mx.array_equal(found[b, k], columns[k][:, codes[b, k]])
        np.testing.assert_array_equal(books.entries, np.array(columns).swapaxes(1, 2))
        books.pack()


def test_packed_codebooks():
    books = Codebooks(2, 128, 8)
    books.pack()
    packed_once = books.columns
    assert packed_once.shape == (2, 2, 8, 64)
    books.pack()
    assert books.columns is packed_once
