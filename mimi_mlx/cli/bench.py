"""``mimi-mlx bench``: how fast a model is on this machine, and how far from the floor."""

import argparse
import json
import resource
import sys
from typing import Any

import mlx.core as mx

from ..checkpoint import precision
from ..evaluation import bench, soak
from ..mimi import Mimi
from ..model.ops.device import named
from ..streaming import validation
from . import options
from .progress import say

MORE = "Tables on stdout as Markdown, with the floor that memory sets; progress on stderr."

_WAYS = ("encode", "decode")
_PARTS = ("first", "last")  # of a soak


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    options.device(parser, "where to run (MLX's default)")
    dtype = "reduce the weights as convert does (a CPU then computes in float32)"
    add("--dtype", choices=("float32", "float16", "bfloat16"), help=dtype)
    add("--json", action="store_true", help="print JSON instead of tables")
    hours = (
        "instead, code so many hours of audio frame by frame, and see whether time, memory or "
        "sound drift"
    )
    add("--soak", type=float, metavar="HOURS", help=hours)
    options.num_codebooks(parser)
    options.model_or_argument(parser, f"{options.MODELS} ({options.MODEL})")


def run(args: argparse.Namespace) -> None:
    """Measure, and print tables or JSON; or soak."""
    if args.soak is not None and not args.soak > 0:
        raise ValueError(f"--soak is {args.soak:g}; it is more than 0 hours. Give some.")
    device = named(args.device)
    args.model = options.chosen_model(args, options.MODEL)
    if args.dtype:
        mimi = bench.as_converted(args.model, precision.Recipe(args.dtype), device)
    else:
        mimi = Mimi.from_pretrained(args.model, device=device)
    count = validation.num_codebooks(min(args.num_codebooks, mimi.num_codebooks), mimi.config)
    if args.soak is not None:
        found, lines = soak.run(mimi, args.soak, count, report=say), soaked
    else:
        model = f"{args.model} as {args.dtype}" if args.dtype else args.model
        found, lines = measure(mimi, model, count), tables
    print(json.dumps(found, indent=1) if args.json else "\n".join(lines(found)))


def measure(mimi: Mimi, model: str, count: int) -> dict[str, Any]:
    """Everything that bench knows of a model with ``count`` codebooks."""
    mx.reset_peak_memory()
    found: dict[str, Any] = {"model": model, "codebooks": count, **bench.machine(mimi)}
    for name in ("offline", "frames", "paced", "stages"):
        say(f"{name} ...")
        found[name] = getattr(bench, name)(mimi, count)
    found["peak_memory_mb"] = {"mlx": mx.get_peak_memory() / 1e6, "process": _peak_rss() / 1e6}
    say("batch of 16 ...")
    found["batch_of_16"] = bench.batch(mimi, count, 16)
    found["search_ms"] = bench.searches(mimi, count)
    found["read_rate_gb_s"] = bench.read_rate(mimi) / 1e9
    found["weights_a_step_mb"] = {
        half: bench.bytes_read(mimi, half, count) / 1e6 for half in ("encoder", "decoder")
    }
    found["kernels"] = bench.kernel_counts(mimi, count)
    return found


def tables(found: dict[str, Any]) -> list[str]:
    """What was measured as Markdown, as the README wants it."""
    about = [f"{name}: {found[name]}" for name in ("chip", "device", "blas", "system", "versions")]
    paced, memory, stages = found["paced"], found["peak_memory_mb"], found["stages"]
    total = sum(stages.values())
    shares = [
        [name.replace("_", " "), f"{ms:.2f}", f"{100 * ms / total:.0f} %"]
        for name, ms in stages.items()
    ]
    kernels = [
        [
            half,
            str(each["total"]),
            ", ".join(f"{kind} {n}" for kind, n in each["kinds"].items()).replace("_", " "),
        ]
        for half, each in found["kernels"].items()
    ]
    return [
        *about,
        f"model: {found['model']}, {found['codebooks']} codebooks",
        "",
        *_table(["", "encode", "decode"], _speeds(found)),
        "",
        f"live, a frame each 80 ms both ways: {paced['late']} of {paced['frames']} late, "
        f"busy {paced['busy_percent']:.0f} % of the time",
        f"peak memory: MLX {memory['mlx']:.0f} MB, process {memory['process']:.0f} MB",
        "",
        *_table(["stage of a step", "ms", "share"], shares),
        "",
        *_table(["kernels of a step", "all", "of which"], kernels),
    ]


def soaked(found: dict[str, Any]) -> list[str]:
    """What a soak saw, for people."""
    rows = [
        [f"{way}, {name}", *(f"{found[f'{way}_ms'][part][name]:.1f} ms" for part in _PARTS)]
        for way in _WAYS
        for name in ("p10", "median", "p95")
    ]
    end = "stopped after" if found["interrupted"] else "after"
    equal = "equal to" if found["codes_equal"] else "NOT equal to"
    steps = min(found["frames"], soak.TIMED)
    return [
        *_table(["a step", *(f"{part} {steps}" for part in _PARTS)], rows),
        "",
        f"{end} {found['frames']} frames: the last frames' codes are {equal} those of streams "
        f"begun {found['warmup_seconds']:.0f} s before them, their waveforms "
        f"{found['waveform_error']:.1e} of the RMS apart",
        f"memory: {found['memory_mb']:.1f} MB, {found['memory_growth_mb']:.2f} MB more than when "
        "it had settled",
    ]


def _speeds(found: dict[str, Any]) -> list[list[str]]:
    """Rows of the main table: each way of each figure."""
    clip, frames, rate = found["offline"], found["frames"], found["read_rate_gb_s"]
    weights = found["weights_a_step_mb"].values()
    floors = [weight / rate for weight in weights]  # MB / (GB/s) = ms
    whole = [
        f"{clip[f'{way}_seconds']:.2f} s, {clip[f'{way}_times_real_time']:.1f} x real time"
        for way in _WAYS
    ]
    together = [f"{times:.1f} x one" for times in found["batch_of_16"].values()]
    over = [f"{frames[way]['p50'] / floor:.1f}" for way, floor in zip(_WAYS, floors, strict=True)]
    return [
        [f"{clip['clip_seconds']:g} s at once", *whole],
        *(
            [f"one frame, {p}", *(f"{frames[way][p]:.1f} ms" for way in _WAYS)]
            for p in ("p50", "p95", "p99")
        ),
        ["weights read a frame", *(f"{weight:.1f} MB" for weight in weights)],
        [f"floor: reading them at {rate:.1f} GB/s", *(f"{floor:.1f} ms" for floor in floors)],
        ["median frame over floor", *over],
        ["a frame of 16 streams", *together],
        *([f"search by {way}", f"{ms:.2f} ms", ""] for way, ms in found["search_ms"].items()),
    ]


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def _peak_rss() -> int:
    """Bytes of the most memory that this process had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
