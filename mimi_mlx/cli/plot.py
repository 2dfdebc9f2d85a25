"""``mimi-mlx plot``: a picture of what the codec does to a clip."""

import argparse
import importlib.util
from pathlib import Path

import numpy as np

from .. import audio
from ..atomic import replacing
from ..files import check_apart, check_output
from ..mimi import Mimi
from . import options

MORE = "Needs matplotlib: pip install 'mimi_mlx[plot]'."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", metavar="IN", help="a sound file")
    options.mono(parser)
    options.output(parser, "OUT", "a .png file to write")
    options.num_codebooks(parser, help="drawn (8)")
    options.model(parser, options.MODELS)


def run(args: argparse.Namespace) -> None:
    """Code a clip and draw it."""
    if not args.output.lower().endswith(".png"):
        raise ValueError(f"{args.output} is no .png; that is what plot writes. Name it .png.")
    check_output(args.output, args.force)
    check_apart((args.input, args.model), (args.output,))
    if importlib.util.find_spec("matplotlib") is None:
        raise ValueError("plot needs matplotlib, which is missing. pip install 'mimi_mlx[plot]'")
    from ..evaluation import plot

    mimi = Mimi.from_pretrained(args.model)
    clip = audio.read(args.input, mimi.sample_rate, args.mono)
    codes = np.array(mimi.encode(clip, args.num_codebooks))
    decoded = np.array(mimi.decode(codes, length=len(clip)))[0, 0]
    trip = plot.RoundTrip(Path(args.input).name, clip, decoded, codes[0], mimi.config)
    with replacing(args.output) as file:
        plot.draw(file, trip)
