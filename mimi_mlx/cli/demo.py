"""``mimi-mlx demo``: hear and measure the codec at several bitrates, without a network."""

import argparse
import functools
import sys

import numpy as np

from .. import audio
from ..evaluation import metrics
from ..files import PIPE
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
    written = "the sound file to write (demo.wav); - is stdout, as WAV"
    options.output(parser, "OUT", written, "demo.wav")


def run(args: argparse.Namespace) -> None:
    """Code a clip of speech with tiny: one sound of several bitrates, and a table."""
    sound_io.check_output(args.output, args.force)
    say = functools.partial(print, file=sys.stderr if args.output == PIPE else sys.stdout)
    mimi = Mimi.from_pretrained("tiny")
    rate = mimi.sample_rate
    clip = audio.read(SPEECH, rate)
    pause = np.zeros(round(_PAUSE * rate), np.float32)
    say(_ABOUT)
    say(f"{len(clip) / rate:.2f} s of speech, and how far it is from itself after:")
    say("codebooks   kbps   log-mel distance, dB   begins at, s")
    codes = mimi.encode(clip, max(_CODEBOOKS))
    heard: list[np.ndarray] = []
    for count in _CODEBOOKS:
        decoded = np.array(mimi.decode(codes[:, :count], length=len(clip)))[0, 0]
        distance = metrics.log_mel_distance(clip, decoded, rate)
        begins = sum(map(len, heard)) / rate
        say(f"{count:9} {mimi.config.kbps(count):6.3f} {distance:22.2f} {begins:14.1f}")
        heard += [decoded, pause]
    say(f" original {'':29} {sum(map(len, heard)) / rate:14.1f}")
    with sound_io.writing(args.output, None, rate) as writer:
        writer.write(np.concatenate([*heard, clip]))
    say(f"\nHear them in {'stdout' if args.output == PIPE else args.output}, one after the other.")
