"""``mimi-mlx finetune``: train the decoder on sound of one's own; codes stay as they are."""

import argparse
import contextlib
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import extras
from ..training import run as training
from ..training.card import FIGURES
from ..training.settings import DEFAULT_MINUTES, Settings
from . import options, progress, signals
from .progress import say

MORE = (
    "Encoder and codebooks stay: codes of the base decode with OUT, and the other way round. OUT "
    f"is a model for --model. A picture of the run needs: {extras.install('plot')}."
)

_DEFAULTS = Settings("")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add, base = parser.add_argument, _DEFAULTS
    add("data", metavar="DIR", nargs="?", help="a folder of sound files of any rate")
    options.output(parser, "OUT", "the folder to write: a model, and training/ with all of the run")
    add("--model", help=f"the base: {options.MODELS} ({options.MODEL})")
    books = f"codes a frame to train for ({base.codebooks})"
    options.num_codebooks(parser, None, books)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=int, metavar="N", help="updates of the weights")
    minutes = f"as many as fit into M minutes at the speed of the first ones ({DEFAULT_MINUTES:g})"
    length.add_argument("--minutes", type=float, metavar="M", help=minutes)
    size = f"segments in a step ({base.batch_size})"
    add("--batch-size", type=int, metavar="N", help=size)
    add("--seconds", type=float, metavar="S", help=f"of a segment ({base.seconds:g})")
    rate = f"learning rate, relative to the size of each weight ({base.learning_rate:g})"
    add("--lr", dest="learning_rate", type=float, metavar="R", help=rate)
    out = f"what is never trained on: a share of the files, or a folder ({base.held_out})"
    add("--held-out", metavar="SHARE|DIR", help=out)
    add("--every", type=int, metavar="N", help="steps between looks at it (a 20th of all)")
    judge = "let a discriminator judge, too: slower, and on a CPU by far"
    add("--adversarial", action="store_true", default=None, help=judge)
    add("--seed", type=int, help=f"of what is drawn ({base.seed})")
    add("--mono", action="store_true", default=None, help="mix several channels down to one")
    add("--resume", action="store_true", help="go on with the run in OUT, with what it was given")


def run(args: argparse.Namespace) -> int:
    """Train; the exit code is 130 if it was stopped."""
    flags = {name: getattr(args, name, None) for name in vars(_DEFAULTS)}
    flags["codebooks"] = args.num_codebooks
    for name in ("data", "model", "held_out"):
        flags[name] = flags[name] and _absolute(str(flags[name]))
    given = {name: value for name, value in flags.items() if value is not None}
    out = Path(args.output)
    with _stopping() as stop, _Screen(stop, args.output) as screen:
        if args.resume:
            if args.force:
                raise ValueError("-f replaces what --resume goes on with. Give one of them.")
            _check_same(given, training.RunFolder(out).settings(), args.output)
            result = training.resume(out, screen)
        elif "data" in given:
            result = training.begin(Settings(**given), out, screen, args.force)
        else:
            raise ValueError("no folder of sound is given. Give DIR.")
    _summarise(result, args.output)
    return signals.code(stop[0]) if stop and result.step < result.steps else 0


def _absolute(name: str) -> str:
    """A path as it is found from any folder; a Hub id or a share as it is."""
    path = Path(name).expanduser()
    return str(path.resolve()) if name != "tiny" and path.exists() else name


def _check_same(given: dict[str, Any], settings: Settings, out: str) -> None:
    for name, value in given.items():
        if name not in ("steps", "minutes") and getattr(settings, name) != value:
            flag = {"learning_rate": "lr", "data": "DIR"}.get(name, name.replace("_", "-"))
            raise ValueError(
                f"{'' if name == 'data' else '--'}{flag} is {value}, and the run in {out} has "
                f"{getattr(settings, name)}. Leave it out to go on, or begin anew with -f."
            )
    for name in ("steps", "minutes"):
        if name in given and given[name] != getattr(settings, name):
            raise ValueError(
                f"--{name} is another length than the run in {out} has. Leave it out to go on, or "
                "begin anew with -f."
            )


@contextlib.contextmanager
def _stopping() -> Iterator[list[int]]:
    """Inside, Ctrl-C and what else ends a run are put into a list; the second Ctrl-C ends it."""
    stop: list[int] = []

    def interrupt(number: int, _: object) -> None:
        if stop:
            raise KeyboardInterrupt
        stop.append(number)

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, interrupt)
    try:
        with signals.ended_by(stop.append):
            yield stop
    finally:
        signal.signal(signal.SIGINT, before)


class _Screen(training.Watcher):
    """What a person sees of a run."""

    def __init__(self, stop: list[int], out: str):
        self._stop, self._out = stop, out
        self._bar: Any = None

    def __enter__(self) -> "_Screen":
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def is_stopped(self) -> bool:
        return bool(self._stop)

    def coded(self, done: int, files: int) -> None:
        if self._bar is None:
            self._bar = progress.counter("codes", files, "{n} of {total} files")
        self._bar.update(done - self._bar.n)
        if done == files:
            self._close()
        if self._stop:
            say(f"{self._out}: what is coded stays; {_going_on(self._out)}")
            raise KeyboardInterrupt

    def stepped(self, step: int, steps: int, losses: dict[str, float], speed: float) -> None:
        if self._bar is None:
            form = "{n} of {total}{postfix}, {remaining} left"
            self._bar = progress.counter("train", steps, form, step - 1)
        self._bar.set_postfix_str(f"loss {losses['loss']:.3f}, {speed:.1f} x", refresh=False)
        self._bar.update(step - self._bar.n)

    def looked(self, step: int, figures: dict[str, float], is_best: bool) -> None:
        mark = " (best)" if is_best and step else ""
        say(f"step {step}: held out {_shown(figures)}{mark}")

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


_SHORT = {"loss": "loss", "log_mel_db": "log-mel", "stoi": "STOI", "pesq": "PESQ"}


def _shown(figures: dict[str, float]) -> str:
    units = {"log_mel_db": " dB"}
    return ", ".join(
        f"{word} {figures[name]:.4g}{units.get(name, '')}"
        for name, word in _SHORT.items()
        if name in figures
    )


def _going_on(out: str) -> str:
    return f"go on with: mimi-mlx finetune -o {shlex.quote(out)} --resume"


def _summarise(result: training.TrainingResult, out: str) -> None:
    if result.step < result.steps:
        say(
            f"{out}: stopped after step {result.step} of {result.steps}, and saved; "
            f"{_going_on(out)}"
        )
        return
    for name, word in FIGURES.items():
        if name in result.base and name in result.best:
            say(f"  {word}: {result.base[name]:.4g}, now {result.best[name]:.4g}")
    if result.best_step == 0:
        say(f"{out}: no step was better than the base on what is held out, so that is kept")
    elif result.last["loss"] > result.best["loss"]:
        say(
            f"{out}: step {result.best_step} is kept; what came after it is worse on what is "
            f"held out ({result.last['loss']:.4g}, not {result.best['loss']:.4g})"
        )
    else:
        say(f"{out}: step {result.best_step} is kept, the best on what is held out")
