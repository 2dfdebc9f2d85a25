"""The manifest of a folder's run: what came of each file, in one list, or in a part for each shard.

A part is begun before its shard works, and says of which run it is; at the end it lists what came
of the share. Who then finds that all files of the run are listed joins the parts to the manifest.
That needs no lock: whoever does it, and however often, makes the same manifest of the same parts.
"""

import contextlib
import hashlib
import json
import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..atomic import replacing
from ..files import put, reason
from .shards import Shard

MANIFEST = "manifest.jsonl"

SETTINGS = ("becomes", "codebooks", "fingerprint")
"""What is said of a run that its targets depend on: of one kind there may be others in a folder."""

PART = re.compile(r"manifest\.[0-9]+-of-[0-9]+\.jsonl")

Line = Mapping[str, Any]


class Part(NamedTuple):
    """What a shard has said."""

    path: Path
    run: Line  # the same for all shards of a run
    is_finished: bool
    lines: list[Line]
    time_ns: int  # when it said so, by the clock of the disk


class Listing:
    """What lines say, of which the later are the truth."""

    def __init__(self) -> None:
        self.made: dict[str, Line] = {}  # by the target's name
        self.failed: dict[str, Line] = {}  # by the source's

    def add(self, lines: Iterable[Line]) -> None:
        """Take later lines. A target is still there when its source has become bad since."""
        for line in lines:
            if "error" in line:
                self.failed[line["source"]] = line
            else:
                self.made[line["path"]] = line
                self.failed.pop(line.get("source", ""), None)

    def lines(self, folder: Path, sources: Collection[str]) -> list[Line]:
        """Those of targets that are there, and of these sources that are bad, by their names."""
        found = [line for path, line in self.made.items() if os.path.isfile(folder / path)]
        found += [line for source, line in self.failed.items() if source in sources]
        return sorted(
            found, key=lambda line: (line.get("source", line.get("path")), "error" in line)
        )


class Manifest:
    """The manifest in a folder, of which this process writes a shard's part.

    Attributes:
        listed: What earlier runs say of each target, by its name.

    Args:
        folder: Where it is.
        shard: Which this process is.
        force: Pass over whatever else has the name of a list.

    Raises:
        ValueError: A list is none that an earlier run wrote, or it is a link.
    """

    def __init__(self, folder: Path, shard: Shard, force: bool = False):
        self._folder, self._shard, self._force = folder, shard, force
        names = [f"manifest.{i}-of-{shard.total}.jsonl" for i in range(1, shard.total + 1)]
        self._shards = [folder / name for name in names]
        self._own = self._shards[shard.number - 1]
        folder.mkdir(parents=True, exist_ok=True)
        for path in (folder / MANIFEST, self._own):
            check_links(folder, path)
        self._earlier = self._parts(folder.iterdir())
        self.listed = self._listing(self._earlier).made

    def begin(self, run: Line) -> None:
        """Say that this shard has begun; ``run`` is the same for all shards of a run.

        Raises:
            ValueError: What is in the folder was made with other settings.
        """
        self._run = run
        if not self._force:
            self._check_settings()
        own = (part.lines for part in self._earlier if part.path == self._own)
        self._write_part(next(own, []), is_finished=False)
        self._begun_ns = self._own.stat().st_mtime_ns

    @property
    def resumes(self) -> bool:
        """Whether an earlier run of these settings was ended; one beside this is no earlier one."""
        return any(
            (part.path == self._own or part.run != self._run)
            and not _differ(part.run, self._run, SETTINGS)
            for part in self._earlier
        )

    def check_others(self) -> None:
        """No other run is at work in the folder.

        Raises:
            ValueError: One has said something since this one began.
        """
        for part in self._parts(self._shards, most_lines=0):  # the folder may be too long to list
            self._check_other(part)

    def finish(self, lines: list[Line], sources: Collection[str]) -> bool:
        """List what came of this shard's share; the result is :meth:`join`'s."""
        self._write_part(lines, is_finished=True)
        return self.join(sources)

    def others_are_done(self) -> bool:
        """Whether no other shard of the run is at work, or is to begin: MLX's launcher begins all.

        Raises:
            ValueError: As :meth:`check_others` does.
        """
        said = self._parts(self._shards, most_lines=0)
        if not self._own.exists():
            return True  # another shard has joined them
        for part in said:
            self._check_other(part)
        done = [part.is_finished for part in said if part.run == self._run]
        return all(done) and (len(done) == self._shard.total or not self._shard.is_launched)

    def join(self, sources: Collection[str]) -> bool:
        """Join the parts if they list all ``sources`` of the run; whether that is done."""
        if not self.others_are_done():
            return False
        if not self._own.exists():
            return True  # another shard has done it
        parts = self._parts(self._folder.iterdir())
        found = self._listing(parts).lines(self._folder, sources)
        if not set(sources) <= {line.get("source") for line in found}:
            return False
        _write(self._folder / MANIFEST, found)
        for part in parts:
            part.path.unlink(missing_ok=True)
        return True

    def _check_other(self, part: Part) -> None:
        if part.run == self._run or part.time_ns < self._begun_ns:
            return
        name = _differ(part.run, self._run, self._run)[0]
        raise ValueError(
            f"{part.path} is of another run, with {name} {part.run.get(name)!s:.80}, not "
            f"{self._run[name]}. All shards of a run must see the same files and have the same "
            "arguments; correct that, or wait until the other run has ended."
        )

    def _check_settings(self) -> None:
        made = ((self._folder / path, line) for path, line in self.listed.items())
        told: list[tuple[Path, Line]]
        told = [(path, {"becomes": path.suffix, **line}) for path, line in made]
        told += [(part.path, part.run) for part in self._earlier]
        for path, theirs in told:
            names = [name for name in SETTINGS if name in theirs]
            names = _differ(theirs, self._run, names)
            if names and names[0] != "becomes" and os.path.isfile(path):
                theirs, ours = theirs[names[0]], self._run[names[0]]
                raise ValueError(
                    f"{path} was made with {names[0]} {theirs!s:.80}, not {ours}, and a folder has "
                    "one kind alone. Give another folder, or -f to make all anew."
                )

    def _listing(self, parts: Iterable[Part]) -> Listing:
        listing = Listing()
        with self._forced():
            listing.add(read_lines(self._folder / MANIFEST))
        for part in parts:
            listing.add(part.lines)
        return listing

    def _parts(self, paths: Iterable[Path], most_lines: int | None = None) -> list[Part]:
        """The parts that are there of ``paths``, the earliest first."""
        found = []
        for path in paths:
            if PART.fullmatch(path.name):
                with self._forced():
                    found.append(read_part(path, most_lines))
        return sorted(filter(None, found), key=lambda part: (part.time_ns, part.path))

    def _forced(self) -> contextlib.AbstractContextManager[None]:
        """What is no list is passed over if that is asked for."""
        return contextlib.suppress(ValueError) if self._force else contextlib.nullcontext()

    def _write_part(self, lines: list[Line], is_finished: bool) -> None:
        _write(self._own, [{"run": self._run, "finished": is_finished}, *lines])


