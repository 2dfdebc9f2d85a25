"""The step as it is run: whole clips as loops of long steps, live frames as one compiled step.

Steps are pure and lazy; only this file compiles and evaluates them. Output and new state are
evaluated together, so no lazy array crosses a thread and no graph grows.
"""

import collections
import contextlib
import functools
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import mlx.core as mx
import numpy as np

from ..arrays import Array
from ..files import reason
from ..model.codec import Codec
from ..model.ops import kernel_cache, linux, search, wavefront
from ..model.ops.device import Device, clips_at_once, is_gpu, long_step, measure, name, named, on
from . import halves, validation
from .halves import Half, Step
from .rows import State, padded, select, take

T = TypeVar("T")

# Steps of a length, of all streams in a thread, from which on it pays to compile them.
_WORTH_COMPILING = 6


class _Compiled(threading.local):
    """Each thread's compiled steps of a model.

    MLX keeps what it compiled by thread and by the function's address, and forgets it only in the
    thread that made the function. Shared between threads, the step of a model that is gone would
    live on, and answer for the next one at its address; and a thread that ends while the
    interpreter exits would abort it. So each thread makes its own, and they end with it.
    """

    def __init__(self) -> None:
        self.steps: dict[tuple[Half, bool], Step] = {}
        self.lengths: collections.Counter[tuple[Half, int, int]] = collections.Counter()

    def __reduce__(self) -> tuple[Any, ...]:  # a copy of a model begins with none
        return _Compiled, ()


