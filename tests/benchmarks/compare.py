"""Every Mimi on this machine side by side: speed, and agreement of codes with PyTorch.

    python tests/benchmarks/compare.py HUB_FOLDER KYUTAI_FILE [--rounds 5] [--codebooks 32]

Both arguments are the same weights, in the Hub's layout and in Kyutai's. Each implementation runs
in a process of its own, with OpenBLAS under MLX; they take turns, so that a change in the
machine's speed meets all of them, and only ratios of medians are to be quoted. Implementations
that are not installed are left out by name. PyTorch must be there: it says which codes are right.
"""

import argparse
import contextlib
import importlib.metadata
import importlib.util
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from peers import PEERS

FRAME = 1920
SPEECH = Path(__file__).parents[1] / "speech" / "dialogue.flac"
TASKS = ("encode frame", "decode frame", "encode 10 s", "decode 10 s")
REFERENCE = "transformers"


def clip(seconds: float) -> np.ndarray:
    import soundfile

    return soundfile.read(SPEECH, dtype="float32", frames=int(24000 * seconds))[0][None, None]


def worker(name: str, hub: str, kyutai: str, codebooks: int) -> None:
    """Answer each line of stdin, a task, with a line of JSON."""
    from mimi_mlx.model.ops.linux import prefer_openblas

    prefer_openblas()
    reply = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        peer = PEERS[name][1](hub, kyutai, codebooks)
        pcm = clip(10)
        frames = [pcm[..., i : i + FRAME].copy() for i in range(0, pcm.shape[-1], FRAME)]
        codes = peer.encode(pcm)
        tasks = {
            "encode frame": lambda: timed(peer.encode_frame, frames[:40]),
            "decode frame": lambda: timed(peer.decode_frame, columns(codes)[:40]),
            "encode 10 s": lambda: timed(peer.encode, [pcm]),
            "decode 10 s": lambda: timed(peer.decode, [codes]),
            "codes": lambda: codes.tolist(),
            "streamed codes": lambda: np.concatenate(
                [peer.encode_frame(f) for f in frames], -1
            ).tolist(),
        }
        print("ready", file=reply, flush=True)
        for task in sys.stdin:
            peer.reset()
            print(json.dumps(tasks[task.strip()]()), file=reply, flush=True)


def columns(codes: np.ndarray) -> list[np.ndarray]:
    return [codes[..., i : i + 1].copy() for i in range(codes.shape[-1])]


def timed(call, inputs: list[np.ndarray]) -> float | None:
    """Seconds of the median call, after the window has warmed up; None if there is no such call."""
    if call is None:
        return None
    times = []
    for x in inputs:
        start = time.perf_counter()
        call(x)
        times.append(time.perf_counter() - start)
    return statistics.median(times[len(times) // 4 :])


class Worker:
    """One implementation in its own process."""

    def __init__(self, name: str, args: argparse.Namespace):
        command = [sys.executable, __file__, args.hub, args.kyutai, "--worker", name]
        command += ["--codebooks", str(args.codebooks)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
        )
        if self.process.stdout.readline().strip() != "ready":
            raise SystemExit(f"{name} did not start; run {' '.join(command)} to see why")

    def ask(self, task: str):
        print(task, file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def agreement(codes, reference) -> str:
    """Codes equal to the reference's, in percent, over the codebooks and frames that both have."""
    codes, reference = np.array(codes), np.array(reference)
    k, frames = np.minimum(codes.shape[1:], reference.shape[1:])
    same = codes[:, :k, :frames] == reference[:, :k, :frames]
    return f"{100 * same.mean():.2f} %" + (f" of {k} codebooks" if k < reference.shape[1] else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("hub", help="folder with config.json and model.safetensors")
    parser.add_argument("kyutai", help="the same weights in Kyutai's layout")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each (5)")
    parser.add_argument("--codebooks", type=int, default=32, help="codes a frame (32)")
    parser.add_argument("--only", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--worker", choices=PEERS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return worker(args.worker, args.hub, args.kyutai, args.codebooks)
    installed = [n for n in args.only if importlib.util.find_spec(PEERS[n][0])]
    for name in set(args.only) - set(installed):
        print(f"{name} is not installed and left out")
    workers = {name: Worker(name, args) for name in installed}
    times = {name: {task: [] for task in TASKS} for name in installed}
    for _ in range(args.rounds):
        for task in TASKS:
            for name, each in workers.items():
                times[name][task].append(each.ask(task))
    whole = {name: each.ask("codes") for name, each in workers.items()}
    streamed = {name: each.ask("streamed codes") for name, each in workers.items()}
    for each in workers.values():
        each.close()
    report(times, whole, streamed)


def report(times: dict, whole: dict, streamed: dict) -> None:
    """A row for each implementation: milliseconds, and in brackets times mimi_mlx's."""
    print("| |", " | ".join(TASKS), "| codes = PyTorch, whole | streamed |")
    print("|---|" + "---|" * (len(TASKS) + 2))
    for name, row in times.items():
        cells = []
        for task in TASKS:
            if None in row[task]:
                cells.append("has none")
                continue
            median = statistics.median(row[task])
            ratios = [a / b for a, b in zip(row[task], times["mimi_mlx"][task], strict=True)]
            cells.append(f"{1e3 * median:.1f} ms ({statistics.median(ratios):.2f})")
        for codes in (whole, streamed):
            cells.append(agreement(codes[name], whole[REFERENCE]) if REFERENCE in whole else "?")
        version = importlib.metadata.version(PEERS[name][0])
        print(f"| {name} {version} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
