"""Kernels of ``mx.fast.metal_kernel`` and ``mx.fast.cuda_kernel`` on a CPU, by metal_shim.h.

The same source string is compiled by g++, and the same arguments are given to it.
"""

import contextlib
import ctypes
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import pytest

from mimi_mlx.model.ops.search_kernel import INPUTS, KERNELS, OUTPUTS, SOURCES

# isort: split
import mlx.core as mx

HEADER = Path(__file__).with_name("metal_shim.h")

_TYPES = {mx.float32: ("float", np.float32), mx.int32: ("int", np.int32)}

# Wraps one kernel: its body is between the parts.
_START = """
namespace {name} {{
{constants}
static Running body({parameters}) {{
#define float Float
"""
_END = """
#undef float
    co_return;
}}
}}
extern "C" const char* run_{name}(
    void** data, const long* sizes, const int** shapes, unsigned char** written,
    unsigned x, unsigned y, unsigned z, int threads, unsigned seed) {{
    return run_grid({{x, y, z}}, threads, seed, [&] {{ return {name}::body({arguments}); }});
}}
"""


class Spec(NamedTuple):
    """A kernel as it is compiled: for these types and template arguments."""

    source: str
    inputs: tuple[tuple[str, mx.Dtype], ...]
    outputs: tuple[tuple[str, mx.Dtype], ...]
    template: tuple[tuple[str, int], ...]

    def code(self, name: str) -> str:
        parameters, arguments = [], []
        for i, (array, dtype) in enumerate(self.inputs):
            parameters += [f"Input<{_TYPES[dtype][0]}> {array}", f"const int* {array}_shape"]
            arguments += [f"{{(const {_TYPES[dtype][0]}*)data[{i}], sizes[{i}]}}", f"shapes[{i}]"]
        for i, (array, dtype) in enumerate(self.outputs, len(self.inputs)):
            parameters.append(f"Output<{_TYPES[dtype][0]}> {array}")
            arguments.append(
                f"{{({_TYPES[dtype][0]}*)data[{i}], sizes[{i}], written[{i - len(self.inputs)}]}}"
            )
        constants = "\n".join(f"constexpr int {key} = {value};" for key, value in self.template)
        words = {
            "name": name,
            "constants": constants,
            "parameters": ", ".join(parameters),
            "arguments": ", ".join(arguments),
        }
        return _START.format(**words) + self.source + _END.format(**words)


class Shim:
    """Makes kernels; all that were called while :meth:`collect` ran are compiled at once.

    Args:
        folder: Where g++ may write.
        flags: More of them for g++.
        header: That of the kernels, if they are CUDA's.
    """

    def __init__(self, folder: Path, flags: Sequence[str] = (), header: str = ""):
        if sys.platform != "linux":
            pytest.skip("the shim of Metal is for Linux; a Mac has Metal")
        if not shutil.which("g++"):
            pytest.skip("no C++ compiler (g++) found")
        self.folder, self.header = folder, header
        self.flags = [*flags, *["-DSHIM_OF_CUDA"] * bool(header)]
        self.seed = 0
        self._functions: dict[Spec, Callable] = {}
        self._wanted: list[Spec] | None = None

    def collect(self, call: Callable[[], object]) -> None:
        """Compile the kernels that a call calls, which get arrays of zeros meanwhile."""
        self._wanted = []
        call()
        specs, self._wanted = list(dict.fromkeys(self._wanted)), None
        file, library = self.folder / "kernels.cpp", self.folder / "kernels.so"
        code = [f'#include "{HEADER}"', self.header]
        code += [spec.code(f"k{i}") for i, spec in enumerate(specs)]
        file.write_text("\n".join(code))
        command = ["g++", "-std=c++20", "-O1", "-march=native", "-shared", "-fPIC", *self.flags]
        subprocess.run([*command, "-o", library, file], check=True, timeout=300)
        loaded = ctypes.CDLL(str(library))
        for i, spec in enumerate(specs):
            self._functions[spec] = loaded[f"run_k{i}"]
            self._functions[spec].restype = ctypes.c_char_p

    @contextlib.contextmanager
    def kernels(self, **sources: str) -> Iterator[None]:
        """Have the search's kernels run here, some of them of another source."""
        own = {
            kind: self.kernel(sources.get(kind, source), INPUTS[kind], OUTPUTS[kind])
            for kind, source in SOURCES.items()
        }
        with mock.patch.dict(KERNELS, own):
            yield

    def kernel(
        self, source: str, input_names: Sequence[str], output_names: Sequence[str]
    ) -> Callable[..., list[mx.array]]:
        """What ``mx.fast.metal_kernel`` gives."""

        def call(*, inputs, template, grid, threadgroup, output_shapes, output_dtypes):
            spec = Spec(
                source,
                tuple((name, x.dtype) for name, x in zip(input_names, inputs, strict=True)),
                tuple(zip(output_names, output_dtypes, strict=True)),
                tuple(template),
            )
            outputs = [
                np.zeros(shape, _TYPES[dtype][1])
                for shape, dtype in zip(output_shapes, output_dtypes, strict=True)
            ]
            if self._wanted is None:
                self._run(spec, inputs, outputs, grid, threadgroup)
            else:
                self._wanted.append(spec)
            return [mx.array(x) for x in outputs]

        return call

    def _run(self, spec, inputs, outputs, grid, threadgroup) -> None:
        assert threadgroup[1:] == (1, 1) and grid[0] % threadgroup[0] == 0
        given = [np.ascontiguousarray(np.asarray(x)) for x in inputs]
        arrays = [*given, *outputs]
        written = [np.zeros(x.size, np.uint8) for x in outputs]
        shapes = [np.array(x.shape, np.int32) for x in given]
        groups = grid[0] // threadgroup[0], *grid[1:]
        error = self._functions[spec](
            (ctypes.c_void_p * len(arrays))(*(x.ctypes.data for x in arrays)),
            (ctypes.c_long * len(arrays))(*(x.size for x in arrays)),
            (ctypes.c_void_p * len(shapes))(*(x.ctypes.data for x in shapes)),
            (ctypes.c_void_p * len(written))(*(x.ctypes.data for x in written)),
            *(*groups, threadgroup[0], self.seed),
        )
        if error:
            raise RuntimeError(error.decode())
        if not all(x.all() for x in written):
            raise RuntimeError("an output is not written")
