"""A WebSocket session: its messages, in order, through the batches and back."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import Awaitable, Coroutine, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
from aiohttp import WebSocketError, WSMessage, WSMsgType, web

from ..files import parse_json, reason
from ..mimi import Mimi
from .batch import Batch
from .frames import Frame, Framing, Kind, Options, count
from .limits import MAX_TEXT, WAITING, Fault, Limits
from .metrics import Metrics

T = TypeVar("T")
_END = None  # in place of a frame: no more come
_Frames = asyncio.Queue  # of frames, and _END


class Gone(Exception):
    """The client has hung up, or vanished."""


class CodecSession:
    """Serves one client to its end.

    Args:
        socket: Is open.
        kind: Which of the codec's ways it goes.
        mimi: The model.
        batches: The encoder's and the decoder's.
        limits: What the client may cost.
        metrics: Where its frames are counted.
    """

    def __init__(
        self,
        socket: web.WebSocketResponse,
        kind: Kind,
        mimi: Mimi,
        batches: tuple[Batch, Batch],
        limits: Limits,
        metrics: Metrics,
    ):
        self._kind: Kind = kind
        self._socket, self._mimi, self._limits = socket, mimi, limits
        self._encoder, self._decoder = batches
        self._metrics = metrics
        self._framing: Framing

    async def run(self, codebooks: int, ending: asyncio.Event) -> None:
        """Speak with the client until it has all that it asked for.

        Args:
            codebooks: If it does not say how many.
            ending: The server ends.

        Raises:
            Fault: It has broken a rule, or a limit, or the server ends.
            Gone: It is not there any more.
        """
        with contextlib.ExitStack() as rows:
            encodes, decodes = self._kind != "decode", self._kind != "encode"
            encoder_row = rows.enter_context(_row(self._encoder)) if encodes else None
            decoder_row = rows.enter_context(_row(self._decoder)) if decodes else None
            sent: _Frames = asyncio.Queue(WAITING)
            encoded: _Frames = asyncio.Queue(WAITING)
            ways = [
                self._receive(codebooks, sent),
                self._encode(encoder_row, sent, encoded),
                self._answer(decoder_row, encoded),
            ]
            await _together(ways, ending)

    async def _receive(self, codebooks: int, sent: _Frames) -> None:
        first = await within(self._limits.idle, self._next(), "no first message came")
        options = Options.parse(_object(first), self._mimi, codebooks)
        self._framing = Framing(self._kind, options, self._mimi)
        await self._say(
            {
                "model": self._mimi.fingerprint,
                "frame_rate": self._mimi.frame_rate,
                "frame_samples": self._mimi.frame_size,
                "max_codebooks": self._mimi.num_codebooks,
                **options._asdict(),
            }
        )
        is_end = False
        while not is_end:
            frames, is_end = await within(self._limits.idle, self._some(), "no whole frame came")
            for frame in frames:
                await sent.put(frame)
        await sent.put(_END)

    async def _some(self) -> tuple[Iterable[Frame], bool]:
        """The next frames, at least one or the last ones; and whether these are the last."""
        while True:
            message = await self._next()
            if message.type is WSMsgType.BINARY:
                frames = self._framing.take(message.data)
                if first := next(frames, None):
                    return itertools.chain([first], frames), False
            elif self._control(_object(message)):
                return self._framing.finish(), True

    def _control(self, said: dict[str, Any]) -> bool:
        """Do what the client asks for: whether that is to end."""
        if said.keys() == {"end"} and said["end"] is True:
            return True
        if said.keys() != {"codebooks"}:
            raise Fault(1003, 'a message during a session is {"codebooks": n} or {"end": true}')
        self._framing.change(count(said["codebooks"], self._mimi))
        return False

    async def _encode(self, row: int | None, sent: _Frames, encoded: _Frames) -> None:
        while frame := await sent.get():
            codes = frame.x[:, 0]
            if row is not None:
                output = await self._encoder.push(row, frame.x, frame.codebooks)
                codes = output[: frame.codebooks, 0]
            await encoded.put((frame, codes))
        await encoded.put(_END)

    async def _answer(self, row: int | None, encoded: _Frames) -> None:
        while pair := await encoded.get():
            frame, codes = pair
            pcm = np.zeros(0, np.float32)
            if row is not None:
                pcm = (await self._decoder.push(row, codes[:, None], frame.codebooks))[0]
            if frame.is_change:
                await self._say({"codebooks": frame.codebooks})
            await self._send(self._framing.give(frame, codes, pcm))
            self._metrics.frames[self._kind] += 1
        if rest := self._framing.rest():
            if self._kind == "roundtrip":
                await self._say({"codebooks": 0})
            await self._send(rest)
        counts = {"samples": self._framing.samples, "frames": self._framing.frames}
        await self._say({"end": counts})

    async def _next(self) -> WSMessage:
        """The next message, after all others had their turn: many may have come at once."""
        while True:
            await asyncio.sleep(0)
            message = await self._socket.receive()
            if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                return message
            if message.type is WSMsgType.PING:
                await self._within_reading(self._socket.pong(message.data))
            elif isinstance(message.data, WebSocketError):  # too long, say; aiohttp has closed it
                raise Fault(message.data.code, "")
            elif message.type is not WSMsgType.PONG:
                raise Gone

    async def _say(self, values: dict[str, Any]) -> None:
        await self._within_reading(self._socket.send_str(json.dumps(values)))

    async def _send(self, data: bytes) -> None:
        if data:
            await self._within_reading(self._socket.send_bytes(data))

    async def _within_reading(self, sending: Awaitable[None]) -> None:
        try:
            # Shielded, for aiohttp cannot send again where it was cancelled while it waited.
            await within(self._limits.unread, asyncio.shield(sending), "answers were not read")
        except ConnectionError:
            raise Gone from None


async def within(seconds: float, done: Awaitable[T], fault: str) -> T:
    """What is awaited.

    Raises:
        Fault: It took longer.
    """
    try:
        return await asyncio.wait_for(done, seconds)
    except asyncio.TimeoutError:
        raise Fault(1008, f"{fault} for {seconds:g} s") from None


async def _together(ways: Iterable[Coroutine[Any, Any, None]], ending: asyncio.Event) -> None:
    """All of them to their end; or none, when one raises, or ``ending`` is set."""
    end = asyncio.ensure_future(ending.wait())
    tasks = {asyncio.ensure_future(way) for way in ways}
    left: set[asyncio.Future[Any]] = {*tasks}
    try:
        while left:
            done, _ = await asyncio.wait({end, *left}, return_when=asyncio.FIRST_COMPLETED)
            if end in done:
                raise Fault(1001, "the server ends")
            left -= done
            for task in done:
                task.result()
    finally:
        for task in (end, *tasks):
            task.cancel()
        await asyncio.gather(end, *tasks, return_exceptions=True)


@contextlib.contextmanager
def _row(batch: Batch) -> Iterator[int]:
    """A row of a batch, for as long as this lasts."""
    row = batch.take()
    try:
        yield row
    finally:
        batch.release(row)


def _object(message: WSMessage) -> dict[str, Any]:
    """The JSON of a message."""
    if message.type is not WSMsgType.TEXT:
        raise Fault(1003, "the first message is JSON text with options, such as {}")
    if len(message.data) > MAX_TEXT:
        raise Fault(1009, f"a text message has at most {MAX_TEXT} characters")
    try:
        return parse_json(message.data)
    except ValueError as error:
        raise Fault(1003, f"a message is no JSON object ({reason(error)})") from None
