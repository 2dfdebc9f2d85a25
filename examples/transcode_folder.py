"""A folder of sound files to a folder of .mimi files, several clips in one batch.

    python examples/transcode_folder.py [SOUNDS [CODES]] [--model kyutai/mimi]

Any rate, any number of channels, any length; rows of a batch may differ in length, and each gets
the codes that it would get alone. What is there already is left as it is, so that a run that was
stopped goes on. A file that cannot be read is named and passed over. Without arguments it takes
the speech of this repository's tests. (For whole disks, ``mimi-mlx encode --recursive`` does not
need a clip to fit into memory.)
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mimi_mlx import Mimi, audio, codefile

NUM_CODEBOOKS = 8
ROWS = 4  # clips in a batch
SPEECH = Path(__file__).parent.parent / "tests" / "speech"


class Clip(NamedTuple):
    """A sound file at the model's rate."""

    target: Path
    samples: np.ndarray  # [T]
    source_rate: int


def clips(sounds: Path, codes: Path, mimi: Mimi, failed: list[str]) -> Iterator[Clip]:
    """All that are not done yet."""
    for path in sorted(sounds.rglob("*")):
        target = codes / f"{path.relative_to(sounds)}.mimi"
        if path.suffix.lower() not in audio.FORMATS or target.exists():
            continue
        try:
            sound = audio.load(path, mono=True)
        except ValueError as error:
            failed.append(str(error))
            continue
        samples = audio.resample(*sound, mimi.sample_rate)
        yield Clip(target, samples, sound.sample_rate)


def encode(mimi: Mimi, batch: list[Clip]) -> None:
    """Each clip's codes to its file, which is there whole or not at all."""
    lengths = [len(clip.samples) for clip in batch]
    pcm = np.zeros((len(batch), 1, max(lengths)), np.float32)
    for row, clip in zip(pcm, batch, strict=True):
        row[0, : len(clip.samples)] = clip.samples
    codes = np.array(mimi.encode(pcm, NUM_CODEBOOKS, lengths))  # [B, K, F], -1 past a row's end
    for row, clip in zip(codes, batch, strict=True):
        frames = -(-len(clip.samples) // mimi.frame_size)
        header = codefile.Header.for_model(mimi, NUM_CODEBOOKS, clip.source_rate)
        clip.target.parent.mkdir(parents=True, exist_ok=True)
        codefile.write(clip.target, row[:, :frames], header, len(clip.samples))


def transcode(mimi: Mimi, sounds: Path, codes: Path) -> int:
    """Encode all of a folder: 0, or 1 if a file could not be read."""
    failed: list[str] = []
    files, seconds, begun = 0, 0.0, time.perf_counter()
    waiting = clips(sounds, codes, mimi, failed)
    while batch := list(islice(waiting, ROWS)):
        encode(mimi, batch)
        files += len(batch)
        seconds += sum(len(clip.samples) for clip in batch) / mimi.sample_rate
    took = time.perf_counter() - begun
    size = sum(path.stat().st_size for path in codes.rglob("*.mimi"))
    print(f"{files} files, {seconds:.0f} s of sound, in {took:.1f} s; {size} bytes in {codes}")
    for error in failed:
        print(error, file=sys.stderr)
    return 1 if failed else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sounds", nargs="?", type=Path, default=SPEECH)
    parser.add_argument("codes", nargs="?", type=Path, help="none are kept without it")
    parser.add_argument("--model", default="tiny")
    args = parser.parse_args()
    mimi = Mimi.from_pretrained(args.model)
    if args.codes:
        return transcode(mimi, args.sounds, args.codes)
    with tempfile.TemporaryDirectory() as folder:
        return transcode(mimi, args.sounds, Path(folder))


if __name__ == "__main__":
    sys.exit(main())
