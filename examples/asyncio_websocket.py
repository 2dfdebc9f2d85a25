"""A codec server: many WebSocket sessions on one model, each a row of one batched stream.

    pip install websockets
    python examples/asyncio_websocket.py [codec [port]]    # asyncio_websocket_clients.py tries it

/encode takes float32 samples, any number in a message, and answers each whole frame with its 8
codes, int32; /decode takes codes and answers each frame with its samples. All sessions that have
a frame waiting go through the model in one step. Who sends too fast, or does not read the answers,
is not read from meanwhile (back-pressure); nobody notices it, nor that somebody vanishes.
"""

import asyncio
import contextlib
import sys
from collections.abc import Callable

import numpy as np
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from mimi_mlx import DecoderStream, EncoderStream, Mimi, MimiWorker

NUM_CODEBOOKS = 8
WAITING = 4  # frames of a session that wait for the model, and answers that wait to be sent


class Session:
    """One row of the batch."""

    def __init__(self, row: int):
        self.row, self.fresh = row, True
        self.frames, self.answers = asyncio.Queue(WAITING), asyncio.Queue(WAITING)


class Half:
    """Encodes or decodes for its sessions; a frame is like a row of ``batch``, within limits."""

    def __init__(self, stream: EncoderStream | DecoderStream, batch: np.ndarray, limits: tuple):
        self.stream, self.batch, (self.least, self.most) = stream, batch, limits
        self.free: asyncio.Queue[int] = asyncio.Queue()
        for row in range(len(batch)):
            self.free.put_nowait(row)
        self.sessions, self.news = set(), asyncio.Event()

    async def handle(self, socket: ServerConnection) -> None:
        session = Session(await self.free.get())  # who finds no row free waits for one
        self.sessions.add(session)
        ways = [asyncio.create_task(way(socket, session)) for way in (self.receive, self.send)]
        try:
            await asyncio.gather(*ways)
        except ConnectionClosed:
            pass  # hung up, or vanished
        except ValueError as error:
            await socket.close(1007, str(error))
        finally:
            for way in ways:
                way.cancel()
            self.sessions.remove(session)
            self.free.put_nowait(session.row)

    async def receive(self, socket: ServerConnection, session: Session) -> None:
        data, size = b"", self.batch[0].nbytes
        while True:
            data += await socket.recv(decode=False)
            while len(data) >= size:
                frame, data = np.frombuffer(data[:size], self.batch.dtype), data[size:]
                if not ((self.least <= frame) & (frame <= self.most)).all():  # nor is NaN
                    raise ValueError(f"a value is not from {self.least:g} to {self.most:g}")
                await session.frames.put(frame.reshape(self.batch.shape[1:]))
                self.news.set()

    async def send(self, socket: ServerConnection, session: Session) -> None:
        while True:
            await socket.send(await session.answers.get())
            self.news.set()

    async def run(self, worker: MimiWorker) -> None:
        """Step for ever, with every session that has a frame and room for its answer."""
        while await self.news.wait():
            self.news.clear()
            while ready := [s for s in self.sessions if s.frames.qsize() and not s.answers.full()]:
                frames = {session: session.frames.get_nowait() for session in ready}
                answers = await asyncio.wrap_future(worker.submit(self.step, frames))
                for session in ready:
                    session.answers.put_nowait(answers[session.row].tobytes())

    def step(self, frames: dict[Session, np.ndarray]) -> np.ndarray:
        """In the worker: all other rows stay as they are."""
        batch, mask = self.batch.copy(), np.zeros(len(self.batch), bool)
        self.stream.reset(rows=[session.row for session in frames if session.fresh])
        for session, frame in frames.items():
            batch[session.row], mask[session.row], session.fresh = frame, True, False
        return np.array(self.stream.push(batch, mask))


async def run(mimi: Mimi, rows: int, port: int, listening: Callable[[int], None]) -> None:
    """Serve ``rows`` sessions at once each way; port 0 is any, and ``listening`` is told which."""
    pcm = np.zeros((rows, 1, mimi.frame_size), np.float32)
    codes = np.zeros((rows, NUM_CODEBOOKS, 1), np.int32)
    encoder = Half(mimi.encoder_stream(rows, NUM_CODEBOOKS), pcm, (-10, 10))  # full scale is 1
    decoder = Half(mimi.decoder_stream(rows), codes, (0, mimi.codebook_size - 1))

    async def handle(socket: ServerConnection) -> None:
        await (decoder if socket.request.path == "/decode" else encoder).handle(socket)

    with MimiWorker() as worker:
        async with serve(handle, "127.0.0.1", port, compression=None) as server:
            listening(server.sockets[0].getsockname()[1])
            await asyncio.gather(encoder.run(worker), decoder.run(worker))


def main(codec: str = "tiny", port: str = "8765") -> None:  # until Ctrl-C
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run(Mimi.from_pretrained(codec), 64, int(port), print))


if __name__ == "__main__":
    main(*sys.argv[1:])
