"""One implementation in a process of its own; compare.py starts it, and asks it for tasks.

    python tests/benchmarks/peer_process.py NAME HUB_FOLDER KYUTAI_FILE CODEBOOKS

First it prints a line of JSON: what it is, what it was given, its codes of the clip. Then it
answers each line of stdin, a task, with another: seconds, and of what share of the clip.
"""

import contextlib
import importlib.metadata
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from peers import PEERS, openblas

FRAME = 1920
SPEECH = Path(__file__).parents[1] / "speech" / "dialogue.flac"
SECONDS, ROWS = 10, 8
PATIENCE = 20  # seconds; what would take longer gets a tenth of the clip
FRAMES, FRAMES_SECONDS = 30, 3  # a streaming task ends with the first of them

Task = Callable[[], tuple[float, float]]
"""Measures: the seconds that the task takes, and the share of the clip they were computed from."""


def main(name: str, hub: str, kyutai: str, codebooks: str) -> None:
    reply = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        peer = PEERS[name].make(hub, kyutai, int(codebooks))
        pcm = clip()
        codes, streamed = peer.encode(pcm), stream(peer, pcm)
        about = {
            "version": importlib.metadata.version(PEERS[name].package),
            "given": peer.given,
            "openblas_in_front": openblas() is not None,
            "codes": codes.tolist(),
            "streamed_codes": streamed.tolist(),
        }
        print(json.dumps(about), file=reply, flush=True)
        prepared: dict[str, Task | None] = {}
        for line in sys.stdin:
            task = line.strip()
            if task not in prepared:
                peer.reset()
                possible = PEERS[name].batches or " 8 x " not in task
                prepared[task] = prepare(task, peer, pcm, codes) if possible else None
            peer.reset()
            measure = prepared[task]
            seconds, share = measure() if measure else (None, 1)
            answer = {"seconds": seconds, "share": share, "peak_mb": peak_mb()}
            print(json.dumps(answer), file=reply, flush=True)


def clip() -> np.ndarray:
    import soundfile

    pcm = soundfile.read(SPEECH, dtype="float32", frames=24000 * SECONDS)[0]
    return pcm[None, None]


def stream(peer, pcm: np.ndarray) -> np.ndarray:
    peer.reset()
    return np.concatenate([peer.encode_frame(x) for x in cut(pcm, FRAME)], -1)


def cut(x: np.ndarray, size: int) -> list[np.ndarray]:
    return [x[..., i : i + size].copy() for i in range(0, x.shape[-1], size)]


def prepare(task: str, peer, pcm: np.ndarray, codes: np.ndarray) -> Task | None:
    """Warm a task up; None if the implementation has no such call."""
    way, what = task.split(maxsplit=1)
    x, size = (pcm, FRAME) if way == "encode" else (codes, 1)
    if what == "frame":
        call = getattr(peer, f"{way}_frame")
        return call and (lambda: (frames(call, cut(x, size)[:FRAMES]), 1))
    if what.startswith("8 x"):
        x = x.repeat(ROWS, 0)
    return whole(getattr(peer, way), x)


def whole(call: Callable, x: np.ndarray, patience: float = PATIENCE) -> Task:
    """A whole clip, or a tenth of it where the whole would take longer than patience."""
    tenth = x[..., : -(-x.shape[-1] // 10)].copy()
    share = tenth.shape[-1] / x.shape[-1]
    call(tenth)
    if seconds(call, tenth) > patience * share:
        x = tenth
    else:
        share = 1
        call(x)
    return lambda: (seconds(call, x) / share, share)


def frames(call: Callable, pieces: list[np.ndarray]) -> float:
    """The seconds of the median frame, after a quarter of them has warmed up."""
    times: list[float] = []
    for piece in pieces:
        if sum(times) < FRAMES_SECONDS:
            times.append(seconds(call, piece))
    return statistics.median(times[len(times) // 4 :])


def seconds(call: Callable, x: np.ndarray) -> float:
    start = time.perf_counter()
    call(x)
    return time.perf_counter() - start


def peak_mb() -> float:
    """The most memory that this process has had. Linux's ru_maxrss has the parent's in it."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    # transformers looks for a package named kernels. In this folder is a file of that name, which
    # imports mimi_mlx.
    sys.path.pop(0)
    main(*sys.argv[1:])
