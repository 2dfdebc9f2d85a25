"""The call shapes of rustymimi, over :class:`mimi_mlx.Mimi` and its streams. NumPy in and out.

A program changes its import, and nothing else::

    import mimi_mlx.compat.rustymimi as rustymimi

    tokenizer = rustymimi.Tokenizer("tokenizer-e351c8d8-checkpoint125.safetensors")

What differs: streams have no end (rustymimi's do after 8192 positions, 5 min 27 s); ``encode`` and
``decode`` of whole clips leave the state of the steps alone; ``reset`` forgets everything; wrong
input is a ``ValueError`` at the call that brings it, and the next call works; a clip with nothing
in it is refused.

Source: rustymimi 0.4.1, ``mimi-pyo3/src/lib.rs``.
"""

import threading
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import numpy as np

from ..arrays import is_one_of
from ..mimi import Mimi
from ..model.config import shown
from ..streaming import validation
from ..streaming.worker import MimiWorker
from .steps import HalfName, Steps, halves

# Calls of a StreamTokenizer that may wait: frames of more than an hour, where rustymimi has no
# bound. Who gives a whole file at once should not notice.
_WAITING = 1 << 16


class Tokenizer:
    """rustymimi's interface to a :class:`mimi_mlx.Mimi`, which is its field ``mimi``.

    Shapes: B rows, T samples, K codebooks, F frames.

    Args:
        path: Kyutai's tokenizer file, or whatever :meth:`mimi_mlx.Mimi.from_pretrained` takes.
        num_codebooks: K.
        dtype: ``"f32"``. (rustymimi's others, ``"f16"`` and ``"bf16"``, change the codes.)
        max_seq_len: Not needed, since no stream ends; taken so that calls stay as they are.

    Raises:
        ValueError: There is no such file, it is not Mimi's or has fewer codebooks, or ``dtype``.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        num_codebooks: int = 8,
        dtype: str = "f32",
        max_seq_len: int | None = None,
    ):
        if not is_one_of(dtype, ["f32"]):
            raise ValueError(
                f"dtype is {shown(dtype)}; here codes are computed in 'f32' alone. Leave dtype out."
            )
        self._steps = Steps(Mimi.from_pretrained(path), num_codebooks)
        self.mimi, self.num_codebooks = self._steps.mimi, self._steps.num_codebooks

    def encode(self, pcm_data: np.ndarray) -> np.ndarray:
        """A whole clip, float32 ``[B, 1, T]``, to codes ``[B, K, ceil(T / 1920)]``, uint32."""
        return np.array(self.mimi.encode(pcm_data, self.num_codebooks)).astype(np.uint32)

    def encode_step(self, pcm_data: np.ndarray) -> np.ndarray | None:
        """The next samples, float32 ``[B, 1, T]``, to the codes of what they complete.

        uint32 ``[B, K, F]``; None if they complete no frame.
        """
        codes = np.array(self._steps.encode(pcm_data)).astype(np.uint32)
        return codes if codes.size else None

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """A whole clip's codes ``[B, K, F]`` to samples ``[B, 1, 1920 F]``, float32."""
        return np.array(self.mimi.decode(self._checked(codes)))

    def decode_step(self, codes: np.ndarray) -> np.ndarray | None:
        """The next codes ``[B, K, F]`` to samples ``[B, 1, 1920 F]``, float32; None if F is 0."""
        pcm = np.array(self._steps.decode(self._checked(codes)))
        return pcm if pcm.size else None

    def reset(self, half: HalfName | None = None) -> None:
        """Begin anew both ways, or one way; the next steps may have another number of rows."""
        self._steps.reset(half)

    def _checked(self, codes: np.ndarray) -> np.ndarray:
        checked = validation.codes(codes, self.mimi.config)
        if checked.shape[1] != self.num_codebooks:
            raise ValueError(
                f"codes has {checked.shape[1]} codebooks; this tokenizer has {self.num_codebooks}. "
                f"Make it with num_codebooks={checked.shape[1]}."
            )
        return checked


