"""``mimi-mlx verify``: proof that a model is right on this machine."""

import argparse
import json

from ..checkpoint import hub, mlx_format
from ..checkpoint.load import load
from ..checkpoint.precision import Recipe
from ..evaluation import bench, references, verify
from ..evaluation.checks import Check
from ..mimi import Mimi
from ..model.ops.device import named
from ..text import printable
from . import options
from .progress import warn

MORE = (
    "A check that cannot be made is not run, which proves nothing. Exit code 0 if none fails, 1 if "
    "one does, 2 if what --device or --hub asks for cannot be had."
)


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
        published = list(references.published(Mimi.from_pretrained("kyutai/mimi", device=device)))
    checks = [*references.checksum(files), *verify.run(mimi, recipe, device)]
    # verify.run holds tiny against PyTorch, and the published figures are kyutai/mimi's.
    if args.model != "tiny" and not (args.hub and args.model == "kyutai/mimi"):
        checks += references.of_weights(mimi, files, recipe, device)
    checks += published
    failed = [check for check in checks if check.passed is False]
    machine = bench.machine(mimi)
    if args.json:
        _print_json(args.model, recipe, machine, checks)
    else:
        _print(args.model, machine, checks)
    for check in checks:
        if check.passed is None and check.figure.startswith(references.NONE):
            warn(f"not proven: {check.must} from {check.name} ({check.figure})")
    if failed:
        warn(f"{len(failed)} of {len(checks)} checks failed")
    return 1 if failed else 0


def _print(model: str, machine: dict[str, str], checks: list[Check]) -> None:
    rows = [["", "", "must be", ""]]
    rows += [[printable(x) for x in (c.name, c.figure, c.must, c.verdict)] for c in checks]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    print(f"{printable(model)} on {machine['device']}, {machine['chip']}, {machine['versions']}\n")
    for row in rows:
        print("  ".join(x.ljust(w) for x, w in zip(row, widths, strict=True)).rstrip())


def _print_json(
    model: str, recipe: Recipe | None, machine: dict[str, str], checks: list[Check]
) -> None:
    verdicts = [check.verdict for check in checks]
    counts = {"passed": "pass", "failed": "FAIL", "not_run": "not run"}
    found: dict[str, object] = {"model": model, "precision": str(recipe or "float32"), **machine}
    found |= {name: verdicts.count(verdict) for name, verdict in counts.items()}
    named = ("name", "figure", "must", "verdict")
    found["checks"] = [{name: getattr(check, name) for name in named} for check in checks]
    print(json.dumps(found, indent=1))
