"""examples/asyncio_websocket.py: what clients that are idle, greedy or do not read may cost."""

import asyncio
import base64
import contextlib
import importlib
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("websockets")
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

EXAMPLES = Path(__file__).parents[2] / "examples"
FRAME = bytes(4 * 1920)  # one of samples
CODES = bytes(4 * 8)  # and one of codes


@pytest.fixture
def serving(tiny, monkeypatch):
    """Have ``talk(port)`` talk to a server of one row each way; seconds that it took to end."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    server = importlib.import_module("asyncio_websocket")

    def serving(talk, **limits) -> float:
        async def main() -> float:
            listening = asyncio.get_running_loop().create_future()
            about = server.Limits(**limits)
            running = asyncio.create_task(server.run(tiny, 1, 0, listening.set_result, about))
            await talk(await listening)
            assert not running.done()
            begun = time.perf_counter()
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
            return time.perf_counter() - begun

        return asyncio.run(asyncio.wait_for(main(), 60))

    return serving


async def closing(websocket) -> str:
    """With which code and why a server has closed a connection."""
    with pytest.raises(ConnectionClosed) as closed:
        await asyncio.wait_for(websocket.recv(), 20)
    return str(closed.value)


async def is_served(port: int) -> None:
    async with connect(f"ws://127.0.0.1:{port}/encode") as websocket:
        await websocket.send(FRAME)
        assert len(await asyncio.wait_for(websocket.recv(), 20)) == 4 * 8


@pytest.mark.parametrize("drip", [b"", b"x"])
def test_an_idle_client_makes_room(serving, drip):
    """Also one that sends empty messages, or a byte now and then."""

    async def talk(port: int) -> None:
        async with connect(f"ws://127.0.0.1:{port}/encode") as idle:

            async def drips() -> None:
                while True:
                    await idle.send(drip)
                    await asyncio.sleep(0.05)

            dripping = asyncio.create_task(drips())
            await asyncio.sleep(0.1)
            await is_served(port)
            assert "1008 (policy violation) no whole frame came for 0.3 s" in await closing(idle)
            dripping.cancel()

    serving(talk, idle=0.3)


@pytest.mark.slow
def test_a_client_that_does_not_read_makes_room(serving):
    """Before that, its answers wait in buffers, and it is not read from."""

    async def talk(port: int) -> None:
        url = f"ws://127.0.0.1:{port}/decode"
        async with connect(url, max_queue=1) as unread, connect(url) as other:

            async def sends() -> None:
                while True:
                    await unread.send(CODES)

            sending = asyncio.create_task(sends())
            await other.send(CODES)
            assert len(await asyncio.wait_for(other.recv(), 20)) == len(FRAME)
            with pytest.raises(ConnectionClosed):
                await sending

    serving(talk, unread=0.3)


def test_who_finds_no_row_is_told(serving):
    """One has the row and one may wait; who is one too many is told so at once."""

    async def talk(port: int) -> None:
        url = f"ws://127.0.0.1:{port}/encode"
        async with connect(url) as first, connect(url) as second:
            await asyncio.sleep(0.1)
            async with connect(url) as third:
                told = await closing(third)
                assert "1013 (try again later) no row is free, and 1 wait for one" in told
            told = await closing(second)
            assert "1013 (try again later) no row has become free for 0.5 s" in told
            await first.send(FRAME)
            assert len(await first.recv()) == 4 * 8

    serving(talk, waiting=1, patience=0.5)


def test_a_message_has_a_largest_size(serving):
    async def talk(port: int) -> None:
        async with connect(f"ws://127.0.0.1:{port}/encode") as websocket:
            await websocket.send(bytes(2**16 + 1))
            assert "1009 (message too big)" in await closing(websocket)

    serving(talk)


def opened(port: int, path: str) -> socket.socket:
    """A client that never reads, with small buffers of its own."""
    client = socket.socket()
    for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        client.setsockopt(socket.SOL_SOCKET, buffer, 4096)
    client.connect(("127.0.0.1", port))
    key = base64.b64encode(os.urandom(16)).decode()
    client.sendall(
        f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    assert b" 101 " in client.recv(100)
    client.settimeout(0.4)
    return client


def swallowed(port: int, path: str, message: bytes) -> int:
    """How many bytes of endless messages a server takes from a client that never reads."""
    with opened(port, path) as client:
        sent, messages = 0, memoryview(message * 100)
        with contextlib.suppress(OSError):  # it takes no more, or has hung up
            while sent < 50_000_000:
                sent += client.send(messages[sent % len(messages) :])
    return sent


@pytest.mark.parametrize(
    ("path", "opcode", "payload"),
    [("/encode", 2, bytes(60_000)), ("/decode", 9, bytes(125))],
    ids=["samples", "pings"],
)
def test_what_is_sent_by_one_that_does_not_read_is_not_kept(serving, path, opcode, payload):
    length = bytes([128 + len(payload)]) if len(payload) < 126 else struct.pack("!BH", 254, 60_000)
    message = bytes([128 + opcode]) + length + bytes(4) + payload

    async def talk(port: int) -> None:
        async with connect(f"ws://127.0.0.1:{port}/encode"):  # that row is taken
            sent = await asyncio.to_thread(swallowed, port, path, message)
        assert sent < 1_500_000

    serving(talk)


def test_a_server_ends_at_once_behind_slow_clients(serving):
    """One does not read, one waits for a row, one has not said what it wants."""
    clients = []

    async def talk(port: int) -> None:
        clients.append(await asyncio.to_thread(opened, port, "/decode"))
        clients[0].setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                clients[0].send((b"\x82\xa0" + bytes(4) + CODES) * 100)
                await asyncio.sleep(0.01)
        clients.append(await asyncio.to_thread(opened, port, "/decode"))
        clients.append(socket.create_connection(("127.0.0.1", port)))
        await asyncio.sleep(0.1)

    assert serving(talk) < 3
    for client in clients:
        client.close()


@pytest.mark.slow
def test_a_signal_ends_the_server(tmp_path):
    """Behind a client that does not read."""
    command = [sys.executable, "-u", EXAMPLES / "asyncio_websocket.py", "tiny", "0"]
    servers = [
        subprocess.Popen(command, stdout=-1, stderr=-1, text=True, cwd=tmp_path) for _ in range(2)
    ]
    for server, number in zip(servers, (signal.SIGINT, signal.SIGTERM), strict=True):
        with server, opened(int(server.stdout.readline()), "/decode") as client:
            with contextlib.suppress(OSError):
                while True:
                    client.send((b"\x82\xa0" + bytes(4) + CODES) * 100)
            begun = time.perf_counter()
            server.send_signal(number)
            try:
                assert server.wait(20) == 0
            finally:
                server.kill()
            assert time.perf_counter() - begun < 3
            assert not server.stderr.read()
