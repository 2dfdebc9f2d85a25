"""The search by kernels finds what the search by operations finds; on a CPU, by metal_shim.h."""

import functools
import warnings
from collections.abc import Iterator
from unittest import mock

import mlx.core as mx
import numpy as np
import pytest
from metal_shim import Shim
from models import unpacked_tiny

from mimi_mlx import Mimi
from mimi_mlx.model.ops import search, search_kernel
from mimi_mlx.model.ops.codebooks import Codebooks
from mimi_mlx.model.ops.device import assume_gpu

# Entries and width: the full size's, tiny's, one that nothing divides, and one whose threadgroups
# are more than 32.
FULL, TINY, ODD, WIDE = (2048, 256), (2048, 32), (130, 20), (2200, 3)


@pytest.fixture(scope="module")
def shim(tmp_path_factory) -> Shim:
    made = Shim(tmp_path_factory.mktemp("shim"))

    def all_sizes() -> None:
        for size in (FULL, TINY, ODD, WIDE):
            search.by_kernels(latents(1, size), codebooks(3, size), 3)

    with made.kernels():
        made.collect(all_sizes)
    return made


@pytest.fixture
def gpu(shim, monkeypatch) -> Iterator[Shim]:
    """A GPU, as far as the search asks: its kernels run in the shim."""
    monkeypatch.setattr(search, "is_gpu", lambda: True)
    search._are_proven.cache_clear()
    with shim.kernels():
        yield shim
    search._are_proven.cache_clear()


def codebooks(count: int, size: tuple[int, int], whole: int = 0) -> Codebooks:
    """Random ones, each level finer than the one before; or of whole numbers up to ``whole``."""
    draw, (entries, width) = np.random.default_rng(0), size
    books, shape = Codebooks(count, *size), (count, width, entries)
    drawn = draw.normal(size=shape) * 0.9 ** np.arange(count)[:, None, None]
    if whole:
        drawn = draw.integers(-whole, whole + 1, shape)
    books.columns = mx.array(drawn.astype(np.float32))
    books.biases = books.columns.square().sum(axis=1) / -2
    return books


def latents(frames: int, size: tuple[int, int], batch: int = 1, whole: int = 0) -> mx.array:
    draw, shape = np.random.default_rng(1), (batch, frames, 2 * size[1])
    drawn = draw.integers(-whole, whole + 1, shape) if whole else draw.normal(size=shape)
    return mx.array(drawn.astype(np.float32))


def check(x: mx.array, books: Codebooks, count: int) -> np.ndarray:
    found = np.array(search.by_kernels(x, books, count))
    np.testing.assert_array_equal(found, search.by_operations(x, books, count, 1))
    assert found.dtype == np.int32
    return found


@pytest.mark.parametrize(
    ("size", "batch", "frames", "count"),
    [
        *((ODD, batch, frames, k) for batch, frames in ((1, 1), (2, 3)) for k in (1, 2, 3, 12)),
        *((WIDE, 2, 1, 3), (TINY, 1, 1, 32), (TINY, 16, 1, 2), (FULL, 1, 1, 8), (FULL, 1, 3, 3)),
    ],
)
def test_codes_are_those_of_the_operations(gpu, size, batch, frames, count):
    check(latents(frames, size, batch), codebooks(count, size), count)


@pytest.mark.slow
@pytest.mark.parametrize("size", [FULL, TINY])
def test_every_number_of_rows_and_of_codebooks(gpu, size):
    books, x = codebooks(32, size), latents(search.MOST_ROWS, size)
    codes = check(x, books, 32)
    for rows in range(1, search.MOST_ROWS):
        np.testing.assert_array_equal(check(x[:, :rows], books, 6), codes[:, :6, :rows])
    for count in range(1, 32):
        np.testing.assert_array_equal(check(x[:, :1], books, count), codes[:, :count, :1])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [ODD, WIDE])
