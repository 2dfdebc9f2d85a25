"""Who may not ask, who asks for what there is not, and who costs too much: told, and gone."""

import asyncio
import base64
import contextlib
import http.client
import json
import re
import socket
import struct
import time
import urllib.parse

import aiohttp
import numpy as np
import pytest
import serving
from serving import run, session

FRAME = bytes(4 * 1920)
END = {"end": True}


def ask(url: str, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)
    connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
    answer = connection.getresponse()
    assert "aiohttp" not in answer.headers["Server"]
    return answer.status, answer.read()


UPGRADE = {
    **{"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13"},
    "Sec_WebSocket_Key": base64.b64encode(bytes(16)).decode(),
}


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/", {}),
        ("GET", "/metrics", {}),
        ("POST", "/encode", {}),
        ("POST", "/listen", {}),
        ("GET", "/encode", UPGRADE),
    ],
)
@pytest.mark.parametrize(
    "foreign",
    [
        {"Origin": "https://example.com"},
        {"Origin": "null"},
        {"Origin": "http://[broken"},
        {"Origin": "http://localhost:1"},
        {"Host": "example.com"},
        {"Host": "example.com", "Origin": "http://example.com"},
        {"Host": "127.0.0.1.example.com"},
        {"Host": ""},
    ],
    ids=str,
)
def test_foreign_pages_are_refused(url, method, path, headers, foreign):
    status, said = ask(url, method, path, b"", **headers, **foreign)
    assert status == 403 and re.search("the (host|page) is", json.loads(said)["error"])


def test_the_own_page_is_not_foreign(url):
    host = url.removeprefix("http://").replace("127.0.0.1", "localhost")
    assert ask(url, "GET", "/health", Origin=f"http://{host}", Host=host)[0] == 200
    assert ask(url, "GET", "/health", Origin=url)[0] == 200
    for host in ("[::1]:8788", "LocalHost:8788", "127.0.0.2"):
        assert ask(url, "GET", "/health", Origin=f"http://{host}".lower(), Host=host)[0] == 200
    assert b"<html" in ask(url, "GET", "/")[1]


def test_a_token_is_asked_for(tiny):
    token = "sésame ünd more"
    with serving.service(tiny, token=token) as url:
        query = f"?token={urllib.parse.quote(token)}"
        bearer = f"Bearer {token}".encode().decode("latin-1")
        for path in ("/metrics", "/encode"):
            for wrong in ("", "?token=", "?token=s", f"{query}x"):
                assert ask(url, "GET", path + wrong)[0] == 401
            assert ask(url, "GET", path, Authorization="Bearer x")[0] == 401
            assert ask(url, "GET", path, Authorization=token.encode().decode("latin-1"))[0] == 401
        assert ask(url, "POST", "/encode")[0] == 401
        assert ask(url, "GET", "/metrics", Authorization=bearer)[0] == 200
        assert ask(url, "GET", f"/metrics{query}")[0] == 200
        assert ask(url, "GET", "/")[0] == ask(url, "GET", "/health")[0] == 200
        # Behind a server that speaks TLS; the page of another one is foreign all the same.
        there = {"Host": "codec.example.com", "Authorization": bearer}
        assert ask(url, "GET", "/metrics", Origin="https://codec.example.com", **there)[0] == 200
        assert ask(url, "GET", "/metrics", Origin="https://example.com", **there)[0] == 403
        (heard,) = run(session(url, f"encode{query}", {}, [END]))
        assert heard.code == 1000


NAN = np.full(1920, np.nan, "<f4").tobytes()
LOUD = np.full(1920, -11, "<f4").tobytes()


