"""``mimi-mlx encode DIR -o OUT``: a folder of sound files to a folder of .mimi files.

Files of about the same length are encoded together. What is done and whole is left alone, so the
same command goes on after an interruption, and ends with the same bytes: which files make a batch
depends on the folder alone, and a batch is encoded again as it was if a file of it is missing.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import mlx.core as mx
import numpy as np

from .. import audio, check, codefile, soundin
from ..files import PIPE, remove_abandoned, replacing
from ..mimi import Mimi
from . import codes_ends, work

# Files at once. A GPU is then busy; a CPU is with one, and keeps what it makes in its cache.
_BATCH_SIZE = {mx.DeviceType.gpu: 8, mx.DeviceType.cpu: 1}

# Seconds of audio in a batch at most, with what shorter rows are filled up with. A file that is
# longer is alone in its batch.
_MOST_SECONDS = 600

# What is a sound file; others are passed over.
_SUFFIXES = {*audio.FORMATS, *(".aifc", ".au", ".oga", ".opus", ".rf64", ".snd", ".w64")}

_MANIFEST = "manifest.jsonl"


class Clip(NamedTuple):
    """A sound file, and what is to come of it."""

    source: Path
    target: Path
    samples: int
    """At the model's rate."""
    header: codefile.Header


def run(args: argparse.Namespace) -> int:
    """Encode a folder; the result is the exit code."""
    size = _check(args)
    names, others = _sounds(Path(args.input), args.recursive)
    mimi = Mimi.from_pretrained(args.model, only="encoder")
    job = Job(args, mimi, check.num_codebooks(args.num_codebooks, mimi.config))
    clips = job.survey(names)
    with work.Progress("encode", sum(c.samples for c in clips) / mimi.sample_rate) as progress:
        for batch in _batches(clips, size, _MOST_SECONDS * mimi.sample_rate):
            job.encode(batch, progress)
        speed = job.seconds / progress.elapsed
    job.write_manifest()
    print(
        f"{args.output}: {job.encoded} files encoded, {job.found} done before, "
        f"{job.failed} failed, {others} passed over that are no sound; "
        f"{job.seconds:.2f} s encoded, {speed:.1f} times as fast as real time",
        file=sys.stderr,
    )
    return 1 if job.failed else 0


