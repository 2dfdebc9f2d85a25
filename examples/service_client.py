"""Sends a sound file through ``mimi-mlx serve`` and writes what comes back.

pip install aiohttp soundfile
python examples/service_client.py IN.wav OUT.wav [http://127.0.0.1:8788]
"""

import asyncio
import sys

import aiohttp
import numpy as np
import soundfile


async def roundtrip(url: str, samples: np.ndarray, rate: int, codebooks: int = 8) -> np.ndarray:
    async with aiohttp.ClientSession() as http, http.ws_connect(f"{url}/roundtrip") as socket:

        async def send() -> None:
            await socket.send_json({"rate": rate, "codebooks": codebooks})
            for start in range(0, len(samples), rate // 10):
                await socket.send_bytes(samples[start : start + rate // 10].tobytes())
            await socket.send_json({"end": True})

        sending, heard = asyncio.create_task(send()), []
        async for message in socket:
            if message.type is aiohttp.WSMsgType.BINARY:  # codes, then samples
                heard.append(np.frombuffer(message.data, "<f4", offset=2 * codebooks))
            elif "error" in (said := message.json()):
                raise SystemExit(said["error"])
            else:
                codebooks = said.get("codebooks", codebooks)
        await sending
    return np.concatenate(heard)


def main(source: str, target: str, url: str = "http://127.0.0.1:8788") -> None:
    samples, rate = soundfile.read(source, dtype="<f4")
    soundfile.write(target, asyncio.run(roundtrip(url, samples, rate)), rate)


if __name__ == "__main__":
    main(*sys.argv[1:])
