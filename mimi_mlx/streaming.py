"""Streams: buffering, the compiled step, and whole clips as loops of long steps.

Everything else in the package is pure and lazy; only this file compiles and evaluates. Output and
new state are evaluated together, so no lazy array crosses a thread and no graph grows.
"""

import copy
import functools
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np
from mlx.utils import tree_map

from . import check

if TYPE_CHECKING:
    from .mimi import DecoderState, EncoderState, Mimi

Step = Callable[[mx.array, Any], tuple[mx.array, Any]]

# Frames in a long step. A GPU wants long ones; a CPU wants what a step makes to stay in its cache.
_LONG_STEP = {mx.DeviceType.gpu: 250, mx.DeviceType.cpu: 12}


def evaluate(*arrays: Any) -> None:
    """Compute arrays, or trees of them, now."""
    mx.eval(*arrays)


def long_step() -> int:
    """Frames in a long step on the current device."""
    return _LONG_STEP[mx.default_device().type]


# Whole clips


def lazy(step: Step, x: mx.array | np.ndarray, state: Any, unit: int) -> Iterator[tuple]:
    """Cut a clip, time last and ``unit`` elements a frame, into long steps: ``(y, state)`` of each."""
    size = long_step() * unit
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


def ragged(step: Step, pcm: Any, lengths: list[int], state: Any, unit: int) -> mx.array:
    """Codes of rows of different lengths, each as if alone: ``[B, K, F]``, -1 past a row's end.

    The rows advance together up to where the shortest one has no whole frame left. A row that
    ends there finishes alone, with its ragged frame if it has one; the others go on.
    """
    rows, at = np.arange(len(lengths)), 0
    done: list[list[np.ndarray]] = [[] for _ in lengths]
    while rows.size:
        left = np.array([lengths[row] for row in rows]) - at
        end = at + left.min() // unit * unit
        if end > at:
            y, state = advance(step, pcm[mx.array(rows), :, at:end], state, unit)
            for row, codes in zip(rows, np.array(y), strict=True):
                done[row].append(codes)
        left -= end - at
        for i in np.flatnonzero((0 < left) & (left < unit)):
            last = mx.array(pcm[rows[i] : rows[i] + 1, :, end : lengths[rows[i]]])
            y, _ = step(last, _take(state, [i]))
            done[rows[i]].append(np.array(y[0]))
        keep = np.flatnonzero(left >= unit)
        rows, state, at = rows[keep], _take(state, keep), end
    codes = [np.concatenate(parts, axis=-1) for parts in done]
    frames = max(row.shape[-1] for row in codes)
    pads = [((0, 0), (0, frames - row.shape[-1])) for row in codes]
    return mx.array(
        np.stack([np.pad(*p, constant_values=-1) for p in zip(codes, pads, strict=True)])
    )


def cut(pcm: mx.array, ends: np.ndarray) -> mx.array:
    """Cut ``[B, 1, T]`` to its longest row's end; silence past the ends of the others."""
    longest = int(ends.max())
    if (ends == longest).all() and longest == pcm.shape[-1]:
        return pcm
    past = mx.arange(longest) >= mx.array(ends)[:, None, None]
    pcm = mx.where(past, 0.0, pcm[..., :longest])
    mx.eval(pcm)
    return pcm


# Streams


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

    def advance(self, x: np.ndarray, mask: Sequence[bool] | None = None) -> mx.array:
        """Step over whole frames, single ones compiled, and keep the state they lead to."""
        extra = () if mask is None else (mx.array(check.mask(mask, self.batch_size)),)
        plain = self.masked_step if extra else self.step

        def step(x: mx.array, state: Any) -> tuple[mx.array, Any]:
            single = x.shape[-1] == self.unit
            return (self._compiled(plain) if single else plain)(x, state, *extra)

        with self.mimi.on_device():
            y, self.state = advance(step, x, self.state, self.unit)
        return y

    def _compiled(self, step: Step) -> Step:
        """The compiled step, one for all streams of a model."""
        steps = self.mimi.compiled_steps
        key = (self.half, self.num_codebooks, step.__name__)
        if key not in steps:
            _say_if_not_compiled()
            # A copy without state: the compiled step must not keep this stream's memory.
            twin = copy.copy(self)
            twin.state = None
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


