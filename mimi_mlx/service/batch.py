"""One way of the codec for many sessions: each has a row, and a step takes those that wait."""

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from typing import NamedTuple

import mlx.core as mx
import numpy as np
from numpy.typing import ArrayLike

from ..mimi import Mimi
from ..streaming import halves
from ..streaming.halves import Half
from ..streaming.rows import State, joined, place, take
from ..streaming.runner import Runner
from ..streaming.worker import MimiWorker
from .limits import Fault
from .metrics import Histogram

# Steps are of so many codebooks, or all: each other number would be compiled for itself.
_LEVELS = 8, 16, 32

# Rows of a step, likewise compiled each for itself. More of them would not be faster on a CPU, and
# on a GPU hardly; who waits for the next step, waits less long.
_SIZES = 1, 2, 4, 8, 16


class Call(NamedTuple):
    """A frame of a row that waits for a step."""

    x: np.ndarray  # samples [1, T], less than a frame at the end of a clip; or codes [K, 1]
    codebooks: int
    output: asyncio.Future[np.ndarray]


class Batch:
    """Rows ``[C, T]``, whose frames go through the model together, in a thread of its own.

    A step is of those rows alone that have a frame: on a CPU each costs nearly the same.

    Args:
        runner: Of the model.
        half_of: The half that gives, or takes, so many codebooks; all have one state.
        blank: An input of nothing, of so many codebooks.
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
        self._most_rows = rows
        self._free, self._taken = list(range(rows)), set[int]()
        self._fresh = set[int]()  # rows that begin anew with their next frame
        self._lost = set[int]()  # rows whose state is gone, until they are given back
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
        self._lost.discard(row)
        heapq.heappush(self._free, row)

    @property
    def waiting(self) -> int:
        """Frames that wait for a step."""
        return len(self._calls)

    async def push(self, row: int, x: np.ndarray, codebooks: int) -> np.ndarray:
        """The output ``[C, T]`` of a row's next frame.

        Raises:
            RuntimeError: A step has failed, this one or one before it.
        """
        if row in self._lost:
            raise RuntimeError("a step has failed, and with it the state of all rows is lost")
        output = asyncio.get_running_loop().create_future()
        self._calls[row] = Call(x, codebooks, output)
        self._news.set()
        return await output

    async def warm(self) -> None:
        """Compile the steps, so that no session waits for that."""
        await asyncio.wrap_future(self.worker.submit(self._warm))

    async def run(self) -> None:
        """Step for ever, with the rows that have a frame: who has waited longest comes first."""
        while await self._news.wait():
            self._news.clear()
            while self._calls:
                rows = list(itertools.islice(self._calls, _SIZES[-1]))
                calls = {row: self._calls.pop(row) for row in rows}
                fresh = self._fresh & calls.keys()
                self._fresh -= fresh
                step = self.worker.submit(self._step, calls, fresh, max(self._taken) + 1)
                try:
                    outputs = await asyncio.wrap_future(step)
                except Exception as error:
                    self._fail([*calls.values(), *self._calls.values()], error)
                    continue
                for row, call in calls.items():
                    if not call.output.done():  # its session may be over
                        call.output.set_result(outputs[row])
                await asyncio.sleep(0)  # those who are answered may have the next one ready

    def _fail(self, calls: list[Call], error: Exception) -> None:
        """A step failed, perhaps half done: sessions that there are end, and new ones begin."""
        self._state, self._size, self._lost = None, 0, {*self._taken}
        self._calls.clear()
        for call in calls:
            if not call.output.done():
                call.output.set_exception(error)

    def _warm(self) -> None:
        """In the worker."""
        sizes = [size for size in _SIZES if size <= self._most_rows]
        for level, size in itertools.product(self._levels, sizes):
            half = self._half_of(level)
            x = np.repeat(self._blank(level)[None], size, axis=0)
            self._runner.advance(half, x, self._runner.init_state(half, size))

    def _step(self, calls: dict[int, Call], fresh: set[int], rows: int) -> dict[int, np.ndarray]:
        """In the worker: outputs of rows; all others stay as they are."""
        start = time.perf_counter()
        level = self._level(max(call.codebooks for call in calls.values()))
        half = self._half_of(level)
        self._grow(half, rows)
        outputs = {}
        whole = sorted(row for row, call in calls.items() if call.x.shape[-1] == half.unit)
        if whole:
            size = next(size for size in _SIZES if size >= len(whole))
            x = np.repeat(self._blank(level)[None], size, axis=0)
            for filled, row in zip(x, whole, strict=False):
                filled[: len(calls[row].x)] = calls[row].x
            # Filled up with rows that are there anyway, whose second outputs nobody takes.
            y, state = self._advance(half, x, np.resize(whole, len(x)), fresh)
            self._runner.evaluate(lambda: self._place(np.array(whole), state))
            outputs = dict(zip(whole, np.array(y), strict=False))
        for row in calls.keys() - {*whole}:  # a ragged last frame is a step of its own
            outputs[row] = np.array(self._advance(half, calls[row].x[None], [row], fresh)[0])[0]
        self.seconds.observe(time.perf_counter() - start)
        return outputs

    def _advance(
        self, half: Half, x: np.ndarray, rows: ArrayLike, fresh: set[int]
    ) -> tuple[mx.array, State]:
        """The outputs of some rows and their new states."""
        which = np.array(rows)
        state = take(self._state, which)
        if begin := fresh & {*which.tolist()}:
            state = self._runner.reset(half, state, np.isin(which, [*begin]))
        return self._runner.advance(half, x, state)

    def _place(self, rows: np.ndarray, state: State) -> State:
        place(self._state, rows, state)
        return self._state

    def _grow(self, half: Half, rows: int) -> None:
        """Have at least so many rows; those that there are stay as they are."""
        state, more = self._state, min(2 * rows, self._most_rows) - self._size
        if not self._size:
            self._state = self._runner.init_state(half, more)
        elif rows > self._size:
            fresh = self._runner.init_state(half, more)
            self._state = self._runner.evaluate(lambda: joined(state, fresh))
        else:
            return
        self._size += more

    def _level(self, codebooks: int) -> int:
        return next(level for level in self._levels if level >= codebooks)


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
