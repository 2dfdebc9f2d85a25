"""Faults planted in the search's kernel are found by the shim: it could not find ours otherwise."""

import os
import re
import subprocess
import sys
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from metal_shim import Shim
from paths import ROOT

from mimi_mlx.model.ops import search, search_kernel
from mimi_mlx.model.ops.codebooks import Codebooks

SIZE = (130, 20)  # entries, width: three threadgroups
LEVEL = search_kernel.SOURCES["level"]
BARRIER = "threadgroup_barrier(mem_flags::mem_threadgroup);"
OUTSIDE = "index .* of"

# What is put in place of what, and what the shim says; "codes" are found to be wrong.
FAULTS = {
    "no barrier before the scores": (f"{BARRIER}\n    {{", "{", "read before|race: read"),
    "no barrier after the sums": (f"{BARRIER}\n    if", "if", "read before|race: read"),
    "a barrier that some skip": ("if (lane == 0) {", f"{BARRIER} if (lane == 0) {{", "never come"),
    "a barrier in one of two places": (
        f"{BARRIER}\n    if",
        f"if (lane < 9) {{ {BARRIER} }}\n else {{ {BARRIER} }}\n if",
        "wait at different lines",
    ),
    "a shuffle that some lanes skip": (
        "int code = 0;\n        for",
        "int code = 0; if (lane > 8) code = simd_shuffle_xor(code, 1);\n        for",
        "wait at different lines",
    ),
    "threads that write what others write": ("residual[i] = left", "residual[0] = left", "race"),
    "threads that write what others read": (
        "sums[index] = sum",
        "sums[index] = sum; residual[index % WIDTH] = 0",
        "race: (two threads write|write what another reads)",
    ),
    "an output of each threadgroup": ("group == 0 && index == 0", "index == 0", "written twice"),
    "an output that is not written": ("if (lane == 0) {", "if (lane == 0 && group) {", "not writt"),
    "a row beyond": ("(size_t(level) * WIDTH + i)", "(size_t(level) * WIDTH + i + 1)", OUTSIDE),
    "an entry beyond": ("min(group * ENTRIES + i, SIZE - 1)", "group * ENTRIES + i", OUTSIDE),
    "another level's biases": ("biases[size_t(level)", "biases[size_t(level - 1)", "codes"),
    "another level's entry": ("columns[(size_t(level - 1)", "columns[(size_t(level)", "codes"),
    "a part left out": ("int part = 0", "int part = 1", "codes"),
    "the last of equals": ("its < code", "its > code", "codes"),
    "a tree of half the lanes": ("int step = 16", "int step = 8", "codes"),
}


def books_and_latents() -> tuple[Codebooks, mx.array]:
    """Of whole numbers, whose many equal scores are exact."""
    draw, (entries, width) = np.random.default_rng(0), SIZE
    books = Codebooks(4, *SIZE)
    books.columns = mx.array(draw.integers(-1, 2, (4, width, entries)).astype(np.float32))
    books.biases = books.columns.square().sum(axis=1) / -2
    return books, mx.array(draw.integers(-1, 2, (2, 4, 2 * width)).astype(np.float32))


def with_fault(name: str) -> str:
    old, new, _ = FAULTS[name]
    assert old in LEVEL
    return LEVEL.replace(old, new)


def search_by_kernels(count: int = 4) -> mx.array:
    books, x = books_and_latents()
    return search.by_kernels(x, books, count)


@pytest.fixture(scope="module")
def shim(tmp_path_factory) -> Shim:
    made = Shim(tmp_path_factory.mktemp("faults"), ["-O0"])

    def all_faults() -> None:
        for level in (LEVEL, *map(with_fault, FAULTS)):
            with made.kernels(level=level):
                search_by_kernels()

    made.collect(all_faults)
    return made


def found(shim: Shim, level: str) -> str:
    """What the shim says of a level's kernel, or that codes are wrong, or nothing."""
    books, x = books_and_latents()
    with shim.kernels(level=level):
        try:
            codes = search_by_kernels()
        except RuntimeError as error:
            return str(error)
    right = mx.array_equal(codes, search.by_operations(x, books, 4, 1)).item()
    return "" if right else "codes"


def test_nothing_is_found_where_nothing_is(shim):
    assert not found(shim, LEVEL)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found(shim, name):
    assert re.search(FAULTS[name][2], found(shim, with_fault(name)))


# Under the sanitizers, first as it is, and then with an index beyond threadgroup memory.
SANITIZED = """
import sys
from pathlib import Path
import test_search_faults as faults

flags = ["-O0", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
shim = faults.Shim(Path(sys.argv[1]), flags)
beyond = faults.LEVEL.replace("fma(residual[i]", "fma(residual[i + 1]")
assert beyond != faults.LEVEL

def both():
    for level in (faults.LEVEL, beyond):
        with shim.kernels(level=level):
            faults.search_by_kernels()

shim.collect(both)
print("right" if not faults.found(shim, faults.LEVEL) else "wrong", flush=True)
faults.found(shim, beyond)
print("nothing was found")
"""


@pytest.mark.slow
def test_under_the_sanitizers(shim, tmp_path):
    asks = ["g++", "-print-file-name=libasan.so", "-print-file-name=libstdc++.so"]
    asked = [subprocess.check_output([asks[0], ask], text=True).strip() for ask in asks[1:]]
    if not all(map(os.path.isabs, asked)):
        pytest.skip("g++ has no sanitizers")
    paths = [ROOT, ROOT / "tests" / "support", Path(__file__).parent]
    done = subprocess.run(
        [sys.executable, "-c", SANITIZED, tmp_path],
        env=os.environ
        | {"LD_PRELOAD": " ".join(asked), "ASAN_OPTIONS": "detect_leaks=0"}
        | {"PYTHONPATH": os.pathsep.join(map(str, paths))},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "right\n", done.stderr
    assert done.returncode and ("residual" in done.stderr or "out of bounds" in done.stderr)
