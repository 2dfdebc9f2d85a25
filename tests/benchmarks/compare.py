"""Every Mimi on this machine side by side: speed, memory, and agreement of codes with PyTorch.

    python tests/benchmarks/compare.py [HUB_FOLDER KYUTAI_FILE] [--rounds 5] [--codebooks 32]

Both arguments are the same weights, in the Hub's layout and in Kyutai's; without them, weights of
kyutai/mimi's sizes are drawn from a seed. Each implementation runs in a process of its own, as its
own users run it (peers.py). They take turns, so that a change in the machine's speed meets all of
them; only ratios are to be quoted. What is not installed is left out by name. Ctrl-C prints the
table so far.
"""

import argparse
import contextlib
import json
import os
import platform
import shlex
import signal
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1] / "reference")]

from compare_table import agree, table  # noqa: E402
from peers import PEERS  # noqa: E402

from mimi_mlx.evaluation.bench import chip  # noqa: E402

TASKS = ("encode frame", "decode frame", "encode 10 s", "decode 10 s")
BATCHES = ("encode 8 x 10 s", "decode 8 x 10 s")

# How the names of variables begin that choose libraries and numbers of threads.
SETTINGS = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "RAYON_", "VECLIB_", "LD_PRELOAD")


class PeerEnded(Exception):
    """An implementation's process is gone."""


class PeerProcess:
    """One implementation in its own process, which a terminal's Ctrl-C does not reach."""

    def __init__(self, name: str, weights: list[str], codebooks: int):
        script = Path(__file__).with_name("peer_process.py")
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115, kill() closes
        self.process = subprocess.Popen(
            [sys.executable, str(script), name, *weights, str(codebooks)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            start_new_session=True,
            env={k: v for k, v in os.environ.items() if not k.startswith(SETTINGS)},
        )

    def ask(self, task: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # answer() says why
            print(task, file=self.process.stdin, flush=True)

    def answer(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            said = self.errors.read().split("\n")
            last = next((text for text in reversed(said) if text.strip()), "without a word")
            raise PeerEnded(f"ended: {last}")
        return json.loads(line)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.errors.close()


class Race:
    """The implementations that run, what each is and took, and why others are left out."""

    def __init__(self):
        self.running: dict[str, PeerProcess] = {}
        self.found: dict[str, dict[str, Any]] = {}
        self.left_out: dict[str, str] = {}

    def start(self, names: list[str], weights: list[str], codebooks: int) -> None:
        say("start:")
        for name in names:
            if not find_spec(PEERS[name].package):
                self.left_out[name] = "is not installed"
                continue
            self.running[name] = PeerProcess(name, weights, codebooks)
            if about := self.answer(name):
                self.found[name] = about | {"seconds": {}, "share": {}, "peak_mb": None}
        say("\n")

    def turn(self, task: str) -> None:
        """Every implementation does a task once."""
        say(f"{task}:")
        for name in list(self.running):
            self.running[name].ask(task)
            if answer := self.answer(name):
                found = self.found[name]
                found["seconds"].setdefault(task, []).append(answer["seconds"])
                found["share"][task] = answer["share"]
                found["peak_mb"] = answer["peak_mb"]
        say("\n")

    def answer(self, name: str) -> dict[str, Any] | None:
        """The next answer of an implementation; None, and it is left out, if it ended."""
        say(f" {name}")
        try:
            return self.running[name].answer()
        except PeerEnded as error:
            self.left_out[name] = str(error)
            self.running.pop(name).kill()
            return None

    def close(self) -> None:
        for process in self.running.values():
            process.kill()


def end_once(*_: Any) -> None:
    """Interrupt the race, and let nothing interrupt the table."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> int:
    args = arguments()
    about = {
        "machine": f"{chip()}, {platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 1),
        "weights": " and ".join(args.weights) or "of kyutai/mimi's sizes, from a seed",
        "codebooks": args.codebooks,
        "rounds": args.rounds,
        "command": shlex.join(["python", "tests/benchmarks/compare.py", *sys.argv[1:]]),
    }
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as it is in the background
            signal.signal(number, end_once)
    race, whole = Race(), False
    with tempfile.TemporaryDirectory() as folder:
        try:
            run(race, args, args.weights or draw(Path(folder)))
            whole = True
        except KeyboardInterrupt:
            say(" interrupted\n")
        finally:
            race.close()
    agree(race.found)
    about |= {"complete": whole, "left_out": race.left_out, "peers": race.found}
    if args.json:
        args.json.write_text(json.dumps(about, indent=1) + "\n")
    print(table(about, args.tasks))
    return 0 if whole else 130


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("weights", nargs="*", help="HUB_FOLDER KYUTAI_FILE; without them, weights from a seed")
    add("--rounds", type=int, default=5, help="turns of each (5)")
    add("--codebooks", type=int, default=32, help="codes a frame (32)")
    add("--only", nargs="+", choices=PEERS, default=list(PEERS), help="implementations (all)")
    every = [*TASKS, *BATCHES]
    add("--tasks", nargs="+", choices=every, default=TASKS, help="all but the batches of 8")
    add("--json", type=Path, metavar="FILE", help="write all times and what each was given")
    args = parser.parse_args()
    if len(args.weights) not in (0, 2):
        parser.error("weights are a folder in the Hub's layout and a file in Kyutai's, or neither")
    if args.rounds < 1:
        parser.error(f"--rounds {args.rounds} is not 1 or more")
    return args


def draw(folder: Path) -> list[str]:
    """Seeded weights in both layouts."""
    import seeded
    from kyutai import to_kyutai
    from safetensors.numpy import save_file

    say("drawing weights\n")
    drawn = seeded.tensors(seeded.FULL, seeded.SEED, seeded.SCALES)
    (folder / "config.json").write_text(json.dumps(seeded.FULL))
    save_file(drawn, folder / "model.safetensors")
    save_file(to_kyutai(drawn, seeded.FULL["num_attention_heads"]), folder / "kyutai.safetensors")
    return [str(folder), str(folder / "kyutai.safetensors")]


def run(race: Race, args: argparse.Namespace, weights: list[str]) -> None:
    race.start(args.only, weights, args.codebooks)
    for number in range(args.rounds):
        for task in args.tasks:
            say(f"round {number + 1} of {args.rounds}, ")
            race.turn(task)


def say(text: str) -> None:
    print(text, end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
