"""``mimi-mlx stream``: a live microphone codec, here or between two machines."""

import argparse
import json
import sys

from ..audio import writer as soundout
from ..files import check_output
from ..live import setup
from ..live.devices.interface import Audio
from ..live.devices.portaudio import PortAudio
from ..live.screen import Screen, summary
from ..streaming.worker import MimiWorker
from . import options, stream_arguments

MORE = stream_arguments.MORE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define what it takes."""
    stream_arguments.add_arguments(parser)
    options.num_codebooks(parser)
    options.model(parser)


def run(args: argparse.Namespace) -> None:
    """Run until Ctrl-C, or until the time is over or the file has ended."""
    _check(args)
    if args.list_devices:
        print("\n".join(_devices(PortAudio())))
        return
    with MimiWorker() as worker:
        stream(args, PortAudio(), worker)


def stream(args: argparse.Namespace, audio: Audio, worker: MimiWorker) -> None:
    """The same with any devices, clock and worker."""
    screen = Screen(sys.stderr, audio.clock)
    with setup.session(args, audio, worker, screen) as (session, figures):
        setup.run_until_interrupted(session, args.duration)
        screen.close()
    for line in summary(figures):
        screen.say(line)
    if args.json:
        print(json.dumps(figures.as_dict(), indent=1))


def _check(args: argparse.Namespace) -> None:
    """The options fit together, and what is to be written can be.

    Raises:
        ValueError: They do not.
    """
    only_sends, only_listens = setup.only_sends(args), setup.only_listens(args)
    wrong = (
        (args.fast and not args.input, "--fast is for a file. Give --input FILE."),
        (
            args.fast and not (args.no_playback or only_sends),
            "--fast is too fast to be heard. Give --no-playback.",
        ),
        (args.fast and args.send, "--fast would flood the network. Leave it out with --send."),
        (only_listens and args.input, "--listen alone sends nothing. Leave --input out."),
        (args.input and args.input_device, "--input is in place of a microphone. Leave -i out."),
        (args.mono and not args.input, "--mono is for a file. Give --input FILE."),
        (args.allow and args.listen is None, "--allow is about who is heard. Give --listen PORT."),
        (only_sends and args.save_wav, "--send alone decodes nothing. Leave --save-wav out."),
        (not 1 <= args.latency <= 500, f"--latency is {args.latency:g}; it is 1 to 500 ms."),
        (
            args.duration is not None and args.duration <= 0,
            f"--duration is {args.duration}; it is more than 0 seconds.",
        ),
    )
    for is_wrong, message in wrong:
        if is_wrong:
            raise ValueError(message)
    if args.save_wav:
        soundout.check_format(args.save_wav)
    for path in filter(None, (args.record, args.save_wav, args.trace)):
        check_output(path, args.force)


def _devices(audio: Audio) -> list[str]:
    """All devices, a line each; > and < mark those that are taken if none is asked for."""
    defaults = audio.default("input"), audio.default("output")
    return [
        f"{'>' if device.number == defaults[0] else ' '}"
        f"{'<' if device.number == defaults[1] else ' '} {device.number:3} {device.name} "
        f"({device.system}): {device.inputs} in, {device.outputs} out, {device.rate} Hz"
        for device in audio.devices()
    ]
