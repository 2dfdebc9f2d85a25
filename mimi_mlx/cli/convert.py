"""``mimi-mlx convert``: published weights to a folder for mimi_mlx, smaller if asked."""

import argparse
from pathlib import Path

from ..checkpoint import convert, hub, precision
from ..evaluation import quality
from . import options
from .progress import say

MORE = (
    "Writes config.json, model.safetensors and README.md, whole or not at all. Codebooks, "
    "distances, norms and residual streams stay float32 in every recipe."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add, sources = parser.add_argument, f"{options.MODELS}, or hf://OWNER/NAME/FILE"
    options.model_or_argument(parser, sources)
    add("--hf-path", dest="model", metavar="MODEL", help="the same, as mlx_lm's convert has it")
    add("--mlx-path", default="mlx_model", metavar="DIR", help="the folder to write (mlx_model)")
    dtype = "of convolutions and linears (float32; with -q float16)"
    add("--dtype", choices=list(precision.DTYPES), help=dtype)
    add("-q", "--quantize", action="store_true", help="quantise what is a matmul")
    bits = "of the transformers' linears (8); convolutions take 8 in either case"
    add("--q-bits", type=int, choices=sorted(precision.CONVOLUTION_BITS), help=bits)
    sizes = precision.GROUP_SIZES
    add("--q-group-size", type=int, choices=sizes, help="one scale for so many (64)")
    add("--revision", help="a branch, tag or commit of a Hub id")
    add("--upload-repo", metavar="OWNER/NAME", help="upload the folder to the Hub")
    half = parser.add_mutually_exclusive_group()
    for name, other in (("encoder", "decoder"), ("decoder", "encoder")):
        without = f"leave out what only the {other} needs"
        half.add_argument(
            f"--{name}-only", dest="only", action="store_const", const=name, help=without
        )
    options.num_codebooks(parser, None, "keep the first K codebooks (all)")
    add("--verify", action="store_true", help="load what was written, compare it with float32")
    options.force(parser, "a converted folder that exists", "replace")


def run(args: argparse.Namespace) -> None:
    """Convert, and upload if asked."""
    source = options.chosen_model(args, "")
    if not source:
        raise ValueError(f"no model to convert. Give MODEL, such as {options.MODEL}.")
    for flag, value in (("--q-bits", args.q_bits), ("--q-group-size", args.q_group_size)):
        if value is not None and not args.quantize:
            raise ValueError(f"{flag} without -q quantises nothing. Add -q.")
    if args.upload_repo:
        convert.check_id(args.upload_repo)
    # The convolutions that cannot be quantised would else be half of the file.
    dtype = args.dtype or ("float16" if args.quantize else "float32")
    recipe = precision.Recipe(dtype)
    if args.quantize:
        recipe = precision.Recipe(dtype, args.q_bits or 8, args.q_group_size or 64)
    wanted = convert.Wanted(
        source, recipe, args.revision, args.only, args.num_codebooks, args.upload_repo
    )
    folder = Path(args.mlx_path)
    result = convert.convert(wanted, folder, args.force, _judge if args.verify else None)
    say(f"{folder}: {result.bytes / 1e6:.1f} MB, {recipe}")
    if result.unquantised:
        say(
            f"not quantised, but {dtype}: {len(result.unquantised)} layers, no matmuls or of a "
            f"width that {recipe.group_size} does not divide"
        )
    if result.verdict:
        say(f"against float32: {result.verdict}")
    if args.upload_repo:
        convert.upload(folder, args.upload_repo)
        say(f"uploaded: https://huggingface.co/{args.upload_repo}")


def _judge(wanted: convert.Wanted, source: hub.Checkpoint, folder: Path) -> str:
    fidelity = quality.against_float32(wanted, source, folder)
    shares = {
        "the first codebook": fidelity.first_codebook,
        "the first 8": fidelity.first_8,
        "all": fidelity.all_codebooks,
    }
    equal = [f"{100 * x:.1f} % in {where}" for where, x in shares.items() if x is not None]
    parts = [f"equal codes {', '.join(equal)}"] if equal else []
    if fidelity.snr is not None:
        parts.append(
            f"the same codes' waveform {fidelity.snr:.1f} dB SNR, "
            f"{fidelity.log_mel:.3f} dB log-mel distance"
        )
    return "; ".join(parts)
