"""The step as it is run: whole clips as loops of long steps, live frames as one compiled step.

Everything else in the package is pure and lazy; only this file compiles and evaluates. Output and
new state are evaluated together, so no lazy array crosses a thread and no graph grows.
"""

import collections
import copy
import functools
import os
import shutil
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten, tree_map, tree_map_with_path

from . import saved as streamfile
from . import validation as check

if TYPE_CHECKING:
    from ..mimi import Mimi

Step = Callable[[mx.array, Any], tuple[mx.array, Any]]

# Frames in a long step. A GPU wants long ones; a CPU wants what a step makes to stay in its cache.
_LONG_STEP = {mx.DeviceType.gpu: 128, mx.DeviceType.cpu: 16}

# Steps of a length, of all streams in a thread, from which on it pays to compile them.
_WORTH_COMPILING = 6


def evaluate(*arrays: Any) -> None:
    """Compute arrays, or trees of them, now."""
    mx.eval(*arrays)


def long_step(rows: int) -> int:
    """Frames in a long step of so many rows on the current device: less of more, in one memory."""
    return max(1, _LONG_STEP[mx.default_device().type] // rows)


def lazy(step: Step, x: mx.array | np.ndarray, state: Any, unit: int) -> Iterator[tuple]:
    """``(y, state)`` of each long step of a clip, time last and ``unit`` elements a frame."""
    size = long_step(x.shape[0]) * unit
    for start in range(0, x.shape[-1], size):
        y, state = step(mx.array(x[..., start : start + size]), state)
        yield y, state


def advance(step: Step, x: mx.array | np.ndarray, state: Any, unit: int) -> tuple[mx.array, Any]:
    """A step of any length, made of long ones, in the memory of one."""
    outputs = []
    for y, state in lazy(step, x, state, unit):  # noqa: B020
        mx.eval(y, state)
        outputs.append(y)
    y = outputs[0] if len(outputs) == 1 else mx.concatenate(outputs, axis=-1)
    mx.eval(y)
    return y, state


class PerThread(threading.local):
    """Each thread's compiled steps of a model.

    MLX keeps what it compiled by thread and by the function's address, and forgets it only in the
    thread that made the function. Shared between threads, the step of a model that is gone would
    live on, and answer for the next one at its address; and a thread that ends while the
    interpreter exits would abort it. So each thread makes its own, and they end with it.
    """

    def __init__(self):
        self.steps: dict[tuple, Step] = {}
        self.lengths: collections.Counter = collections.Counter()

    def __reduce__(self):  # a copy of a model begins with none
        return PerThread, ()


class Stepper:
    """One half of the codec and the state it has reached: what both streams are made of.

    Args:
        mimi: The model.
        half: ``"encoder"`` or ``"decoder"``.
        batch_size: Rows.
        num_codebooks: K of an encoder.
    """

    def __init__(self, mimi: "Mimi", half: str, batch_size: int, num_codebooks: int | None = None):
        self.mimi = mimi
        self.half = half
        self.batch_size = check.batch_size(batch_size)
        self.num_codebooks = num_codebooks
        self.reset()

    @property
    def unit(self) -> int:
        """Elements of the input along time that make a frame."""
        return self.mimi.frame_size if self.half == "encoder" else 1

    def step(self, x: mx.array, state: Any) -> tuple[mx.array, Any]:
        """The pure step."""
        if self.half == "encoder":
            return self.mimi.encode_step(x, state, self.num_codebooks)
        return self.mimi.decode_step(x, state)

    def masked_step(self, x: mx.array, state: Any, mask: mx.array) -> tuple[mx.array, Any]:
        """The pure step of rows where ``mask [B]`` is true; others give -1 or silence."""
        y, after = self.step(x, state)
        nothing = mx.array(-1 if self.half == "encoder" else 0, y.dtype)
        return mx.where(mask[:, None, None], y, nothing), _select(mask, after, state)

    def advance(self, x: np.ndarray, mask: np.ndarray | None = None) -> mx.array:
        """Step over ``x``, time last, and keep the state that it leads to.

        Single frames run compiled, and so do other lengths that come again and again: they are
        few, and each is traced once. A ragged end runs as it is.
        """
        extra = () if mask is None else (mx.array(mask),)
        plain = self.masked_step if extra else self.step
        with self.mimi.on_device():
            self._expect(x.shape[-1])

            def step(x: mx.array, state: Any) -> tuple[mx.array, Any]:
                run = self._compiled(plain) if self._is_common(x.shape[-1]) else plain
                return run(x, state, *extra)

            y, self.state = advance(step, x, self.state, self.unit)
        return y

    def _expect(self, length: int) -> None:
        """Note the steps that so much input will take."""
        long = long_step(self.batch_size) * self.unit
        lengths = self.mimi.steps_in_thread.lengths
        lengths[self._key(long)] += length // long
        if length % self.unit == 0:
            lengths[self._key(length % long)] += 1

    def _is_common(self, length: int) -> bool:
        lengths = self.mimi.steps_in_thread.lengths
        return length == self.unit or lengths[self._key(length)] >= _WORTH_COMPILING

    def _key(self, *more: Any) -> tuple:
        return (self.half, self.num_codebooks, self.batch_size, *more)

    def _compiled(self, step: Step) -> Step:
        """The compiled step, one for all streams of a model in this thread."""
        steps = self.mimi.steps_in_thread.steps
        key = (self.half, self.num_codebooks, step.__name__)
        if key not in steps:
            _say_if_not_compiled()
            # The model keeps the step; the step must keep neither the model nor this state.
            twin = copy.copy(self)
            twin.mimi, twin.state = weakref.proxy(self.mimi), None
            steps[key] = mx.compile(getattr(twin, step.__name__))
        return steps[key]

    def reset(self, rows: Sequence[int] | None = None) -> None:
        """Fresh state for all rows, or for the given ones."""
        with self.mimi.on_device():
            fresh = getattr(self.mimi, f"init_{self.half}_state")(self.batch_size)
            if rows is not None:
                fresh = _select(mx.array(check.row_mask(rows, self.batch_size)), fresh, self.state)
            mx.eval(fresh)
        self.state = fresh

    def save(
        self, path: str | os.PathLike, num_codebooks: int, pending: np.ndarray, flushed: bool
    ) -> None:
        """Write the state, with what a stream adds to it."""
        streamfile.write(
            path,
            streamfile.SavedStream(
                self.half,
                self.mimi.fingerprint,
                self.batch_size,
                num_codebooks,
                flushed,
                mx.array(pending),
                dict(tree_flatten(self.state)),
            ),
        )

    def load(self, path: str | os.PathLike) -> streamfile.SavedStream:
        """Take a file's state, if it fits this model and shape; give the rest to the stream."""
        with self.mimi.on_device():
            saved = streamfile.read(path)
            check.saved_stream(path, saved, self)
            state = tree_map_with_path(lambda name, _: saved.state[name], self.state)
            mx.eval(state, saved.pending)
        self.state = state
        return saved


def _select(mask: mx.array, a: Any, b: Any) -> Any:
    """The state with rows of ``a`` where ``mask [B]`` is true and of ``b`` elsewhere."""

    def rows(x: mx.array, y: mx.array) -> mx.array:
        return mx.where(mask.reshape(-1, *[1] * (x.ndim - 1)), x, y)

    return tree_map(rows, a, b)


@functools.cache
def _say_if_not_compiled() -> None:
    """Once: on Linux's CPU, MLX compiles with the system's compiler and without it runs eagerly."""
    if mx.default_device().type == mx.DeviceType.cpu and not shutil.which("g++"):
        warnings.warn("no C++ compiler (g++) found: steps run uncompiled and slower", stacklevel=2)
