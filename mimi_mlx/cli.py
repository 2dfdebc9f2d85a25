"""The command line: ``mimi-mlx COMMAND``. What a command does is in ``commands/``.

One line on stderr when something is wrong: exit code 2 for bad usage or input, 1 for a failure.
"""

import argparse
import functools
import importlib
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from importlib.metadata import version

from . import cli_tools

_FAILURE, _USAGE, _INTERRUPTED, _BROKEN_PIPE = 1, 2, 130, 141  # the last two as a shell has them

_RATES = (
    "OUT has IN's own sampling rate and exactly as many samples. Inside, the codec works at its "
    "own rate, 24 kHz for kyutai/mimi."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the result is the process's exit code."""
    args = _parser().parse_args(argv)
    warnings.formatwarning = lambda message, *_: f"mimi-mlx: {message}\n"
    try:
        importlib.import_module(f".commands.{args.module}", __package__).run(args)
        sys.stdout.flush()
        return 0
    except BrokenPipeError:
        # Nobody reads on. What Python would still flush at exit must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except (Exception, KeyboardInterrupt) as error:
        if args.debug:
            traceback.print_exc()
        return _fail(error)


def _fail(error: BaseException) -> int:
    """One line about an error, and the exit code it means."""
    message, code = f"{type(error).__name__}: {error} (--debug shows where)", _FAILURE
    if isinstance(error, ValueError):  # what is wrong with the input, as its author put it
        message, code = str(error), _USAGE
    elif isinstance(error, KeyboardInterrupt):
        message, code = "interrupted", _INTERRUPTED
    print("mimi-mlx:", " ".join(message.split()), file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mimi-mlx", description="Mimi, Kyutai's streaming neural audio codec, on MLX."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('mimi_mlx')}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    here = (_roundtrip, _encode, _decode, _info, _bench, _demo)
    for define in (*here, *cli_tools.COMMANDS):
        define(functools.partial(_command, commands))
    for each in (parser, *commands.choices.values()):
        each.error = functools.partial(_usage, each)
    return parser


def _usage(parser: argparse.ArgumentParser, message: str) -> None:
    """Bad usage in one line, where argparse would print the whole usage."""
    parser.exit(_USAGE, f"{parser.prog}: {message} ({parser.prog} --help says more)\n")


def _command(
    commands, name: str, module: str, help: str, more: str = ""
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=help, description=f"{help} {more}".strip())
    parser.set_defaults(module=module)
    parser.add_argument("--debug", action="store_true", help="show the trace of an error")
    return parser


def _roundtrip(command) -> None:
    parser = command("roundtrip", "roundtrip", "Encode and decode a sound file.", _RATES)
    _input(parser)
    _output(parser, "OUT", "the sound file to write: .wav, .flac, .ogg, .mp3, .aiff or .caf")
    _num_codebooks(parser)
    _model(parser)


def _encode(command) -> None:
    more = "How many samples IN has, and its sampling rate, is kept with the codes, except in .npy."
    parser = command("encode", "encode", "Encode a sound file to codes.", more)
    _input(parser)
    _output(parser, "CODES", "the codes to write: .safetensors, or .npy")
    _num_codebooks(parser)
    _model(parser)


def _decode(command) -> None:
    more = (
        "OUT has the model's sampling rate, 24 kHz for kyutai/mimi, and lasts exactly as long as "
        "what was encoded; codes from .npy last whole frames."
    )
    parser = command("decode", "decode", "Decode codes to a sound file.", more)
    parser.add_argument("input", metavar="CODES", help="codes: .safetensors or .npy")
    _output(parser, "OUT", "the sound file to write: .wav, .flac, .ogg, .mp3, .aiff or .caf")
    _model(parser)


def _info(command) -> None:
    parser = command("info", "info", "Describe a model, a file of codes or a sound file.")
    parser.add_argument(
        "what", metavar="FILE|MODEL", help="a file, a folder, a Hub id such as kyutai/mimi, or tiny"
    )


def _bench(command) -> None:
    more = "Tables on stdout as Markdown, with the floor that memory sets; progress on stderr."
    parser = command("bench", "bench", "Measure a model's speed on this machine.", more)
    parser.add_argument("--device", choices=("cpu", "gpu"), help="where to run (MLX's default)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument(
        "--soak",
        type=float,
        metavar="HOURS",
        help="instead, code so many hours of audio frame by frame, and see whether time, memory "
        "or sound drift",
    )
    _num_codebooks(parser)
    _model(parser)


def _demo(command) -> None:
    more = (
        'It uses "tiny", the small model inside this package, and a clip of speech that comes '
        "with it, and needs no network. tiny is not kyutai/mimi and does not sound like it."
    )
    parser = command("demo", "demo", "Hear and measure the codec at several bitrates.", more)
    _output(parser, "OUT", "the sound file to write, with 8 codebooks (demo.wav)", "demo.wav")


def _input(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "input", metavar="IN", help="a sound file of any rate that libsndfile reads"
    )
    parser.add_argument("--mono", action="store_true", help="mix several channels down to one")


def _output(
    parser: argparse.ArgumentParser, metavar: str, help: str, default: str | None = None
) -> None:
    parser.add_argument(
        "-o", "--output", metavar=metavar, help=help, default=default, required=default is None
    )
    parser.add_argument("-f", "--force", action="store_true", help=f"overwrite {metavar}")


def _model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        default="kyutai/mimi",
        help="a Hub id (kyutai/mimi), a folder, a .safetensors file, or tiny, the small model "
        "inside this package",
    )


def _num_codebooks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--num-codebooks",
        type=int,
        default=8,
        metavar="K",
        help="codes a frame (8): each takes 0.1375 kbps with kyutai/mimi",
    )