class StreamTokenizer:
    """One stream each way on a thread of its own: no method waits for the codec.

    ``encode`` and ``decode`` hand a piece over; ``get_encoded`` and ``get_decoded`` give the next
    result, or None while there is none. What went wrong on the thread is raised by the latter.
    The thread ends with this object.

    The arguments and their errors are those of :class:`Tokenizer`.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        num_codebooks: int = 8,
        dtype: str = "f32",
        max_seq_len: int | None = None,
    ):
        tokenizer = Tokenizer(path, num_codebooks=num_codebooks, dtype=dtype)
        worker = MimiWorker(_WAITING)
        self._tokenizer = tokenizer
        self._ways = {half: _Way(worker, tokenizer, half) for half in halves(None)}
        end = weakref.finalize(self, _end, worker, *self._ways.values())
        end.atexit = False  # the worker sees to that itself

    def encode(self, pcm_data: np.ndarray) -> None:
        """Take the next samples, float32 ``[T]``; their array may be used again at once.

        Raises:
            ValueError: Another shape or type, or samples that are not finite.
            queue.Full: An hour of frames waits already.
        """
        if np.ndim(pcm_data) != 1:
            raise ValueError(
                f"pcm_data has shape {np.shape(pcm_data)}; it must be [T], one stream's. "
                "Take the row out, or use Tokenizer for a batch."
            )
        pcm = np.array(validation.pcm(pcm_data))  # [1, 1, T]
        validation.finite(pcm)
        self._ways["encoder"].put(pcm)

    def get_encoded(self) -> np.ndarray | None:
        """The next codes, uint32 ``[K, F]``, or None: one array for each piece with any."""
        codes = self._ways["encoder"].get()
        return None if codes is None else codes[0]

    def decode(self, codes: np.ndarray) -> None:
        """Take the next frame's codes ``[1, K]``; their array may be used again at once.

        Raises:
            ValueError: Another shape or type, or codes out of range.
            queue.Full: An hour of frames waits already.
        """
        count = self._tokenizer.num_codebooks
        if np.shape(codes) != (1, count):
            raise ValueError(
                f"codes has shape {np.shape(codes)}; it must be [1, {count}], one frame. Give "
                f"frames one at a time; make the tokenizer with as many codebooks as they have."
            )
        frame = validation.codes(np.array(codes)[..., None], self._tokenizer.mimi.config)
        self._ways["decoder"].put(frame)

    def get_decoded(self) -> np.ndarray | None:
        """The next frame's samples, float32 ``[1920]``, or None."""
        pcm = self._ways["decoder"].get()
        return None if pcm is None else pcm[0, 0]

    def reset(self, half: HalfName | None = None) -> None:
        """Begin anew both ways, or one way; what waits, or was not fetched, is dropped.

        When somebody speaks over an assistant, ``reset("decoder")`` stops its voice while the
        encoder listens on.
        """
        for name in halves(half):
            self._ways[name].reset()


class _Way:
    """One way through a tokenizer, on a worker; results are fetched in order."""

    def __init__(self, worker: MimiWorker, tokenizer: Tokenizer, half: HalfName):
        self._worker = worker
        self._step: Callable[[np.ndarray], np.ndarray | None]
        self._step = tokenizer.encode_step if half == "encoder" else tokenizer.decode_step
        self._reset = partial(tokenizer.reset, half)
        self._calls: deque[Future] = deque()
        self._lock = threading.Lock()

    def put(self, piece: np.ndarray) -> None:
        with self._lock:
            self._calls.append(self._worker.submit(self._step, piece))

    def get(self) -> np.ndarray | None:
        with self._lock:
            while self._calls and self._calls[0].done():
                result = self._calls.popleft().result()
                if result is not None:
                    return result
        return None

    def reset(self) -> None:
        with self._lock:
            for call in self._calls:
                call.cancel()
            self._calls.clear()
            self._worker.submit(self._reset)


def _end(worker: MimiWorker, *ways: _Way) -> None:
    for way in ways:
        way.reset()  # what waits is for nobody
    worker.close()


def write_wav(filename: str | Path, data: np.ndarray, sample_rate: int) -> None:
    """Write samples ``[T]`` as a 16-bit ``.wav`` file; what is past [-1, 1] is clipped."""
    from .. import audio  # brings soundfile and soxr

    audio.write(filename, data, sample_rate)