@pytest.mark.parametrize(
    ("kind", "options", "message", "code", "says"),
    [
        ("encode", {}, NAN, 1007, "not from -10 to 10"),
        ("roundtrip", {}, LOUD, 1007, "not from -10 to 10"),
        ("encode", {}, b"abc", 1007, "3 bytes; float32 samples take 4"),
        ("encode", {"format": "int16"}, b"abc", 1007, "int16 samples take 2"),
        ("decode", {}, b"\0" * 15, 1007, "whole frames of 8 uint16, 16 bytes"),
        ("decode", {}, b"\0\x08" * 8, 1007, "a code is 2048; it is below 2048"),
        ("encode", {"format": "mp3"}, END, 1003, "format is 'mp3'"),
        ("encode", {"format": []}, END, 1003, "format is"),
        ("encode", {"rate": 7999}, END, 1003, "from 8000 to 192000"),
        ("encode", {"rate": True}, END, 1003, "from 8000 to 192000"),
        ("encode", {"rate": 1e400}, END, 1003, "no number of JSON"),
        ("encode", {"codebooks": 17}, END, 1003, "codebooks is 17; it is from 1 to 16"),
        ("encode", {"codebooks": None}, END, 1003, "codebooks is None"),
        ("encode", {"bitrate": 1}, END, 1003, "'bitrate' is no option"),
        ("encode", [], END, 1003, "not a JSON object"),
        ("encode", 3, END, 1003, "not a JSON object"),
        ("encode", b"\0", END, 1003, "the first message is JSON text"),
        ("encode", {}, {"end": 1}, 1003, "a message during a session is"),
        ("encode", {}, {"codebooks": 0}, 1003, "codebooks is 0"),
        ("roundtrip", {}, bytes(2**20 + 1), 1009, None),
        ("roundtrip", {"rate": "9" * 4096}, END, 1009, "at most 4096 characters"),
    ],
)
def test_what_is_not_understood_ends_its_session(url, kind, options, message, code, says):
    (bad,) = run(session(url, kind, options, [message]))
    assert bad.code == code
    if says:
        assert says in bad.said[-1]["error"] and "\n" not in bad.said[-1]["error"]


def test_nobody_else_notices(tiny, url, speech):
    """What is wrong comes in the same steps as what is not."""
    pcm = speech("kathleen-1")[:3840]
    wrong = [FRAME, NAN]
    good, *bad = run(
        session(url, "encode", {}, [pcm[:1920].tobytes(), pcm[1920:].tobytes(), END]),
        *(session(url, kind, {}, wrong) for kind in ("encode", "roundtrip")),
        session(url, "encode", {}, [FRAME, b"abc"]),
    )
    np.testing.assert_array_equal(np.stack(good.codes, -1), np.array(tiny.encode(pcm, 8))[0])
    assert [each.code for each in bad] == [1007] * 3


async def talk(url: str, path: str, then) -> str:
    """Have ``then(socket)`` speak in a session that has begun: why it was closed."""
    async with aiohttp.ClientSession() as client, client.ws_connect(f"{url}{path}") as socket:
        await socket.send_str("{}")
        await socket.receive()
        speaking = asyncio.create_task(then(socket))
        said = ""
        async for message in socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                said = message.data
        speaking.cancel()
        return f"{socket.close_code} {said}"


def test_who_finds_no_row_is_told_at_once(tiny):
    async def main(url: str) -> None:
        async with aiohttp.ClientSession() as client, client.ws_connect(f"{url}/encode") as one:
            await one.send_str("{}")
            await one.receive()
            full = await session(url, "roundtrip", {}, [])
            assert full.code == 1013 and "all sessions are taken" in full.said[0]["error"]
            assert (await session(url, "decode", {}, [END])).code == 1000
        assert (await serving.admitted(url, "roundtrip", {}, [END])).code == 1000

    with serving.service(tiny, sessions=1) as url:
        asyncio.run(asyncio.wait_for(main(url), 60))


def test_an_idle_client_makes_room(tiny):
    """Also one that sends a sample or another wish now and then; or nothing at all."""

    async def drips(socket) -> None:
        while True:
            await socket.send_bytes(bytes(4))
            await socket.send_str('{"codebooks": 4}')
            await asyncio.sleep(0.05)

    with serving.service(tiny, idle=0.3) as url:
        assert asyncio.run(talk(url, "/encode", drips)).startswith(
            '1008 {"error": "no whole frame came for 0.3 s"}'
        )
        request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
        for said in (b"", request[:30], request, request + request[:30]):
            with connected(url) as silent:
                silent.sendall(said)
                while silent.recv(500):
                    pass


