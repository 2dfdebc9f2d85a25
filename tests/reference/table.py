"""How close mimi_mlx is to PyTorch, as a table in Markdown: python tests/reference/table.py

The tiny checkpoint on every recorded clip, and kyutai/mimi's sizes with seeded weights on two rows
of 12 s (2 GB, half a minute on two cores).
"""

import tempfile
from pathlib import Path

import replay  # first: it puts OpenBLAS in front of MLX's BLAS

# isort: split
import numpy as np
import recording
import seeded
from recording import Recording
from safetensors.numpy import save_file

from mimi_mlx import Mimi, MimiConfig
from mimi_mlx.checkpoint.load import load


def compare(mimi: Mimi, made: Recording, rows: int) -> tuple[dict[str, float], int, int]:
    """The worst relative error of each stage over all clips; codes that are equal, and codes."""
    worst = dict.fromkeys(recording.STAGES, 0.0)
    equal = total = 0
    for name in made.clips:
        for stage, error in replay.errors(mimi, made, name, rows).items():
            worst[stage] = max(worst[stage], error)
        recorded = made.codes(name)
        pcm = made.clips[name].read().reshape(rows, 1, -1)
        equal += int((np.array(mimi.encode(pcm)) == recorded).sum())
        total += recorded.size
    return worst, equal, total


def full_size(made: Recording) -> Mimi:
    """The model with the recorder's seeded weights."""
    drawn = seeded.tensors(seeded.FULL, made.about["seed"], seeded.SCALES)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_file(drawn, path)
        return Mimi(load([path], MimiConfig.from_dict(seeded.FULL)))


def main() -> None:
    tiny, full = recording.load("tiny"), recording.load("full")
    columns = [
        compare(Mimi.from_pretrained("tiny"), tiny, rows=1),
        compare(full_size(full), full, rows=2),
    ]
    print(f"| after | tiny, {len(tiny.clips)} clips | full size, 2 x 12 s |")
    print("|---|---|---|")
    for stage in recording.STAGES:
        print(f"| {stage} | " + " | ".join(f"{worst[stage]:.1e}" for worst, _, _ in columns) + " |")
        if stage == "downsample":
            counts = [f"{equal} of {total} equal" for _, equal, total in columns]
            print(f"| codes | {' | '.join(counts)} |")


if __name__ == "__main__":
    main()
