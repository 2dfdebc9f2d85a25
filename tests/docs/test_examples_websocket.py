"""examples/asyncio_websocket.py: sessions that come, stop reading, vanish and send nonsense."""

import asyncio
import importlib
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mimi_mlx import MimiWorker

websockets = pytest.importorskip("websockets")
EXAMPLES = Path(__file__).parents[2] / "examples"
FRAME = 1920
WAITING = 4  # frames of a session either side of the model


@pytest.fixture
def server(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module("asyncio_websocket")


@pytest.mark.slow
def test_fifty_clients_get_what_each_would_get_alone(tmp_path):
    script = EXAMPLES / "asyncio_websocket_clients.py"
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert not run.stderr
    assert re.match(r"50 clients, 396 frames encoded and 40 decoded .* as if alone", run.stdout)


def test_who_does_not_read_is_not_read_from(tiny, server):
    """At most ``WAITING`` frames wait either side of the model, and one in each hand."""
    read = 0

    async def recv(decode: bool) -> bytes:
        nonlocal read
        read += 1
        await asyncio.sleep(0)
        return bytes(4 * FRAME)

    async def send(answer: bytes) -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        pcm = np.zeros((2, 1, FRAME), np.float32)
        half = server.Half(tiny.encoder_stream(2, 8), pcm, (-10, 10))
        limits = server.Limits()
        with MimiWorker() as worker:
            running = asyncio.create_task(half.run(worker))
            socket = SimpleNamespace(recv=recv, send=send)
            talking = asyncio.create_task(server.handle(socket, half, limits))
            while read < 2 * WAITING + 2 and not running.done():
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.3)
            assert not running.done() and not talking.done()
            running.cancel(), talking.cancel()

    asyncio.run(asyncio.wait_for(main(), 300))
    assert read == 2 * WAITING + 2


def with_server(tiny, server, rows: int, talk) -> None:
    """Have ``talk(url)`` talk to a server of so many rows."""

    async def main() -> None:
        listening = asyncio.get_running_loop().create_future()
        running = asyncio.create_task(server.run(tiny, rows, 0, listening.set_result))
        port = await listening
        await talk(f"ws://127.0.0.1:{port}")
        assert not running.done()
        running.cancel()

    asyncio.run(asyncio.wait_for(main(), 300))


async def ask(socket, data: bytes, answers: int) -> np.ndarray:
    await socket.send(data)
    return np.stack([np.frombuffer(await socket.recv(), np.int32) for _ in range(answers)], -1)


def test_a_row_that_becomes_free_begins_anew(tiny, server, speech):
    """One row: the next waits until the one before has hung up, or has vanished."""
    from websockets.asyncio.client import connect

    pcm = speech("kathleen-1")[: 6 * FRAME]
    expected = np.array(tiny.encode(pcm, num_codebooks=8))[0]

    async def talk(url: str) -> None:
        async with connect(f"{url}/encode") as first, connect(f"{url}/encode") as second:
            await ask(first, pcm[FRAME:].tobytes(), 5)
            waiting = asyncio.create_task(ask(second, pcm.tobytes(), 6))
            await asyncio.sleep(0.1)
            assert not waiting.done()
            first.transport.abort()
            np.testing.assert_array_equal(await waiting, expected)
        async with connect(f"{url}/encode") as third:
            np.testing.assert_array_equal(await ask(third, pcm.tobytes(), 6), expected)

    with_server(tiny, server, 1, talk)


@pytest.mark.parametrize(
    ("path", "nonsense", "says"),
    [
        ("/encode", np.full(FRAME, np.nan, np.float32), "not from -10 to 10"),
        ("/encode", np.full(FRAME, np.inf, np.float32), "not from -10 to 10"),
        ("/decode", np.full(8, 2048, np.int32), "not from 0 to 2047"),
        ("/decode", np.full(8, -1, np.int32), "not from 0 to 2047"),
    ],
)
def test_nonsense_ends_its_own_session_alone(tiny, server, speech, path, nonsense, says):
    from websockets.asyncio.client import connect
    from websockets.exceptions import ConnectionClosed

    pcm = speech("kathleen-1")[: 4 * FRAME]
    expected = np.array(tiny.encode(pcm, num_codebooks=8))[0]

    async def talk(url: str) -> None:
        async with connect(f"{url}/encode") as good, connect(url + path) as bad:
            begins = await ask(good, pcm[: 2 * FRAME].tobytes(), 2)
            await bad.send(nonsense.tobytes())
            with pytest.raises(ConnectionClosed, match=f"1007.*{says}"):
                await bad.recv()
            goes_on = await ask(good, pcm[2 * FRAME :].tobytes(), 2)
            np.testing.assert_array_equal(np.concatenate([begins, goes_on], axis=-1), expected)

    with_server(tiny, server, 2, talk)
