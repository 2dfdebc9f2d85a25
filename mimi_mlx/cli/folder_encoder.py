"""A folder's work when it is encoded: each sound file becomes a .mimi file."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .. import audio, codefile
from ..atomic import replacing
from ..audio.reader import FileReader
from ..checkpoint import hub
from ..codefile import Header
from ..codefile.header import MAGIC
from ..mimi import Mimi
from ..streaming import validation
from ..streaming.halves import Half
from . import transcode
from .batches import Clip, facts_if_same, kept
from .manifest import codes_sha256
from .plan import Task


class FolderEncoder:
    """Encodes clips; see :class:`~.batches.Work`.

    Args:
        args: ``model``, ``num_codebooks`` and ``mono`` are read.

    Raises:
        ValueError: There is no such model, or it has not so many codebooks.
    """

    def __init__(self, args: argparse.Namespace):
        self.mimi = Mimi.from_pretrained(args.model, only="encoder")
        self._count = validation.num_codebooks(args.num_codebooks, self.mimi.config)
        self._mono, self._about = args.mono, {"model": hub.shared_name(args.model)}
        self.settings: Mapping[str, Any]
        self.settings = {"codebooks": self._count, "fingerprint": self.mimi.fingerprint}

    def half(self, batch: list[Clip]) -> Half:
        """From samples to codes."""
        return self.mimi.runner.encoder(self._count)

    def survey(self, source: Path) -> tuple[int, Header]:
        """The length that a sound file says it has."""
        with FileReader(source, self._mono) as file:
            samples = -(-file.samples * self.mimi.sample_rate // file.sample_rate)
            return samples, Header.for_model(self.mimi, self._count, file.sample_rate, self._about)

    def found(self, clip: Clip, resumes: bool) -> Mapping[str, Any] | None:
        """The codes that are there, read whole."""
        try:
            there = codefile.read(clip.target)
        except ValueError as error:
            if clip.listed is not None and _begins_as_codes(clip.target):
                return None
            raise kept(str(error)) from error
        if others := _differences(there.header, clip.header, "fingerprint", "num_codebooks"):
            raise kept(f"{clip.target} holds other codes than are asked for ({others})")
        facts = facts_if_same(clip)
        if there.damage or facts is None:
            if clip.listed is not None:
                return None
            raise kept(there.damage or f"{clip.source} is newer than {clip.target}")
        others = _differences(there.header, clip.header, "source_rate")
        if there.samples != clip.samples:
            others = f"{there.samples} samples, not {clip.samples}"
        if others:
            raise kept(f"{clip.target} holds other codes than those of {clip.source} ({others})")
        return {**self._facts(clip, there.codes[0]), **facts}

    def read(self, clip: Clip) -> np.ndarray:
        """Samples ``[1, T]`` at the model's rate."""
        return audio.read(clip.source, self.mimi.sample_rate, self._mono)[None]

    def write(self, clip: Clip, made: np.ndarray, length: int) -> Mapping[str, Any]:
        """Write codes ``[K, F]`` of so many samples."""
        codes = made[:, : -(-length // self.mimi.frame_size)]
        codefile.write(clip.target, codes, clip.header, length)
        return self._facts(clip, codes)

    def write_alone(
        self, clip: Clip, at_once: int, advance: transcode.Advance
    ) -> Mapping[str, Any]:
        """Encode a clip as it is read."""
        with (
            FileReader(clip.source, self._mono) as source,
            replacing(clip.target) as file,
            codefile.Writer(file, clip.header, rewrite_header=True) as writer,
        ):
            transcode.encode(self.mimi, source, self._count, at_once, writer, advance)
        return self._facts(clip, codefile.read(clip.target).codes[0])

    def _facts(self, clip: Clip, codes: np.ndarray) -> Mapping[str, Any]:
        counts = {"frames": codes.shape[1], "seconds": clip.seconds}
        return {**counts, **self.settings, "sha256": codes_sha256(codes)}


def _differences(theirs: Header, ours: Header, *fields: str) -> str:
    """What two headers say, where they say different things."""
    pairs = ((name, getattr(theirs, name), getattr(ours, name)) for name in fields)
    return ", ".join(f"{name} {one}, not {other}" for name, one, other in pairs if one != other)


def _begins_as_codes(path: Path) -> bool:
    """Whether a file has the first bytes of a .mimi file, as far as it goes."""
    with open(path, "rb") as file:
        return MAGIC.startswith(file.read(len(MAGIC)))


TASK = Task(
    audio.SUFFIXES,
    "sound",
    "encoded",
    ".mimi",
    ("raw", "sample_rate"),
    lambda args, _: FolderEncoder(args),
)
