"""The command line: ``mimi-mlx COMMAND``. What a command does is in the file of its name.

One line on stderr when something is wrong: exit code 2 for bad usage or input, 1 for a failure.
"""

import argparse
import functools
import importlib
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from importlib.metadata import version

from . import tools_arguments as cli_tools

_FAILURE, _USAGE = 1, 2
_INTERRUPTED, _BROKEN_PIPE, _TERMINATED = 130, 141, 143  # as a shell has them

_RATES = (
    "OUT has IN's own sampling rate and exactly as many samples. Inside, the codec works at its "
    "own rate, 24 kHz for kyutai/mimi."
)

_SOUND = "a sound file of any rate that libsndfile reads"
_WRITTEN = "the sound file to write: .wav, .flac, .ogg, .mp3, .aiff or .caf"
_CODES = "a file of codes: .mimi, the smallest, or .safetensors, .npz or .npy"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the result is the process's exit code."""
    args = _parser().parse_args(argv)
    warnings.formatwarning = lambda message, *_: f"mimi-mlx: {message}\n"
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))  # and clean up
    try:
        code = importlib.import_module(f".{args.module}", __package__).run(args)
        sys.stdout.flush()
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
        signal.signal(signal.SIGTERM, before)


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
    here = (_roundtrip, _encode, _decode, _info, _bench, _demo, _stream)
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
    parser = command("roundtrip", "roundtrip", "Encode and decode sound.", _RATES)
    _sound_input(parser, f"{_SOUND}, or - for stdin")
    _raw(parser, "- at either end is samples without a header, not a sound file")
    _output(parser, "OUT", f"{_WRITTEN}; - is stdout, as WAV")
    _num_codebooks(parser)
    _model(parser)


def _encode(command) -> None:
    more = (
        "How many samples IN has, and its sampling rate, is kept with the codes, except in .npy. "
        "From a folder, every sound file is encoded to a .mimi in the same place under the folder "
        "CODES, with a manifest.jsonl that lists them; what is there and whole is left alone, so "
        "the same command goes on after an interruption."
    )
    parser = command("encode", "encode", "Encode sound to codes.", more)
    _sound_input(parser, f"{_SOUND}, - for stdin, or a folder of them")
    _raw(parser, "IN is - and has samples without a header")
    _output(parser, "CODES", f"{_CODES}; - is stdout, as .mimi; for a folder, a folder")
    parser.add_argument(
        "--recursive", action="store_true", default=None, help="folders inside the folder too"
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        metavar="N",
        help="files of a folder, of about the same length, to encode together (8; on a CPU 1)",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="batches of a folder to encode at once, each in a thread (1; on a CPU one a core, at "
        "most 4); the result is the same",
    )
    _num_codebooks(parser)
    _model(parser)


def _decode(command) -> None:
    more = (
        "OUT has the model's sampling rate, 24 kHz for kyutai/mimi, and lasts exactly as long as "
        "what was encoded; codes from .npy last whole frames. Of a damaged .mimi all good frames "
        "are decoded; the exit code is then 1."
    )
    parser = command("decode", "decode", "Decode codes to sound.", more)
    parser.add_argument("input", metavar="CODES", help=f"{_CODES}; - is stdin, as .mimi")
    _output(parser, "OUT", f"{_WRITTEN}; - is stdout, as WAV")
    _raw(parser, "OUT is - and gets samples without a header")
    parser.add_argument(
        "--codebooks",
        "--num-codebooks",
        dest="num_codebooks",
        type=int,
        metavar="K",
        help="codes a frame to read, at most what CODES holds (all)",
    )
    _model(parser)
    parser.add_argument(
        "--force-model",
        action="store_true",
        help="decode codes that another model made, whatever that sounds like",
    )


def _info(command) -> None:
    parser = command("info", "info", "Describe a model, a file of codes or a sound file.")
    parser.add_argument(
        "what",
        metavar="FILE|MODEL",
        help="a file, - for stdin (.mimi or sound), a folder, a Hub id such as kyutai/mimi, or "
        "tiny",
    )


def _bench(command) -> None:
    more = "Tables on stdout as Markdown, with the floor that memory sets; progress on stderr."
    parser = command("bench", "bench", "Measure a model's speed on this machine.", more)
    parser.add_argument("--device", choices=("cpu", "gpu"), help="where to run (MLX's default)")
    parser.add_argument(
        "--dtype",
        choices=("float32", "float16", "bfloat16"),
        help="reduce the weights as convert does (a CPU then computes in float32)",
    )
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
    _output(
        parser,
        "OUT",
        "the sound file to write, with 8 codebooks (demo.wav); - is stdout, as WAV",
        "demo.wav",
    )


def _stream(command) -> None:
    """Its arguments are in its own file, which is imported only when it is chosen."""
    parser = command("stream", "stream", "Hear yourself, live, through the codec.")
    parse = parser.parse_known_args

    def define_and_parse(*args):
        from . import stream

        parser.description = f"{stream.HELP} {stream.MORE}"
        stream.add_arguments(parser)
        parser.parse_known_args = parse
        return parse(*args)

    parser.parse_known_args = define_and_parse


def _sound_input(parser: argparse.ArgumentParser, help: str) -> None:
    parser.add_argument("input", metavar="IN", help=help)
    parser.add_argument("--mono", action="store_true", help="mix several channels down to one")
    parser.add_argument(
        "--sample-rate", type=int, metavar="HZ", help="samples a second of --raw samples on stdin"
    )


def _raw(parser: argparse.ArgumentParser, help: str) -> None:
    parser.add_argument(
        "--raw",
        choices=("s16le", "f32le"),
        help=f"{help}: little-endian, 16-bit integers or 32-bit floats, one channel",
    )


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
        "--codebooks",
        "--num-codebooks",
        dest="num_codebooks",
        type=int,
        default=8,
        metavar="K",
        help="codes a frame (8): each takes 0.1375 kbps with kyutai/mimi",
    )
