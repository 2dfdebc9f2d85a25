"""The table of the precision contract: what each recipe saves and what it costs.

    python tests/benchmarks/precision.py [tiny] [full]

``tiny`` is the embedded model on the shipped speech; ``full`` is kyutai/mimi's sizes with the
seeded weights of tests/reference, on the first seconds of a clip. Prints Markdown.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "reference")]

from mimi_mlx import Mimi, MimiConfig  # noqa: E402
from mimi_mlx.checkpoint import hub, precision  # noqa: E402 - before MLX, for its BLAS
from mimi_mlx.checkpoint.load import load  # noqa: E402

# isort: split
import mlx.core as mx  # noqa: E402
import numpy as np  # noqa: E402
import seeded  # noqa: E402
from mlx.utils import tree_flatten  # noqa: E402
from recording import Clip  # noqa: E402
from safetensors.numpy import save_file  # noqa: E402

from mimi_mlx.evaluation.quality import compare  # noqa: E402
from mimi_mlx.model.codec import Codec  # noqa: E402

RECIPES = [
    precision.Recipe("float32"),
    precision.Recipe("float16"),
    precision.Recipe("bfloat16"),
    precision.Recipe("float16", 8, 64),
    precision.Recipe("float16", 4, 64),
]
CLIPS = {
    "tiny": [Clip(f"{who}-{i}") for who in ("kathleen", "kerstin") for i in (1, 4)],
    "full": [Clip("dialogue", 0, 3 * 24000)],
}
STEPS = 15  # timed, after two that are not


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", choices=["tiny", "full"], default=["tiny"])
    for model in parser.parse_args().models:
        table(model)
    kinds()


def table(model: str) -> None:
    print(f"\n{model}, {mx.default_device().type.name}\n")
    print(
        "| weights | MB | equal codes: first | first 8 | all | SNR, dB | log-mel, dB | step, ms |"
    )
    print("|---|---|---|---|---|---|---|---|")
    clips = [clip.read()[0, 0] for clip in CLIPS[model]]
    with tempfile.TemporaryDirectory() as folder:
        make = loader(model, Path(folder))
        reference = Mimi(make())
        for recipe in RECIPES:
            codec = make()
            precision.reduce(codec, recipe)
            mx.eval(codec.parameters())
            size = sum(x.nbytes for _, x in tree_flatten(codec.parameters())) / 1e6
            mimi = Mimi(codec)
            found = compare(reference, mimi, clips)
            shares = (found.first_codebook, found.first_8, found.all_codebooks)
            equal = " | ".join(f"{100 * share:.1f} %" for share in shares)
            print(
                f"| {recipe} | {size:.1f} | {equal} | {found.snr:.1f} | {found.log_mel:.3f} | "
                f"{step_ms(mimi):.1f} |",
                flush=True,
            )


def kinds() -> None:
    """What each kind of layer takes in each recipe, in MB, at kyutai/mimi's sizes."""
    print("\nMB of kyutai/mimi's sizes\n\n| | " + " | ".join(map(str, RECIPES)) + " |")
    print("|---" * (len(RECIPES) + 1) + "|")
    columns = []
    for recipe in RECIPES:
        codec = Codec(MimiConfig())
        precision.reduce(codec, recipe)
        reduced = {}
        for path, layer, _ in precision.layers(codec, precision.Recipe("float32", 8)):
            kind = kind_of(path, codec)
            size = sum(x.nbytes for k, x in layer.items() if k in ("weight", "scales", "biases"))
            reduced[kind] = reduced.get(kind, 0) + size / 1e6
        total = sum(x.nbytes for _, x in tree_flatten(codec.parameters())) / 1e6
        columns.append({**reduced, "all else, float32": total - sum(reduced.values())})
    for kind in columns[0]:
        print(f"| {kind} | " + " | ".join(f"{column[kind]:.1f}" for column in columns) + " |")


def kind_of(path: str, codec: Codec) -> str:
    if "_transformer." in path:
        return "transformer linears"
    modules = dict(codec.named_modules())
    return {
        "CausalConv1d": "strided and 7-tap convolutions (mx.conv1d)",
        "Downsample": "strided and 7-tap convolutions (mx.conv1d)",
        "CausalTapConv1d": "convolutions of 1 and 3 taps (matmuls)",
        "CausalConvTranspose1d": "transposed convolutions (matmuls)",
    }[type(modules[path.removesuffix(".conv")]).__name__]


def loader(model: str, folder: Path) -> Callable[[], Codec]:
    if model == "tiny":
        config, files = hub.find("tiny")
        return lambda: load(files, config)
    file = folder / "model.safetensors"
    save_file(seeded.tensors(seeded.FULL, seeded.SEED, seeded.SCALES), file)
    config = MimiConfig.from_dict(seeded.FULL)
    return lambda: load([file], config)


def step_ms(mimi: Mimi) -> float:
    """The median of a frame encoded and decoded live, with 8 codebooks."""
    encoder, decoder = mimi.encoder_stream(num_codebooks=8), mimi.decoder_stream()
    frame = np.random.default_rng(0).uniform(-0.1, 0.1, mimi.frame_size).astype(np.float32)
    times = []
    for _ in range(STEPS + 2):
        start = time.perf_counter()
        decoder.push(encoder.push(frame))
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times[2:]))


if __name__ == "__main__":
    main()
