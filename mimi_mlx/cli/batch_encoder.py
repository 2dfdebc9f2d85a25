"""The clips of a folder: each is looked up, and encoded in its batch, in one of some threads."""

import dataclasses
import errno
import functools
import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from .. import audio, codefile, files
from ..atomic import replacing
from ..audio.reader import FileReader
from ..codefile.header import MAGIC
from ..mimi import Mimi
from ..model.ops import linux
from . import signals, transcode
from .progress import Progress

Item = TypeVar("Item")
Result = TypeVar("Result")

# With these a target cannot be written, and no other.
ENDS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}


_PATIENCE = 0.1  # seconds, between two looks for a signal


class Clip(NamedTuple):
    """A sound file, and what is to come of it."""

    source: Path
    target: Path
    samples: int  # at the model's rate
    header: codefile.Header
    listed: Mapping[str, Any] | None = None  # what an earlier run's manifest says of the target

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.samples / self.header.sample_rate


class Done(NamedTuple):
    """A clip whose codes are there."""

    clip: Clip
    frames: int
    sha256: str  # of its codes ``[K, F]`` as little-endian 32-bit integers, in hexadecimal digits
    found: bool  # they were there before
    source: Mapping[str, Any]  # the size, time and SHA-256 of the sound file that was encoded


class Failed(NamedTuple):
    """A bad file, which is passed over."""

    source: Path
    error: ValueError


Outcome = Done | Failed


class GivenUp(Exception):
    """Raised where work goes on that was given up."""


