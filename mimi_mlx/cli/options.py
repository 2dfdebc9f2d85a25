"""Options that several commands share, each defined once."""

import argparse

SOUND = "a sound file of any rate that libsndfile reads"
WRITTEN = "the sound file to write: .wav, .flac, .ogg, .mp3, .aiff or .caf"
CODES = "a file of codes: .mimi, the smallest, or .safetensors, .npz or .npy"
MODEL = "kyutai/mimi"
MODELS = "a Hub id (kyutai/mimi), a folder, a .safetensors file, or tiny"


def model(
    parser: argparse.ArgumentParser,
    help: str = f"{MODELS}, the small model inside this package",
    default: str | None = MODEL,
) -> None:
    """``--model``: what codes."""
    parser.add_argument("--model", default=default, help=help)


def model_or_argument(parser: argparse.ArgumentParser, help: str) -> None:
    """The model as an argument or as ``--model``; :func:`chosen_model` is which."""
    parser.add_argument("argument", metavar="MODEL", nargs="?", help=help)
    parser.add_argument("--model", help="the same as MODEL")


def chosen_model(args: argparse.Namespace, default: str) -> str:
    """The one that is given, or the default.

    Raises:
        ValueError: Two are given.
    """
    given = [name for name in (args.argument, args.model) if name is not None]
    if len(given) > 1:
        raise ValueError(f"{given[0]} and --model {given[1]} are two models. Give one of them.")
    return given[0] if given else default


def num_codebooks(
    parser: argparse.ArgumentParser,
    default: int | None = 8,
    help: str = "codes a frame (8): each takes 0.1375 kbps with kyutai/mimi",
) -> None:
    """``--codebooks``, as ``args.num_codebooks``."""
    names = ("--codebooks", "--num-codebooks")
    parser.add_argument(
        *names, dest="num_codebooks", type=int, default=default, metavar="K", help=help
    )


def several_codebooks(parser: argparse.ArgumentParser) -> None:
    """``--codebooks K,K``: a list, or None."""
    parser.add_argument(
        *("--codebooks", "--num-codebooks"),
        type=_counts,
        metavar="K,K",
        help="numbers of codebooks (1,4,8,16,32, as far as the model has them)",
    )


def _counts(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers such as 1,8") from None


def device(parser: argparse.ArgumentParser, help: str) -> None:
    """``--device``: the name of what runs the model; None is MLX's default."""
    parser.add_argument("--device", choices=("cpu", "gpu"), help=help)


def mono(parser: argparse.ArgumentParser, what: str = "several channels") -> None:
    """``--mono``: sound of several channels is no error."""
    parser.add_argument("--mono", action="store_true", help=f"mix {what} down to one")


def force(parser: argparse.ArgumentParser, what: str, verb: str = "overwrite") -> None:
    """``-f``: what is there already is no error."""
    parser.add_argument("-f", "--force", action="store_true", help=f"{verb} {what}")


def sound_input(parser: argparse.ArgumentParser, help: str) -> None:
    """The inputs of who reads sound from files or stdin."""
    parser.add_argument("inputs", metavar="IN", nargs="+", help=help)
    mono(parser)
    parser.add_argument(
        "--sample-rate", type=int, metavar="HZ", help="samples a second of --raw samples on stdin"
    )


def raw(parser: argparse.ArgumentParser, help: str) -> None:
    """``--raw``: a pipe of samples without a header."""
    parser.add_argument(
        "--raw",
        choices=("s16le", "f32le"),
        help=f"{help}: little-endian, 16-bit integers or 32-bit floats, one channel",
    )


def output(
    parser: argparse.ArgumentParser, metavar: str, help: str, default: str | None = None
) -> None:
    """``-o``, which must be given unless there is a default, and ``-f``."""
    parser.add_argument(
        "-o", "--output", metavar=metavar, help=help, default=default, required=default is None
    )
    force(parser, metavar)
