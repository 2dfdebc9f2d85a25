"""A service of this process, and clients of it."""

import asyncio
import contextlib
import json
import queue
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import aiohttp
import numpy as np

from mimi_mlx import Mimi
from mimi_mlx.service.limits import Limits
from mimi_mlx.service.server import serve


@contextlib.contextmanager
def service(mimi: Mimi, token: str | None = None, **limits: Any) -> Iterator[str]:
    """The address of a service that lasts as long as this; it must end by itself, and in time."""
    said: queue.Queue[str] = queue.Queue()
    ends: list[tuple[asyncio.AbstractEventLoop, asyncio.Task]] = []

    async def main() -> None:
        arguments = (
            mimi,
            "tiny",
            "127.0.0.1",
            0,
            8,
            token,
            Limits(**{"sessions": 4, **limits}),
            said.put,
        )
        task = asyncio.ensure_future(serve(*arguments))
        ends.append((asyncio.get_running_loop(), task))
        with contextlib.suppress(asyncio.CancelledError):
            await task

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    try:
        yield said.get(timeout=60)
    finally:
        loop, task = ends[0]
        loop.call_soon_threadsafe(task.cancel)
        thread.join(20)
        assert not thread.is_alive()


class Heard(NamedTuple):
    """All that a session's client got."""

    codes: list[np.ndarray]  # [K] a frame
    pcm: np.ndarray
    said: list[dict]  # in JSON, each with ``"after"``: messages of samples or codes before it
    code: int | None  # with which it was closed


def portions(samples: np.ndarray, seed: int = 0) -> list[bytes]:
    """Samples in portions of any size."""
    cuts = np.sort(np.random.default_rng(seed).integers(0, len(samples), len(samples) // 3000))
    return [part.tobytes() for part in np.split(samples, cuts)]


async def session(url: str, kind: str, options: Any, messages: list[Any]) -> Heard:
    """Send options and messages, bytes and JSON, and hear all until the service closes."""
    async with aiohttp.ClientSession() as http, http.ws_connect(f"{url}/{kind}") as socket:

        async def send() -> None:
            for message in (options, *messages):
                if isinstance(message, bytes):
                    await socket.send_bytes(message)
                else:
                    await socket.send_str(json.dumps(message))

        sending = asyncio.create_task(send())
        heard = await hear(socket, kind, options)
        await asyncio.gather(sending, return_exceptions=True)
    return heard


async def admitted(*arguments: Any) -> Heard:
    """:func:`session`, as soon as there is room for one: who vanishes is noticed a moment later."""
    while (heard := await session(*arguments)).code == 1013:
        await asyncio.sleep(0.02)
    return heard


async def hear(socket: aiohttp.ClientWebSocketResponse, kind: str, options: Any) -> Heard:
    """All that comes until the service closes."""
    is_int16 = isinstance(options, dict) and options.get("format") == "int16"
    sample = "<i2" if is_int16 else "<f4"
    count, said, codes, pcm = 0, [], [], [np.zeros(0, sample)]
    async for message in socket:
        if message.type is aiohttp.WSMsgType.TEXT:
            said.append({**json.loads(message.data), "after": max(len(codes), len(pcm) - 1)})
            count = said[-1].get("codebooks", count)
        else:
            size = {"encode": len(message.data), "decode": 0}.get(kind, 2 * count)
            if size:
                codes.append(np.frombuffer(message.data[:size], "<u2").astype(np.int32))
            pcm.append(np.frombuffer(message.data[size:], sample))
    return Heard(codes, np.concatenate(pcm), said, socket.close_code)


def run(*sessions: Any) -> list[Heard]:
    """Several sessions at once."""

    async def main() -> list[Heard]:
        return await asyncio.gather(*sessions)

    return asyncio.run(asyncio.wait_for(main(), 120))