def test_the_first_of_equal_entries_wins(gpu, monkeypatch, seed, size):
    """Whole numbers have exact sums, and so many equal scores; threads run in another order."""
    monkeypatch.setattr(gpu, "seed", seed)
    books = codebooks(4, size, whole=1)
    books.columns = mx.concatenate([books.columns[:, :, size[0] // 2 :]] * 2, axis=2)
    books.biases = mx.concatenate([books.biases[:, size[0] // 2 :]] * 2, axis=1)
    assert check(latents(3, size, whole=1), books, 4).max() < size[0] // 2


def test_a_score_does_not_depend_on_the_other_rows(gpu):
    x, books = latents(3, TINY), codebooks(3, TINY)

    def scores(x: mx.array) -> np.ndarray:
        seen, level = [], search_kernel.KERNELS["level"]
        keep = {"level": lambda **given: seen.append(made := level(**given)) or made}
        with mock.patch.dict(search_kernel.KERNELS, keep):
            search.by_kernels(x, books, 3)
        return np.array(seen[0][2])

    alone = [scores(x[:, i : i + 1]) for i in range(3)]
    assert scores(x).tobytes() == np.concatenate(alone).tobytes()


@pytest.mark.parametrize("worst", [np.nan, np.inf, -np.inf, 3e38])
def test_numbers_that_are_not_finite_read_nothing_outside(gpu, worst):
    """The shim raises where an index is outside of an array."""
    x = np.array(latents(4, ODD))
    x[0, 0], x[0, 1, ::3], x[0, 2, -1] = worst, worst, worst
    books = codebooks(3, ODD)
    codes = np.array(search.by_kernels(mx.array(x), books, 3))
    assert (codes >= 0).all() and (codes < ODD[0]).all()
    np.testing.assert_array_equal(codes[..., 3], check(latents(4, ODD), books, 3)[..., 3])


def test_the_same_source_in_cuda(tmp_path):
    other = Shim(tmp_path, ["-O0"], search_kernel.CUDA)
    x, books = latents(2, ODD), codebooks(4, ODD)
    with other.kernels():
        other.collect(lambda: search.by_kernels(x, books, 4))
        check(x, books, 4)


@pytest.mark.skipif(not mx.is_available(mx.gpu), reason="this machine has no GPU")
@pytest.mark.parametrize("size", [FULL, TINY, ODD])
@pytest.mark.parametrize("rows", [1, 7, 16])
def test_on_this_machines_gpu(size, rows):
    """Metal's or CUDA's."""
    with mx.stream(mx.gpu):
        check(latents(rows, size), codebooks(32, size), 32)


# The gate


def test_kernels_search_for_few_rows(gpu, monkeypatch):
    codec, calls = unpacked_tiny(), []
    kernels = search.search_kernel.search
    monkeypatch.setattr(
        search.search_kernel,
        "search",
        lambda *given: calls.append(len(given[0])) or kernels(*given),
    )
    assert search.has_kernels(codec.quantizer.codebooks, 1)  # which is proven once
    calls.clear()
    x = mx.random.normal((2, 9, codec.config.hidden_size), key=mx.random.key(0))
    for frames in (1, 8, 9):
        found = codec.quantizer.encode(x[:, :frames], 3)
        monkeypatch.setenv(search.SWITCH, "0")
        np.testing.assert_array_equal(found, codec.quantizer.encode(x[:, :frames], 3))
        monkeypatch.delenv(search.SWITCH)
    assert calls == [2, 16]


def test_two_semantic_codebooks_are_searched_by_operations(gpu):
    assert not search.has_kernels(codebooks(3, ODD), 2)


def test_packed_codebooks_are_searched_by_operations(gpu, tiny):
    books = codebooks(3, TINY)
    with mock.patch.object(search, "is_gpu", lambda: False):
        books.pack()
    assert search.is_packed(books.columns) and not search.has_kernels(books, 1)


def test_kernels_that_agree_say_nothing(gpu):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert search.has_kernels(codebooks(3, TINY), 1)


@pytest.mark.parametrize("fault", ["disagrees", "does not compile"])
def test_kernels_that_fail_are_told_once_and_not_used(gpu, fault):
    def broken(**given):
        if fault == "does not compile":
            raise RuntimeError("[metal::Device] Unable to build\nprogram_source:1")
        return [mx.zeros(shape, mx.int32) for shape in given["output_shapes"]]

    codec = unpacked_tiny()
    said = {"disagrees": "finds other codes", "does not compile": "Unable to build program_source"}
    told = pytest.warns(UserWarning, match=f"{said[fault]}.*: operations are used")
    with mock.patch.dict(search_kernel.KERNELS, last=broken), told as warned:
        mimi = Mimi(codec)
        for _ in range(2):
            assert not search.has_kernels(codebooks(3, TINY), 1)
    assert len(warned) == 1
    assert mimi.encode(np.zeros(1920, np.float32)).shape == (1, 16, 1)


# What MLX makes of it


def test_kernels_of_other_words_have_other_names(monkeypatch):
    """MLX keeps what it compiled under a kernel's name, also of the package's version before."""
    monkeypatch.setattr(search_kernel, "has_cuda", lambda: True)
    monkeypatch.setattr(mx.fast, "cuda_kernel", lambda name, *given: name)
    before = search_kernel._built("level")
    monkeypatch.setattr(search_kernel, "CUDA", search_kernel.CUDA + "\n")
    assert search_kernel._built("level") != before


def test_gradients_do_not_ask_kernels_for_theirs():
    """MLX makes kernels without a GPU inside an export alone; theirs would raise."""
    codec = unpacked_tiny()
    x = mx.zeros((1, 1, codec.config.hidden_size))

    def loss(x: mx.array) -> mx.array:
        return (codec.quantizer.decode(codec.quantizer.encode(x, 3)) + x).sum()

    seen = []
    with assume_gpu():
        mx.export_function(seen.append, mx.grad(loss), x)
    assert seen


PLACES = {
    "simdgroup_index_in_threadgroup": "uint",
    "thread_index_in_simdgroup": "uint",
    "thread_position_in_threadgroup": "uint3",
    "threadgroup_position_in_grid": "uint3",
    "threadgroups_per_grid": "uint3",
}


@pytest.mark.skipif(mx.cuda.is_available(), reason="this machine's kernels are CUDA's")
def test_the_signature_that_mlx_makes_is_what_the_bodies_rely_on(capfd):
    kernels = {
        kind: functools.partial(kernel, verbose=True)
        for kind, kernel in search_kernel.KERNELS.items()
    }

    def by_kernels(x: mx.array) -> mx.array:
        return search.by_kernels(x, codebooks(3, TINY), 3)

    with mock.patch.dict(search_kernel.KERNELS, kernels):
        mx.export_function(lambda _: None, by_kernels, latents(8, TINY))
    made = capfd.readouterr().out.split("Generated source code for ")[1:]
    assert [text.split("_search_")[1].split("_")[0] for text in made] == ["first", "level", "last"]
    for kind, text in zip(search_kernel.SOURCES, made, strict=True):
        head, parameters = text[: text.index(") {")].split("(", 1)
        assert "template <int WIDTH, int SIZE, int ENTRIES, int PARTS, int THREADS>" in head
        source, expected = search_kernel.SOURCES[kind], []
        for name in search_kernel.INPUTS[kind]:
            dtype = "int32_t" if name in ("entries", "before") else "float"
            expected.append(f"const device {dtype}* {name}")
            if f"{name}_shape" in source:
                expected.append(f"const constant int* {name}_shape")
        for name in search_kernel.OUTPUTS[kind]:
            dtype = "int32_t" if name in ("codes", "best_entries") else "float"
            expected.append(f"device {dtype}* {name}")
        expected += [f"{PLACES[name]} {name}" for name in PLACES if name in source]
        assert [p.split(" [[")[0].strip() for p in parameters.split(",\n")] == expected
        assert source in text