class Job:
    """The work on a folder, and what has come of it so far."""

    def __init__(self, args: argparse.Namespace, mimi: Mimi, num_codebooks: int):
        self._args, self._mimi, self._num_codebooks = args, mimi, num_codebooks
        self._output = Path(args.output)
        self._output.mkdir(parents=True, exist_ok=True)
        for suffix in (".mimi", Path(_MANIFEST).suffix):
            remove_abandoned(self._output, suffix)
        self._manifest: dict[str, str] = {}
        self.encoded = self.found = self.failed = 0
        self.seconds = 0.0
        """Of audio encoded."""

    def survey(self, names: list[Path]) -> list[Clip]:
        """What the files say they are; those that cannot be read are named."""
        clips = []
        for name in names:
            source, rate = Path(self._args.input) / name, self._mimi.sample_rate
            try:
                with soundin.FileReader(source, self._args.mono) as file:
                    samples = -(-file.samples * rate // file.sample_rate)
                    header = codes_ends.header(
                        self._mimi, self._args.model, self._num_codebooks, file.sample_rate
                    )
            except ValueError as error:
                self._fail(error)
                continue
            target = self._output / name.with_suffix(".mimi")
            clips.append(Clip(source, target, samples, header))
        return clips

    def encode(self, batch: list[Clip], progress: work.Progress) -> None:
        """Encode what is missing of a batch."""
        missing = [clip for clip in batch if not self._is_done(clip)]
        if missing and len(batch) == 1:
            self._encode_alone(batch[0], progress)
            return
        if missing:
            self._encode_together(batch, missing)
        progress.advance(sum(clip.samples for clip in batch) / self._mimi.sample_rate)

    def write_manifest(self) -> None:
        """List all files that are done, in the order of their names."""
        lines = [self._manifest[path] for path in sorted(self._manifest)]
        with replacing(self._output / _MANIFEST) as beside:
            beside.write_text("".join(lines))

    def _is_done(self, clip: Clip) -> bool:
        """Nothing is to be done about a clip: its codes are there, or others are in their place."""
        try:
            there = codefile.read(clip.target)
        except ValueError:
            return False
        if there.damage:
            return False
        for field in ("fingerprint", "num_codebooks", "source_rate"):
            theirs, ours = getattr(there.header, field), getattr(clip.header, field)
            if theirs != ours:
                return self._is_other(clip, f"{field} {theirs}, not {ours}")
        if there.samples != clip.samples:
            return self._is_other(clip, f"{there.samples} samples, not {clip.samples}")
        self.found += 1
        self._list(clip, there.codes[0])
        return True

    def _is_other(self, clip: Clip, what: str) -> bool:
        if not self._args.force:
            self._fail(
                ValueError(
                    f"{clip.target} holds other codes than those of {clip.source} ({what}); "
                    "nothing is overwritten unasked. Give -f to overwrite it."
                )
            )
        return not self._args.force

    def _encode_together(self, batch: list[Clip], missing: list[Clip]) -> None:
        """Encode a batch, always the same rows, and write those that are missing."""
        sounds: dict[Path, np.ndarray] = {}
        for clip in batch:
            try:
                sound = audio.read(clip.source, self._mimi.sample_rate, self._args.mono)
                sounds[clip.source] = sound
            except ValueError as error:
                self._fail(error)
        if not any(clip.source in sounds for clip in missing):
            return
        rows = [clip for clip in batch if clip.source in sounds]
        lengths = [len(sounds[clip.source]) for clip in rows]
        pcm = np.zeros((len(rows), 1, max(lengths)), np.float32)
        for row, clip in zip(pcm, rows, strict=True):
            row[0, : len(sounds[clip.source])] = sounds[clip.source]
        codes = np.array(self._mimi.encode(pcm, self._num_codebooks, lengths))  # [B, K, F]
        for clip, row, length in zip(rows, codes, lengths, strict=True):
            if clip in missing:
                clip.target.parent.mkdir(parents=True, exist_ok=True)
                row = row[:, : -(-length // self._mimi.frame_size)]
                codefile.write(clip.target, row, clip.header, length)
                self._add(clip, row)

    def _encode_alone(self, clip: Clip, progress: work.Progress) -> None:
        """Encode a clip as it is read, in constant memory."""
        clip.target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with (
                soundin.FileReader(clip.source, self._args.mono) as source,
                replacing(clip.target) as beside,
                codefile.Writer(beside, clip.header) as writer,
            ):
                sink = codes_ends.MimiSink(writer)
                work.encode(self._mimi, source, self._num_codebooks, work.BLOCK, sink, progress)
        except ValueError as error:
            self._fail(error)
        else:
            self._add(clip, codefile.read(clip.target).codes[0])

    def _add(self, clip: Clip, codes: np.ndarray) -> None:
        self.encoded += 1
        self.seconds += clip.samples / self._mimi.sample_rate
        self._list(clip, codes)

    def _list(self, clip: Clip, codes: np.ndarray) -> None:
        """Note codes ``[K, F]`` for the manifest."""
        path = clip.target.relative_to(self._output).as_posix()
        facts = {
            "path": path,
            "frames": codes.shape[1],
            "seconds": clip.samples / self._mimi.sample_rate,
            "sha256": hashlib.sha256(codes.astype("<i4").tobytes()).hexdigest(),
        }
        self._manifest[path] = json.dumps(facts, ensure_ascii=False) + "\n"

    def _fail(self, error: ValueError) -> None:
        """Name a bad file, and pass over it."""
        self.failed += 1
        work.say(str(error))


def _check(args: argparse.Namespace) -> int:
    """The arguments make sense for a folder; the batch size."""
    if args.raw or args.sample_rate is not None:
        raise ValueError(
            f"{args.input} is a folder, and --raw and --sample-rate are for stdin. Leave them out."
        )
    if args.output == PIPE or Path(args.output).is_file():
        raise ValueError(
            f"{args.input} is a folder, so its codes go to one, and {args.output} is none. Give "
            "-o the folder to create."
        )
    size = args.batch_size
    if size is None:
        size = _BATCH_SIZE[mx.default_device().type]
    if size < 1:
        raise ValueError(f"--batch-size is {size}; a batch has at least one file. Give 1 or more.")
    return size


def _sounds(folder: Path, recursive: bool) -> tuple[list[Path], int]:
    """The sound files of a folder, relative to it and in order, and how many are none.

    Raises:
        ValueError: There are none, or two would have the same codes' name.
    """
    found = folder.rglob("*") if recursive else folder.iterdir()
    files = sorted(path.relative_to(folder) for path in found if path.is_file())
    # What begins with a dot is the system's: macOS puts a ._a.wav beside a.wav on foreign disks.
    files = [path for path in files if not any(part.startswith(".") for part in path.parts)]
    names = [path for path in files if path.suffix.lower() in _SUFFIXES]
    if not names:
        hint = "" if recursive else ", or give --recursive for the folders in it"
        raise ValueError(f"{folder} has no sound files. Check the path{hint}.")
    seen: dict[Path, Path] = {}
    for name in names:
        other = seen.setdefault(name.with_suffix(""), name)
        if other is not name:
            raise ValueError(
                f"{folder / other} and {folder / name} would both become "
                f"{name.with_suffix('.mimi')}. Rename or move one of them."
            )
    return names, len(files) - len(names)


def _batches(clips: list[Clip], size: int, most: int) -> Iterator[list[Clip]]:
    """Clips of about the same length, at most ``size`` of them and ``most`` samples when filled up.

    One that is longer than that is alone.
    """
    batch: list[Clip] = []
    for clip in sorted(clips, key=lambda clip: (clip.samples, clip.source)):
        if batch and (len(batch) == size or (len(batch) + 1) * clip.samples > most):
            yield batch
            batch = []
        batch.append(clip)
    if batch:
        yield batch
