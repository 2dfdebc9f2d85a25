"""``mimi-mlx export``: a model to a folder for PyTorch."""

import argparse

from ..checkpoint import export
from . import options
from .progress import say, warn

MORE = (
    "Writes float32 weights, config.json and README.md, whole or not at all: for transformers' "
    "MimiModel (hub), or for moshi and rustymimi (kyutai)."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    options.model_or_argument(parser, f"{options.MODELS}, converted or trained ones too")
    layouts = "whose names the tensors have (hub)"
    parser.add_argument("--layout", choices=list(export.FILES), default="hub", help=layouts)
    parser.add_argument("--revision", help="a branch, tag or commit of a Hub id")
    parser.add_argument("-o", "--output", metavar="DIR", required=True, help="the folder to write")
    options.force(parser, "an exported or converted folder that exists", "replace")


def run(args: argparse.Namespace) -> None:
    """Export, and say how the result is loaded."""
    source = options.chosen_model(args, "")
    if not source:
        raise ValueError(f"no model to export. Give MODEL, such as {options.MODEL}.")
    made = export.export(source, args.output, args.layout, args.revision, args.force)
    kept = f", with the values that {made.dtype} left" if made.dtype != "float32" else ""
    say(f"{made.file}: {made.bytes / 1e6:.1f} MB, {made.tensors} tensors, float32{kept}")
    path = str(made.file)
    if args.layout == "hub":
        say(f"load it: transformers.MimiModel.from_pretrained({str(made.file.parent)!r})")
    elif made.has_kyutais_sizes:
        say(f"load it: moshi.models.loaders.get_mimi({path!r}) or rustymimi.Tokenizer({path!r})")
    else:
        warn(
            "rustymimi and moshi take kyutai/mimi's sizes for granted, and this model has others; "
            "only moshi can be told"
        )
        say(f"load it: moshi.models.loaders.get_mimi({path!r}, mimi_config), which has the sizes")
