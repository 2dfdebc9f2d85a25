"""What a session's client sends and gets: bytes of any portion to frames, and frames to bytes."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from ..arrays import whole
from ..audio.resampler import Resampler
from ..mimi import Mimi
from ..model.config import shown
from .limits import HIGHEST_RATE, LOUDEST, LOWEST_RATE, Fault

Kind = Literal["encode", "decode", "roundtrip"]

# Samples that are resampled at once, between turns of others.
_AT_ONCE = 1 << 14

_CODE: np.dtype[Any] = np.dtype("<u2")
_FORMATS: dict[str, np.dtype[Any]] = {"float32": np.dtype("<f4"), "int16": np.dtype("<i2")}


class Options(NamedTuple):
    """What a client asks for in its first message."""

    format: str
    rate: int
    codebooks: int

    @classmethod
    def parse(cls, said: Mapping[str, Any], mimi: Mimi, codebooks: int) -> "Options":
        """Those that are said; else float32, the model's rate, and so many codebooks.

        Raises:
            Fault: One is not known, or out of its range.
        """
        values: dict[str, Any] = {
            "format": "float32",
            "rate": mimi.sample_rate,
            "codebooks": codebooks,
        }
        if unknown := said.keys() - values:
            raise Fault(1003, f"{shown(min(unknown))} is no option; they are {', '.join(values)}")
        values |= said
        if values["format"] not in tuple(_FORMATS):
            raise Fault(1003, f"format is {shown(values['format'])}; it is float32 or int16")
        rate = whole(values["rate"])
        if rate is None or not LOWEST_RATE <= rate <= HIGHEST_RATE:
            raise Fault(
                1003, f"rate is {shown(values['rate'])}; it is from {LOWEST_RATE} to {HIGHEST_RATE}"
            )
        return cls(values["format"], rate, count(values["codebooks"], mimi))


def count(said: Any, mimi: Mimi) -> int:
    """A number of codebooks that a client asks for.

    Raises:
        Fault: The model has not so many.
    """
    number = whole(said)
    if number is None or not 1 <= number <= mimi.num_codebooks:
        raise Fault(1003, f"codebooks is {shown(said)}; it is from 1 to {mimi.num_codebooks}")
    return number


class Frame(NamedTuple):
    """One frame on its way."""

    x: np.ndarray  # samples [1, T], less than a frame at the end; or codes [K, 1]
    codebooks: int
    is_change: bool  # its client has asked for another number of codebooks since the last one


class Framing:
    """A session's bytes as frames and back.

    Args:
        kind: Of the session.
        options: That its client chose.
        mimi: The model.
    """

    def __init__(self, kind: Kind, options: Options, mimi: Mimi):
        self._kind, self._options = kind, options
        self._codebook_size, self._frame_size = mimi.codebook_size, mimi.frame_size
        self._dtype = _FORMATS[options.format]
        self._codebooks, self._is_change = options.codebooks, False
        self._there = Resampler(options.rate, mimi.sample_rate)
        self._back = Resampler(mimi.sample_rate, options.rate)
        self._pending = np.zeros(0, np.float32)
        self.samples = self.frames = 0
        """Of the client, in; of a session that decodes, out. And frames that were answered."""

    def change(self, codebooks: int) -> None:
        """From the next frame on, have so many codebooks."""
        self._codebooks, self._is_change = codebooks, True

    def take(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete with the next bytes.

        Raises:
            Fault: They are not whole values, or values out of range.
        """
        if self._kind == "decode":
            yield from self._codes(data)
            return
        samples = self._read(data)
        self.samples += len(samples)
        for start in range(0, len(samples), _AT_ONCE):
            yield from self._cut(self._there.push(samples[start : start + _AT_ONCE]))

    def finish(self) -> Iterator[Frame]:
        """What is left when the client has said that this is all: the last one may be ragged."""
        if self._kind != "decode":
            yield from self._cut(self._there.flush())
            if self._pending.size:
                yield self._frame(self._pending[None])

    def give(self, frame: Frame, codes: np.ndarray, pcm: np.ndarray) -> bytes:
        """The answer to a frame: of its codes ``[K]`` and samples ``[T]``, what its kind has."""
        self.frames += 1
        answer = b"" if self._kind == "decode" else codes.astype(_CODE).tobytes()
        if self._kind == "encode":
            return answer
        size = self._frame_size if self._kind == "decode" else frame.x.shape[-1]
        return answer + self._write(self._back.push(pcm[:size]))

    def rest(self) -> bytes:
        """The samples that are left at the end: what comes out is as long as what went in."""
        if self._kind == "encode":
            return b""
        return self._write(self._back.flush(self.samples if self._kind == "roundtrip" else None))

    def _codes(self, data: bytes) -> Iterator[Frame]:
        size = self._codebooks * _CODE.itemsize
        if len(data) % size:
            raise Fault(
                1007,
                f"a message has {len(data)} bytes; codes come in whole frames of "
                f"{self._codebooks} uint16, {size} bytes",
            )
        codes = np.frombuffer(data, _CODE).astype(np.int32)
        if codes.size and codes.max() >= self._codebook_size:
            raise Fault(1007, f"a code is {codes.max()}; it is below {self._codebook_size}")
        for frame in codes.reshape(-1, self._codebooks, 1):
            yield self._frame(frame)

    def _read(self, data: bytes) -> np.ndarray:
        """Samples ``[T]``."""
        if len(data) % self._dtype.itemsize:
            raise Fault(
                1007,
                f"a message has {len(data)} bytes; {self._options.format} samples take "
                f"{self._dtype.itemsize} each",
            )
        samples = np.frombuffer(data, self._dtype).astype(np.float32)
        if self._options.format == "int16":
            samples /= 32768
        if not (np.abs(samples) <= LOUDEST).all():  # nor is NaN
            raise Fault(1007, f"a sample is not from -{LOUDEST:g} to {LOUDEST:g}")
        return samples

    def _write(self, samples: np.ndarray) -> bytes:
        if self._kind == "decode":
            self.samples += len(samples)
        if self._options.format == "int16":
            samples = np.clip(np.rint(samples * 32768), -32768, 32767)
        return samples.astype(self._dtype).tobytes()

    def _cut(self, samples: np.ndarray) -> Iterator[Frame]:
        samples, size = np.concatenate([self._pending, samples]), self._frame_size
        end = len(samples) // size * size
        self._pending = samples[end:].copy()
        for frame in samples[:end].reshape(-1, 1, size):
            yield self._frame(frame)

    def _frame(self, x: np.ndarray) -> Frame:
        frame, self._is_change = Frame(x, self._codebooks, self._is_change), False
        return frame
