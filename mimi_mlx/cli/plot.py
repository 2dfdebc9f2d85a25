"""``mimi-mlx plot``: a picture of what the codec does to a clip."""

import argparse
import importlib.util
from pathlib import Path

import numpy as np

from .. import audio, extras
from ..atomic import replacing
from ..files import check_apart, check_extension, check_output
from ..mimi import Mimi
from . import options
from .progress import Progress, summarise

_FORMATS = (".png", ".pdf", ".svg")

MORE = f"Needs matplotlib: {extras.install('plot')}."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", metavar="IN", help="a sound file")
    options.mono(parser)
    options.output(parser, "OUT", "the picture to write: .png, .pdf or .svg")
    title = "instead of the file's name; '' for none"
    parser.add_argument("--title", metavar="TEXT", help=title)
    options.num_codebooks(parser, help="drawn (8)")
    options.model(parser, options.MODELS)


def run(args: argparse.Namespace) -> None:
    """Code a clip and draw it."""
    check_extension(args.output, _FORMATS, "plot writes")
    check_output(args.output, args.force)
    check_apart((args.input, args.model), (args.output,))
    if importlib.util.find_spec("matplotlib") is None:
        raise ValueError(f"plot needs matplotlib, which is missing. {extras.install('plot')}")
    from ..evaluation import plot

    mimi = Mimi.from_pretrained(args.model)
    clip = audio.read(args.input, mimi.sample_rate, args.mono)
    seconds = len(clip) / mimi.sample_rate
    with Progress("plot", None) as progress:
        codes = np.array(mimi.encode(clip, args.num_codebooks))[0]
        decoded = np.array(mimi.decode(codes, length=len(clip)))[0, 0]
        progress.advance(seconds)
        speed = progress.speed
    title = Path(args.input).name if args.title is None else args.title
    trip = plot.RoundTrip(title, clip, decoded, codes, mimi.config)
    with replacing(args.output) as file:
        plot.draw(file, trip, Path(args.output).suffix[1:].lower())
    summarise(mimi, args.output, codes.shape, seconds, speed)
