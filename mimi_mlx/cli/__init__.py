"""The command line: ``mimi-mlx COMMAND``. What a command takes and does is in its file.

One line on stderr when something is wrong: exit code 2 for bad usage or input, 1 for a failure.
"""

import argparse
import errno
import importlib
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from types import ModuleType
from typing import NoReturn

from ..text import printable
from . import process, progress, signals

_FAILURE, _USAGE = 1, 2
_INTERRUPTED, _BROKEN_PIPE = 130, 141  # as a shell has them

_REMEDIES = {
    **dict.fromkeys((errno.EACCES, errno.EPERM), "Check its permissions, or choose another place."),
    **dict.fromkeys(
        (errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "Make room, or choose another disk."
    ),
    errno.EROFS: "Choose another disk.",
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP), "Check the path."),
    errno.ENAMETOOLONG: "Give a shorter name.",
}

# A command is the file of its name: ``add_arguments`` defines what it takes, ``run`` does it, and
# ``MORE``, if there is any, is what else its help says. Only the one that is chosen is imported.
COMMANDS = {
    "roundtrip": "Encode and decode sound.",
    "encode": "Encode sound to codes.",
    "decode": "Decode codes to sound.",
    "info": "Describe a model, a file of codes or a sound file.",
    "check": "Check that a folder of codes is whole.",
    "bench": "Measure a model's speed on this machine.",
    "demo": "Hear and measure the codec at several bitrates.",
    "stream": "Hear yourself, live, through the codec.",
    "serve": "Serve the codec over WebSocket and HTTP.",
    "convert": "Convert published weights to an MLX folder.",
    "finetune": "Train a model's decoder on sound of your own.",
    "export": "Export a model to a folder for PyTorch.",
    "verify": "Prove that a model is right on this machine.",
    "eval": "Measure how close audio is to its original.",
    "plot": "Draw what the codec does to a clip.",
    "listen": "Make a page to compare clips by ear, also blind.",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the result is the process's exit code."""
    args = argparse.Namespace(debug=False)
    process.fill_closed_ends()
    progress.name_shard("")
    interrupt = signal.getsignal(signal.SIGINT)
    formatwarning = warnings.formatwarning
    warnings.formatwarning = lambda message, *_, **__: f"mimi-mlx: {printable(str(message))}\n"
    try:
        with process.importing(), signals.ending_at_once():
            args = parse(sys.argv[1:] if argv is None else argv)
            command = _module(args.command)
        with signals.ended_by(lambda number: sys.exit(signals.code(number))):  # and clean up
            progress.be_quiet(args.quiet)
            code = command.run(args)
            print(end="", flush=True)  # stdout may be closed, and is then None
            return code or 0
    except BrokenPipeError:
        # Nobody reads on. What Python would still flush at exit must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except (Exception, KeyboardInterrupt) as error:
        if args.debug:
            traceback.print_exc()
        return _fail(error)
    finally:
        warnings.formatwarning = formatwarning
        if interrupt is not None:
            signal.signal(signal.SIGINT, interrupt)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """What is asked for: ``command``, a name of ``COMMANDS``, and its own arguments.

    Raises:
        SystemExit: Help or the version was asked for, and is printed; or the usage is wrong.
    """
    parser = _Parser(
        prog="mimi-mlx", description="Mimi, Kyutai's streaming neural audio codec, on MLX."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('mimi_mlx')}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = next((arg for arg in argv if not arg.startswith("-")), None)
    for name, help in COMMANDS.items():
        command = commands.add_parser(name, help=help)
        if name == chosen:
            module = _module(name)
            command.description = f"{help} {getattr(module, 'MORE', '')}".strip()
            command.add_argument("--debug", action="store_true", help="show the trace of an error")
            # With convert, -q quantises, as it does with mlx_lm's.
            quiet = ("-q", "--quiet") if name != "convert" else ("--quiet",)
            help = "say nothing but what is wrong, and show no progress"
            command.add_argument(*quiet, action="store_true", help=help)
            module.add_arguments(command)
    return parser.parse_args(argv)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, where argparse would print the whole usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(_USAGE, f"{self.prog}: {printable(message)} ({self.prog} --help says more)\n")


def _module(command: str) -> ModuleType:
    return importlib.import_module(f".{command}", __package__)


def _fail(error: BaseException) -> int:
    """One line about an error, and the exit code it means."""
    message, code = f"{type(error).__name__}: {error} (--debug shows where)", _FAILURE
    if isinstance(error, ValueError):  # what is wrong with the input, as its author put it
        message, code = str(error), _USAGE
    elif isinstance(error, OSError) and error.errno in _REMEDIES:
        where = f"{error.filename}: " if error.filename else ""
        message, code = f"{where}{error.strerror}. {_REMEDIES[error.errno]}", _USAGE
    elif isinstance(error, KeyboardInterrupt):
        message, code = "interrupted", _INTERRUPTED
    progress.warn(message)
    return code
