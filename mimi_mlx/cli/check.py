"""``mimi-mlx check``: whether a folder of codes is whole, and what its manifest says."""

import argparse
import collections
import json
from collections.abc import Collection, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from .. import codefile
from ..files import reason
from ..text import counted
from .manifest import MANIFEST, PART, Line, Listing, codes_sha256, read_lines, read_part
from .plan import walk
from .progress import say, warn

MORE = (
    "Every .mimi file in the folder, and in those inside it, is read to its end, and held against "
    "the manifest that encode wrote. Exit code 1 if anything is wrong or missing."
)


class Found(NamedTuple):
    """A file of codes that was read."""

    facts: Mapping[str, Any]  # as the manifest has them
    seconds: float
    damage: str | None


Problem = tuple[str, str]  # a file's name, and what is wrong with it


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", help="a folder of .mimi files")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Read a folder whole; 1 if anything in it is wrong."""
    folder = Path(args.folder)
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder; a folder of .mimi files is checked. Give one.")
    listed, problems = _listed(folder)
    names = _names(folder)
    if not (names or listed or problems):
        raise ValueError(f"{folder} has no .mimi files. Check the path.")
    found: dict[str, Found] = {}
    for name in names:
        try:
            found[name] = _read(folder / name)
        except (ValueError, OSError) as error:
            problems[name] = reason(error)
    for name, why in chain(_damaged(found), _against(listed, found, set(names)), _odd(found)):
        problems.setdefault(name, why)  # the first says most
    _tell(args, found, len(names), problems)
    return 1 if problems else 0


def _names(folder: Path) -> list[str]:
    """Every .mimi file."""
    paths = (path for path in walk(folder, recursive=True) if path.suffix.lower() == ".mimi")
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def _listed(folder: Path) -> tuple[dict[str, Line], dict[str, str]]:
    """What the manifest and parts of it say of files of codes; and what, by them, was not done.

    Raises:
        ValueError: One of them cannot be read.
    """
    listing = Listing()
    listing.add(read_lines(folder / MANIFEST))
    problems: dict[str, str] = {}
    for path in sorted(folder.glob("manifest.*")):
        part = read_part(path) if PART.fullmatch(path.name) else None
        if part:
            listing.add(part.lines)
            files, shards = part.run.get("files"), part.run.get("shards")
            run = f"its run, of {files} files in {shards} shards, did not come to its end"
            problems[path.name] = f"{run}. Run the same command again."
    problems |= {source: str(line["error"]) for source, line in listing.failed.items()}
    listed = {path: line for path, line in listing.made.items() if path.endswith(".mimi")}
    return listed, problems


def _read(path: Path) -> Found:
    there = codefile.read(path)
    codes, header = there.codes[0], there.header
    facts = {"codebooks": codes.shape[0], "fingerprint": header.fingerprint}
    facts |= {"frames": codes.shape[1], "sha256": codes_sha256(codes)}
    return Found(facts, there.samples / header.sample_rate, there.damage)


def _damaged(found: Mapping[str, Found]) -> Iterator[Problem]:
    return ((name, each.damage) for name, each in found.items() if each.damage)


def _odd(found: Mapping[str, Found]) -> Iterator[Problem]:
    """Whole files that are not of the kind of most: of other codebooks, or of another model."""
    kinds = {name: _kind(each) for name, each in found.items() if not each.damage}
    if kinds:
        most = collections.Counter(kinds.values()).most_common(1)[0][0]
        for name, kind in kinds.items():
            if kind != most:
                yield name, f"it has {_said(kind)}; most have {_said(most)}"


def _against(
    listed: Mapping[str, Line], found: Mapping[str, Found], names: Collection[str]
) -> Iterator[Problem]:
    """Where the manifest, if there is one, says other things."""
    for path, line in listed.items():
        if path not in names:
            yield path, "it is listed, and is not there"
        elif path in found and not found[path].damage:
            facts = found[path].facts
            for name in facts:
                if name in line and line[name] != facts[name]:
                    yield path, f"its {name} is {facts[name]}, and {line[name]!s:.80} is listed"
                    break
    if listed:
        for path in found:
            if path not in listed:
                yield path, "it is not listed. Encode the folder again."


def _tell(
    args: argparse.Namespace, found: Mapping[str, Found], files: int, problems: Mapping[str, str]
) -> None:
    """Print what was found: for people each problem and a summary, or JSON."""
    frames = sum(each.facts["frames"] for each in found.values())
    seconds = sum(each.seconds for each in found.values())
    if not args.json:
        for path, why in sorted(problems.items()):
            warn(why if path in why else f"{path}: {why}")
        say(
            f"{args.folder}: {counted(files, 'file')}, {counted(frames, 'frame')}, "
            f"{seconds / 3600:.2f} h; {counted(len(problems), 'problem')}"
        )
        return
    kinds = collections.Counter(_kind(each) for each in found.values())
    about = {
        "folder": args.folder,
        "files": files,
        "frames": frames,
        "seconds": seconds,
        "kinds": [
            {"codebooks": count, "fingerprint": mark, "files": number}
            for (count, mark), number in kinds.most_common()
        ],
        "problems": [{"path": path, "problem": why} for path, why in sorted(problems.items())],
    }
    print(json.dumps(about, indent=1))


def _kind(each: Found) -> tuple[int, str | None]:
    return each.facts["codebooks"], each.facts["fingerprint"]


def _said(kind: tuple[int, str | None]) -> str:
    return f"{kind[0]} codebooks of the model with fingerprint {kind[1]}"
