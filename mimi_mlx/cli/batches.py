"""The clips of a folder: each is looked up, and coded in its batch, in one of some threads."""

import dataclasses
import errno
import functools
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from .. import files
from ..codefile import Header
from ..mimi import Mimi
from ..streaming.halves import Half
from ..streaming.rows import padded
from .progress import Progress
from .transcode import BLOCK, Advance, NothingGood

# With these a target cannot be written, and no other.
ENDS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}


class Clip(NamedTuple):
    """A file of the folder, and what is to come of it."""

    source: Path
    target: Path
    samples: int  # at the model's rate
    header: Header  # of its codes
    listed: Mapping[str, Any] | None = None  # what an earlier run's manifest says of the target

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.samples / self.header.sample_rate


class Done(NamedTuple):
    """A clip whose target is there."""

    clip: Clip
    facts: Mapping[str, Any]  # for the manifest, also about the source as it was when it was coded
    found: bool  # it was there before


class Failed(NamedTuple):
    """A bad file, which is passed over."""

    source: Path
    error: ValueError


Outcome = Done | Failed


class GivenUp(Exception):
    """Raised where work goes on that was given up."""


class Work(Protocol):
    """What is done with each clip: to encode it, or to decode it."""

    mimi: Mimi
    settings: Mapping[str, Any]  # what makes other targets of the same sources; the manifest's

    def half(self, batch: list[Clip]) -> Half:
        """The way of the codec that a batch goes."""
        ...

    def survey(self, source: Path) -> tuple[int, Header]:
        """The length of a source in samples, and the header of its codes.

        Raises:
            ValueError: It cannot be used.
        """
        ...

    def found(self, clip: Clip, resumes: bool) -> Mapping[str, Any] | None:
        """The facts about a target that is there; None if it is to be made again.

        Args:
            clip: Whose it is.
            resumes: An earlier run with these settings was ended before it could list its targets.

        Raises:
            ValueError: Nothing says that an earlier run made it from this source: see `kept`.
        """
        ...

    def read(self, clip: Clip) -> np.ndarray:
        """All of a source, time last: samples ``[1, T]`` or codes ``[K, F]``.

        Raises:
            ValueError: It is damaged.
        """
        ...

    def write(self, clip: Clip, made: np.ndarray, length: int) -> Mapping[str, Any]:
        """Write a target; what there is to say of it.

        Args:
            clip: Of which it is.
            made: Codes or samples, time last; it may be filled up at its end.
            length: Of what :meth:`read` gave.
        """
        ...

    def write_alone(self, clip: Clip, at_once: int, advance: Advance) -> Mapping[str, Any]:
        """Read, code and write a clip of any length in constant memory, so many frames at once.

        Raises:
            ValueError: It is damaged.
        """
        ...