def read_part(path: Path, most: int | None = None) -> Part | None:
    """A shard's part, with so many of its lines; None if it is not there any more.

    Raises:
        ValueError: It is none.
    """
    with _told(path), path.open("rb") as file:
        about, *lines = _lines(islice(file, None if most is None else most + 1))
        run, is_finished = about["run"], about["finished"]
        if not isinstance(run, dict):
            raise ValueError("it does not say of which run it is")
        return Part(
            path, run, bool(is_finished), _checked(lines), os.fstat(file.fileno()).st_mtime_ns
        )
    return None


def read_lines(path: Path) -> list[Line]:
    """The lines of a manifest; none if it is not there.

    Raises:
        ValueError: It is none.
    """
    with _told(path), path.open("rb") as file:
        return _checked(_lines(file))
    return []


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Whatever is wrong with a list that is read inside; it may be absent."""
    check_links(path.parent, path)
    try:
        with contextlib.suppress(FileNotFoundError):  # in one look: it may go at any moment
            if not stat.S_ISREG(path.stat().st_mode):
                raise ValueError("it is no file")
        with contextlib.suppress(FileNotFoundError):
            yield
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{path} is no list of an earlier run ({reason(error)}); nothing is overwritten "
            "unasked. Move it away, give another folder, or -f to overwrite it."
        ) from error


def _lines(texts: Iterable[bytes]) -> list[Any]:
    # JSON escapes line feeds, but not all that splitlines() takes for the end of a line.
    return [json.loads(text.decode()) for text in texts if text != b"\n"]


def _checked(lines: list[Any]) -> list[Line]:
    for line in lines:
        names = [line["source"] if "error" in line else line["path"], line.get("source", "")]
        if not all(isinstance(name, str) for name in names):
            raise TypeError("a name is no text")
    return lines


def _write(path: Path, lines: Iterable[Line]) -> None:
    with replacing(path) as file:
        # What is no UTF-8 in a name is written as JSON has it, and comes back when it is read.
        texts = (json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        put(file, "".join(texts).encode(errors="backslashreplace"))


def _differ(theirs: Line, ours: Line, names: Iterable[str]) -> list[str]:
    return [name for name in names if theirs.get(name) != ours.get(name)]


def codes_sha256(codes: np.ndarray) -> str:
    """What is listed of codes ``[K, F]``: the SHA-256 of them as little-endian 32-bit integers."""
    return hashlib.sha256(codes.astype("<i4").tobytes()).hexdigest()


def check_links(folder: Path, path: Path) -> None:
    """Nothing between a folder and a path in it is a link, which may lead anywhere.

    Raises:
        ValueError: There is one.
    """
    inside = path.relative_to(folder)
    if os.path.realpath(path) != os.path.join(os.path.realpath(folder), inside):
        raise ValueError(
            f"{path} is a link, or in one; in the folder of codes none is followed. Move it away."
        )
