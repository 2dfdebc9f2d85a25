"""Arguments of ``mimi-mlx stream``; what it does: ``stream.py`` and ``live/``."""

import argparse
import sys

MORE = (
    "Microphone to codes to speaker, until Ctrl-C. With --send the codes go to another machine "
    "over UDP, with --listen they come from one, with both it is a call. That is without any "
    "encryption, for this machine and trusted networks only. There is no echo cancellation: use "
    "headphones. Needs sounddevice: pip install 'mimi_mlx[mic]'."
)

# Milliseconds. Linux sound servers hand sound over in larger lumps.
_LATENCY = 20.0 if sys.platform == "darwin" else 40.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What ``stream`` does not share with other commands."""
    _add_devices(parser.add_argument)
    _add_files(parser.add_argument)
    _add_network(parser.add_argument)
    parser.add_argument("--duration", type=float, metavar="SECONDS", help="stop after so long")
    parser.add_argument("--json", action="store_true", help="print the figures at the end as JSON")


def _add_devices(add) -> None:
    add("--list-devices", action="store_true", help="print the devices that there are, and stop")
    device = "number or part of its name (the system's default)"
    add("-i", "--input-device", metavar="DEVICE", help=f"the microphone: {device}")
    add("-o", "--output-device", metavar="DEVICE", help=f"the speaker: {device}")
    add(
        "--latency",
        type=float,
        default=_LATENCY,
        metavar="MS",
        help="to ask of each device; more if the sound has gaps (20 on a Mac, else 40)",
    )
    add("--no-playback", action="store_true", help="no speaker")


def _add_files(add) -> None:
    add("--input", metavar="FILE", help="a sound file in place of the microphone")
    add("--mono", action="store_true", help="mix several channels of FILE down to one")
    add("--fast", action="store_true", help="FILE as fast as it can be coded; with --no-playback")
    add("--record", metavar="FILE", help="write the codes to a .mimi file, as they come")
    add("--save-wav", metavar="FILE", help="write what is heard to a sound file, .wav or another")
    add("--trace", metavar="FILE", help="write a trace for chrome://tracing or ui.perfetto.dev")
    add("-f", "--force", action="store_true", help="overwrite files that exist")


def _add_network(add) -> None:
    add("--send", type=_address, metavar="HOST:PORT", help="send the codes there")
    add("--listen", type=_port, metavar="PORT", help="play codes that come to this UDP port")
    add("--allow", metavar="HOST", help="with --listen, take codes from this machine alone")


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host:
        raise argparse.ArgumentTypeError(f"{text!r} is no HOST:PORT such as localhost:7000")
    return host.removeprefix("[").removesuffix("]"), _port(port)


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port, 1 to 65535")
    return int(text)
