"""Arguments of the commands for who converts, measures and proves."""

import argparse

from ..checkpoint import precision

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
        "--q-group-size", type=int, choices=precision.GROUP_SIZES, help="one scale for so many (64)"
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


def evaluate(command) -> None:
    more = "Without DEG, REF is coded; PESQ and STOI need: pip install 'mimi_mlx[metrics]'."
    parser = command("eval", "eval", "Measure how close audio is to its original.", more)
    parser.add_argument("reference", metavar="REF", help="a sound file: the original")
    parser.add_argument("degraded", metavar="DEG", nargs="?", help="a sound file, as long as REF")
    parser.add_argument("--mono", action="store_true", help="mix several channels down to one")
    parser.add_argument(
        "--codebooks",
        type=_counts,
        metavar="K,K",
        help="numbers of codebooks (1,4,8,16,32, as far as the model has them)",
    )
    parser.add_argument("--model", default="kyutai/mimi", help=_MODEL)
    parser.add_argument("--against", metavar="MODEL", help="a second model, to compare codes with")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--json", action="store_true", help="print JSON")
    kind.add_argument("--csv", action="store_true", help="print CSV")


def _counts(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers such as 1,8") from None


def plot(command) -> None:
    more = "Needs matplotlib: pip install 'mimi_mlx[plot]'."
    parser = command("plot", "plot", "Draw what the codec does to a clip.", more)
    parser.add_argument("input", metavar="IN", help="a sound file")
    parser.add_argument("--mono", action="store_true", help="mix several channels down to one")
    parser.add_argument("-o", "--output", metavar="OUT", required=True, help="a .png file to write")
    parser.add_argument("-f", "--force", action="store_true", help="overwrite OUT")
    parser.add_argument("--num-codebooks", type=int, default=8, metavar="K", help="drawn (8)")
    parser.add_argument("--model", default="kyutai/mimi", help=_MODEL)


COMMANDS = (convert, verify, evaluate, plot)
