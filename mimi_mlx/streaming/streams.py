"""Streams: audio and codes in pieces of any size. The only objects of the package that change."""

import copy
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import mlx.core as mx
import numpy as np

from . import saved as streamfile
from . import validation as check
from .runner import Stepper, evaluate

if TYPE_CHECKING:
    from ..mimi import DecoderState, EncoderState, Mimi


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
            mask: For each row, whether it takes part. A row that does not keeps its state, its
                samples are not read, and its codes are -1. Such a push is of whole frames.

        Raises:
            ValueError: Another shape, type or batch size, NaN, or a push after :meth:`flush`.
        """
        if self._flushed:
            raise ValueError(
                "push after flush: this clip has ended. Call reset(), or make a new stream."
            )
        pcm = check.host("pcm", check.pcm(pcm))
        check.rows("pcm", pcm.shape[0], self._stepper.batch_size)
        if mask is not None:
            mask = check.mask(mask, self._stepper.batch_size)
            pcm = np.where(mask[:, None, None], pcm, np.float32(0))
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
        """End the clip: codes ``[B, K, 1]`` of its ragged last frame, or of none, ``[B, K, 0]``."""
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

    def save(self, path: str | os.PathLike) -> None:
        """Write this stream to a .safetensors file, from which another goes on exactly."""
        count = self._stepper.num_codebooks
        self._stepper.save(path, count, self._pending, self._flushed)

    def load(self, path: str | os.PathLike) -> None:
        """Go on from where the stream in a file was.

        Raises:
            ValueError: The file is not a saved encoder's stream of this model, with this
                stream's batch size and K. This stream is then as it was.
        """
        saved = self._stepper.load(path)
        self._pending, self._flushed = np.array(saved.pending), saved.flushed

    @property
    def state(self) -> "EncoderState":
        """What the model remembers; the samples of an unfinished frame are not in it."""
        return self._stepper.state

    def _none(self) -> mx.array:
        return _nothing((self._stepper.batch_size, self._stepper.num_codebooks, 0), mx.int32)


class DecoderStream:
    """Decodes codes as they come: any cutting gives the waveform of the whole.

    Made by :meth:`Mimi.decoder_stream`. One thread at a time may use a stream; any number of
    threads may use streams of one model.
    """

    def __init__(self, mimi: "Mimi", batch_size: int = 1):
        self._stepper = Stepper(mimi, "decoder", batch_size)
        self.reset()

    def push(self, codes: mx.array | np.ndarray, mask: Sequence[bool] | None = None) -> mx.array:
        """Take the next frames ``[B, K, F]`` (or ``[K, F]``), give samples ``[B, 1, 1920 F]``.

        Args:
            codes: Integers from 0 to ``codebook_size`` - 1; F may be 0. K is as in the first push.
            mask: For each row, whether it takes part. A row that does not keeps its state, its
                codes are not read, and its samples are silence.

        Raises:
            ValueError: Another shape, type or batch size, codes out of range, or another K.
        """
        stepper = self._stepper
        if mask is not None:
            mask = check.mask(mask, stepper.batch_size)
        codes = check.codes(codes, stepper.mimi.config, mask)
        check.rows("codes", codes.shape[0], stepper.batch_size)
        if self._num_codebooks not in (0, codes.shape[1]):
            raise ValueError(
                f"codes has {codes.shape[1]} codebooks; this stream began with "
                f"{self._num_codebooks}. Keep to those, or call reset()."
            )
        if codes.shape[2] == 0:
            return _nothing((stepper.batch_size, 1, 0), mx.float32)
        pcm = stepper.advance(codes, mask)
        self._num_codebooks = codes.shape[1]
        return pcm

    def reset(self, rows: Sequence[int] | None = None) -> None:
        """Begin anew: all rows, or the given ones alone."""
        self._stepper.reset(rows)
        if rows is None:
            self._num_codebooks = 0  # not known before the first push

    def clone(self) -> "DecoderStream":
        """An independent stream that goes on from here."""
        return _clone(self)

    def save(self, path: str | os.PathLike) -> None:
        """Write this stream to a .safetensors file, from which another goes on exactly."""
        none = np.zeros((self._stepper.batch_size, 1, 0), np.float32)
        self._stepper.save(path, self._num_codebooks, none, flushed=False)

    def load(self, path: str | os.PathLike) -> None:
        """Go on from where the stream in a file was, with the K that it had.

        Raises:
            ValueError: The file is not a saved decoder's stream of this model, with this
                stream's batch size. This stream is then as it was.
        """
        self._num_codebooks = self._stepper.load(path).num_codebooks

    @property
    def state(self) -> "DecoderState":
        """What the model remembers."""
        return self._stepper.state


def _clone(stream: Any) -> Any:
    """A copy of a stream. States are values and pending samples are replaced, never altered."""
    twin = copy.copy(stream)
    twin._stepper = copy.copy(stream._stepper)
    return twin


def _nothing(shape: tuple[int, ...], dtype: mx.Dtype) -> mx.array:
    empty = mx.zeros(shape, dtype)
    evaluate(empty)
    return empty


def load(mimi: "Mimi", path: str | os.PathLike) -> EncoderStream | DecoderStream:
    """A new stream of a model, from where the one that was saved to a file was."""
    saved = streamfile.read(path)
    check.same_model(path, saved, mimi)
    if saved.half == "encoder":
        stream = mimi.encoder_stream(saved.batch_size, saved.num_codebooks)
    else:
        stream = mimi.decoder_stream(saved.batch_size)
    stream.load(path)
    return stream
