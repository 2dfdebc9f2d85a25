"""Whole clips over HTTP: a body becomes a file, goes through the model in pieces, and back.

Files are coded in threads of their own, and only short steps take turns with the live ones.
"""

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

import numpy as np
import soundfile
from aiohttp import web

from .. import codefile
from ..audio.reader import FileReader
from ..audio.resampler import pieces, resampled
from ..audio.writer import FileWriter
from ..codefile import Header
from ..files import put, reason
from ..mimi import Mimi
from ..streaming import validation
from ..streaming.worker import MimiWorker
from ..text import printable
from .comparison import Comparer
from .limits import AT_ONCE, Fault, Limits
from .metrics import Metrics
from .session import within

_CHUNK = 1 << 16
_SOUND = {"wav": "audio/wav", "flac": "audio/flac"}
_UPLOAD = "the body is not here"

Check = Callable[[float], None]
Work = Callable[[IO[bytes], IO[bytes], Check], None]


class Clips:
    """Codes what is posted.

    Args:
        mimi: The model.
        name: What codes say of it.
        codebooks: For who does not say how many.
        encoder: Runs the model for all encoders.
        decoder: And for all decoders.
        limits: What a clip may cost.
        metrics: Where it is counted.
    """

    def __init__(
        self,
        mimi: Mimi,
        name: str,
        codebooks: int,
        encoder: MimiWorker,
        decoder: MimiWorker,
        limits: Limits,
        metrics: Metrics,
    ):
        self._mimi, self._name, self._codebooks = mimi, name, codebooks
        self._encoder, self._decoder = encoder, decoder
        self._limits, self._metrics, self._busy = limits, metrics, 0

    async def encode(self, request: web.Request) -> web.StreamResponse:
        """A sound file to a .mimi file; ``?codebooks=`` of so many, ``?mono=1`` mixed down."""
        asked = self._asked(request, self._codebooks)
        mono = request.query.get("mono") == "1"

        def work(body: IO[bytes], made: IO[bytes], check: Check) -> None:
            with FileReader(body, mono=True, name="the body") as source:
                if source.channels > 1 and not mono:
                    raise ValueError(
                        f"the body has {source.channels} channels; Mimi codes one. Give ?mono=1 "
                        "to mix them down."
                    )
                self._encode(source, made, asked, check)

        return await self._answer(request, work, "application/octet-stream")

    async def decode(self, request: web.Request) -> web.StreamResponse:
        """A .mimi file to sound: ``?format=`` wav or flac, ``?codebooks=`` of fewer of them."""
        asked = self._asked(request, None)
        format = request.query.get("format", "wav")
        if format not in _SOUND:
            raise web.HTTPBadRequest(text=f"format is one of {', '.join(_SOUND)}")

        def work(body: IO[bytes], made: IO[bytes], check: Check) -> None:
            sound = (made.fileno(), "w", self._mimi.sample_rate)
            with (
                codefile.Reader(body, asked) as source,
                soundfile.SoundFile(*sound, channels=1, format=format, closefd=False) as file,
            ):
                self._decode(source, FileWriter(file), check)

        return await self._answer(request, work, _SOUND[format])

    async def listen(self, request: web.Request) -> web.StreamResponse:
        """A sound file to the listening page of it, whose title is ``?name=``."""
        name = printable(request.query.get("name", "the body"))[:200]
        comparer = Comparer(self._mimi, self._name, self._encoder, self._decoder, self._limits)

        def work(body: IO[bytes], made: IO[bytes], check: Check) -> None:
            with FileReader(body, mono=True, name=name) as source:
                made.write(comparer.page(source, check).encode())

        return await self._answer(request, work, "text/html; charset=utf-8")

    def _asked(self, request: web.Request, otherwise: int | None) -> int | None:
        said = request.query.get("codebooks")
        if said is None:
            return otherwise
        try:
            return validation.num_codebooks(int(said), self._mimi.config)
        except ValueError:
            most = self._mimi.num_codebooks
            raise web.HTTPBadRequest(text=f"codebooks is from 1 to {most}") from None

    def _encode(
        self, source: FileReader, made: IO[bytes], codebooks: int | None, check: Check
    ) -> None:
        mimi, samples = self._mimi, 0
        stream = self._encoder.submit(mimi.encoder_stream, 1, codebooks).result()
        about = {"model": self._name}
        header = Header.for_model(mimi, stream.num_codebooks, source.sample_rate, about)
        writer = codefile.Writer(made, header, rewrite_header=True)
        for pcm in pieces(resampled(source, mimi.sample_rate), AT_ONCE * mimi.frame_size):
            samples += len(pcm)
            check(samples / mimi.sample_rate)
            writer.write(np.array(self._encoder.submit(stream.push, pcm).result()))
        last = self._encoder.submit(stream.flush).result()
        writer.close(samples, last=np.array(last))

    def _decode(self, source: codefile.Reader, writer: FileWriter, check: Check) -> None:
        mimi, frames = self._mimi, 0
        source.header.check_model(mimi)
        stream = self._decoder.submit(mimi.decoder_stream).result()
        last = np.zeros(0, np.float32)
        for codes in pieces(source, AT_ONCE):
            frames += codes.shape[1]
            check(frames / mimi.frame_rate)
            writer.write(last)
            last = np.array(self._decoder.submit(stream.push, codes).result())[0, 0]
        if source.damage or not frames:
            raise ValueError(source.damage or "the body has no frames; there is nothing to decode")
        writer.write(last[: len(last) - (frames * mimi.frame_size - source.samples)])

    async def _answer(self, request: web.Request, work: Work, kind: str) -> web.StreamResponse:
        """What ``work`` makes of a body."""

        def check(seconds: float) -> None:
            if request.transport is None:
                raise ConnectionResetError
            if seconds > self._limits.clip_seconds:
                raise _too_large(f"{self._limits.clip_seconds:g} seconds")

        with self._turn(), _file() as body, _file() as made:
            await self._upload(request, body)
            try:
                await asyncio.to_thread(work, body, made, check)
            except ValueError as error:
                raise web.HTTPBadRequest(text=reason(error)) from None
            self._metrics.clips[request.path[1:]] += 1
            response = web.StreamResponse(headers={"Content-Type": kind})
            response.content_length = made.seek(0, 2)
            made.seek(0)
            await response.prepare(request)
            while chunk := await asyncio.to_thread(made.read, _CHUNK):
                await within(self._limits.unread, response.write(chunk), "the answer was not read")
            return response

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if self._busy >= self._limits.clips:
            raise web.HTTPServiceUnavailable(
                text=f"{self._busy} clips are being coded; try again later",
                headers={"Retry-After": "1"},
            )
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1

    async def _upload(self, request: web.Request, file: IO[bytes]) -> None:
        """A request's body to a file.

        Raises:
            web.HTTPException: It is too large, or slow.
        """
        most, size = self._limits.body, request.content_length or 0

        async def copy() -> None:
            nonlocal size
            if size > most:
                raise _too_large(f"{most} bytes")
            size = 0
            while chunk := await request.content.readany():
                size += len(chunk)
                if size > most:
                    raise _too_large(f"{most} bytes")
                await asyncio.to_thread(put, file, chunk)

        try:
            await within(self._limits.upload, copy(), _UPLOAD)
        except Fault as fault:
            raise web.HTTPRequestTimeout(text=f"{fault}") from None
        except web.RequestPayloadError as error:  # of another encoding than it says, say
            raise web.HTTPBadRequest(text=f"the body cannot be read ({reason(error)})") from None
        file.seek(0)


def _file() -> IO[bytes]:
    """A file without a name, unbuffered, for libsndfile shares its position."""
    return tempfile.TemporaryFile(buffering=0)


def _too_large(what: str) -> web.HTTPException:
    return web.HTTPRequestEntityTooLarge(0, 0, text=f"a clip has at most {what}")
