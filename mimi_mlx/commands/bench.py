"""``mimi-mlx bench``: how fast a model is on this machine, and how far from the floor."""

import argparse
import json
import resource
import sys
from typing import Any

import mlx.core as mx

from .. import bench, check, soak
from ..mimi import Mimi


def run(args: argparse.Namespace) -> None:
    """Measure, and print tables or JSON; or soak."""
    device = getattr(mx, args.device) if args.device else None
    mimi = Mimi.from_pretrained(args.model, device=device)
    count = check.num_codebooks(min(args.num_codebooks, mimi.num_codebooks), mimi.config)
    if args.soak:
        found = soak.run(mimi, args.soak, count, report=_say)
        if args.json:
            print(json.dumps(found, indent=1))
        return
    found = measure(mimi, args.model, count)
    print(json.dumps(found, indent=1) if args.json else "\n".join(tables(found)))


def measure(mimi: Mimi, model: str, count: int) -> dict[str, Any]:
    """Everything that bench knows of a model with ``count`` codebooks."""
    mx.reset_peak_memory()
    found: dict[str, Any] = {"model": model, "codebooks": count, **bench.machine(mimi)}
    for name, call in (
        ("offline", bench.offline),
        ("frames", bench.frames),
        ("paced", bench.paced),
        ("stages", bench.stages),
    ):
        _say(f"{name} ...")
        found[name] = call(mimi, count)
    found["peak memory, MB"] = {"MLX": mx.get_peak_memory() / 1e6, "process": _peak_rss() / 1e6}
    _say("batch of 16 ...")
    found["batch of 16, frames of one"] = bench.batch(mimi, count, 16)
    found["read rate, GB/s"] = bench.read_rate(mimi) / 1e9
    found["weights a step, MB"] = {
        half: bench.bytes_read(mimi, half, count) / 1e6 for half in ("encoder", "decoder")
    }
    found["kernels"] = bench.kernel_counts(mimi, count)
    return found


def tables(found: dict[str, Any]) -> list[str]:
    """What was measured as Markdown, as the README wants it."""
    lines = [f"{name}: {found[name]}" for name in ("chip", "device", "BLAS", "system", "versions")]
    lines += [
        f"model: {found['model']}, {found['codebooks']} codebooks",
        "",
        "| | encode | decode |",
        "|---|---|---|",
    ]
    clip, frames, rate = found["offline"], found["frames"], found["read rate, GB/s"]
    lines.append(
        f"| {clip['clip, s']:g} s at once | "
        + " | ".join(
            f"{clip[f'{way}, s']:.2f} s, {clip[f'{way}, times real time']:.1f} x real time"
            for way in ("encode", "decode")
        )
        + " |"
    )
    for p in ("p50", "p95", "p99"):
        lines.append(
            f"| one frame, {p} | {_ms(frames, 'encode', p)} | {_ms(frames, 'decode', p)} |"
        )
    weights = found["weights a step, MB"]
    floors = {half: weights[half] / rate for half in weights}
    lines += [
        "| weights a step | " + " | ".join(f"{weights[h]:.1f} MB" for h in weights) + " |",
        f"| floor at {rate:.1f} GB/s | " + " | ".join(f"{floors[h]:.1f} ms" for h in floors) + " |",
        "| times the floor | "
        + " | ".join(
            f"{frames[way]['p50'] / floors[half]:.1f}"
            for way, half in (("encode", "encoder"), ("decode", "decoder"))
        )
        + " |",
        "| kernels as a GPU runs it | "
        + " | ".join(str(found["kernels"][h]["total"]) for h in ("encoder", "decoder"))
        + " |",
        "| frame of 16 streams | "
        + " | ".join(f"{x:.1f} x one" for x in found["batch of 16, frames of one"].values())
        + " |",
        "",
    ]
    paced, memory = found["paced"], found["peak memory, MB"]
    lines += [
        f"live, a frame each 80 ms both ways: {paced['late']} of {paced['frames']} late, "
        f"busy {paced['busy, %']:.0f} % of the time",
        f"peak memory: MLX {memory['MLX']:.0f} MB, process {memory['process']:.0f} MB",
        "",
        "| stage of a step | ms | share |",
        "|---|---|---|",
    ]
    total = sum(found["stages"].values())
    for name, ms in found["stages"].items():
        lines.append(f"| {name} | {ms:.2f} | {100 * ms / total:.0f} % |")
    lines.append("")
    for half, counted in found["kernels"].items():
        kinds = ", ".join(f"{kind} {n}" for kind, n in counted["kinds"].items())
        lines.append(f"{half} kernels: {kinds}")
    return lines


def _ms(frames: dict, way: str, p: str) -> str:
    return f"{frames[way][p]:.1f} ms"


def _peak_rss() -> int:
    """Bytes of the most memory that this process had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _say(line: str) -> None:
    print(line, file=sys.stderr)
