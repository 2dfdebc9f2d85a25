"""``mimi-mlx encode DIR -o OUT``: a folder of sound files to a folder of .mimi files.

Files of about the same length are encoded together. What is done and whole is left alone, so the
same command goes on after an interruption, and ends with the same bytes: which files make a batch
depends on the folder alone, and a batch is encoded again as it was if a file of it is missing.
"""

import argparse
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import audio
from ..atomic import remove_unfinished, replacing
from ..audio.reader import FileReader
from ..checkpoint import hub
from ..codefile import Header
from ..files import PIPE, put
from ..mimi import Mimi
from ..model.ops import device
from ..streaming import validation
from ..text import counted
from .batch_encoder import BatchEncoder, Clip, Done, Failed, Outcome, in_threads
from .progress import Progress, say, warn
from .several import clashes

# Seconds of audio in a batch at most, with what shorter rows are filled up with. A file that is
# longer is alone in its batch.
_MOST_SECONDS = 600

# What is a sound file; others are passed over.
_SUFFIXES = {*audio.FORMATS, *(".aifc", ".au", ".oga", ".opus", ".rf64", ".snd", ".w64")}

_MANIFEST = "manifest.jsonl"


def run(args: argparse.Namespace, most_seconds: float = _MOST_SECONDS) -> int:
    """Encode a folder, so many seconds of audio at once; the result is the exit code."""
    size, jobs = _check(args)
    names, others = _sounds(Path(args.input), args.recursive)
    mimi = Mimi.from_pretrained(args.model, only="encoder")
    count = validation.num_codebooks(args.num_codebooks, mimi.config)
    report = FolderReport(Path(args.input), Path(args.output), args.force)
    clashing = clashes({report.source(name): name.with_suffix(".mimi") for name in names})
    report.note([Failed(source, error) for source, error in clashing.items()])
    alone = [name for name in names if report.source(name) not in clashing]
    found = report.survey(alone, args, mimi, count)
    given_up = threading.Event()
    with Progress("encode", sum(clip.seconds for clip in found)) as progress:
        encoder = BatchEncoder(mimi, count, args.mono, args.force, progress, given_up)
        # The longest come first, so that at the end no thread is long alone.
        batches = list(_batches(found, size, int(most_seconds * mimi.sample_rate)))[::-1]
        in_threads(encoder.encode, batches, jobs, given_up, report.note)
        elapsed = progress.elapsed
    report.write_manifest()
    encoded = [done.clip.seconds for done in report.done if not done.found]
    say(
        f"{args.output}: {counted(len(encoded), 'file')} encoded, "
        f"{len(report.done) - len(encoded)} done before, {len(report.failed)} failed, "
        f"{others} passed over that are no sound; {sum(encoded):.2f} s encoded, "
        f"{sum(encoded) / elapsed:.1f} times as fast as real time"
    )
    return 1 if report.failed else 0