class EncoderStream:
    """Encodes audio as it comes: any cutting gives the codes of the whole clip.

    Made by :meth:`Mimi.encoder_stream`. One thread at a time may use a stream; any number of
    threads may use streams of one model.
    """

    def __init__(self, mimi: "Mimi", batch_size: int = 1, num_codebooks: int | None = None):
        count = check.num_codebooks(num_codebooks, mimi.config)
        self._stepper = Stepper(mimi, "encoder", batch_size, count)
        self.reset()

    def push(self, pcm: mx.array | np.ndarray, mask: Sequence[bool] | None = None) -> mx.array:
        """Take the next samples, give the codes ``[B, K, F]`` of every frame that is now complete.

        Args:
            pcm: ``[B, 1, T]`` (for one row also ``[1, T]`` or ``[T]``), float32; T may be 0.
            mask: For each row, whether it takes part. A row that does not keeps its state, and
                its codes are -1. Such a push is of whole frames.

        Raises:
            ValueError: Another shape, type or batch size, NaN, or a push after :meth:`flush`.
        """
        if self._flushed:
            raise ValueError(
                "push after flush: this clip has ended. Call reset(), or make a new stream."
            )
        pcm = np.asarray(check.pcm(pcm))
        check.rows("pcm", pcm.shape[0], self._stepper.batch_size)
        check.finite(pcm)
        pcm = np.concatenate([self._pending, pcm], axis=-1)
        rest = pcm.shape[-1] % self._stepper.unit
        if mask is not None and (rest or self._pending.size):
            raise ValueError(
                f"a masked push with {pcm.shape[-1]} samples waiting; rows may part ways only "
                f"between frames. Push whole frames of {self._stepper.unit} samples."
            )
        codes = self._none()
        if pcm.shape[-1] > rest:
            codes = self._stepper.advance(pcm[..., : pcm.shape[-1] - rest], mask)
        self._pending = pcm[..., pcm.shape[-1] - rest :].copy()
        return codes

    def flush(self) -> mx.array:
        """End the clip: the codes of its ragged last frame, ``[B, K, 1]``, or of none, ``[B, K, 0]``."""
        if self._flushed:
            raise ValueError("flush after flush: this clip has ended. Call reset() to begin anew.")
        codes = self._none()
        if self._pending.size:
            codes = self._stepper.advance(self._pending)
        self._pending = self._pending[..., :0]
        self._flushed = True
        return codes

    def reset(self, rows: Sequence[int] | None = None) -> None:
        """Begin anew: all rows, or the given ones alone."""
        if rows is not None and (self._pending.size or self._flushed):
            raise ValueError(
                "reset(rows=...) inside a frame or after flush; single rows can begin anew only "
                "between frames. Push whole frames, or reset all rows."
            )
        self._stepper.reset(rows)
        if rows is None:
            self._pending = np.zeros((self._stepper.batch_size, 1, 0), np.float32)
            self._flushed = False

    def clone(self) -> "EncoderStream":
        """An independent stream that goes on from here."""
        return _clone(self)

    @property
    def state(self) -> "EncoderState":
        """What the model remembers; the samples of an unfinished frame are not in it."""
        return self._stepper.state

    def _none(self) -> mx.array:
        return mx.zeros((self._stepper.batch_size, self._stepper.num_codebooks, 0), mx.int32)


class DecoderStream:
    """Decodes codes as they come: any cutting gives the waveform of the whole.

    Made by :meth:`Mimi.decoder_stream`. One thread at a time may use a stream; any number of
    threads may use streams of one model.
    """

    def __init__(self, mimi: "Mimi", batch_size: int = 1):
        self._stepper = Stepper(mimi, "decoder", batch_size)
        self.reset()

    def push(self, codes: mx.array | np.ndarray, mask: Sequence[bool] | None = None) -> mx.array:
        """Take the next frames ``[B, K, F]`` (or ``[K, F]``), give their samples ``[B, 1, 1920 F]``.

        Args:
            codes: Integers from 0 to ``codebook_size`` - 1; F may be 0. K is as in the first push.
            mask: For each row, whether it takes part. A row that does not keeps its state, its
                codes are not read, and its samples are silence.

        Raises:
            ValueError: Another shape, type or batch size, codes out of range, or another K.
        """
        mimi, stepper = self._stepper.mimi, self._stepper
        if mask is not None:
            mask = check.mask(mask, stepper.batch_size)
            codes = np.where(mask[:, None, None], np.asarray(codes), 0)
        codes = check.codes(codes, mimi.config)
        check.rows("codes", codes.shape[0], stepper.batch_size)
        if self._num_codebooks not in (None, codes.shape[1]):
            raise ValueError(
                f"codes has {codes.shape[1]} codebooks; this stream began with "
                f"{self._num_codebooks}. Keep to those, or call reset()."
            )
        if codes.shape[2] == 0:
            return mx.zeros((stepper.batch_size, 1, 0))
        pcm = stepper.advance(codes, mask)
        self._num_codebooks = codes.shape[1]
        return pcm

    def reset(self, rows: Sequence[int] | None = None) -> None:
        """Begin anew: all rows, or the given ones alone."""
        self._stepper.reset(rows)
        if rows is None:
            self._num_codebooks: int | None = None

    def clone(self) -> "DecoderStream":
        """An independent stream that goes on from here."""
        return _clone(self)

    @property
    def state(self) -> "DecoderState":
        """What the model remembers."""
        return self._stepper.state


def _clone(stream: Any) -> Any:
    """A copy of a stream. States are values and pending samples are replaced, never altered."""
    twin = copy.copy(stream)
    twin._stepper = copy.copy(stream._stepper)
    return twin


def _select(mask: mx.array, a: Any, b: Any) -> Any:
    """The state with rows of ``a`` where ``mask [B]`` is true and of ``b`` elsewhere."""

    def rows(x: mx.array, y: mx.array) -> mx.array:
        return mx.where(mask.reshape(-1, *[1] * (x.ndim - 1)), x, y)

    return tree_map(rows, a, b)


def _take(state: Any, rows: Sequence[int]) -> Any:
    """The state of some rows alone."""
    index = mx.array(np.asarray(rows, np.int32))
    return tree_map(lambda leaf: leaf[index], state)


@functools.cache
def _say_if_not_compiled() -> None:
    """Once: on Linux's CPU, MLX compiles with the system's compiler and without it runs eagerly."""
    if mx.default_device().type == mx.DeviceType.cpu and not shutil.which("g++"):
        warnings.warn("no C++ compiler (g++) found: steps run uncompiled and slower", stacklevel=2)
