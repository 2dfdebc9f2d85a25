"""Record speech live to a .mimi file, frame by frame, and listen to it while it grows.

    python examples/live_recorder.py [recording.mimi]

The microphone is a clip of speech that comes with mimi_mlx, and the model is "tiny", which comes
with it too, so that this needs no network. With a real microphone, push what it gives.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mimi_mlx import Mimi, audio
from mimi_mlx.codefile import Header, Reader, Writer, read
from mimi_mlx.tiny import SPEECH

CALLBACK = 441  # samples that a sound card hands over at once: frames do not begin where these do


def microphone(mimi: Mimi) -> Iterator[np.ndarray]:
    """Samples ``[T]`` as they come."""
    clip = audio.read(SPEECH, mimi.sample_rate)
    yield from (clip[start : start + CALLBACK] for start in range(0, len(clip), CALLBACK))


def record_and_listen(mimi: Mimi, path: Path) -> np.ndarray:
    """Write codes as they are made, and decode them from the growing file: samples ``[T]``."""
    encoder, decoder = mimi.encoder_stream(num_codebooks=8), mimi.decoder_stream()
    samples, heard = 0, []
    with (
        Writer(path, Header.for_model(mimi, num_codebooks=8), block_frames=1) as recording,
        Reader(path) as playback,
    ):
        for pcm in microphone(mimi):
            samples += len(pcm)
            recording.write(encoder.push(pcm))  # on disk as soon as a frame is whole
            heard += [decoder.push(codes) for codes in playback]  # each block that is new
        recording.write(encoder.flush())
        recording.close(samples)
        heard += [decoder.push(codes) for codes in playback]
        playback.header.check_model(mimi)
        assert playback.ended and playback.damage is None
    return np.concatenate(heard, axis=-1)[0, 0, : playback.samples]


def main(path: Path) -> None:
    """Record, and compare with the clip that is encoded and decoded at once."""
    mimi = Mimi.from_pretrained("tiny")
    heard = record_and_listen(mimi, path)
    clip = np.concatenate(list(microphone(mimi)))
    codes = mimi.encode(clip, num_codebooks=8)
    assert np.array_equal(read(path).codes, codes), "the file has other codes than the clip"
    decoded = np.array(mimi.decode(codes, length=len(clip)))[0, 0]
    assert heard.shape == decoded.shape and np.abs(heard - decoded).max() < 1e-4
    print(
        f"{len(heard) / mimi.sample_rate:.2f} s in {codes.shape[2]} frames, "
        f"{path.stat().st_size} bytes; live equals offline"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("recording", nargs="?", type=Path, help="a .mimi file to keep")
    if path := parser.parse_args().recording:
        main(path)
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(folder) / "recording.mimi")
