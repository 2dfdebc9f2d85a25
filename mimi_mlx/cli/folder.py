"""``mimi-mlx encode DIR -o OUT`` and ``decode DIR -o OUT``: a folder of files to a folder of files.

Files of about the same length are coded together. What is done and whole is left alone, so the
same command goes on after an interruption, and ends with the same bytes: which files make a batch
depends on the folder alone, and a batch is coded again as it was if a file of it is missing. So
several processes, each with its share of the batches, make what one would.
"""

import argparse
import threading
import time
from pathlib import Path

from ..atomic import remove_unfinished
from ..files import PIPE
from ..model.ops import device
from ..text import counted
from . import plan, shards
from .batches import BatchRunner, Done, Failed, Outcome
from .manifest import Line, Manifest
from .plan import Task
from .progress import Progress, name_shard, say, warn
from .threads import in_threads

# Seconds of audio in a batch at most, with what shorter rows are filled up with. A file that is
# longer is alone in its batch.
_MOST_SECONDS = 600

# Seconds after which nobody writes any more what other machines may have begun.
_IDLE = 3600.0

_PATIENCE = 0.2  # seconds, between two looks whether the other shards are done


def add_arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """``--recursive``, ``--batch-size``, ``--jobs`` and ``--shard``."""
    add, folders = parser.add_argument, "folders inside the folder too"
    add("--recursive", action="store_true", default=None, help=folders)
    size = f"files of a folder, of about the same length, to {verb} together (8; on a CPU 1)"
    add("--batch-size", type=int, metavar="N", help=size)
    jobs = (
        f"batches of a folder to {verb} at once, each in a thread (1; on a CPU one a core, at most "
        "4); the result is the same"
    )
    add("--jobs", type=int, metavar="N", help=jobs)
    share = (
        "do the share I of N of a folder's batches, I from 1 to N: for N processes that no "
        "mlx.launch starts"
    )
    add("--shard", metavar="I/N", help=share)


def is_one(args: argparse.Namespace) -> bool:
    """Whether the input is a folder.

    Raises:
        ValueError: It is none, and something is said that is about folders.
    """
    if len(args.inputs) == 1 and Path(args.inputs[0]).is_dir():
        return True
    for name in ("recursive", "batch_size", "jobs", "shard"):
        if getattr(args, name) is not None:
            raise ValueError(
                f"--{name.replace('_', '-')} is for a folder, and {args.inputs[0]} is none. "
                "Leave it out."
            )
    return False


def run(args: argparse.Namespace, task: Task, most_seconds: float = _MOST_SECONDS) -> int:
    """Do a folder, so many seconds of audio at once; the result is the exit code."""
    folder, output = Path(args.inputs[0]), Path(args.output)
    size, jobs = _check(args, task)
    shard = shards.chosen(args.shard)
    name_shard(str(shard) if shard.total > 1 else "")
    sources, others = plan.find(folder, args.recursive, task)
    work = task.work(args, sources)
    manifest = Manifest(output, shard, args.force)
    remove_unfinished(output, recursive=True, idle=_IDLE if shard.total > 1 else 0.0)
    targets = {path: path.relative_to(folder).with_suffix(task.becomes) for path in sources}
    most = int(most_seconds * work.mimi.sample_rate)
    whole = plan.make(targets, output, work, manifest.listed, size, most)
    about = {"shards": shard.total, "files": len(sources), "batch_size": size}
    manifest.begin({"becomes": task.becomes, **work.settings, **about, "plan": whole.digest})
    report = FolderReport(folder, output)

    def note(outcomes: list[Outcome]) -> None:
        report.note(outcomes)
        manifest.check_others()

    note([*whole.bad[shard.number - 1 :: shard.total]])
    batches = shard.share(whole.batches, lambda batch: len(batch) * batch[-1].samples)
    given_up = threading.Event()
    with Progress(args.command, sum(clip.seconds for batch in batches for clip in batch)) as bar:
        runner = BatchRunner(work, args.force, manifest.resumes, bar, given_up)
        in_threads(runner.run, batches, jobs, given_up, note)
        report.summarise(task, others, bar.elapsed)
    names = {report.name(source) for source in sources}
    if not manifest.finish(report.lines(), names):
        say(f"{output}: what the other shards do is not listed yet")
    # MLX's launcher ends all processes when one has failed, so that one goes last.
    while report.failed and shard.is_launched and not manifest.others_are_done():
        time.sleep(_PATIENCE)
    return 1 if report.failed else 0


class FolderReport:
    """What has come of a folder, or of a share of it, so far.

    Args:
        folder: Where the sources are.
        output: Where the targets go.
    """

    def __init__(self, folder: Path, output: Path):
        self._folder, self._output = folder, output
        self._done: list[Done] = []
        self.failed: list[Failed] = []

    def name(self, source: Path) -> str:
        """What a source is called in the manifest."""
        return source.relative_to(self._folder).as_posix()

    def note(self, outcomes: list[Outcome]) -> None:
        """Take what has come of a batch; a bad file is named."""
        for outcome in outcomes:
            if isinstance(outcome, Done):
                self._done.append(outcome)
            else:
                self.failed.append(outcome)
                warn(str(outcome.error))

    def lines(self) -> list[Line]:
        """For the manifest."""
        found: list[Line] = []
        for clip, facts, _ in self._done:
            path = clip.target.relative_to(self._output).as_posix()
            found.append({"path": path, "source": self.name(clip.source), **facts})
        errors = ((self.name(source), str(error)) for source, error in self.failed)
        return found + [{"source": source, "error": error} for source, error in errors]

    def summarise(self, task: Task, others: int, elapsed: float) -> None:
        """Say in one line what was done, and how fast."""
        made = [done.clip.seconds for done in self._done if not done.found]
        say(
            f"{self._output}: {counted(len(made), 'file')} {task.done}, "
            f"{len(self._done) - len(made)} done before, {len(self.failed)} failed, "
            f"{others} passed over that are no {task.what}; {sum(made):.2f} s {task.done}, "
            f"{sum(made) / elapsed:.1f} times as fast as real time"
        )


def _check(args: argparse.Namespace, task: Task) -> tuple[int, int]:
    """The arguments make sense for a folder; the batch size and the number of jobs."""
    name = args.inputs[0]
    for alone in task.alone:
        if getattr(args, alone) not in (None, False):
            raise ValueError(
                f"--{alone.replace('_', '-')} is for one file, and {name} is a folder. Leave it "
                "out."
            )
    if args.output == PIPE or Path(args.output).is_file():
        raise ValueError(
            f"{name} is a folder, so what comes of it goes to one, and {args.output} is none. Give "
            "-o the folder to create."
        )
    size = device.batch_size() if args.batch_size is None else args.batch_size
    jobs = min(device.most_threads(), device.cores()) if args.jobs is None else args.jobs
    if size < 1:
        raise ValueError(f"--batch-size is {size}; a batch has at least one file. Give 1 or more.")
    if jobs < 1:
        raise ValueError(f"--jobs is {jobs}; at least one thread does the work. Give 1 or more.")
    return size, jobs
