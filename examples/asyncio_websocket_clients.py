"""50 clients of asyncio_websocket.py at once: one is slow, one vanishes, and nobody notices.

    pip install websockets
    python examples/asyncio_websocket_clients.py

Each sends another part of a sentence to be encoded, in messages of any size, while it reads the
codes; a few send these back to be decoded. All get what they would get alone. The server runs in
this process; the model is "tiny".
"""

import asyncio
import time

import numpy as np
from asyncio_websocket import NUM_CODEBOOKS, run
from websockets.asyncio.client import connect

from mimi_mlx import Mimi, audio
from mimi_mlx.tiny import SPEECH

CLIENTS = 50
FRAMES = 8  # of each
SLOW, VANISHES = 3, 4  # which clients


async def encode(url: str, pcm: np.ndarray, others: asyncio.Event, client: int) -> np.ndarray:
    """Codes ``[K, F]`` of samples ``[T]``."""
    rng = np.random.default_rng(client)

    async def send() -> None:
        at = 0
        while at < len(pcm):
            size = int(rng.integers(1, 5000))
            await socket.send(pcm[at : at + size].tobytes())
            at += size

    async with connect(f"{url}/encode", compression=None) as socket:
        sending = asyncio.create_task(send())
        codes = []
        while len(codes) < len(pcm) // 1920:
            if client == VANISHES and len(codes) == FRAMES // 2:
                socket.transport.abort()  # no farewell: as when the network is gone
                break
            if client == SLOW and len(codes) == 2:
                await others.wait()  # reads nothing more while any of them speaks
            codes.append(np.frombuffer(await socket.recv(), np.int32))
        sending.cancel()
    return np.stack(codes, axis=-1)


async def decode(url: str, codes: np.ndarray) -> np.ndarray:
    """Samples ``[1920 F]`` of codes ``[K, F]``."""
    async with connect(f"{url}/decode", compression=None) as socket:
        await socket.send(np.ascontiguousarray(codes.T).tobytes())
        frames = [np.frombuffer(await socket.recv(), np.float32) for _ in codes.T]
    return np.concatenate(frames)


async def try_server(mimi: Mimi, clips: list[np.ndarray]) -> tuple[list, list]:
    """Each clip's codes, and the samples of some of them."""
    listening = asyncio.get_running_loop().create_future()
    server = asyncio.create_task(run(mimi, CLIENTS, 0, listening.set_result))
    await asyncio.wait([server, listening], return_when=asyncio.FIRST_COMPLETED)
    url = f"ws://127.0.0.1:{listening.result()}"
    others = asyncio.Event()
    clients = [asyncio.create_task(encode(url, x, others, i)) for i, x in enumerate(clips)]
    codes = await asyncio.gather(*(client for i, client in enumerate(clients) if i != SLOW))
    others.set()
    codes.insert(SLOW, await clients[SLOW])
    pcm = await asyncio.gather(*(decode(url, codes[i]) for i in range(0, CLIENTS, 10)))
    server.cancel()
    return codes, pcm


def main() -> None:
    mimi = Mimi.from_pretrained("tiny")
    speech = audio.read(SPEECH, mimi.sample_rate)
    starts = np.linspace(0, len(speech) - FRAMES * mimi.frame_size, CLIENTS).astype(int)
    clips = [speech[start : start + FRAMES * mimi.frame_size] for start in starts]
    begun = time.perf_counter()
    codes, pcm = asyncio.run(try_server(mimi, clips))
    seconds = time.perf_counter() - begun
    alone = np.array(mimi.encode(np.stack(clips)[:, None], NUM_CODEBOOKS))
    for client in range(CLIENTS):
        frames = FRAMES // 2 if client == VANISHES else FRAMES
        assert np.array_equal(codes[client], alone[client, :, :frames]), client
    for i, heard in enumerate(pcm):
        expected = np.array(mimi.decode(alone[10 * i]))[0, 0]
        assert np.abs(heard - expected).max() < 1e-4 * expected.std()
    print(
        f"{CLIENTS} clients, {sum(x.shape[1] for x in codes)} frames encoded and "
        f"{sum(map(len, pcm)) // mimi.frame_size} decoded in {seconds:.1f} s; each as if alone"
    )


if __name__ == "__main__":
    main()
