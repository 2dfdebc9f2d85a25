"""Arguments of the commands for who converts, measures and proves; what they do: ``commands/``."""

from . import precision

_MODEL = "a Hub id (kyutai/mimi), a folder, a .safetensors file, or tiny"


def convert(command) -> None:
    more = (
        "Writes config.json, model.safetensors and README.md, whole or not at all. Codebooks, "
        "distances, norms and residual streams stay float32 in every recipe."
    )
    parser = command("convert", "convert", "Convert published weights to an MLX folder.", more)
    add = parser.add_argument
    add("--hf-path", required=True, metavar="SOURCE", help=f"{_MODEL}, or hf://OWNER/NAME/FILE")
    add("--mlx-path", default="mlx_model", metavar="DIR", help="the folder to write (mlx_model)")
    add(
        "--dtype",
        choices=list(precision.DTYPES),
        help="of convolutions and linears (float32; with -q float16)",
    )
    add("-q", "--quantize", action="store_true", help="quantise what is a matmul")
    add(
        "--q-bits",
        type=int,
        choices=sorted(precision.CONVOLUTION_BITS),
        help="of the transformers' linears (8); convolutions take 8 in either case",
    )
    add(
        "--q-group-size",
        type=int,
        choices=precision.GROUP_SIZES,
        help="weights that share a scale (64)",
    )
    add("--revision", help="a branch, tag or commit of a Hub id")
    add("--upload-repo", metavar="OWNER/NAME", help="upload the folder to the Hub")
    half = parser.add_mutually_exclusive_group()
    for name in ("encoder", "decoder"):
        half.add_argument(
            f"--{name}-only",
            dest="only",
            action="store_const",
            const=name,
            help=f"leave out what only the {'decoder' if name == 'encoder' else 'encoder'} needs",
        )
    add("--num-codebooks", type=int, metavar="N", help="keep the first N codebooks")
    add("--verify", action="store_true", help="load what was written, compare it with float32")
    add("-f", "--force", action="store_true", help="replace a converted folder that exists")


def verify(command) -> None:
    more = "Exit code 0 if all checks pass, 1 if one fails."
    parser = command("verify", "verify", "Prove that a model is right on this machine.", more)
    parser.add_argument(
        "model", metavar="MODEL", nargs="?", default="tiny", help=f"{_MODEL} (tiny)"
    )
    parser.add_argument("--device", choices=("cpu", "gpu"), help="instead of MLX's default")
    parser.add_argument("--hub", action="store_true", help="and kyutai/mimi's published figures")
    parser.add_argument("--json", action="store_true", help="for a report of a bug")
