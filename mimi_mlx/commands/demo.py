"""``mimi-mlx demo``: hear and measure the codec at several bitrates, without a network."""

import argparse

import numpy as np

from .. import audio, hub, metrics
from ..files import check_output
from ..mimi import Mimi
from . import work

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


def run(args: argparse.Namespace) -> None:
    """Code a clip of speech with tiny: a sound file, and a table on stdout."""
    audio.check_format(args.output)
    check_output(args.output, args.force)
    mimi = Mimi.from_pretrained("tiny")
    clip = audio.read(hub.TINY / "speech.flac", mimi.sample_rate)
    seconds = len(clip) / mimi.sample_rate
    print(_ABOUT)
    print(f"{seconds:.2f} s of speech, {mimi.sample_rate} Hz, and how close it is to itself after:")
    print("codebooks   kbps   SI-SDR, dB   log-mel distance, dB")
    codes = mimi.encode(clip, max(_CODEBOOKS))
    for count in _CODEBOOKS:
        decoded = np.array(mimi.decode(codes[:, :count], length=len(clip)))[0, 0]
        sdr = metrics.si_sdr(clip, decoded)
        distance = metrics.log_mel_distance(clip, decoded, mimi.sample_rate)
        print(f"{count:9} {work.kbps(mimi, count):6.3f} {sdr:12.2f} {distance:22.2f}")
        if count == _HEARD:
            audio.write(args.output, decoded, mimi.sample_rate)
    print(_SPECTRA)
    print(f"With {_HEARD} codebooks it sounds like {args.output}")
