"""Streams: audio and codes in pieces of any size. The only objects of the package that change."""

import copy
import os

import mlx.core as mx
import numpy as np

from ..arrays import ArrayLike, host
from ..model.codec import DecoderState, EncoderState
from ..model.config import LATENTS_PER_FRAME
from . import saved, validation
from .runner import Runner


class EncoderStream:
    """Encodes audio as it comes: any cutting gives the codes of the whole clip.

    Made by :meth:`Mimi.encoder_stream`. One thread at a time may use a stream; any number of
    threads may use streams of one model.
    """

    _state: EncoderState
    _pending: np.ndarray
    _flushed: bool

    def __init__(self, runner: Runner, batch_size: int = 1, num_codebooks: int | None = None):
        self._num_codebooks = validation.num_codebooks(num_codebooks, runner.codec.config)
        self._runner, self._half = runner, runner.encoder(self._num_codebooks)
        self._batch_size = validation.batch_size(batch_size)
        self.reset()

    def push(self, pcm: ArrayLike, mask: ArrayLike | None = None) -> mx.array:
        """Take the next samples, give the codes ``[B, K, F]`` of every frame that is now complete.

        Args:
            pcm: ``[B, 1, T]`` (for one row also ``[1, T]`` or ``[T]``), floats; T may be 0.
            mask: For each row, a boolean: whether it takes part. A row that does not keeps its
                state, its samples are not read, and its codes are -1. Such a push is of whole
                frames.

        Raises:
            ValueError: Another shape, type or batch size, NaN, or a push after :meth:`flush`.
        """
        if self._flushed:
            raise ValueError(
                "push after flush: this clip has ended. Call reset(), or make a new stream."
            )
        new = host("pcm", validation.pcm(pcm))
        validation.rows("pcm", len(new), self._batch_size)
        taking_part = None if mask is None else validation.mask(mask, self._batch_size)
        if taking_part is not None:
            new = np.where(taking_part[:, None, None], new, np.float32(0))
        validation.finite(new)
        samples = np.concatenate([self._pending, new], axis=-1)
        rest = samples.shape[-1] % self._half.unit
        if mask is not None and (rest or self._pending.size):
            raise ValueError(
                f"a masked push with {samples.shape[-1]} samples waiting; rows may part ways only "
                f"between frames. Push whole frames of {self._half.unit} samples."
            )
        whole, rest = np.split(samples, [samples.shape[-1] - rest], axis=-1)
        codes = self._advance(whole, taking_part)
        self._pending = rest.copy()
        return codes

    def flush(self) -> mx.array:
        """End the clip: codes ``[B, K, 1]`` of its ragged last frame, or of none, ``[B, K, 0]``.

        Raises:
            ValueError: It has ended already.
        """
        if self._flushed:
            raise ValueError("flush after flush: this clip has ended. Call reset() to begin anew.")
        codes = self._advance(self._pending)
        self._pending = self._pending[..., :0]
        self._flushed = True
        return codes

    def reset(self, rows: ArrayLike | None = None) -> None:
        """Begin anew.

        Args:
            rows: The rows that do: a number, several, or a boolean for each row. None means all.

        Raises:
            ValueError: There is no such row, or the mask is not of all rows; or single rows are to
                begin inside a frame, where they cannot part ways, or after :meth:`flush`.
        """
        if rows is None:
            self._state = self._runner.init_state(self._half, self._batch_size)
            self._pending = np.zeros((self._batch_size, 1, 0), np.float32)
            self._flushed = False
            return
        if self._pending.size or self._flushed:
            raise ValueError(
                "reset(rows=...) inside a frame or after flush; single rows can begin anew only "
                "between frames. Push whole frames, or reset all rows."
            )
        which = validation.row_mask(rows, self._batch_size)
        self._state = self._runner.reset(self._half, self._state, which)

    def clone(self) -> "EncoderStream":
        """An independent stream that goes on from here."""
        return copy.copy(self)  # states are values and pending samples are replaced, never altered

    def save(self, path: str | os.PathLike) -> None:
        """Write this stream to a .safetensors file, from which another goes on exactly.

        Raises:
            ValueError: ``path`` is none, or of something else than a file.
        """
        pending = mx.array(self._pending)
        kind = "encoder", self._runner.codec.fingerprint, self._batch_size, self._num_codebooks
        saved.write(path, saved.SavedStream(*kind, self._flushed, pending, self._state))

    @property
    def state(self) -> EncoderState:
        """What the model remembers; the samples of an unfinished frame are not in it."""
        return self._state

    @property
    def batch_size(self) -> int:
        """Rows, each a stream of its own."""
        return self._batch_size

    @property
    def num_codebooks(self) -> int:
        """Codes in a frame: the K of what :meth:`push` gives."""
        return self._num_codebooks

    @property
    def pending(self) -> int:
        """Samples of each row that wait for the rest of their frame."""
        return self._pending.shape[-1]

    def __repr__(self) -> str:
        end = ", flushed" if self._flushed else ""
        heard = _seconds(self._state.transformer.position, self.pending, self._runner)
        return (
            f"EncoderStream(batch_size={self.batch_size}, num_codebooks={self.num_codebooks}, "
            f"pending={self.pending}, heard {heard}{end})"
        )

    def _advance(self, pcm: np.ndarray, mask: np.ndarray | None = None) -> mx.array:
        if not pcm.size:
            shape = (self._batch_size, self._num_codebooks, 0)
            return self._runner.evaluate(lambda: mx.zeros(shape, mx.int32))
        codes, self._state = self._runner.advance(self._half, pcm, self._state, mask)
        return codes


