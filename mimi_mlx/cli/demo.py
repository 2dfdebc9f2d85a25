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

_CODEBOOKS = (1, 4, 8, 16)
_HEARD = 8  # codebooks of the clip that is written

_ABOUT = """\
This is "tiny", the small model inside mimi_mlx. It is not kyutai/mimi and does not sound like it:
speech stays understandable, not pleasant. For kyutai/mimi, which must be downloaded first:
    mimi-mlx roundtrip IN -o OUT
"""

_SPECTRA = """
tiny was trained to match spectra, hardly the waveform: the log-mel distance follows what is heard,
the SI-SDR does not. From 4 codebooks on, tiny gains nothing more.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    written = "the sound file to write, with 8 codebooks (demo.wav); - is stdout, as WAV"
    options.output(parser, "OUT", written, "demo.wav")


def run(args: argparse.Namespace) -> None:
    """Code a clip of speech with tiny: a sound file or pipe, and a table."""
    sound_io.check_output(args.output, args.force)
    say = functools.partial(print, file=sys.stderr if args.output == PIPE else sys.stdout)
    mimi = Mimi.from_pretrained("tiny")
    clip = audio.read(SPEECH, mimi.sample_rate)
    seconds = len(clip) / mimi.sample_rate
    say(_ABOUT)
    say(f"{seconds:.2f} s of speech, {mimi.sample_rate} Hz, and how close it is to itself after:")
    say("codebooks   kbps   SI-SDR, dB   log-mel distance, dB")
    codes = mimi.encode(clip, max(_CODEBOOKS))
    for count in _CODEBOOKS:
        decoded = np.array(mimi.decode(codes[:, :count], length=len(clip)))[0, 0]
        sdr = metrics.si_sdr(clip, decoded)
        distance = metrics.log_mel_distance(clip, decoded, mimi.sample_rate)
        say(f"{count:9} {mimi.config.kbps(count):6.3f} {sdr:12.2f} {distance:22.2f}")
        if count == _HEARD:
            with sound_io.writing(args.output, None, mimi.sample_rate) as writer:
                writer.write(decoded)
    say(_SPECTRA)
    say(
        f"With {_HEARD} codebooks it sounds like {'stdout' if args.output == PIPE else args.output}"
    )
