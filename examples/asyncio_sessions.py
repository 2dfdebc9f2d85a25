"""Sessions of asyncio_websocket.py on one model: each is a row of one batched stream.

All sessions that have a frame waiting go through the model in one step. Nothing here knows of a
network: whoever puts frames into a session takes its answers out again.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import numpy as np

from mimi_mlx import DecoderStream, EncoderStream, MimiWorker

WAITING = 4  # frames of a session that wait for the model, and answers that wait to be sent


class Busy(Exception):
    """There is no row for one more session."""


class Session:
    """One row of the batch."""

    def __init__(self, half: "Half", row: int):
        self.half, self.row, self.fresh = half, row, True
        self.frames, self.answers = asyncio.Queue(WAITING), asyncio.Queue(WAITING)

    async def put(self, data: bytes) -> None:
        """Have a frame go through the model; wait while ``WAITING`` of them do."""
        batch, (least, most) = self.half.batch, self.half.values
        frame = np.frombuffer(data, batch.dtype)
        if not ((least <= frame) & (frame <= most)).all():  # nor is NaN
            raise ValueError(f"a value is not from {least:g} to {most:g}")
        await self.frames.put(frame.reshape(batch.shape[1:]))
        self.half.news.set()

    async def get(self) -> bytes:
        """The next answer. Calling this again says that the one before was sent."""
        self.half.news.set()
        return await self.answers.get()


class Half:
    """Encodes or decodes for its sessions; a frame is like a row of ``batch``.

    Args:
        values: The least and the greatest that a frame may hold.
    """

    def __init__(self, stream: EncoderStream | DecoderStream, batch: np.ndarray, values: tuple):
        self.stream, self.batch, self.values = stream, batch, values
        self.frame_bytes = batch[0].nbytes
        self.free: asyncio.Queue[int] = asyncio.Queue()
        for row in range(len(batch)):
            self.free.put_nowait(row)
        self.sessions, self.news, self.waiting = set(), asyncio.Event(), 0

    @contextlib.asynccontextmanager
    async def session(self, waiting: int, patience: float) -> AsyncIterator[Session]:
        """A row of one's own.

        Args:
            waiting: How many may wait for one at a time, if none is free.
            patience: Seconds that each may wait.

        Raises:
            Busy: No row is free, and too many wait, or it has waited too long.
        """
        if self.free.empty() and self.waiting >= waiting:
            raise Busy(f"no row is free, and {waiting} wait for one already")
        self.waiting += 1
        try:
            row = await asyncio.wait_for(self.free.get(), patience)
        except asyncio.TimeoutError:
            raise Busy(f"no row has become free for {patience:g} s") from None
        finally:
            self.waiting -= 1
        session = Session(self, row)
        self.sessions.add(session)
        try:
            yield session
        finally:
            self.sessions.remove(session)
            self.free.put_nowait(row)

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
