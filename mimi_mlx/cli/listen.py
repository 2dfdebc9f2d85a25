"""``mimi-mlx listen``: a page to hear clips and their coded versions in."""

import argparse
import os
from pathlib import Path

from .. import listening
from ..atomic import replacing
from ..evaluation import quality
from ..files import check_apart, check_extension, check_output
from ..listening.document import LONGEST, check_length
from ..mimi import Mimi
from . import options
from .progress import Progress, say

MORE = (
    "The page is one file, and needs no network: it plays every version, changes between them at "
    "once, shows spectrograms, codes and figures, and has a blind test. It holds at most "
    f"{LONGEST} s of sound, all versions together."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("inputs", metavar="CLIP", nargs="+", help="a sound file of any rate")
    options.mono(parser)
    options.output(parser, "OUT", "the page to write: .html")
    options.several_codebooks(parser)
    several = f"{options.MODELS}; give it again to compare several"
    parser.add_argument("--model", action="append", help=several)
    cut = "take only so many from a clip's beginning"
    parser.add_argument("--seconds", type=float, metavar="S", help=cut)


def run(args: argparse.Namespace) -> None:
    """Code the clips, and write the page."""
    names = list(dict.fromkeys(args.model or [options.MODEL]))
    check_extension(args.output, (".html", ".htm"), "listen writes")
    check_output(args.output, args.force)
    check_apart((*args.inputs, *names), (args.output,))
    if args.seconds is not None and not 0.1 <= args.seconds <= LONGEST:
        raise ValueError(
            f"--seconds is {args.seconds:g}; it must be 0.1 to {LONGEST}. Leave it out for all."
        )
    sounds = [listening.load(path, args.mono, args.seconds) for path in args.inputs]
    models = dict(zip(_short(names), map(Mimi.from_pretrained, names), strict=True))
    counts = quality.counts(args.codebooks, list(models.values()))
    versions = len(counts) * len(models)
    lengths = [len(sound.samples) / sound.sample_rate for sound in sounds]
    check_length(seconds * (1 + versions) for seconds in lengths)
    titles = [Path(path).name for path in args.inputs]
    with Progress("listen", sum(lengths) * versions) as progress:
        compared = [
            listening.compare(models, title, sound, counts, progress.advance)
            for title, sound in zip(titles, sounds, strict=True)
        ]
    page = listening.page(compared).encode()
    with replacing(args.output) as file:
        file.write(page)
    say(f"{args.output}: {len(page) / 1e6:.1f} MB. Open it in a browser.")


def _short(names: list[str]) -> list[str]:
    """Models without the folders that they are in here, if they then still differ."""
    short = [Path(name).name if os.path.exists(name) else name for name in names]
    return short if len(set(short)) == len(names) else names
