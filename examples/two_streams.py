"""Two calls on one model, frame by frame, each with its own state.

    python examples/two_streams.py

A stream's state is a value: one call is saved in mid-word and goes on in another stream, as it
would in another process, and nobody hears it. The model is "tiny" and the speech comes with it,
so that this needs no network.
"""

import tempfile
from pathlib import Path

import numpy as np

from mimi_mlx import Mimi, audio
from mimi_mlx.tiny import SPEECH

NUM_CODEBOOKS = 8


class Call:
    """One direction of a call: samples in, the samples that the other side hears out."""

    def __init__(self, mimi: Mimi):
        self.encoder = mimi.encoder_stream(num_codebooks=NUM_CODEBOOKS)
        self.decoder = mimi.decoder_stream()
        self.heard: list[np.ndarray] = []

    def push(self, samples: np.ndarray) -> None:
        """Any number of samples: each frame that they complete is heard."""
        codes = self.encoder.push(samples)  # [1, K, frames]: these would go over the network
        self.heard.append(np.array(self.decoder.push(codes))[0, 0])

    def hang_up(self) -> np.ndarray:
        """The ragged last frame, and then all that was heard ``[T]``."""
        self.heard.append(np.array(self.decoder.push(self.encoder.flush()))[0, 0])
        return np.concatenate(self.heard)

    def move(self, mimi: Mimi, folder: Path) -> "Call":
        """A call that goes on where this one is, from two files."""
        self.encoder.save(folder / "encoder.safetensors")
        self.decoder.save(folder / "decoder.safetensors")
        other = Call(mimi)
        other.encoder = mimi.load_stream(folder / "encoder.safetensors")
        other.decoder = mimi.load_stream(folder / "decoder.safetensors")
        other.heard = self.heard
        return other


def difference(heard: np.ndarray, mimi: Mimi, clip: np.ndarray) -> float:
    """How far a call is from its clip encoded and decoded at once, relative to its loudness."""
    codes = mimi.encode(clip, num_codebooks=NUM_CODEBOOKS)
    expected = np.array(mimi.decode(codes))[0, 0]
    assert heard.shape == expected.shape
    return float(np.abs(heard - expected).max() / expected.std())


def main() -> None:
    """Two voices talk at once; the first call moves to other streams half way."""
    mimi = Mimi.from_pretrained("tiny")
    clip = audio.read(SPEECH, mimi.sample_rate)
    voices = [clip, clip[::-1].copy()]  # the second speaks backwards
    calls = [Call(mimi), Call(mimi)]
    rng = np.random.default_rng(0)
    at = [0, 0]
    moved = False
    while any(at[i] < len(voices[i]) for i in range(2)):
        i = int(rng.integers(2))  # whoever's packet arrives
        size = int(rng.integers(100, 4000))  # of any size: frames are the streams' business
        calls[i].push(voices[i][at[i] : at[i] + size])
        at[i] += size
        if not moved and at[0] > len(clip) / 2:
            moved = True
            with tempfile.TemporaryDirectory() as folder:
                calls[0] = calls[0].move(mimi, Path(folder))
    for name, call, voice in zip(("first", "second"), calls, voices, strict=True):
        heard = call.hang_up()
        off = difference(heard, mimi, voice)
        assert off < 1e-4
        print(f"{name} call: {len(heard) / mimi.sample_rate:.2f} s, {off:.0e} off the whole clip")


if __name__ == "__main__":
    main()
