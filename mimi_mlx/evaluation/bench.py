"""Measure a model on this machine: speed, lateness, shares of a step, memory, kernels."""

import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten

from ..checkpoint import hub, precision
from ..checkpoint.load import load
from ..mimi import Mimi
from ..model.codec import Codec
from ..model.ops import device as devices
from ..model.ops import linux, search
from ..streaming.runner import compiled
from . import kernel_count

STAGES = {
    "encoder": ("encoder", "encoder_transformer", "downsample"),
    "decoder": ("upsample", "decoder_transformer", "decoder"),
}
"""The parts of a codec in each half, but the quantiser."""


def machine(mimi: Mimi) -> dict[str, str]:
    """What ran: chip, device, BLAS and versions."""
    with mimi.on_device():
        device, card = devices.name(), devices.card()
    return {
        "chip": f"{card}, {chip()}" if card else chip(),
        "device": device,
        "blas": linux.blas_in_use(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "versions": f"mimi_mlx {version('mimi_mlx')}, mlx {version('mlx')}, "
        f"Python {platform.python_version()}",
    }


def chip() -> str:
    """This machine's processor and its number of cores."""
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    with open("/proc/cpuinfo") as info:
        names = [line.split(":")[1].strip() for line in info if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {len(names)} cores"


def as_converted(
    name: str, recipe: precision.Recipe, device: mx.DeviceType | mx.Device | None
) -> Mimi:
    """A model as it is when the folder that ``convert`` makes of it is loaded."""
    config, files = hub.find(name)
    codec = load(files, config, device=device)
    with devices.on(device):
        precision.reduce(codec, recipe)
        precision.expand_on_cpu(codec)
    return Mimi(codec, device)


def noise(mimi: Mimi, seconds: float) -> np.ndarray:
    """Samples ``[T]`` in whole frames to measure with; a codec's time does not depend on them."""
    frames = round(seconds * mimi.frame_rate)
    return np.random.default_rng(0).normal(0, 0.1, frames * mimi.frame_size).astype(np.float32)


def offline(mimi: Mimi, num_codebooks: int, seconds: float = 10, runs: int = 3) -> dict[str, Any]:
    """Whole clips: seconds of the median run each way, and how much faster than real time."""
    pcm = noise(mimi, seconds)
    codes = mimi.encode(pcm, num_codebooks)
    found = {"clip_seconds": seconds}
    mimi.decode(codes)
    for half, call in (
        ("encode", lambda: mimi.encode(pcm, num_codebooks)),
        ("decode", lambda: mimi.decode(codes)),
    ):
        found[f"{half}_seconds"] = _median(call, runs)
        found[f"{half}_times_real_time"] = seconds / found[f"{half}_seconds"]
    return found


def frames(
    mimi: Mimi, num_codebooks: int, count: int = 200, rows: int = 1
) -> dict[str, dict[str, float]]:
    """One frame at a time: milliseconds each way, as percentiles, past the attention's window."""
    encoder, decoder = mimi.encoder_stream(rows, num_codebooks), mimi.decoder_stream(rows)
    pcm = np.repeat(noise(mimi, count / mimi.frame_rate).reshape(count, 1, 1, -1), rows, axis=1)
    codes: list[mx.array] = []
    found = {}
    for half, call, inputs in (
        ("encode", lambda frame: codes.append(encoder.push(frame)), pcm),
        ("decode", decoder.push, codes),
    ):
        times = 1e3 * np.array([_seconds(call, x) for x in inputs])[count // 4 :]
        found[half] = {f"p{p}": float(np.percentile(times, p)) for p in (50, 95, 99)}
    return found


def batch(mimi: Mimi, num_codebooks: int, rows: int, count: int = 40) -> dict[str, float]:
    """A frame of ``rows`` streams at once, each way: how many times a frame of one stream."""
    one, many = (frames(mimi, num_codebooks, count, each) for each in (1, rows))
    return {half: many[half]["p50"] / one[half]["p50"] for half in one}


def paced(mimi: Mimi, num_codebooks: int, seconds: float = 8) -> dict[str, float]:
    """A live loop, a frame each 80 ms: how many were not done when the next one came."""
    encoder, decoder = mimi.encoder_stream(num_codebooks=num_codebooks), mimi.decoder_stream()
    period = 1 / mimi.frame_rate
    pcm = noise(mimi, seconds).reshape(-1, mimi.frame_size)
    decoder.push(encoder.push(pcm[0]))
    late, busy, due = 0, 0.0, time.perf_counter()
    for frame in pcm:
        time.sleep(max(0.0, due - time.perf_counter()))
        busy += _seconds(lambda x: decoder.push(encoder.push(x)), frame)
        due += period
        late += time.perf_counter() > due
    return {"frames": len(pcm), "late": late, "busy_percent": 100 * busy / (len(pcm) * period)}


def stages(mimi: Mimi, num_codebooks: int, runs: int = 20) -> dict[str, float]:
    """Milliseconds of each stage of a step, each compiled and evaluated alone."""
    codec, config = mimi.codec, mimi.config
    with mimi.on_device():
        pcm = mx.array(noise(mimi, 1 / mimi.frame_rate)).reshape(1, -1, 1)
        latents = mx.random.normal((1, 2, config.hidden_size), key=mx.random.key(0))
        frame = latents[:, :1]
        codes = mx.zeros((1, num_codebooks, 1), mx.int32)
        before, after = mimi.init_encoder_state(), mimi.init_decoder_state()
        calls: dict[str, tuple[Callable, tuple]] = {
            "encoder_seanet": (codec.encoder.step, (pcm, before.seanet)),
            "encoder_transformer": (codec.encoder_transformer.step, (latents, before.transformer)),
            "downsample": (codec.downsample.step, (latents, before.downsample)),
            "quantise": (lambda x: codec.quantizer.encode(x, num_codebooks), (frame,)),
            "dequantise": (codec.quantizer.decode, (codes,)),
            "upsample": (codec.upsample.step, (frame, after.upsample)),
            "decoder_transformer": (codec.decoder_transformer.step, (latents, after.transformer)),
            "decoder_seanet": (codec.decoder.step, (latents, after.seanet)),
        }
        mx.eval(*(inputs for _, inputs in calls.values()))
        found = {}
        for name, (call, inputs) in calls.items():
            step = compiled(call)
            mx.eval(step(*inputs))
            found[name] = 1e3 * _median(lambda s=step, x=inputs: mx.eval(s(*x)), runs)
    return found


def searches(mimi: Mimi, num_codebooks: int, runs: int = 20) -> dict[str, float]:
    """Milliseconds of a frame's search, by kernels and by operations, where there are kernels."""
    quantizer = mimi.codec.quantizer
    books, num_semantic = quantizer.codebooks, quantizer.num_semantic
    with mimi.on_device():
        if not search.has_kernels(books, num_semantic):
            return {}
        x = mx.random.normal((1, 1, 2 * mimi.config.codebook_dim), key=mx.random.key(0))
        ways: dict[str, Callable] = {
            "kernels": lambda x: search.by_kernels(x, books, num_codebooks),
            "operations": lambda x: search.by_operations(x, books, num_codebooks, num_semantic),
        }
        found = {}
        for name, way in ways.items():
            step = compiled(way)
            mx.eval(step(x))
            found[name] = 1e3 * _median(lambda s=step: mx.eval(s(x)), runs)
    return found


def bytes_read(mimi: Mimi, half: str, num_codebooks: int) -> int:
    """Bytes of weights that one step of ``half`` must read: the floor of its memory traffic."""
    codec = mimi.codec
    weights = [codec[stage].parameters() for stage in STAGES[half]]
    if half == "encoder":
        weights += [codec.quantizer.input_proj.weight]
        weights += [codec.quantizer.codebooks.columns[:num_codebooks]]
    else:  # a decoder reads one entry of each codebook
        weights += [codec.quantizer.output_proj.weight]
    return sum(weight.nbytes for weight in dict(tree_flatten(weights)).values())


def read_rate(mimi: Mimi) -> float:
    """Bytes a second that the device reads from memory: the better of a matmul and a sum."""
    with mimi.on_device():
        matrix = mx.ones((16384, 4096))  # 268 MB, more than any cache
        row = mx.ones((1, 16384))
        mx.eval(matrix, row)
        ways = (lambda: mx.eval(row @ matrix), lambda: mx.eval(matrix.sum()))
        return matrix.nbytes / min(_seconds(way) for way in ways for _ in range(5))


def kernel_counts(mimi: Mimi, num_codebooks: int) -> dict[str, dict[str, Any]]:
    """The kernels of a step each way, by kind (see kernel_count.py)."""
    with mimi.on_device():  # a GPU does not have weights packed
        codec = Codec(mimi.config) if devices.packs() else mimi.codec
    both = {h: kernel_count.count(codec, h, num_codebooks) for h in ("encoder", "decoder")}
    return {
        half: {"total": each.total, "kinds": {_snake(kind): n for kind, n in each.kinds.items()}}
        for half, each in both.items()
    }


def _snake(name: str) -> str:
    """MLX's name of a primitive as a key: ``ArgReduce`` is ``arg_reduce``."""
    return re.sub("(?<=[a-z])(?=[A-Z])", "_", name).lower()


def _seconds(call: Callable, *inputs: Any) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    call(*inputs)
    return time.perf_counter() - start


def _median(call: Callable, runs: int) -> float:
    """Seconds of the median of some calls."""
    return float(np.median([_seconds(call) for _ in range(runs)]))