class Runner:
    """Runs a codec's steps on a device: what whole clips, ragged batches and streams are made of.

    Any number of threads may use it. It keeps no stream's state.

    Args:
        codec: The network, whose weights are laid out for the device here and now.
        device: MLX's, or its name; None means MLX's default device.
    """

    def __init__(self, codec: Codec, device: Device | None = None):
        self.codec = codec
        self._device = named(device)
        self._compiled = _Compiled()
        with self.on_device():
            codec.pack()
            mx.eval(codec.parameters())
            measure()
            if "encoder" in codec:  # found out now, not in a step
                search.has_kernels(codec.quantizer.codebooks, codec.quantizer.num_semantic)
            if not is_gpu():
                linux.keep_freed_memory()
                linux.warn_of_slow_blas()

    def on_device(self) -> contextlib.AbstractContextManager[None]:
        """Run what is inside on this runner's device; afterwards MLX's default is as it was."""
        return on(self._device)

    @property
    def device(self) -> str:
        """The name of what it runs on, ``"cpu"`` or ``"gpu"``."""
        with self.on_device():
            return name()

    def encoder(self, num_codebooks: int) -> Half:
        """The half from samples ``[B, 1, T]`` to codes ``[B, num_codebooks, F]``."""
        return halves.encoder(self.codec, num_codebooks)

    def decoder(self) -> Half:
        """The half from codes ``[B, K, F]`` to samples ``[B, 1, 1920 F]``."""
        return halves.decoder(self.codec)

    def evaluate(self, make: Callable[[], T]) -> T:
        """What ``make`` gives, an array or a tree of them, made and computed on the device."""
        with self.on_device():
            made = make()
            mx.eval(made)
        return made

    def init_state(self, half: Half, batch_size: int) -> State:
        """The state of so many rows that have heard nothing.

        Raises:
            ValueError: The memory does not hold it.
        """
        return self.evaluate(lambda: self.lazy_state(half, batch_size))

    def lazy_state(self, half: Half, batch_size: int) -> State:
        """What :meth:`init_state` gives, and raises, but not computed."""
        with self.on_device():
            validation.fits_memory(batch_size, half.init_state(1))
            return half.init_state(batch_size)

    def reset(self, half: Half, state: State, rows: np.ndarray) -> State:
        """The state with a fresh one in the rows where ``rows [B]`` is true."""
        return self.evaluate(lambda: select(mx.array(rows), half.init_state(len(rows)), state))

    def run(self, half: Half, x: Array) -> mx.array:
        """Whole clips ``x``, time last: their output from a fresh state."""
        made = []
        for some in self._batches(half, x):
            clips = x[some]
            made.append(self.advance(half, clips, self.init_state(half, len(clips)))[0])
        return made[0] if len(made) == 1 else self.evaluate(lambda: mx.concatenate(made))

    def advance(
        self,
        half: Half,
        x: Array,
        state: State,
        mask: np.ndarray | None = None,
        before_step: Callable[[], None] = lambda: None,
    ) -> tuple[mx.array, State]:
        """A step of any length over ``x``, time last, made of long ones in the memory of two.

        Single frames run compiled, and so do other lengths that come again and again: they are
        few, and each is traced once. A ragged end runs as it is.

        Args:
            half: Which way.
            x: All rows' next input.
            state: What came before it.
            mask: ``[B]``, where rows take part; others keep their state and give ``nothing``.
            before_step: Called before long steps, and may raise to give them up.
        """
        extra = () if mask is None else (mx.array(mask),)
        outputs: list[mx.array] = []
        with self.on_device():
            self._expect(half, x)
            starts = _starts(half, x)
            while starts:
                before_step()
                with wavefront.streams(len(starts)) as streams:
                    pieces = [_piece(x, at, starts.step) for at in starts[: len(streams)]]
                    ys, state = self._steps(half, pieces, state, extra, streams)
                outputs += ys
                starts = starts[len(streams) :]
            y = outputs[0] if len(outputs) == 1 else mx.concatenate(outputs, axis=-1)
            mx.eval(y)
        return y, state

    def ragged(
        self,
        half: Half,
        x: Array,
        lengths: Sequence[int],
        before_step: Callable[[], None] = lambda: None,
    ) -> mx.array:
        """Rows of different lengths, each as if alone: ``nothing`` past a row's end."""
        x, ends, outputs = np.asarray(x), np.array(lengths), []
        for some in self._batches(half, x):
            outputs += self._together(half, x[some], ends[some], before_step)
        return mx.array(padded(outputs, half.nothing))

    def _batches(self, half: Half, x: Array) -> list[slice]:
        """The rows of whole clips, as many at once as the device takes."""
        with self.on_device():
            size = clips_at_once(-(-x.shape[-1] // half.unit))
        return [slice(row, row + size) for row in range(0, len(x), size)]

    def _together(
        self, half: Half, x: np.ndarray, ends: np.ndarray, before_step: Callable[[], None]
    ) -> list[np.ndarray]:
        """The outputs of rows that advance together up to where the shortest one ends.

        That is where it has no whole frame left. A row that ends there finishes alone, with its
        ragged frame if it has one; the others go on.
        """
        unit = half.unit
        rows, at = np.arange(len(ends)), 0
        done: list[list[np.ndarray]] = [[] for _ in ends]
        with self.on_device():
            state = self.lazy_state(half, len(ends))
            while rows.size:
                left = ends[rows] - at
                end = at + left.min() // unit * unit
                if end > at:
                    y, state = self.advance(half, x[rows, :, at:end], state, None, before_step)
                    for row, output in zip(rows, np.array(y), strict=True):
                        done[row].append(output)
                left -= end - at
                for i in np.flatnonzero((left > 0) & (left < unit)):
                    last = x[rows[i] : rows[i] + 1, :, end : ends[rows[i]]]
                    y, _ = self.advance(half, last, take(state, np.array([i])), None, before_step)
                    done[rows[i]].append(np.array(y[0]))
                keep = np.flatnonzero(left >= unit)
                rows, state, at = rows[keep], take(state, keep), end
        return [np.concatenate(parts, axis=-1) for parts in done]

    def lazy(self, half: Half, x: Array) -> mx.array:
        """What :meth:`run` gives, but not computed, so that ``mx.grad`` can differentiate it."""
        with self.on_device():
            state, outputs = self.lazy_state(half, x.shape[0]), []
            starts = _starts(half, x)
            for at in starts:
                y, state = half.step(_piece(x, at, starts.step), state, *half.arguments)
                outputs.append(y)
            return mx.concatenate(outputs, axis=-1)

    def cut(self, pcm: mx.array, ends: np.ndarray) -> mx.array:
        """Cut ``[B, 1, T]`` to its longest row's end; silence past the ``ends [B]`` of others."""
        longest = int(ends.max())
        if (ends == longest).all() and longest == pcm.shape[-1]:
            return pcm

        def cut() -> mx.array:
            past = mx.arange(longest) >= mx.array(ends)[:, None, None]
            return mx.where(past, 0.0, pcm[..., :longest])

        return self.evaluate(cut)

    def _expect(self, half: Half, x: Array) -> None:
        """Note the steps that so much input will take."""
        rows, length, lengths = x.shape[0], x.shape[-1], self._compiled.lengths
        long = _starts(half, x).step
        lengths[half, rows, long] += length // long
        if length % half.unit == 0:
            lengths[half, rows, length % long] += 1

    def _steps(
        self,
        half: Half,
        pieces: Sequence[mx.array],
        state: State,
        extra: tuple[mx.array, ...],
        streams: Sequence[mx.Stream | None],
    ) -> tuple[list[mx.array], State]:
        """Consecutive steps, each on its stream, evaluated together."""
        key, steps = (half, bool(extra)), self._compiled.steps
        plain, common = halves.bound(*key), [self._is_common(half, x) for x in pieces]
        if any(common) and key not in steps:
            steps[key] = compiled(plain)  # one for all that this thread runs; MLX traces by stream

        def run(often: Step) -> tuple[list[mx.array], State]:
            ys, after = [], state
            for x, stream, is_common in zip(pieces, streams, common, strict=True):
                with mx.stream(stream) if stream else contextlib.nullcontext():
                    y, after = (often if is_common else plain)(x, after, *extra)
                ys.append(y)
            mx.eval(ys, after)
            return ys, after

        often = steps.get(key, plain)
        try:
            return run(often)
        except RuntimeError as error:
            if is_gpu() or often is plain or not any(common):
                raise
            result = run(plain)  # fails if it is not the compiling
            _say_uncompiled(f"MLX cannot compile here ({reason(error)})")
            steps[key] = plain
            return result

    def _is_common(self, half: Half, x: mx.array) -> bool:
        """Whether steps of this length come often enough to compile them."""
        rows, length = x.shape[0], x.shape[-1]
        lengths = self._compiled.lengths
        return length == half.unit or lengths[half, rows, length] >= _WORTH_COMPILING


def _starts(half: Half, x: Array) -> range:
    """Where the long steps of clips ``x``, time last, begin: a range by their length."""
    return range(0, x.shape[-1], long_step(x.shape[0]) * half.unit)


def _piece(x: Array, start: int, size: int) -> mx.array:
    return mx.array(x[..., start : start + size])


def compiled(step: Step) -> Step:
    """A step as one graph of fused kernels; on a CPU that cannot compile safely, as it is."""
    if not is_gpu() and (problem := kernel_cache.problem()):
        _say_uncompiled(problem)
        return step
    return mx.compile(step)


@functools.cache
def _say_uncompiled(why: str) -> None:
    """Once for each reason."""
    warnings.warn(f"{why}: steps run uncompiled and slower", stacklevel=2)
