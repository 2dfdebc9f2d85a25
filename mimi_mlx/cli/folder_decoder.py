"""A folder's work when it is decoded: each .mimi file becomes a .wav file."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .. import audio, codefile, files
from ..audio.reader import FileReader
from ..codefile import Header
from ..mimi import Mimi
from ..streaming import validation
from ..streaming.halves import Half
from . import code_io, maker, transcode
from .batches import Clip, facts_if_same, kept
from .plan import Task

_REMEDY = "Decode it alone to have what is good of it."


class FolderDecoder:
    """Decodes clips, all with one model; see :class:`~.batches.Work`.

    Args:
        args: ``model``, ``num_codebooks`` and ``force_model`` are read. Without a model it is the
            one that the first file names.
        sources: The files to decode.

    Raises:
        ValueError: There is no such model.
    """

    def __init__(self, args: argparse.Namespace, sources: list[Path]):
        if args.model is None:
            args = argparse.Namespace(**vars(args) | {"model": _model_of_first(args, sources)})
        self._args = args
        self.mimi = Mimi.from_pretrained(args.model, only="decoder")
        self.settings: Mapping[str, Any]
        self.settings = {"codebooks": args.num_codebooks, "fingerprint": self.mimi.fingerprint}

    def half(self, batch: list[Clip]) -> Half:
        """From codes to samples."""
        return self.mimi.runner.decoder()

    def survey(self, source: Path) -> tuple[int, Header]:
        """The length that a .mimi file says it has."""
        with codefile.Reader(source, self._args.num_codebooks) as reader:
            self._check(reader, source)
            if not reader.header.samples:
                raise ValueError(f"{source} has no frames, or no end. {_REMEDY}")
            return reader.header.samples, reader.header

    def found(self, clip: Clip, resumes: bool) -> Mapping[str, Any] | None:
        """The sound that is there: the bytes that are listed, or what a killed run may have left.

        A sound file does not say what it was made from. So without a list that names it, it has
        to be in a folder where an earlier run of the same settings had begun.
        """
        if clip.listed is None and not resumes:
            raise kept(f"{clip.target} is there, and no earlier run lists it")
        digest, facts = files.sha256(clip.target), facts_if_same(clip)
        if clip.listed is None:
            self._check_sound(clip)
        elif clip.listed.get("sha256") != digest:
            raise kept(f"{clip.target} was changed since an earlier run made it")
        if facts is None and clip.listed is None:
            raise kept(f"{clip.source} is newer than {clip.target}")
        if facts is None:
            return None
        return {**self._facts(clip, digest), **facts}

    def read(self, clip: Clip) -> np.ndarray:
        """Codes ``[K, F]``."""
        found = codefile.read(clip.source, self._args.num_codebooks)
        if found.damage:
            raise ValueError(f"{found.damage}. {_REMEDY}")
        if found.samples != clip.samples:
            raise ValueError(f"{clip.source} has changed meanwhile. Run the command again.")
        return validation.codes(found.codes, self.mimi.config)[0]

    def write(self, clip: Clip, made: np.ndarray, length: int) -> Mapping[str, Any]:
        """Write samples ``[1, T]``, cut to the clip's length."""
        audio.write(clip.target, made[0, : clip.samples], self.mimi.sample_rate)
        return self._facts(clip, files.sha256(clip.target))

    def write_alone(
        self, clip: Clip, at_once: int, advance: transcode.Advance
    ) -> Mapping[str, Any]:
        """Decode a clip as it is read."""
        buffer = transcode.TailBuffer()
        with (
            codefile.Reader(clip.source, self._args.num_codebooks) as reader,
            audio.writing(clip.target, self.mimi.sample_rate) as writer,
        ):
            buffer.begin(writer)
            transcode.decode(self.mimi, reader, at_once, buffer, advance)
            if reader.damage:
                raise ValueError(f"{reader.damage}. {_REMEDY}")
        return self._facts(clip, files.sha256(clip.target))

    def _check(self, reader: codefile.Reader, source: Path) -> None:
        code_io.check_frames(reader, str(source), self.mimi)
        maker.check(self._args, source, reader.header, self.mimi)
        if (count := reader.num_codebooks) > (held := self.mimi.num_codebooks):
            raise ValueError(
                f"{source} has {count} codebooks to decode; {self._args.model} has {held}. Give "
                f"--codebooks {held}."
            )

    def _check_sound(self, clip: Clip) -> None:
        with FileReader(clip.target) as sound:
            found = sound.samples, sound.sample_rate
        if found != (clip.samples, self.mimi.sample_rate):
            raise kept(f"{clip.target} holds other sound than that of {clip.source}")

    def _facts(self, clip: Clip, digest: str) -> Mapping[str, Any]:
        counts = {"samples": clip.samples, "seconds": clip.seconds}
        return {**counts, **self.settings, "sha256": digest}


def _model_of_first(args: argparse.Namespace, sources: list[Path]) -> str:
    """The model that the first file which can be read names.

    Raises:
        ValueError: None can be read, or it names one that is not here.
    """
    bad = ValueError("there are no files")
    for source in sources:
        try:
            with codefile.Reader(source) as reader:
                header = reader.header
        except ValueError as error:
            bad = error
            continue
        return maker.model_of(args, source, header)
    raise ValueError(f"none of the files can be read: {bad}")


TASK = Task({".mimi"}, "codes", "decoded", ".wav", ("raw", "skip_lost"), FolderDecoder)