def test_a_connection_that_is_one_too_many_is_not_kept(tiny):
    with serving.service(tiny, sessions=1, connections=2) as url, contextlib.ExitStack() as stack:
        for _ in range(4):  # two sessions', and two more
            stack.enter_context(connected(url))
        with pytest.raises(ConnectionError):
            ask(url, "GET", "/health")
        stack.close()
        while True:  # that they have ended is noticed a moment later
            with contextlib.suppress(ConnectionError):
                assert ask(url, "GET", "/health")[0] == 200
                break


def connected(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def opened(url: str, path: str) -> socket.socket:
    """A session's client that never reads, with small buffers of its own."""
    client = socket.socket()
    for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        client.setsockopt(socket.SOL_SOCKET, buffer, 4096)
    host, port = url.removeprefix("http://").split(":")
    client.connect((host, int(port)))
    upgrade = "".join(f"{name.replace('_', '-')}: {x}\r\n" for name, x in UPGRADE.items())
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{upgrade}\r\n".encode())
    assert b" 101 " in client.recv(500)
    client.sendall(masked(1, b"{}"))
    client.settimeout(0.4)
    return client


def masked(opcode: int, payload: bytes) -> bytes:
    """A WebSocket message from a client, whose mask is 0."""
    size = len(payload)
    length = bytes([128 + size]) if size < 126 else struct.pack("!BH", 254, size)
    return bytes([128 + opcode]) + length + bytes(4) + payload


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "message"),
    [("/roundtrip", masked(2, FRAME)), ("/decode", masked(9, bytes(125)))],
    ids=["samples", "pings"],
)
def test_what_is_sent_by_one_that_does_not_read_is_not_kept(tiny, path, message):
    """And it is closed; nobody else waits meanwhile."""
    with serving.service(tiny, unread=0.3, idle=0.6) as url, opened(url, path) as client:
        sent, messages = 0, memoryview(message * (2**20 // len(message)))
        with contextlib.suppress(OSError):  # it takes no more, or has hung up
            while sent < 50_000_000:
                sent += client.send(messages[sent % len(messages) :])
        (other,) = run(session(url, "roundtrip", {}, [FRAME, END]))
        assert len(other.codes) == 1
        client.settimeout(20)
        with pytest.raises(ConnectionError):
            while True:
                client.send(message)
                time.sleep(0.05)
    assert sent < 3_000_000


def test_who_does_not_read_is_told_as_soon_as_he_does(tiny, monkeypatch):
    """What he has kept waiting comes before that."""
    monkeypatch.setattr("mimi_mlx.service.server.FAREWELL", 20)
    with serving.service(tiny, unread=0.1) as url, opened(url, "/decode") as client:
        client.sendall(masked(2, bytes(16 * 60)))
        for _ in range(200):
            if b'dropped_total{code="1008"} 1' in ask(url, "GET", "/metrics")[1]:
                break
            time.sleep(0.05)
        client.settimeout(20)
        said = b""
        while b'"answers were not read for 0.1 s"' not in said:
            more = client.recv(1 << 20)
            assert more
            said = said[-100:] + more


def test_the_end_of_the_service_is_said(tiny):
    """To who speaks; who does not read is cut off."""

    async def main() -> str:
        stack = contextlib.ExitStack()
        url = stack.enter_context(serving.service(tiny))
        ending = asyncio.create_task(talk(url, "/roundtrip", lambda _: asyncio.sleep(60)))
        deaf = await asyncio.to_thread(opened, url, "/decode")
        await asyncio.sleep(0.1)
        await asyncio.to_thread(stack.close)
        deaf.close()
        return await ending

    assert asyncio.run(main()) == '1001 {"error": "the server ends"}'
