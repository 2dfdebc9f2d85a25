"""``mimi-mlx convert``: published weights to a folder for mimi_mlx, smaller if asked."""

import argparse
import sys
from pathlib import Path

from ..checkpoint import convert, hub, precision
from ..evaluation import quality


def run(args: argparse.Namespace) -> None:
    """Convert, and upload if asked."""
    if args.q_bits is not None and not args.quantize:
        raise ValueError("--q-bits without -q quantises nothing. Add -q.")
    if args.q_group_size is not None and not args.quantize:
        raise ValueError("--q-group-size without -q quantises nothing. Add -q.")
    if args.upload_repo:
        convert.check_id(args.upload_repo)
    # The convolutions that cannot be quantised would else be half of the file.
    dtype = args.dtype or ("float16" if args.quantize else "float32")
    recipe = precision.Recipe(dtype)
    if args.quantize:
        recipe = precision.Recipe(dtype, args.q_bits or 8, args.q_group_size or 64)
    wanted = convert.Wanted(
        args.hf_path, recipe, args.revision, args.only, args.num_codebooks, args.upload_repo
    )
    folder = Path(args.mlx_path)
    result = convert.convert(wanted, folder, args.force, _judge if args.verify else None)
    _say(f"{folder}: {result.bytes / 1e6:.1f} MB, {recipe}")
    if result.unquantised:
        _say(
            f"not quantised, but {dtype}: {len(result.unquantised)} layers, no matmuls or of a "
            f"width that {recipe.group_size} does not divide"
        )
    if result.verdict:
        _say(f"against float32: {result.verdict}")
    if args.upload_repo:
        convert.upload(folder, args.upload_repo)
        _say(f"uploaded: https://huggingface.co/{args.upload_repo}")


def _judge(wanted: convert.Wanted, source: hub.Checkpoint, folder: Path) -> str:
    fidelity = quality.against_float32(wanted, source, folder)
    parts = []
    shares = (fidelity.first_codebook, fidelity.first_8, fidelity.all_codebooks)
    if percents := [f"{100 * share:.1f} %" for share in shares if share is not None]:
        first, eight, every = percents
        parts.append(
            f"equal codes {first} in the first codebook, {eight} in the first 8, {every} in all"
        )
    if fidelity.snr is not None:
        parts.append(
            f"the same codes' waveform {fidelity.snr:.1f} dB SNR, "
            f"{fidelity.log_mel:.3f} dB log-mel distance"
        )
    return "; ".join(parts)


def _say(line: str) -> None:
    print(line, file=sys.stderr)
