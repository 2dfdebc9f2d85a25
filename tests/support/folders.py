"""Folders of clips to code, and what is in folders."""

import random
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np

from mimi_mlx import audio

LAUNCH = "import sys; from mlx._distributed_utils.launch import main; sys.exit(main())"


def contents(folder: Path) -> dict[str, bytes]:
    """Every file in a folder, by its name."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def fill(folder: Path, clip: np.ndarray, count: int, longest: int) -> None:
    """So many WAV files of pieces of a clip, half of them in a folder inside."""
    chance = random.Random(6)
    (folder / "sub").mkdir(parents=True)
    for i in range(count):
        start, length = chance.randrange(len(clip) - longest), chance.randrange(1, longest)
        audio.write(folder / ("sub" * (i % 2)) / f"{i}.wav", clip[start : start + length], 24000)


def launched(folder: Path, ranks: int, *args: object) -> subprocess.Popen:
    """``mimi-mlx`` in so many processes, by MLX's own launcher over this machine's ring."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["-n", str(ranks), "--starting-port", str(min(port, 65000))]
    command = [sys.executable, "-m", "mimi_mlx", *map(str, args)]
    return subprocess.Popen(
        [sys.executable, "-c", LAUNCH, *options, "--", *command],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
