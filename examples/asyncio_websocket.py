"""A codec server: many WebSocket sessions on one model, each a row of one batched stream.

    pip install websockets
    python examples/asyncio_websocket.py [codec [port]]    # asyncio_websocket_clients.py tries it

/encode takes float32 samples, any number in a message, and answers each whole frame with its 8
codes, int32; /decode takes codes and answers each frame with its samples. Who sends too fast, or
does not read the answers, is not read from meanwhile (back-pressure); nobody notices it, nor that
somebody vanishes. ``Limits`` says what a client may cost; who asks more is told why with the
closing code: 1007 (a wrong value), 1008 (idle, or does not read), 1009 (too large a message), 1013
(all rows are taken: try again later). Ctrl-C or SIGTERM ends it, with 1001, and waits for nobody.
"""

import asyncio
import contextlib
import signal
import sys
import weakref
from collections.abc import Callable

import numpy as np
from asyncio_limits import FAREWELL, USUAL, Broken, Limits, within
from asyncio_sessions import Busy, Half, Session
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from mimi_mlx import Mimi, MimiWorker

NUM_CODEBOOKS = 8


async def receive(socket: ServerConnection, session: Session, idle: float) -> None:
    size = session.half.frame_bytes

    async def filled(data: bytes) -> bytes:
        while len(data) < size:
            data += await socket.recv(decode=False)
        return data

    data = b""
    while True:
        data = await within(idle, filled(data), "no whole frame came")
        await session.put(data[:size])
        data = data[size:]


async def send(socket: ServerConnection, session: Session, unread: float) -> None:
    while True:
        await within(unread, socket.send(await session.get()), "answers were not read")


async def handle(socket: ServerConnection, half: Half, limits: Limits) -> None:
    """Serve a client to its end; its row is free before it is told why."""
    try:
        async with half.session(limits.waiting, limits.patience) as session:
            ways = receive(socket, session, limits.idle), send(socket, session, limits.unread)
            tasks = [asyncio.ensure_future(way) for way in ways]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
    except ConnectionClosed:
        return  # hung up, or vanished
    except (ValueError, Broken, Busy) as error:
        code, reason = {ValueError: 1007, Broken: 1008, Busy: 1013}[type(error)], str(error)
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(socket.close(code, reason), FAREWELL)
    socket.transport.abort()


async def run(
    mimi: Mimi, rows: int, port: int, listening: Callable[[int], None], limits: Limits = USUAL
) -> None:
    """Serve ``rows`` sessions at once each way; port 0 is any, and ``listening`` is told which."""
    pcm = np.zeros((rows, 1, mimi.frame_size), np.float32)
    codes = np.zeros((rows, NUM_CODEBOOKS, 1), np.int32)
    encoder = Half(mimi.encoder_stream(rows, NUM_CODEBOOKS), pcm, (-10, 10))  # full scale is 1
    decoder = Half(mimi.decoder_stream(rows), codes, (0, mimi.codebook_size - 1))
    sockets: weakref.WeakSet[ServerConnection] = weakref.WeakSet()

    async def handler(socket: ServerConnection) -> None:
        sockets.add(socket)
        await handle(socket, decoder if socket.request.path == "/decode" else encoder, limits)

    server = await serve(handler, "127.0.0.1", port, **limits.options())
    listening(server.sockets[0].getsockname()[1])
    try:
        with MimiWorker() as worker:
            await asyncio.gather(encoder.run(worker), decoder.run(worker))
    finally:
        server.close()  # says so to all; who is slow to answer is cut off
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(server.wait_closed(), FAREWELL)
        for socket in sockets:
            socket.transport.abort()


def main(codec: str = "tiny", port: str = "8765") -> None:  # until Ctrl-C
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run(Mimi.from_pretrained(codec), 64, int(port), print))


if __name__ == "__main__":
    main(*sys.argv[1:])
