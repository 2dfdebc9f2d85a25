"""The inputs of encode, decode and roundtrip: one to a file, several to a folder, one by one."""

import argparse
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

from ..files import PIPE, check_apart
from ..mimi import Mimi
from ..text import counted
from .batches import ENDS
from .progress import say, summarise, warn
from .transcode import NothingGood


class Finished(NamedTuple):
    """What came of an input."""

    mimi: Mimi
    shape: tuple[int, int]  # ``[K, F]`` of the codes
    seconds: float  # of audio
    speed: float  # so many times as fast as real time
    damage: str | None  # what is wrong with it, in one line


Source = TypeVar("Source", str, Path)

# Does the work for ``args.input`` and ``args.output``, with a bar of this name.
Work = Callable[[argparse.Namespace, str], Finished]


def run(
    args: argparse.Namespace,
    work: Work,
    name_of: Callable[[Path], str],
    extensions: tuple[str, ...],
    prepare: Callable[[], object],
) -> int:
    """Do the work for each of ``args.inputs``; the result is the exit code.

    Args:
        args: ``output`` is a folder if there are several inputs, and may be one if there is one.
        work: Raises ValueError or NothingGood if an input is bad.
        name_of: The name in a folder of what comes of an input.
        extensions: Of files that may be written, and so of no new folder.
        prepare: Is called before several are begun: what fails here would with each of them.

    Raises:
        ValueError: The only input is bad, or several are to go to what is no folder.
    """
    inputs = list(dict.fromkeys(args.inputs))
    if len(inputs) > 1:
        _check_folder(args.output, len(inputs), extensions)
        prepare()
        return _run_all(args, inputs, work, name_of)
    args.input = inputs[0]
    if args.output != PIPE and os.path.isdir(args.output):
        args.output = str(_target(args.input, args.output, name_of))
    try:
        done = work(args, args.command)
    except NothingGood as error:
        warn(str(error))
        return 1
    summarise(done.mimi, args.output, done.shape, done.seconds, done.speed)
    if done.damage:
        warn(done.damage)
    return 1 if done.damage else 0


def clashes(targets: Mapping[Source, Path]) -> dict[Source, ValueError]:
    """What is wrong with each source that would become the same as another."""
    sharing: dict[Path, list[Source]] = {}
    for source, target in targets.items():
        sharing.setdefault(target, []).append(source)
    return {
        source: ValueError(
            f"{source} and {next(other for other in sources if other != source)} would both become "
            f"{target}. Rename or move one of them."
        )
        for target, sources in sharing.items()
        if len(sources) > 1
        for source in sources
    }


def _run_all(
    args: argparse.Namespace, inputs: list[str], work: Work, name_of: Callable[[Path], str]
) -> int:
    os.makedirs(args.output, exist_ok=True)
    alone, bad = _targets(inputs, args.output, name_of)
    for line in bad:
        warn(line)
    done: list[Finished] = []
    begin = time.perf_counter()
    for number, (source, target) in enumerate(alone.items(), 1):
        one = argparse.Namespace(**vars(args) | {"input": source, "output": str(target)})
        try:
            check_apart(inputs, (str(target),))
            done.append(work(one, f"{args.command} {number} of {len(alone)}"))
        except (ValueError, NothingGood) as error:
            bad.append(str(error))
            warn(str(error))
        except OSError as error:
            if error.errno in ENDS:
                raise
            bad.append(f"{source} becomes no file: {error.filename or target}: {error.strerror}")
            warn(bad[-1])
        else:
            if done[-1].damage:
                warn(done[-1].damage)
    elapsed, seconds = time.perf_counter() - begin, sum(each.seconds for each in done)
    damaged = sum(each.damage is not None for each in done)
    of_damaged = f", {damaged} of them of damaged input" if damaged else ""
    say(
        f"{args.output}: {counted(len(done), 'file')} written{of_damaged}, {len(bad)} failed; "
        f"{seconds:.2f} s, {seconds / elapsed:.1f} times as fast as real time"
    )
    return 1 if bad or damaged else 0


def _targets(
    inputs: list[str], folder: str, name_of: Callable[[Path], str]
) -> tuple[dict[str, Path], list[str]]:
    """Where in a folder goes what comes of each input; and what is wrong with the others."""
    targets: dict[str, Path] = {}
    bad: list[str] = []
    for source in inputs:
        try:
            targets[source] = _target(source, folder, name_of)
        except ValueError as error:
            bad.append(str(error))
    clashing = clashes(targets)
    bad += map(str, clashing.values())
    return {source: to for source, to in targets.items() if source not in clashing}, bad


def _target(source: str, folder: str, name_of: Callable[[Path], str]) -> Path:
    """Where in a folder goes what comes of an input.

    Raises:
        ValueError: The input is stdin or a folder.
    """
    if source == PIPE:
        raise ValueError(f"- has no name to take in {folder}. Give -o a file name.")
    if os.path.isdir(source):
        raise ValueError(f"{source} is a folder; here an input is a file. Give its files.")
    return Path(folder) / name_of(Path(source))


def _check_folder(output: str, count: int, extensions: tuple[str, ...]) -> None:
    named = Path(output).suffix.lower() in extensions and not os.path.isdir(output)
    if output == PIPE or os.path.isfile(output) or named:
        raise ValueError(
            f"{count} inputs go to a folder, and {output} is none. Give -o the folder; it is "
            "created if it is not there."
        )
