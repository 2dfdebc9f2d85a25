"""``mimi-mlx verify``: proof that a model is right on this machine."""

import argparse
import json

from ..checkpoint import hub, mlx_format
from ..checkpoint.load import load
from ..evaluation import bench, verify
from ..mimi import Mimi
from ..model.ops.device import named
from . import options
from .progress import warn

MORE = "Exit code 0 if all checks pass, 1 if one fails."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.model_or_argument(parser, f"{options.MODELS} (tiny)")
    options.device(parser, "instead of MLX's default")
    parser.add_argument("--hub", action="store_true", help="and kyutai/mimi's published figures")
    parser.add_argument("--json", action="store_true", help="for a report of a bug")


def run(args: argparse.Namespace) -> int:
    """Print a table, or JSON, of checks; 1 if one failed."""
    device = named(args.device)
    args.model = options.chosen_model(args, "tiny")
    config, files = hub.find(args.model)
    mimi = Mimi(load(files, config, device=device), device)
    recipe = mlx_format.recipe(files)
    published = []
    if args.hub:  # first: it may not be to be had
        published = list(verify.published(Mimi.from_pretrained("kyutai/mimi", device=device)))
    checks = [*verify.checksum(files), *verify.run(mimi, recipe, device), *published]
    machine = bench.machine(mimi)
    failed = [check for check in checks if not check.passed]
    if args.json:
        found = {"model": args.model, "precision": str(recipe or "float32"), **machine}
        found |= {"passed": not failed, "checks": [check._asdict() for check in checks]}
        print(json.dumps(found, indent=1))
    else:
        print(f"{args.model} on {machine['device']}, {machine['chip']}, {machine['versions']}\n")
        print("\n".join(_table(checks)))
    if failed:
        warn(f"{len(failed)} of {len(checks)} checks failed")
    return 1 if failed else 0


def _table(checks: list[verify.Check]) -> list[str]:
    rows = [("", "", "must be", "")]
    for c in checks:
        verdict = "pass" if c.passed else "FAIL"
        rows.append((c.name, c.figure, c.must, verdict if c.must else "-"))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    return ["  ".join(x.ljust(w) for x, w in zip(r, widths, strict=True)).rstrip() for r in rows]
