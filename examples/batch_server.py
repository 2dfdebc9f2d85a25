"""A server of 64 calls on one batched stream: they come, fall silent and go as they like.

    python examples/batch_server.py

Every row of the batch is a line. A caller takes a free line, whose row begins anew; a frame that
is late leaves its row out of one step; who hangs up frees the line. All lines that have a frame
go through the model in one step. The model is "tiny" and the speech comes with it.
"""

import time
from dataclasses import dataclass, field

import numpy as np

from mimi_mlx import Mimi, audio
from mimi_mlx.tiny import SPEECH

LINES = 16  # rows of the batch, calls at once
CALLS = 64
NUM_CODEBOOKS = 4
LATE = 0.1  # of all frames


@dataclass
class Call:
    """A caller's speech in frames ``[F, frame_size]``, and what was encoded of it."""

    frames: np.ndarray
    codes: list[np.ndarray] = field(default_factory=list)  # [K] a frame
    echo: list[np.ndarray] = field(default_factory=list)  # [frame_size] a frame

    def next_frame(self) -> np.ndarray:
        return self.frames[len(self.codes)]

    def is_over(self) -> bool:
        return len(self.codes) == len(self.frames)


class Server:
    """Echoes each line's speech through the codec."""

    def __init__(self, mimi: Mimi):
        self.frame_size = mimi.frame_size
        self.encoder = mimi.encoder_stream(batch_size=LINES, num_codebooks=NUM_CODEBOOKS)
        self.decoder = mimi.decoder_stream(batch_size=LINES)
        self.lines: list[Call | None] = [None] * LINES

    def take(self, calls: list[Call]) -> None:
        """Put callers through on free lines, as many as there are."""
        free = [row for row, call in enumerate(self.lines) if call is None]
        rows = free[: len(calls)]
        for row in rows:
            self.lines[row] = calls.pop()
        self.encoder.reset(rows=rows)  # all other rows go on undisturbed
        self.decoder.reset(rows=rows)

    def step(self, arrived: np.ndarray) -> int:
        """One frame of every line where ``arrived [LINES]`` and somebody speaks: how many."""
        mask = arrived & [call is not None for call in self.lines]
        pcm = np.zeros((LINES, 1, self.frame_size), np.float32)
        for row in np.flatnonzero(mask):
            pcm[row, 0] = self.lines[row].next_frame()
        codes = self.encoder.push(pcm, mask)  # [LINES, K, 1], -1 where nothing arrived
        echo = self.decoder.push(codes, mask)  # [LINES, 1, frame_size], silence there
        codes, echo = np.array(codes), np.array(echo)
        for row in np.flatnonzero(mask):
            call = self.lines[row]
            call.codes.append(codes[row, :, 0])
            call.echo.append(echo[row, 0])
            if call.is_over():
                self.lines[row] = None
        return int(mask.sum())


def callers(mimi: Mimi, rng: np.random.Generator) -> list[Call]:
    """Each says another part of one sentence, 0.3 to 1 s long."""
    clip = audio.read(SPEECH, mimi.sample_rate)
    calls = []
    for _ in range(CALLS):
        frames = int(rng.integers(4, 13))
        start = int(rng.integers(len(clip) - frames * mimi.frame_size))
        speech = clip[start : start + frames * mimi.frame_size]
        calls.append(Call(speech.reshape(frames, mimi.frame_size)))
    return calls


def main() -> None:
    """Serve all calls, then compare some with what each would have been alone."""
    mimi = Mimi.from_pretrained("tiny")
    rng = np.random.default_rng(0)
    server, calls = Server(mimi), callers(mimi, rng)
    waiting = list(calls)
    start, frames, steps = time.perf_counter(), 0, 0
    while waiting or any(server.lines):
        server.take(waiting)
        frames += server.step(rng.random(LINES) > LATE)
        steps += 1
    seconds = time.perf_counter() - start
    for call in calls[::8]:
        codes = np.array(mimi.encode(call.frames.ravel(), num_codebooks=NUM_CODEBOOKS))[0]
        assert np.array_equal(np.stack(call.codes, axis=-1), codes)
        echo = np.array(mimi.decode(codes))[0, 0]
        assert np.abs(np.concatenate(call.echo) - echo).max() < 1e-4 * echo.std()
    speed = frames / mimi.frame_rate / seconds
    print(
        f"{CALLS} calls on {LINES} lines: {frames} frames in {steps} steps, {speed:.0f} s of "
        "speech a second; each as if alone"
    )


if __name__ == "__main__":
    main()
