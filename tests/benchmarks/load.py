"""How many live sessions ``mimi-mlx serve`` holds, and whom it refuses; the server is a process.

    python tests/benchmarks/load.py [--sessions 50] [--seconds 20] [--kinds roundtrip,encode]

Each session sends a frame every 80 ms, begun at a moment of its own, and the time until its answer
is measured; an answer is late after 160 ms. Beside them one does not read, one vanishes, and one
sends NaN. What all others get must be what each would get alone. Then 10 more than there is room
for are refused, and the memory of the server is looked at over 500 short sessions. Run it when
nothing else runs.
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

import aiohttp
import numpy as np

from mimi_mlx import Mimi, audio
from mimi_mlx.tiny import SPEECH

FRAME = 1920
FRAME_SECONDS = 0.08
LATE = 2 * FRAME_SECONDS
CODEBOOKS = 8
ROOM = 64


class Clip(NamedTuple):
    """Speech, and what a model makes of it offline."""

    pcm: np.ndarray  # [F, 1920]
    codes: np.ndarray  # [F, K], uint16
    decoded: np.ndarray  # [F, 1920]

    def frames(self, kind: str) -> list[bytes]:
        """What a session of a kind sends."""
        return [x.tobytes() for x in (self.codes if kind == "decode" else self.pcm)]

    def answers(self, kind: str) -> list[bytes]:
        """And what it gets."""
        codes = [b"" if kind == "decode" else x.tobytes() for x in self.codes]
        pcm = [b"" if kind == "encode" else x.tobytes() for x in self.decoded]
        return [a + b for a, b in zip(codes, pcm, strict=True)]


def clips(mimi: Mimi, frames: int, count: int = 5) -> list[Clip]:
    """Other parts of the speech, which is said again and again."""
    speech = audio.read(SPEECH, mimi.sample_rate)
    made = []
    for i in range(count):
        pcm = np.resize(np.roll(speech, -7000 * i), frames * FRAME)
        codes = np.array(mimi.encode(pcm, CODEBOOKS))
        decoded = np.array(mimi.decode(codes)).reshape(-1, FRAME)
        made.append(Clip(pcm.reshape(-1, FRAME), codes[0].T.astype("<u2"), decoded))
    return made


@contextlib.contextmanager
def server(model: str) -> Iterator[tuple[str, int]]:
    """The address and the number of a process that serves."""
    command = [sys.executable, "-m", "mimi_mlx", "serve", "--model", model, "--port", "0"]
    with subprocess.Popen([*command, "--sessions", str(ROOM)], stdout=-1, text=True) as process:
        try:
            yield process.stdout.readline().split()[-1], process.pid
        finally:
            process.send_signal(2)
            assert process.wait(20) == 0


@contextlib.asynccontextmanager
async def opened(http: aiohttp.ClientSession, url: str, kind: str):
    """A session that has begun."""
    async with http.ws_connect(f"{url}/{kind}", compress=0) as socket:
        await socket.send_json({"codebooks": CODEBOOKS})
        said = await socket.receive_json(timeout=30)
        if "error" in said:
            raise PermissionError(said["error"])
        yield socket


async def live(http, url: str, kind: str, clip: Clip, start: float) -> list[float]:
    """A session at the pace of speech: for each frame the seconds until its answer."""
    sent, delays = [], []
    async with opened(http, url, kind) as socket:

        async def send() -> None:
            for i, frame in enumerate(clip.frames(kind)):
                await asyncio.sleep(start + i * FRAME_SECONDS - time.perf_counter())
                sent.append(time.perf_counter())
                await socket.send_bytes(frame)
            await socket.send_json({"end": True})

        sending = asyncio.create_task(send())
        for expected in clip.answers(kind):
            message = await socket.receive()
            delays.append(time.perf_counter() - sent[len(delays)])
            assert message.data == expected, f"{kind} is not as if alone"
        await sending
    return delays


async def deaf(http, url: str, clip: Clip) -> None:
    """Sends, and does not read."""
    async with opened(http, url, "roundtrip") as socket:
        for frame in clip.frames("roundtrip"):
            await socket.send_bytes(frame)
            await asyncio.sleep(FRAME_SECONDS)


async def vanishing(http, url: str, clip: Clip) -> None:
    """Is gone in the middle of its speech, without a word."""
    async with opened(http, url, "roundtrip") as socket:
        for frame in clip.frames("roundtrip")[: len(clip.pcm) // 2]:
            await socket.send_bytes(frame)
            await asyncio.sleep(FRAME_SECONDS)
        socket._response.connection.transport.abort()


async def nonsense(http, url: str, clip: Clip) -> None:
    """Sends NaN in the middle of its speech."""
    async with opened(http, url, "roundtrip") as socket:
        for frame in clip.frames("roundtrip")[: len(clip.pcm) // 2]:
            await socket.send_bytes(frame)
            await asyncio.sleep(FRAME_SECONDS)
        await socket.send_bytes(np.full(FRAME, np.nan, np.float32).tobytes())
        async for _ in socket:
            pass
        assert socket.close_code == 1007


async def in_real_time(url: str, sessions: int, kinds: list[str], made: list[Clip]) -> np.ndarray:
    """Delays ``[sessions, frames]``, beside those who disturb."""
    rng = np.random.default_rng(0)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        start = time.perf_counter() + 1 + sessions / 50
        talks = [
            live(http, url, kinds[i % len(kinds)], made[i % len(made)], start + rng.random())
            for i in range(sessions)
        ]
        others = [each(http, url, made[0]) for each in (deaf, vanishing, nonsense)]
        results = await asyncio.gather(*talks, *others, return_exceptions=True)
    for result in results[:-3] + results[-2:]:  # who does not read may be hung up on
        if isinstance(result, BaseException):
            raise result
    return np.array(results[:-3])


async def too_many(url: str, more: int) -> int:
    """How many of ``ROOM + more`` sessions are refused; all others can speak."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as http, contextlib.AsyncExitStack() as s:
        refused = 0
        for _ in range(ROOM + more):
            try:
                await s.enter_async_context(opened(http, url, "roundtrip"))
            except PermissionError as error:
                assert "all sessions are taken" in str(error)
                refused += 1
    return refused