class DecoderStream:
    """Decodes codes as they come: any cutting gives the waveform of the whole.

    Made by :meth:`Mimi.decoder_stream`. One thread at a time may use a stream; any number of
    threads may use streams of one model.
    """

    _state: DecoderState
    _num_codebooks: int

    def __init__(self, runner: Runner, batch_size: int = 1):
        self._runner, self._half = runner, runner.decoder()
        self._batch_size = validation.batch_size(batch_size)
        self.reset()

    def push(self, codes: ArrayLike, mask: ArrayLike | None = None) -> mx.array:
        """Take the next frames ``[B, K, F]`` (or ``[K, F]``), give samples ``[B, 1, 1920 F]``.

        Args:
            codes: Integers from 0 to ``codebook_size`` - 1; F may be 0. K is as in the first push.
            mask: For each row, whether it takes part. A row that does not keeps its state, its
                codes are not read, and its samples are silence.

        Raises:
            ValueError: Another shape, type or batch size, codes out of range, or another K.
        """
        taking_part = None if mask is None else validation.mask(mask, self._batch_size)
        frames = validation.codes(codes, self._runner.codec.config, taking_part)
        validation.rows("codes", len(frames), self._batch_size)
        if self._num_codebooks not in (0, frames.shape[1]):
            raise ValueError(
                f"codes has {frames.shape[1]} codebooks; this stream began with "
                f"{self._num_codebooks}. Keep to those, or call reset()."
            )
        if frames.shape[2] == 0:
            return self._runner.evaluate(lambda: mx.zeros((self._batch_size, 1, 0)))
        pcm, self._state = self._runner.advance(self._half, frames, self._state, taking_part)
        self._num_codebooks = frames.shape[1]
        return pcm

    def reset(self, rows: ArrayLike | None = None) -> None:
        """Begin anew.

        Args:
            rows: The rows that do: a number, several, or a boolean for each row. None means all,
                which may then have another K.

        Raises:
            ValueError: There is no such row, or the mask is not of all rows.
        """
        if rows is None:
            self._state = self._runner.init_state(self._half, self._batch_size)
            self._num_codebooks = 0  # not known before the first push
            return
        which = validation.row_mask(rows, self._batch_size)
        self._state = self._runner.reset(self._half, self._state, which)

    def clone(self) -> "DecoderStream":
        """An independent stream that goes on from here."""
        return copy.copy(self)  # states are values

    def save(self, path: str | os.PathLike) -> None:
        """Write this stream to a .safetensors file, from which another goes on exactly.

        Raises:
            ValueError: ``path`` is none, or of something else than a file.
        """
        none = mx.array(np.zeros((self._batch_size, 1, 0), np.float32))
        kind = "decoder", self._runner.codec.fingerprint, self._batch_size, self._num_codebooks
        saved.write(path, saved.SavedStream(*kind, False, none, self._state))

    @property
    def state(self) -> DecoderState:
        """What the model remembers."""
        return self._state

    @property
    def batch_size(self) -> int:
        """Rows, each a stream of its own."""
        return self._batch_size

    @property
    def num_codebooks(self) -> int:
        """Codes in a frame, K, as in the first push; 0 before it."""
        return self._num_codebooks

    @property
    def pending(self) -> int:
        """Frames that wait: 0, for the samples of a frame come at once."""
        return 0

    def __repr__(self) -> str:
        said = _seconds(self._state.transformer.position, 0, self._runner)
        return (
            f"DecoderStream(batch_size={self.batch_size}, num_codebooks={self.num_codebooks}, "
            f"said {said})"
        )


def _seconds(position: mx.array, pending: int, runner: Runner) -> str:
    """How long the rows ``[B]`` are by now, from the shortest to the longest."""
    config = runner.codec.config
    frames = np.asarray(position) / LATENTS_PER_FRAME
    seconds = frames / config.frame_rate + pending / config.sampling_rate
    ends = [f"{end:.2f}" for end in (seconds.min(), seconds.max())]
    return f"{' to '.join(dict.fromkeys(ends))} s"


def load(runner: Runner, path: str | os.PathLike) -> EncoderStream | DecoderStream:
    """A new stream that goes on from where the one that was saved to a file was.

    Raises:
        ValueError: There is no such file, it is damaged or not a saved stream, or it is another
            model's.
    """
    file = runner.evaluate(lambda: saved.read(path, runner.codec))
    stream: EncoderStream | DecoderStream
    if file.half == "encoder":
        stream = EncoderStream(runner, file.batch_size, file.num_codebooks)
        stream._pending, stream._flushed = np.array(file.pending), file.flushed
    else:
        stream = DecoderStream(runner, file.batch_size)
        stream._num_codebooks = file.num_codebooks
    stream._state = file.state
    return stream
