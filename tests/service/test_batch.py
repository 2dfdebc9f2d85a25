"""Rows of one batch: each goes on as if alone while others come, leave and are forgotten."""

import asyncio
import threading

import numpy as np
import pytest

from mimi_mlx import Mimi
from mimi_mlx.model.codec import Codec
from mimi_mlx.service import batch
from mimi_mlx.service.limits import Fault


@pytest.fixture
def rows(tiny):
    """Have ``use(batch, push)`` use an encoder's rows; ``push(row, frame)`` gives codes ``[K]``."""

    def rows(use) -> None:
        async def main() -> None:
            encoder = batch.encoder(tiny, 10)
            running = asyncio.ensure_future(encoder.run())

            async def push(row: int, x: np.ndarray) -> np.ndarray:
                return (await encoder.push(row, x[None], 8))[:8, 0]

            await use(encoder, push)
            assert not running.done()
            running.cancel()
            encoder.worker.close()

        asyncio.run(asyncio.wait_for(main(), 60))

    return rows


@pytest.fixture(scope="module")
def frames(speech):
    return speech("kathleen-1")[: 8 * 1920].reshape(8, 1920)


def test_a_row_goes_on_while_the_batch_grows_and_shrinks(tiny, rows, frames):
    expected = np.array(tiny.encode(frames.ravel(), 8))[0]

    async def use(encoder, push) -> None:
        first = encoder.take()
        found = [await push(first, frames[0]), await push(first, frames[1])]
        others = [encoder.take() for _ in range(9)]
        with pytest.raises(Fault):
            encoder.take()
        heard = {row: frames[2] for row in [first, others[1], others[0], *others[2:]]}
        heard[others[1]] = frames[7]
        found.append((await asyncio.gather(*(push(*each) for each in heard.items())))[0])
        found.append(await push(first, frames[3]))
        for row in others[1:]:
            encoder.release(row)
        found += [await push(first, frames[4]), await push(first, frames[5])]
        assert encoder.take() == others[1]  # the lowest that is free: the batch stays small
        np.testing.assert_array_equal(np.stack(found, -1), expected[:, :6])
        # The other one has heard one frame of its own.
        alone = np.array(tiny.encode(np.concatenate([frames[2], frames[6]]), 8))[0]
        np.testing.assert_array_equal(await push(others[0], frames[6]), alone[:, 1])

    rows(use)


def test_what_waits_of_a_row_that_is_given_back_is_forgotten(tiny, rows, frames):
    async def use(encoder, push) -> None:
        busy, gone = encoder.take(), encoder.take()
        go_on = threading.Event()
        encoder.worker.submit(go_on.wait)
        waiting = [asyncio.ensure_future(push(busy, frames[0]))]
        await asyncio.sleep(0.01)  # that step is in the worker, and what comes now waits for it
        waiting.append(asyncio.ensure_future(push(gone, frames[1])))
        await asyncio.sleep(0.01)
        assert encoder.waiting == 1
        waiting[1].cancel()
        encoder.release(gone)
        assert encoder.take() == gone
        go_on.set()
        await waiting[0]
        await asyncio.sleep(0.1)
        codes = [await push(gone, frame) for frame in frames[:2]]
        expected = np.array(tiny.encode(frames[:2].ravel(), 8))[0]
        np.testing.assert_array_equal(np.stack(codes, -1), expected)

    rows(use)


def test_a_step_that_fails_ends_those_who_are_there_and_nobody_else(tiny, rows, frames):
    async def use(encoder, push) -> None:
        first, other = encoder.take(), encoder.take()
        await push(first, frames[0])
        with pytest.raises(ValueError, match=r"shape|dimension"):
            await encoder.push(other, np.zeros((3, 1920), np.float32), 8)
        for row in (first, other):
            with pytest.raises(RuntimeError, match="a step has failed"):
                await push(row, frames[1])
            encoder.release(row)
        assert encoder.take() == first
        codes = [await push(first, frame) for frame in frames[:2]]
        expected = np.array(tiny.encode(frames[:2].ravel(), 8))[0]
        np.testing.assert_array_equal(np.stack(codes, -1), expected)

    rows(use)


def test_no_session_waits_for_a_compilation(frames, monkeypatch):
    """However many codebooks it asks for."""
    traces, step = [], Codec.encode_step
    monkeypatch.setattr(Codec, "encode_step", lambda *args: traces.append(1) or step(*args))

    async def main() -> None:
        encoder = batch.encoder(Mimi.from_pretrained("tiny"), 1)
        running = asyncio.ensure_future(encoder.run())
        await encoder.warm()
        before, row = len(traces), encoder.take()
        for codebooks in (8, 16):
            await encoder.push(row, frames[:1], codebooks)
        assert len(traces) == before
        running.cancel()
        encoder.worker.close()

    asyncio.run(asyncio.wait_for(main(), 60))