async def come_and_go(url: str, count: int, pid: int, clip: Clip) -> list[int]:
    """The server's memory in MB after each fifth of so many short sessions, 10 at once."""
    memory = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        short = Clip(*(x[:3] for x in clip))
        for i in range(count // 10):
            now = time.perf_counter() - 1  # at once
            await asyncio.gather(*(live(http, url, "roundtrip", short, now) for _ in range(10)))
            if (i + 1) % (count // 50) == 0:
                memory.append(resident(pid))
    return memory


def resident(pid: int) -> int:
    """Megabytes of memory that a process holds."""
    said = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True)
    return int(said.stdout) // 1024


async def steps(url: str) -> str:
    """What the server says of its steps."""
    async with aiohttp.ClientSession() as http, http.get(f"{url}/metrics") as answer:
        text = await answer.text()
    found = {}
    for half in ("encoder", "decoder"):
        sum_, count = (
            float(re.search(rf'mimi_step_seconds_{x}{{half="{half}"}} (\S+)', text)[1])
            for x in ("sum", "count")
        )
        found[half] = f"{half} {1000 * sum_ / max(count, 1):.0f} ms"
    return ", ".join(found.values())


def main(argv: list[str] | None = None) -> dict:
    """Measure, print, and give the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--kinds", default="roundtrip,encode,decode")
    parser.add_argument("--short", type=int, default=500, help="sessions that come and go")
    args = parser.parse_args(argv)
    made = clips(Mimi.from_pretrained(args.model), int(args.seconds / FRAME_SECONDS))
    kinds = args.kinds.split(",")
    with server(args.model) as (url, pid):
        delays = asyncio.run(in_real_time(url, args.sessions, kinds, made))
        told = asyncio.run(steps(url))
        refused = asyncio.run(too_many(url, 10))
        memory = asyncio.run(come_and_go(url, args.short, pid, made[0]))
    figures = {
        "sessions": args.sessions,
        "frames": delays.size,
        "late": int((delays > LATE).sum()),
        **{f"ms_{q}": round(1000 * float(np.quantile(delays, q / 100))) for q in (50, 95, 99, 100)},
        "refused": refused,
        "memory_mb": memory,
        "load": [round(x, 1) for x in os.getloadavg()],
    }
    print(f"steps on average: {told}\n{json.dumps(figures)}")
    return figures


if __name__ == "__main__":
    main()