class FolderReport:
    """What has come of a folder so far.

    Args:
        folder: Where the sound is.
        output: Where the codes go. What killed runs left there is removed.
        force: Overwrite a file with the manifest's name, whatever it is.

    Raises:
        ValueError: There is one that no earlier run wrote, or it is a link.
    """

    def __init__(self, folder: Path, output: Path, force: bool = False):
        self._folder, self._output = folder, output
        output.mkdir(parents=True, exist_ok=True)
        _check_links(output, output / _MANIFEST)
        self._listed = {} if force else _listed(output / _MANIFEST)
        remove_unfinished(output, recursive=True)
        self.done: list[Done] = []
        self.failed: list[Failed] = []

    def source(self, name: Path) -> Path:
        """Where a sound file of the folder is."""
        return self._folder / name

    def survey(
        self, names: list[Path], args: argparse.Namespace, mimi: Mimi, num_codebooks: int
    ) -> list[Clip]:
        """What the files say they are; those that cannot be read are named."""
        found = []
        for name in names:
            source = self.source(name)
            target = self._output / name.with_suffix(".mimi")
            try:
                _check_links(self._output, target)
                with FileReader(source, args.mono) as file:
                    samples = -(-file.samples * mimi.sample_rate // file.sample_rate)
                    rate, about = file.sample_rate, {"model": hub.shared_name(args.model)}
                    header = Header.for_model(mimi, num_codebooks, rate, about)
            except ValueError as error:
                self.note([Failed(source, error)])
            else:
                listed = self._listed.get(name.with_suffix(".mimi").as_posix())
                found.append(Clip(source, target, samples, header, listed))
        return found

    def note(self, outcomes: list[Outcome]) -> None:
        """Take what has come of a batch; a bad file is named."""
        for outcome in outcomes:
            if isinstance(outcome, Done):
                self.done.append(outcome)
            else:
                self.failed.append(outcome)
                warn(str(outcome.error))

    def write_manifest(self) -> None:
        """List all files that are done or failed, in the order of their names."""
        found: list[dict[str, Any]] = []
        for clip, frames, sha256, _, facts in self.done:
            path, source = clip.target.relative_to(self._output).as_posix(), self._name(clip.source)
            said = {"frames": frames, "seconds": clip.seconds, "sha256": sha256}
            found.append({"path": path, "source": source, **said, **facts})
        found += [
            {"source": self._name(source), "error": str(error)} for source, error in self.failed
        ]
        # What an earlier run made is still its own, though this one passed it over.
        paths = {line.get("path") for line in found}
        found += [
            line
            for path, line in self._listed.items()
            if path not in paths and os.path.isfile(self._output / path)
        ]
        found.sort(key=lambda line: (line.get("source", line.get("path")), "error" in line))
        with replacing(self._output / _MANIFEST) as file:
            # What is no UTF-8 in a name is written as JSON has it, and comes back when it is read.
            lines = (json.dumps(line, ensure_ascii=False) + "\n" for line in found)
            put(file, "".join(lines).encode(errors="backslashreplace"))

    def _name(self, source: Path) -> str:
        return source.relative_to(self._folder).as_posix()


def _check(args: argparse.Namespace) -> tuple[int, int]:
    """The arguments make sense for a folder; the batch size and the number of jobs."""
    if args.raw or args.sample_rate is not None:
        raise ValueError(
            f"{args.input} is a folder, and --raw and --sample-rate are for stdin. Leave them out."
        )
    if args.output == PIPE or Path(args.output).is_file():
        raise ValueError(
            f"{args.input} is a folder, so its codes go to one, and {args.output} is none. Give "
            "-o the folder to create."
        )
    size = device.batch_size() if args.batch_size is None else args.batch_size
    jobs = min(device.most_threads(), device.cores()) if args.jobs is None else args.jobs
    if size < 1:
        raise ValueError(f"--batch-size is {size}; a batch has at least one file. Give 1 or more.")
    if jobs < 1:
        raise ValueError(f"--jobs is {jobs}; at least one thread does the work. Give 1 or more.")
    return size, jobs


def _sounds(folder: Path, recursive: bool) -> tuple[list[Path], int]:
    """The sound files of a folder, relative to it and in order, and how many are none.

    Raises:
        ValueError: There are none.
    """
    found = folder.rglob("*") if recursive else folder.iterdir()
    files = sorted(path.relative_to(folder) for path in found if path.is_file())
    # What begins with a dot is the system's: macOS puts a ._a.wav beside a.wav on foreign disks.
    files = [path for path in files if not any(part.startswith(".") for part in path.parts)]
    names = [path for path in files if path.suffix.lower() in _SUFFIXES]
    if not names:
        hint = "" if recursive else ", or give --recursive for the folders in it"
        raise ValueError(f"{folder} has no sound files. Check the path{hint}.")
    return names, len(files) - len(names)


def _listed(manifest: Path) -> dict[str, dict[str, Any]]:
    """An earlier run's manifest: what it says of each target. Nothing if there was no such run."""
    if not os.path.lexists(manifest):
        return {}
    try:
        if not manifest.is_file():
            raise ValueError("it is no file")
        # JSON escapes line feeds, but not all that splitlines() takes for the end of a line.
        texts = filter(None, manifest.read_text("utf-8").split("\n"))
        lines = [json.loads(text) for text in texts]
        return {line["path"]: line for line in lines if "error" not in line}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{manifest} is no list of an earlier run ({error}); nothing is overwritten unasked. "
            "Give another folder, or -f to overwrite it."
        ) from error


def _check_links(folder: Path, path: Path) -> None:
    """Nothing between a folder and a path in it is a link, which may lead anywhere."""
    inside = path.relative_to(folder)
    if os.path.realpath(path) != os.path.join(os.path.realpath(folder), inside):
        raise ValueError(
            f"{path} is a link, or in one; in the folder of codes none is followed. Move it away."
        )


def _batches(found: list[Clip], size: int, most: int) -> Iterator[list[Clip]]:
    """Clips of about the same length, at most ``size`` of them and ``most`` samples when filled up.

    One that is longer than that is alone.
    """
    batch: list[Clip] = []
    for clip in sorted(found, key=lambda clip: (clip.samples, clip.source)):
        if batch and (len(batch) == size or (len(batch) + 1) * clip.samples > most):
            yield batch
            batch = []
        batch.append(clip)
    if batch:
        yield batch
