"""``mimi-mlx demo``: hear and measure the codec at several bitrates, without a network."""

import argparse
import functools
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from .. import audio, listening
from ..atomic import replacing
from ..files import PIPE, check_output
from ..mimi import Mimi
from ..tiny import SPEECH
from . import options, sound_io

MORE = (
    'It uses "tiny", the small model inside this package, and a clip of speech that comes '
    "with it, and needs no network. tiny is not kyutai/mimi and does not sound like it."
)

_CODEBOOKS = (1, 2, 4, 8)  # each is heard, and 16 gain nothing more: docs/accuracy.md
_PAUSE = 0.5  # seconds between two of them

_ABOUT = """\
This is "tiny", the small model inside mimi_mlx. It is not kyutai/mimi and does not sound like it:
speech is easy to understand, and its voice is rough. For kyutai/mimi, which must be downloaded:
    mimi-mlx roundtrip IN -o OUT
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    written = (
        "the sound file to write (demo.wav), and beside it a page to compare in (demo.html); - is "
        "stdout, as WAV, and no page"
    )
    options.output(parser, "OUT", written, "demo.wav")


def run(args: argparse.Namespace) -> None:
    """Code a clip of speech with tiny: one sound of several bitrates, a table, and a page."""
    page = None if args.output == PIPE else Path(args.output).with_suffix(".html")
    sound_io.check_output(args.output, args.force)
    if page:
        check_output(page, args.force)
    say = functools.partial(print, file=sys.stdout if page else sys.stderr)
    mimi = Mimi.from_pretrained("tiny")
    clip = audio.Sound(audio.read(SPEECH, mimi.sample_rate), mimi.sample_rate)
    say(_ABOUT)
    compared = listening.compare({"tiny": mimi}, SPEECH.name, clip, _CODEBOOKS)
    with sound_io.writing(args.output, None, clip.sample_rate) as writer:
        writer.write(_one_after_the_other(compared, say))
    if page:
        with replacing(page) as file:
            file.write(listening.page([compared]).encode())
        say(f"\nHear them in {args.output}, one after the other; or open {page} in a browser.")
    else:
        say("\nHear them in stdout, one after the other.")


def _one_after_the_other(
    compared: listening.Comparison, say: Callable[[str], object]
) -> np.ndarray:
    """All versions and the clip ``[T]``; and a table of when each begins."""
    clip, rate = compared.samples, compared.sample_rate
    pause = np.zeros(round(_PAUSE * rate), np.float32)
    heard: list[np.ndarray] = []
    say(f"{len(clip) / rate:.2f} s of speech, and how far it is from itself after:")
    say("codebooks   kbps   log-mel distance, dB   begins at, s")
    for version in compared.versions:
        distance = version.figures["log_mel_db"]
        begins = sum(map(len, heard)) / rate
        say(f"{len(version.codes):9} {version.kbps:6.3f} {distance:22.2f} {begins:14.1f}")
        heard += [version.samples, pause]
    say(f" original {'':29} {sum(map(len, heard)) / rate:14.1f}")
    return np.concatenate([*heard, clip])
