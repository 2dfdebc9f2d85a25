"""Whether ``mimi-mlx stream`` cancels the echo, and why."""

import argparse

from .. import extras
from ..live.devices import hints
from ..live.devices.echo_canceller import missing
from ..live.devices.echo_path import EchoPath
from ..live.devices.interface import Audio, find
from ..live.screen import Screen


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that are about it."""
    add = parser.add_argument
    cancel = "take the speaker's sound out of the microphone's (auto: in a call without headphones)"
    add("--echo-cancel", choices=("auto", "on", "off"), default="auto", help=cancel)
    add("--noise-suppression", action="store_true", help="with it: make steady noise quieter")
    add("--auto-gain", action="store_true", help="with it: bring voices to one level")


def check(args: argparse.Namespace, has_both: bool) -> None:
    """The options fit to a run that has a microphone and a speaker both, or not.

    Raises:
        ValueError: They do not, or what they need is not installed.
    """
    is_on, is_off = args.echo_cancel == "on", args.echo_cancel == "off"
    extra = "--noise-suppression" if args.noise_suppression else "--auto-gain"
    more = args.noise_suppression or args.auto_gain
    needs = "needs a speaker and a microphone"
    wrong = (
        (is_on and args.no_playback, f"--echo-cancel on {needs}. Leave --no-playback out."),
        (is_on and args.input, f"--echo-cancel on {needs}. Leave --input out."),
        (is_on and not has_both, f"--echo-cancel on {needs}. Give --send and --listen, or none."),
        (more and is_off, f"{extra} is the echo canceller's. Leave --echo-cancel off out."),
        (more and not has_both, f"{extra} {needs}: it is the echo canceller's. Leave it out."),
    )
    for is_wrong, message in wrong:
        if is_wrong:
            raise ValueError(message)
    if is_on and (problem := missing()):
        raise ValueError(problem)


def choose(args: argparse.Namespace, audio: Audio, screen: Screen) -> EchoPath | None:
    """What a run with a microphone and a speaker needs, or None; it is told of, and why.

    Raises:
        ValueError: There is no such speaker, or what else was asked for needs it.
    """
    output = find(audio, "output", args.output_device)
    is_private = hints.is_private(output)
    if args.echo_cancel != "auto":
        is_on, why = args.echo_cancel == "on", "as asked"
    elif args.send is None or args.listen is None:
        is_on, why = False, "as this is no call"
    elif is_private:
        is_on, why = False, f"as only you hear {output.name}"
    elif missing():
        is_on, why = False, f"as pywebrtc-audio is missing ({extras.install('aec')})"
    else:
        is_on, why = True, "as this is a call"
    screen.inform(f"echo cancellation: {'on' if is_on else 'off'}, {why}")
    options = {"noise_suppression": args.noise_suppression, "auto_gain": args.auto_gain}
    if is_on:
        return EchoPath(audio.clock, **options)
    if any(options.values()):
        raise ValueError("noise and gain are the echo canceller's. Give --echo-cancel on.")
    if not is_private:
        screen.say(hints.echo())
    return None


def check_rate(args: argparse.Namespace, echo: EchoPath, screen: Screen) -> None:
    """The microphone was opened at a rate that can be used; if it was only tried, it is told of.

    Raises:
        ValueError: It was asked for, and cannot be had.
    """
    if echo.problem and args.echo_cancel == "on":
        raise ValueError(f"{echo.problem} Choose another microphone, see --list-devices.")
    if echo.problem:
        screen.say(f"echo cancellation: off. {echo.problem}")
        screen.say(hints.echo())
