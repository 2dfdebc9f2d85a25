"""The clips of a folder: each is looked up, and encoded in its batch, in one of some threads."""

import dataclasses
import errno
import functools
import hashlib
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from .. import audio, codefile
from ..atomic import replacing
from ..audio.reader import FileReader
from ..codefile.header import MAGIC
from ..mimi import Mimi
from ..model.ops import linux
from . import transcode
from .progress import Progress

Item = TypeVar("Item")
Result = TypeVar("Result")

# With these a target cannot be written, and no other.
_ENDS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}


class Clip(NamedTuple):
    """A sound file, and what is to come of it."""

    source: Path
    target: Path
    samples: int  # at the model's rate
    header: codefile.Header
    listed: bool = False  # an earlier run wrote the target, as its manifest says

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


Outcome = Done | ValueError  # an error names a bad file, which is passed over


class GivenUp(Exception):
    """Raised where work goes on that was given up."""


@dataclasses.dataclass(frozen=True)
class BatchEncoder:
    """Encodes batches of clips; it keeps nothing, so any number of threads may."""

    mimi: Mimi
    num_codebooks: int
    mono: bool  # mix several channels down
    force: bool  # overwrite other codes
    progress: Progress  # is told of audio that is done
    given_up: threading.Event  # when it is set, ``encode`` ends soon, in ``GivenUp``
    at_once: int = transcode.BLOCK  # frames at once of a clip that is alone in its batch

    def encode(self, batch: list[Clip]) -> list[Outcome]:
        """Encode what is missing of a batch."""
        there = [self._there(clip) for clip in batch]
        missing = [clip for clip, found in zip(batch, there, strict=True) if found is None]
        outcomes: list[Outcome] = [found for found in there if found is not None]
        if missing and len(batch) == 1:
            return [self._encode_alone(batch[0])]
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
            return ValueError(f"{clip.target} is no file, and its codes go to one. Move it away.")
        try:
            there = codefile.read(clip.target)
        except ValueError as error:
            repaired = clip.listed and _begins_as_codes(clip.target)
            return None if repaired or self.force else _kept(str(error))
        others = [
            f"{field} {theirs}, not {ours}"
            for field in ("fingerprint", "num_codebooks", "source_rate")
            if (theirs := getattr(there.header, field)) != (ours := getattr(clip.header, field))
        ]
        if there.damage and not others:
            return None if clip.listed or self.force else _kept(there.damage)
        if there.samples != clip.samples:
            others.append(f"{there.samples} samples, not {clip.samples}")
        if not others:
            return _done(clip, there.codes[0], found=True)
        theirs = f"{clip.target} holds other codes than those of {clip.source} ({others[0]})"
        return None if self.force else _kept(theirs)

    def _encode_together(self, batch: list[Clip], missing: list[Clip]) -> list[Outcome]:
        """Encode a batch, always the same rows, and write those that are missing."""
        outcomes: list[Outcome] = []
        rows, sounds = [], []
        for clip in batch:
            try:
                sounds.append(audio.read(clip.source, self.mimi.sample_rate, self.mono))
                rows.append(clip)
            except ValueError as error:
                outcomes.append(error)
        if not any(clip in missing for clip in rows):
            return outcomes
        lengths = [len(sound) for sound in sounds]
        pcm = np.zeros((len(sounds), 1, max(lengths)), np.float32)
        for row, sound in zip(pcm, sounds, strict=True):
            row[0, : len(sound)] = sound
        half = self.mimi.runner.encoder(self.num_codebooks)
        made = np.array(self.mimi.runner.ragged(half, pcm, lengths, before_step=self._go_on))
        for clip, length, codes in zip(rows, lengths, made, strict=True):
            if clip in missing:
                codes = codes[:, : -(-length // self.mimi.frame_size)]
                write = functools.partial(codefile.write, clip.target, codes, clip.header, length)
                outcomes.append(_written(clip, write))
        return outcomes

    def _encode_alone(self, clip: Clip) -> Outcome:
        """Encode a clip as it is read, in constant memory."""

        def write() -> None:
            with (
                FileReader(clip.source, self.mono) as source,
                replacing(clip.target) as file,
                codefile.Writer(file, clip.header, rewrite_header=True) as writer,
            ):
                count, at_once = self.num_codebooks, self.at_once
                transcode.encode(self.mimi, source, count, at_once, writer, self._advance)

        return _written(clip, write)

    def _advance(self, seconds: float) -> None:
        self._go_on()
        self.progress.advance(seconds)

    def _go_on(self) -> None:
        if self.given_up.is_set():
            raise GivenUp


def _written(clip: Clip, write: Callable[[], None]) -> Outcome:
    """What comes of writing a clip's codes; where that alone fails, the clip is passed over."""
    try:
        clip.target.parent.mkdir(parents=True, exist_ok=True)
        write()
        return _done(clip, codefile.read(clip.target).codes[0], found=False)
    except ValueError as error:
        return error
    except OSError as error:
        if error.errno in _ENDS:
            raise
        return ValueError(
            f"{clip.target} cannot be written ({error.strerror}). Rename {clip.source}, or move "
            "away what is there."
        )


def _kept(why: str) -> ValueError:
    return ValueError(f"{why}; nothing is overwritten unasked. Give -f to overwrite it.")


def _begins_as_codes(path: Path) -> bool:
    """Whether a file has the first bytes of a .mimi file, as far as it goes."""
    with open(path, "rb") as file:
        return MAGIC.startswith(file.read(len(MAGIC)))


def _done(clip: Clip, codes: np.ndarray, found: bool) -> Done:
    digest = hashlib.sha256(codes.astype("<i4").tobytes()).hexdigest()
    return Done(clip, codes.shape[1], digest, found)


def cores() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
    with linux.one_blas_thread(), ThreadPoolExecutor(jobs) as pool:
        try:
            for done in as_completed([pool.submit(function, item) for item in items]):
                note(done.result())
        except BaseException:
            given_up.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
