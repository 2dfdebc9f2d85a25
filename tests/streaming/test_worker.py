"""MimiWorker: one thread, a bounded queue, and an end."""

import asyncio
import queue
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import CancelledError

import mlx.core as mx
import numpy as np
import pytest

from mimi_mlx import Mimi, MimiWorker


@pytest.fixture
def worker():
    with MimiWorker(capacity=3) as worker:
        yield worker


@pytest.fixture
def gate(worker):
    """The worker is busy until this is set."""
    gate, begun = threading.Event(), threading.Event()

    def wait():
        begun.set()
        assert gate.wait(30)

    worker.submit(wait)
    assert begun.wait(30)
    yield gate
    gate.set()


def test_every_call_runs_in_one_thread_and_in_order(worker):
    order = []

    def call(i):
        order.append(i)
        return threading.get_ident()

    threads = {worker.submit(call, i).result() for i in range(20)}
    assert len(threads) == 1 and threading.get_ident() not in threads
    assert order == list(range(20))


def test_a_stream_lives_in_the_worker(worker, speech):
    """Loaded, made and pushed there; used here."""
    pcm = speech("kathleen-1")[: 10 * 1920]
    mimi = worker.submit(Mimi.from_pretrained, "tiny").result()
    stream = worker.submit(mimi.encoder_stream, 1, 8).result()
    codes = [worker.submit(stream.push, pcm[i : i + 1920]).result() for i in range(0, 19200, 1920)]
    expected = worker.submit(mimi.encode, pcm, 8).result()
    assert mx.array_equal(mx.concatenate(codes, axis=-1), expected)


def test_calls_have_arguments_by_name(worker):
    assert worker.submit(int, "11", base=3).result() == 4
    with pytest.raises(ValueError, match="function is 'int'; the thread must be able to call it"):
        worker.submit("int", 3)


def test_arrays_that_a_call_returns_can_be_used_in_any_thread(worker):
    lazy = worker.submit(lambda: {"a": [mx.ones(3) * 2], "b": "text", "c": None}).result()
    np.testing.assert_array_equal(lazy["a"][0] + 1, [3, 3, 3])
    assert lazy["b"] == "text"


def test_a_full_queue_refuses_at_once_and_keeps_what_it_has(worker, gate):
    futures = [worker.submit(int, "7") for _ in range(3)]
    begun = time.perf_counter()
    with pytest.raises(queue.Full, match=r"3 calls wait.* greater capacity"):
        worker.submit(int, "8")
    assert time.perf_counter() - begun < 1
    gate.set()
    assert [future.result(30) for future in futures] == [7, 7, 7]
    assert worker.submit(int, "9").result(30) == 9


def test_close_runs_what_waits_and_takes_no_more(worker, gate):
    futures = [worker.submit(int, "7") for _ in range(3)]
    closing = threading.Thread(target=worker.close)
    closing.start()
    gate.set()
    closing.join(30)
    assert all(future.done() and future.result() == 7 for future in futures)
    with pytest.raises(RuntimeError, match=r"submit after close.*Make a new one"):
        worker.submit(int)
    worker.close()
    assert not any(thread.name == "mimi-worker" for thread in threading.enumerate())


def test_cancel_does_not_run_what_waits(worker, gate):
    waiting = worker.submit(pytest.fail, "this call was cancelled")
    threading.Timer(0.2, gate.set).start()
    worker.cancel()
    with pytest.raises(CancelledError):
        waiting.result()
    with pytest.raises(RuntimeError, match="submit after close"):
        worker.submit(int)


@pytest.mark.parametrize("end", ["close", "cancel"])
def test_a_call_ends_its_own_worker(end):
    """As the last reference to what owns a worker may be dropped by a call of that worker."""
    worker = MimiWorker(capacity=1)
    gate = threading.Event()
    last = worker.submit(lambda: (gate.wait(30), getattr(worker, end)()))
    while worker._calls.qsize():
        time.sleep(0.001)
    waiting = worker.submit(int, "7")  # no room is left for the mark that ends the thread
    gate.set()
    assert last.result(30) == (True, None)
    if end == "close":
        assert waiting.result(30) == 7
    else:
        assert waiting.cancelled()
    with pytest.raises(RuntimeError, match="submit after close"):
        worker.submit(int)
    worker.close()
    assert not any(thread.name == "mimi-worker" for thread in threading.enumerate())


def test_a_call_can_be_cancelled_while_it_waits(worker, gate):
    waiting = worker.submit(pytest.fail, "this call was cancelled")
    assert waiting.cancel()
    gate.set()
    assert worker.submit(int, "5").result(30) == 5


@pytest.mark.parametrize("error", [ValueError("wrong"), SystemExit(3), KeyboardInterrupt()])
def test_an_exception_reaches_the_caller_and_the_worker_goes_on(worker, error):
    def fail():
        raise error

    with pytest.raises(type(error)) as caught:
        worker.submit(fail).result()
    assert caught.value is error
    assert worker.submit(int, "4").result() == 4


def test_nothing_of_a_call_is_kept(worker):
    class Thing:
        pass

    thing = Thing()
    seen = weakref.ref(thing)
    worker.submit(id, thing).result()
    del thing
    deadline = time.monotonic() + 10  # the caller may be told before the worker is done
    while seen() is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert seen() is None


def test_from_asyncio(worker, tiny, speech):
    pcm = speech("kerstin-1")[: 8 * 1920]

    async def call() -> list[np.ndarray]:
        stream = tiny.encoder_stream(num_codebooks=8)
        codes = []
        for i in range(0, len(pcm), 1920):
            future = worker.submit(stream.push, pcm[i : i + 1920])
            codes.append(np.array(await asyncio.wrap_future(future)))
        return codes

    codes = np.concatenate(asyncio.run(call()), axis=-1)
    np.testing.assert_array_equal(codes, tiny.encode(pcm, 8))


@pytest.mark.parametrize("capacity", [0, -1])
def test_a_queue_without_room(capacity):
    with pytest.raises(ValueError, match=rf"capacity is {capacity}; .* Give 1 or more"):
        MimiWorker(capacity)


FORGETFUL = """
import sys, threading, time
from mimi_mlx import Mimi, MimiWorker
import mlx.core as mx
import numpy as np
worker = MimiWorker()
mimi = worker.submit(Mimi.from_pretrained, "tiny").result()
stream = worker.submit(mimi.encoder_stream).result()
worker.submit(stream.push, np.zeros(1920, np.float32)).result()
worker.submit(lambda: mx.random.uniform(shape=(3,))).result()
begun = threading.Event()
def last_call():
    begun.set()
    time.sleep(0.5)
    mimi.encode(np.zeros(1920, np.float32))
    print("finished", flush=True)
worker.submit(last_call)
for _ in range(50):
    worker.submit(time.sleep, 0.5)
begun.wait()
print("end", flush=True)
"""


ENDS = ["sys.exit(7)", "worker.cancel()", "raise ValueError('oops')"]


@pytest.mark.parametrize("last", ["", *(pytest.param(end, marks=pytest.mark.slow) for end in ENDS)])
def test_a_script_that_forgets_to_close_ends_promptly(last):
    begun = time.perf_counter()
    command = [sys.executable, "-c", FORGETFUL + last]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.stdout == "end\nfinished\n", run.stderr
    assert time.perf_counter() - begun < 20, "it ran the calls that waited"
    assert run.returncode == {"sys.exit(7)": 7}.get(last, 1 if "oops" in last else 0), run.stderr
    assert "oops" in run.stderr if "oops" in last else not run.stderr
