"""Attack one door of the package with inputs that nobody meant: the seeds that break it are told.

    python tests/fuzz.py codefile --seconds 60

A target is a module ``fuzz_TARGET`` in tests/support, whose ``Fuzzer`` makes each attack from a
number, its seed. ``--seed`` makes the same ones again. What once broke something is in its
``FOUND``, and is tried by the tests each time.
"""

import argparse
import importlib
import multiprocessing
import os
import random
import resource
import sys
import tempfile
import time
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import NamedTuple

SUPPORT = Path(__file__).parent / "support"
TARGETS = sorted(path.stem.removeprefix("fuzz_") for path in SUPPORT.glob("fuzz_*.py"))

MEMORY = 2 << 30  # bytes that all attacks may take: none is so large
FOLDER = "/dev/shm" if os.path.isdir("/dev/shm") else None  # in memory: a disk takes longer


class Outcome(NamedTuple):
    """What came of some attacks."""

    attacks: int
    failed: int | None  # the seed that broke something
    signal: int  # that ended the process, or 0


def run(target: str, seconds: float, seed: int) -> Outcome:
    """Attack with ``seed``, ``seed + 1`` and so on, in another process, which may die of it."""
    context = multiprocessing.get_context("spawn")
    last, done = context.Value("q", seed), context.Value("b", 0)
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        process = context.Process(target=_attack, args=(target, folder, seconds, last, done))
        process.start()
        process.join()
    assert process.exitcode is not None
    failed = None if process.exitcode == 0 and done.value else last.value
    return Outcome(last.value - seed, failed, max(0, -process.exitcode))


def _attack(
    target: str, folder: str, seconds: float, last: "Synchronized[int]", done: "Synchronized[int]"
) -> None:
    sys.path[:0] = [str(SUPPORT), str(SUPPORT.parent / "reference")]
    fuzzer = importlib.import_module(f"fuzz_{target}").Fuzzer(Path(folder))
    fuzzer.attack(last.value)  # what takes memory once has it now
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * os.sysconf("SC_PAGE_SIZE") + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        fuzzer.attack(last.value)
        last.value += 1
    done.value = 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=float, default=30, help="how long (30)")
    parser.add_argument("--seed", type=int, help="of the first attack (any)")
    args = parser.parse_args()
    seed = random.SystemRandom().randrange(2**40) if args.seed is None else args.seed
    attacks, failed, signal = run(args.target, args.seconds, seed)
    print(f"{args.target}: {attacks} attacks from --seed {seed}, {attacks / args.seconds:.0f} a s")
    if failed is not None:
        end = f"ended the process with signal {signal}" if signal else "failed"
        print(f"--seed {failed} {end}")
    return failed is not None


if __name__ == "__main__":
    sys.exit(main())
