"""One way of the codec for many sessions: each has a row, and one step takes all that wait."""

import asyncio
import heapq
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..mimi import Mimi
from ..streaming import halves
from ..streaming.halves import Half
from ..streaming.rows import State, joined, take
from ..streaming.runner import Runner
from ..streaming.worker import MimiWorker
from .limits import Fault
from .metrics import Histogram

# Steps are of so many codebooks, or all: each other number would be compiled for itself.
_LEVELS = 8, 16, 32


class Call(NamedTuple):
    """A frame of a row that waits for a step."""

    x: np.ndarray  # samples [1, T], less than a frame at the end of a clip; or codes [K, 1]
    codebooks: int
    output: asyncio.Future[np.ndarray]


class Batch:
    """Rows ``[C, T]``, whose frames go through the model together, in a thread of its own.

    There are as many rows in a step as the highest one that is taken needs: a lone session costs
    little.

    Args:
        runner: Of the model.
        half_of: The half that gives, or takes, so many codebooks; all have one state.
        blank: The input of a row that takes no part, of so many codebooks.
        rows: How many can be taken at once.
        most: Codebooks that the model has.
    """

    def __init__(
        self,
        runner: Runner,
        half_of: Callable[[int], Half],
        blank: Callable[[int], np.ndarray],
        rows: int,
        most: int,
    ):
        self.worker, self.seconds = MimiWorker(), Histogram()
        self._runner, self._half_of, self._blank = runner, half_of, blank
        self._levels = [*(level for level in _LEVELS if level < most), most]
        self._free, self._taken = list(range(rows)), set[int]()
        self._fresh = set[int]()  # rows that begin anew with their next frame
        self._calls: dict[int, Call] = {}
        self._news = asyncio.Event()
        self._state: State = None
        self._size = 0  # rows of the state

    def take(self) -> int:
        """A row of one's own, the lowest there is.

        Raises:
            Fault: All are taken.
        """
        if not self._free:
            raise Fault(1013, "all sessions are taken; try again later")
        row = heapq.heappop(self._free)
        self._taken.add(row)
        self._fresh.add(row)
        return row

    def release(self, row: int) -> None:
        """Give a row back; what waits of it is forgotten."""
        self._calls.pop(row, None)
        self._taken.discard(row)
        heapq.heappush(self._free, row)

    @property
    def waiting(self) -> int:
        """Frames that wait for a step."""
        return len(self._calls)

    async def push(self, row: int, x: np.ndarray, codebooks: int) -> np.ndarray:
        """The output ``[C, T]`` of a row's next frame."""
        output = asyncio.get_running_loop().create_future()
        self._calls[row] = Call(x, codebooks, output)
        self._news.set()
        return await output

    async def warm(self, codebooks: int) -> None:
        """Compile the step of one row, so that the first session does not wait for that."""
        output = asyncio.get_running_loop().create_future()
        call = Call(self._blank(codebooks), codebooks, output)
        await self._submit({0: call}, {0}, 1)

    async def run(self) -> None:
        """Step for ever, with every row that has a frame."""
        while await self._news.wait():
            self._news.clear()
            while self._calls:
                calls, self._calls = self._calls, {}
                fresh = self._fresh & calls.keys()
                self._fresh -= fresh
                outputs = await self._submit(calls, fresh, rounded(max(self._taken) + 1))
                for row, call in calls.items():
                    if not call.output.done():  # its session may be over
                        call.output.set_result(outputs[row])
                await asyncio.sleep(0)  # those who are answered may have the next one ready

    async def _submit(
        self, calls: dict[int, Call], fresh: set[int], size: int
    ) -> dict[int, np.ndarray]:
        return await asyncio.wrap_future(self.worker.submit(self._step, calls, fresh, size))

    def _step(self, calls: dict[int, Call], fresh: set[int], size: int) -> dict[int, np.ndarray]:
        """In the worker: all other rows stay as they are."""
        start = time.perf_counter()
        level = next(n for n in self._levels if n >= max(c.codebooks for c in calls.values()))
        half, blank = self._half_of(level), self._blank(level)
        self._resize(half, size)
        if fresh:
            self._state = self._runner.reset(half, self._state, _mask(fresh, size))
        whole = {row for row, call in calls.items() if call.x.shape[-1] == half.unit}
        outputs = {}
        if whole:
            x = np.repeat(blank[None], size, axis=0)
            for row in whole:
                x[row, : len(calls[row].x)] = calls[row].x
            mask = _mask(whole, size)
            y, self._state = self._runner.advance(half, x, self._state, mask)
            outputs = dict(enumerate(np.array(y)))
        for row in calls.keys() - whole:  # a ragged last frame is a step of its own
            state = take(self._state, np.array([row]))
            y, _ = self._runner.advance(half, calls[row].x[None], state)
            outputs[row] = np.array(y)[0]
        self.seconds.observe(time.perf_counter() - start)
        return outputs

    def _resize(self, half: Half, size: int) -> None:
        """Have so many rows; those that there are stay as they are."""
        state, more = self._state, size - self._size
        if not self._size:
            self._state = self._runner.init_state(half, size)
        elif more > 0:
            fresh = self._runner.init_state(half, more)
            self._state = self._runner.evaluate(lambda: joined(state, fresh))
        elif more < 0:
            self._state = self._runner.evaluate(lambda: take(state, np.arange(size)))
        self._size = size


def encoder(mimi: Mimi, rows: int) -> Batch:
    """From samples ``[1, T]`` to codes ``[K, 1]``, or more of them than were asked for."""
    silence = np.zeros((1, mimi.frame_size), np.float32)
    return Batch(mimi.runner, mimi.runner.encoder, lambda _: silence, rows, mimi.num_codebooks)


def decoder(mimi: Mimi, rows: int) -> Batch:
    """From codes ``[K, 1]`` to samples ``[1, T]``."""
    half = halves.mixed_decoder(mimi.codec)

    def blank(codebooks: int) -> np.ndarray:
        return np.full((codebooks, 1), -1, np.int32)

    return Batch(mimi.runner, lambda _: half, blank, rows, mimi.num_codebooks)


def rounded(rows: int) -> int:
    """The next power of two, and from 8 on the next multiple of 8: each size is compiled."""
    return -(-rows // 8) * 8 if rows > 8 else 1 << (rows - 1).bit_length()


def _mask(rows: set[int], size: int) -> np.ndarray:
    return np.isin(np.arange(size), list(rows))