@dataclasses.dataclass(frozen=True)
class BatchEncoder:
    """Encodes batches of clips; it keeps nothing, so any number of threads may."""

    mimi: Mimi
    num_codebooks: int
    mono: bool  # mix several channels down
    force: bool  # overwrite what is there
    progress: Progress  # is told of audio that is done
    given_up: threading.Event  # when it is set, ``encode`` ends soon, in ``GivenUp``
    at_once: int = transcode.BLOCK  # frames at once of a clip that is alone in its batch

    def encode(self, batch: list[Clip]) -> list[Outcome]:
        """Encode what is missing of a batch."""
        there = [self._there(clip) for clip in batch]
        outcomes: list[Outcome] = [found for found in there if found is not None]
        # As it is before it is read: what changes while it is will be seen by the next run.
        missing = {
            clip.source: _facts_of(clip.source)
            for clip, found in zip(batch, there, strict=True)
            if found is None
        }
        if missing and len(batch) == 1:
            return [self._encode_alone(batch[0], missing[batch[0].source])]
        if missing:
            outcomes += self._encode_together(batch, missing)
        self._advance(sum(clip.seconds for clip in batch))
        return outcomes

    def _there(self, clip: Clip) -> Outcome | None:
        """The codes that are there, or what is in their place; None if they are to be made."""
        self._go_on()
        if not os.path.lexists(clip.target):
            return None
        if not os.path.isfile(clip.target):
            no_file = f"{clip.target} is no file, and its codes go to one. Move it away."
            return Failed(clip.source, ValueError(no_file))
        if self.force:
            return None
        try:
            there = codefile.read(clip.target)
        except ValueError as error:
            repaired = clip.listed is not None and _begins_as_codes(clip.target)
            return None if repaired else _kept(clip, str(error))
        if others := _differences(there.header, clip.header, "fingerprint", "num_codebooks"):
            return _kept(clip, f"{clip.target} holds other codes than are asked for ({others})")
        facts = _facts_if_same(clip)
        if there.damage or facts is None:
            newer = f"{clip.source} is newer than {clip.target}"
            return None if clip.listed is not None else _kept(clip, there.damage or newer)
        others = _differences(there.header, clip.header, "source_rate")
        if there.samples != clip.samples:
            others = f"{there.samples} samples, not {clip.samples}"
        if others:
            theirs = f"{clip.target} holds other codes than those of {clip.source} ({others})"
            return _kept(clip, theirs)
        return _done(clip, there.codes[0], facts, found=True)

    def _encode_together(
        self, batch: list[Clip], missing: Mapping[Path, Mapping[str, Any]]
    ) -> list[Outcome]:
        """Encode a batch, always the same rows, and write those that are missing."""
        outcomes: list[Outcome] = []
        rows, sounds = [], []
        for clip in batch:
            try:
                sounds.append(audio.read(clip.source, self.mimi.sample_rate, self.mono))
                rows.append(clip)
            except ValueError as error:
                outcomes.append(Failed(clip.source, error))
        if not any(clip.source in missing for clip in rows):
            return outcomes
        lengths = [len(sound) for sound in sounds]
        pcm = np.zeros((len(sounds), 1, max(lengths)), np.float32)
        for row, sound in zip(pcm, sounds, strict=True):
            row[0, : len(sound)] = sound
        half = self.mimi.runner.encoder(self.num_codebooks)
        made = np.array(self.mimi.runner.ragged(half, pcm, lengths, before_step=self._go_on))
        for clip, length, codes in zip(rows, lengths, made, strict=True):
            if clip.source in missing:
                codes = codes[:, : -(-length // self.mimi.frame_size)]
                write = functools.partial(_write, clip, codes, length)
                outcomes.append(_written(clip, write, missing[clip.source]))
        return outcomes

    def _encode_alone(self, clip: Clip, facts: Mapping[str, Any]) -> Outcome:
        """Encode a clip as it is read, in constant memory."""

        def write() -> np.ndarray:
            with (
                FileReader(clip.source, self.mono) as source,
                replacing(clip.target) as file,
                codefile.Writer(file, clip.header, rewrite_header=True) as writer,
            ):
                count, at_once = self.num_codebooks, self.at_once
                transcode.encode(self.mimi, source, count, at_once, writer, self._advance)
            return codefile.read(clip.target).codes[0]

        return _written(clip, write, facts)

    def _advance(self, seconds: float) -> None:
        self._go_on()
        self.progress.advance(seconds)

    def _go_on(self) -> None:
        if self.given_up.is_set():
            raise GivenUp


def _facts_of(source: Path) -> Mapping[str, Any]:
    """What tells whether a sound file is still the same; nothing of one that cannot be read."""
    try:
        return {**_size_and_time(source), "source_sha256": files.sha256(source)}
    except OSError:
        return {}


def _size_and_time(source: Path) -> dict[str, int]:
    found = source.stat()
    return {"source_bytes": found.st_size, "source_mtime_ns": found.st_mtime_ns}


def _facts_if_same(clip: Clip) -> Mapping[str, Any] | None:
    """The facts of a sound file that has not changed since it was encoded; None if it has."""
    listed = clip.listed or {}
    told = {name: value for name, value in listed.items() if name.startswith("source_")}
    if not told:  # the run was killed before it could say what it had encoded
        is_newer = clip.source.stat().st_mtime_ns > clip.target.stat().st_mtime_ns
        return None if is_newer else _facts_of(clip.source)
    if _size_and_time(clip.source).items() <= told.items():
        return told
    now = _facts_of(clip.source)
    return now if now.get("source_sha256") == told.get("source_sha256") else None


def _write(clip: Clip, codes: np.ndarray, samples: int) -> np.ndarray:
    codefile.write(clip.target, codes, clip.header, samples)
    return codes


def _written(clip: Clip, write: Callable[[], np.ndarray], facts: Mapping[str, Any]) -> Outcome:
    """What comes of ``write``, which gives codes; where it alone fails, the clip is passed over."""
    try:
        clip.target.parent.mkdir(parents=True, exist_ok=True)
        return _done(clip, write(), facts, found=False)
    except ValueError as error:
        return Failed(clip.source, error)
    except OSError as error:
        if error.errno in ENDS:
            raise
        refused = ValueError(
            f"{clip.target} cannot be written ({error.strerror}). Rename {clip.source}, or move "
            "away what is there."
        )
        return Failed(clip.source, refused)


def _kept(clip: Clip, why: str) -> Failed:
    rule = "nothing is overwritten unasked. Give -f to overwrite it."
    return Failed(clip.source, ValueError(f"{why}; {rule}"))


def _differences(theirs: codefile.Header, ours: codefile.Header, *fields: str) -> str:
    """What two headers say, where they say different things."""
    pairs = ((name, getattr(theirs, name), getattr(ours, name)) for name in fields)
    return ", ".join(f"{name} {one}, not {other}" for name, one, other in pairs if one != other)


def _begins_as_codes(path: Path) -> bool:
    """Whether a file has the first bytes of a .mimi file, as far as it goes."""
    with open(path, "rb") as file:
        return MAGIC.startswith(file.read(len(MAGIC)))


def _done(clip: Clip, codes: np.ndarray, facts: Mapping[str, Any], found: bool) -> Done:
    digest = hashlib.sha256(codes.astype("<i4").tobytes()).hexdigest()
    return Done(clip, codes.shape[1], digest, found, facts)


def in_threads(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    jobs: int,
    given_up: threading.Event,
    note: Callable[[Result], None],
) -> None:
    """Call ``function`` with each item in so many threads, and ``note`` in this one.

    The first error of either, or a signal, ends it: ``given_up`` is set, which ``function`` must
    heed, no more items are begun, and the error is raised when all threads are done. One job, or
    one item, needs no other thread.
    """
    items = list(items)
    if min(jobs, len(items)) <= 1:
        for item in items:
            note(function(item))
        return
    ended: list[int] = []

    def stop(number: int) -> None:  # an error raised inside a wait could leave its lock taken
        ended.append(number)
        given_up.set()

    with (
        linux.one_blas_thread,
        ThreadPoolExecutor(jobs) as pool,
        signals.ended_by(stop),
    ):
        try:
            waiting = {pool.submit(function, item) for item in items}
            while waiting:
                done, waiting = wait(waiting, _PATIENCE, FIRST_COMPLETED)
                if ended:
                    raise SystemExit(signals.code(ended[0]))
                for each in done:
                    note(each.result())
        except BaseException:
            given_up.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
