"""``mimi-mlx eval``: how close a clip is to its original, or to itself after the codec."""

import argparse
import csv
import json
import math
import sys
from typing import Any

from .. import audio, extras
from ..evaluation import quality
from ..mimi import Mimi
from . import options

MORE = f"Without DEG, REF is coded; PESQ and STOI need: {extras.install('metrics')}."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("reference", metavar="REF", help="a sound file: the original")
    parser.add_argument("degraded", metavar="DEG", nargs="?", help="a sound file, as long as REF")
    options.mono(parser)
    options.several_codebooks(parser)
    options.model(parser, options.MODELS)
    parser.add_argument("--against", metavar="MODEL", help="a second model, to compare codes with")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--json", action="store_true", help="print JSON")
    kind.add_argument("--csv", action="store_true", help="print CSV")


def run(args: argparse.Namespace) -> None:
    """Print a row of figures for each number of codebooks, or one for two given clips."""
    reference = audio.load(args.reference, args.mono)
    if args.degraded:
        if args.codebooks or args.against:
            raise ValueError(
                "--codebooks and --against code REF, but DEG is given and nothing is coded. Leave "
                "out DEG, or the flags."
            )
        degraded = audio.read(args.degraded, reference.sample_rate, args.mono)
        if len(degraded) != len(reference.samples):
            raise ValueError(
                f"{args.degraded} has {len(degraded)} samples and {args.reference} "
                f"{len(reference.samples)}, at {reference.sample_rate} Hz; they must be equally "
                "long. Cut one."
            )
        pair = reference.samples, degraded
        rows = [quality.row_of(*pair, reference.sample_rate)]
    else:
        rows = _coded(args, reference)
    _print(rows, args)


def _coded(args: argparse.Namespace, reference: audio.Sound) -> list[dict[str, Any]]:
    mimi = Mimi.from_pretrained(args.model)
    other = Mimi.from_pretrained(args.against) if args.against else None
    counts = quality.counts(args.codebooks, (mimi, other) if other else (mimi,))
    clip = audio.resample(reference.samples, reference.sample_rate, mimi.sample_rate)
    return quality.coded(mimi, clip, counts, other)


def _print(rows: list[dict[str, Any]], args: argparse.Namespace) -> None:
    names = list(rows[0])
    if args.json:
        # JSON has no infinity: what is equal has no SNR.
        finite = [{k: x if math.isfinite(x) else None for k, x in r.items()} for r in rows]
        print(json.dumps(finite, indent=1))
    elif args.csv:
        out = csv.DictWriter(sys.stdout, names, lineterminator="\n")
        out.writeheader()
        out.writerows({k: f"{x:.6g}" for k, x in row.items()} for row in rows)
    else:
        heads = [quality.HEADS.get(name, name) for name in names]
        widths = [max(len(head), 6) for head in heads]
        for cells in (heads, *([f"{x:.4g}" for x in row.values()] for row in rows)):
            print("  ".join(cell.rjust(w) for cell, w in zip(cells, widths, strict=True)))