@dataclasses.dataclass(frozen=True)
class BatchRunner:
    """Does the work for batches of clips; it keeps nothing, so any number of threads may."""

    work: Work
    force: bool  # overwrite what is there
    resumes: bool  # an earlier run of the same kind did not come to its end
    progress: Progress  # is told of audio that is done
    given_up: threading.Event  # when it is set, ``run`` ends soon, in ``GivenUp``
    at_once: int = BLOCK  # frames at once of a clip that is alone in its batch

    def run(self, batch: list[Clip]) -> list[Outcome]:
        """Do what is missing of a batch."""
        there = [self._there(clip) for clip in batch]
        outcomes: list[Outcome] = [found for found in there if found is not None]
        # As it is before it is read: what changes while it is will be seen by the next run.
        missing = {
            clip.source: facts_of(clip.source)
            for clip, found in zip(batch, there, strict=True)
            if found is None
        }
        if missing and len(batch) == 1:
            clip = batch[0]
            write = functools.partial(self.work.write_alone, clip, self.at_once, self._advance)
            return [_written(clip, write, missing[clip.source])]
        if missing:
            outcomes += self._run_together(batch, missing)
        self._advance(sum(clip.seconds for clip in batch))
        return outcomes

    def _there(self, clip: Clip) -> Outcome | None:
        """The target that is there, or what is in its place; None if it is to be made."""
        self._go_on()
        if not os.path.lexists(clip.target):
            return None
        if not os.path.isfile(clip.target):
            no_file = f"{clip.target} is no file, and one is to be there. Move it away."
            return Failed(clip.source, ValueError(no_file))
        if self.force:
            return None
        try:
            facts = self.work.found(clip, self.resumes)
        except ValueError as error:
            return Failed(clip.source, error)
        except OSError as error:  # it has gone meanwhile, or may not be read
            unread = f"{error.filename} cannot be read ({error.strerror}). Check the path."
            return Failed(clip.source, ValueError(unread))
        return None if facts is None else Done(clip, facts, found=True)

    def _run_together(
        self, batch: list[Clip], missing: Mapping[Path, Mapping[str, Any]]
    ) -> list[Outcome]:
        """Code a batch, always the same rows, and write those that are missing."""
        outcomes: list[Outcome] = []
        clips, rows = [], []
        for clip in batch:
            try:
                rows.append(self.work.read(clip))
                clips.append(clip)
            except ValueError as error:
                if clip.source in missing:  # of another it is said already what came of it
                    outcomes.append(Failed(clip.source, error))
        if not any(clip.source in missing for clip in clips):
            return outcomes
        lengths, x = [row.shape[-1] for row in rows], padded(rows, 0)
        half = self.work.half(batch)
        made = np.array(self.work.mimi.runner.ragged(half, x, lengths, before_step=self._go_on))
        for clip, row, length in zip(clips, made, lengths, strict=True):
            if clip.source in missing:
                write = functools.partial(self.work.write, clip, row, length)
                outcomes.append(_written(clip, write, missing[clip.source]))
        return outcomes

    def _advance(self, seconds: float) -> None:
        self._go_on()
        self.progress.advance(seconds)

    def _go_on(self) -> None:
        if self.given_up.is_set():
            raise GivenUp


def facts_of(source: Path) -> Mapping[str, Any]:
    """What tells whether a source is still the same; nothing of one that cannot be read."""
    try:
        return {**_size_and_time(source), "source_sha256": files.sha256(source)}
    except OSError:
        return {}


def facts_if_same(clip: Clip) -> Mapping[str, Any] | None:
    """The facts of a source that has not changed since it was coded; None if it has."""
    listed = clip.listed or {}
    told = {name: value for name, value in listed.items() if name.startswith("source_")}
    if not told:  # the run was killed before it could say what it had coded
        is_newer = clip.source.stat().st_mtime_ns > clip.target.stat().st_mtime_ns
        return None if is_newer else facts_of(clip.source)
    if _size_and_time(clip.source).items() <= told.items():
        return told
    now = facts_of(clip.source)
    return now if now.get("source_sha256") == told.get("source_sha256") else None


def kept(why: str) -> ValueError:
    """The error about a target that is left as it is."""
    return ValueError(f"{why}; nothing is overwritten unasked. Give -f to overwrite it.")


def _size_and_time(source: Path) -> dict[str, int]:
    found = source.stat()
    return {"source_bytes": found.st_size, "source_mtime_ns": found.st_mtime_ns}


def _written(
    clip: Clip, write: Callable[[], Mapping[str, Any]], facts: Mapping[str, Any]
) -> Outcome:
    """What comes of ``write``; where it alone fails, the clip is passed over."""
    try:
        clip.target.parent.mkdir(parents=True, exist_ok=True)
        return Done(clip, {**write(), **facts}, found=False)
    except ValueError as error:
        return Failed(clip.source, error)
    except NothingGood as error:
        return Failed(clip.source, ValueError(str(error)))
    except OSError as error:
        if error.errno in ENDS:
            raise
        refused = ValueError(
            f"{clip.target} cannot be written ({error.strerror}). Rename {clip.source}, or move "
            "away what is there."
        )
        return Failed(clip.source, refused)
