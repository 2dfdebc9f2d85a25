"""What there is to do in a folder, and in what order: the same for all who see the same files."""

import argparse
import hashlib
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from .batches import Clip, Failed, Work
from .manifest import Line, check_links
from .progress import warn
from .several import clashes


class Task(NamedTuple):
    """What a command makes of a folder."""

    suffixes: Collection[str]  # of its sources; others are passed over
    what: str  # its sources are
    done: str  # is said of one that is done
    becomes: str  # the suffix of its targets
    alone: Collection[str]  # arguments that are for one file alone
    work: Callable[[argparse.Namespace, list[Path]], Work]  # of these sources


class Plan(NamedTuple):
    """All of a folder, whatever of it is done already."""

    batches: list[list[Clip]]  # the longest first, so that at the end nobody is long alone
    bad: list[Failed]
    digest: str  # SHA-256 of the sources' names and lengths, in hexadecimal digits


def find(folder: Path, recursive: bool, task: Task) -> tuple[list[Path], int]:
    """The sources in a folder, in order, and how many other files there are.

    Raises:
        ValueError: There are none.
    """
    files = list(walk(folder, recursive, _pass_over))
    sources = sorted(path for path in files if path.suffix.lower() in task.suffixes)
    if not sources:
        hint = "" if recursive else ", or give --recursive for the folders in it"
        raise ValueError(f"{folder} has no {task.what} files. Check the path{hint}.")
    return sources, len(files) - len(sources)


def walk(
    folder: Path, recursive: bool, unread: Callable[[OSError], None] | None = None
) -> Iterator[Path]:
    """All files in a folder; ``unread`` is called with what keeps a folder from being read."""
    # What begins with a dot is the system's: macOS puts a ._a.wav beside a.wav on foreign disks.
    for parent, inside, names in os.walk(folder, onerror=unread):
        inside[:] = [name for name in inside if recursive and not name.startswith(".")]
        paths = (Path(parent, name) for name in names if not name.startswith("."))
        yield from (path for path in paths if path.is_file())


def _pass_over(error: OSError) -> None:
    warn(f"{error.filename} is passed over: {error.strerror}")


def make(
    targets: Mapping[Path, Path],
    output: Path,
    work: Work,
    listed: Mapping[str, Line],
    size: int,
    most: int,
) -> Plan:
    """The plan for sources that are to become ``targets``, names in the folder ``output``.

    Args:
        targets: By their sources.
        output: The folder.
        work: Surveys the sources.
        listed: What earlier runs say of targets, by their names.
        size: Clips in a batch, at most.
        most: Samples in a batch, at most, unless one clip has more.
    """
    clashing = clashes(targets)
    bad = [Failed(source, error) for source, error in clashing.items()]
    clips = []
    for source, name in targets.items():
        if source in clashing:
            continue
        try:
            check_links(output, output / name)
            samples, header = work.survey(source)
        except ValueError as error:
            bad.append(Failed(source, error))
        else:
            clips.append(Clip(source, output / name, samples, header, listed.get(name.as_posix())))
    known = {clip.source: clip.samples for clip in clips}
    seen = [
        b"%s %d\n" % (os.fsencode(name.parent / source.name), known.get(source, -1))
        for source, name in targets.items()
    ]
    digest = hashlib.sha256(b"".join(seen)).hexdigest()
    return Plan(list(_batches(clips, size, most))[::-1], bad, digest)


def _batches(clips: list[Clip], size: int, most: int) -> Iterator[list[Clip]]:
    """Clips of as many codebooks and about the same length, the shortest first.

    There are at most ``size`` of them, and ``most`` samples when they are filled up. One that is
    longer than that is alone.
    """
    batch: list[Clip] = []
    for clip in sorted(clips, key=lambda clip: (clip.samples, clip.source)):
        is_full = len(batch) == size or (len(batch) + 1) * clip.samples > most
        if batch and (is_full or clip.header.num_codebooks != batch[0].header.num_codebooks):
            yield batch
            batch = []
        batch.append(clip)
    if batch:
        yield batch
