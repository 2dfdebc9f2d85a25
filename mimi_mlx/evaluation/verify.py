"""Proof that this machine computes a model right; whether its weights are: references.py."""

import os
from collections.abc import Iterator

import mlx.core as mx
import numpy as np

from .. import audio
from ..checkpoint import precision
from ..mimi import Mimi
from ..model.ops import device as device_of
from ..model.ops import search
from ..tiny import SPEECH
from . import bench, metrics, numerics, quality, references
from .checks import FIRST_CODES, FLOAT32, REDUCED, Check, Limits, error, share, snr

# A product of float32 is within 1e-6 or so; one of 11 bits (TF32) is 3e-4 or more off.
_PRODUCT_ERROR = 2e-5

# dB. Of all recipes 4 bit in groups of 128, the rest bfloat16, leaves tiny the least: 20 on a CPU.
_TINY_SNR = 18.0

# Processes a processor before it began, from which on a paced second proves nothing by failing.
_LOADED = 0.4

_SECONDS = 3  # paced ones, of which the best counts


def run(
    mimi: Mimi, recipe: precision.Recipe | None, device: mx.DeviceType | mx.Device | None
) -> list[Check]:
    """All checks of a model, and of this package with the embedded one, on a device."""
    load = os.getloadavg()[0] / (os.cpu_count() or 1)  # a processor, before this adds to it
    reduced = recipe is not None and recipe._replace(group_size=64) != precision.Recipe()
    tiny = Mimi.from_pretrained("tiny", device=device)
    clip = audio.read(SPEECH, tiny.sample_rate)
    checks = [*references.recorded(tiny, clip), *products(tiny)]
    if recipe is not None and reduced:
        checks += in_recipe(tiny, recipe, clip, device)
    clip = clip[: 20 * mimi.frame_size + 123]  # ragged
    if "encoder" in mimi.codec:
        codes = np.array(mimi.encode(clip))
    else:
        shape = 1, mimi.num_codebooks, 21
        codes = np.random.default_rng(0).integers(0, mimi.codebook_size, shape, np.int32)
    limits = REDUCED if reduced else FLOAT32
    checks += [*streams(mimi, clip, codes, limits), *devices(mimi, clip, codes, limits)]
    if "encoder" in mimi.codec:
        checks.append(kernels(mimi, clip))
    if "encoder" in mimi.codec and "decoder" in mimi.codec:
        checks.append(paced(mimi, load))
    return checks


def products(mimi: Mimi) -> Iterator[Check]:
    """Whether the device computes products of float32 in fewer bits, and the codec all the same."""
    with mimi.on_device():
        measured = list(numerics.errors())
    for name, own, codec in measured:
        check = error(name, codec, _PRODUCT_ERROR)
        figure = f"{check.figure}, MLX's own {own:.1e}"
        if own > _PRODUCT_ERROR:
            figure += ": reduced" + ", which the codec avoids" * bool(check.passed)
        if not check.passed:
            check = check._replace(must=f"{check.must}; start Python with MLX_ENABLE_TF32=0")
        yield check._replace(figure=figure)


def in_recipe(
    tiny: Mimi, recipe: precision.Recipe, clip: np.ndarray, device: mx.DeviceType | mx.Device | None
) -> Iterator[Check]:
    """The embedded model in the recipe of the model that is verified."""
    other = bench.as_converted("tiny", recipe, device)
    found = quality.compare(tiny, other, [clip])
    assert found.first_codebook is not None and found.snr is not None  # both halves are there
    yield share(f"first codebook, tiny in {recipe}", found.first_codebook, FIRST_CODES)
    yield snr(f"waveform, tiny in {recipe}", found.snr, _TINY_SNR)


def streams(mimi: Mimi, clip: np.ndarray, codes: np.ndarray, limits: Limits) -> Iterator[Check]:
    """Any cutting gives what the whole gives, and so do two streams by turns."""
    if "encoder" in mimi.codec:
        stream = mimi.encoder_stream()
        cuts = np.split(clip, [1, 700, 1920, 9000, 9001, 20000])
        parts = [np.array(stream.push(part)) for part in cuts] + [np.array(stream.flush())]
        equal = (np.concatenate(parts, axis=-1) == codes).mean()
        yield share("codes, stream against whole", equal, limits[0])
        clips = clip[: 12 * mimi.frame_size].reshape(2, 6, mimi.frame_size)
        a, b = mimi.encoder_stream(), mimi.encoder_stream()
        mixed = [(np.array(a.push(x)), np.array(b.push(y))) for x, y in zip(*clips, strict=True)]
        a, b = mimi.encoder_stream(), mimi.encoder_stream()
        alone = [np.array(a.push(x)) for x in clips[0]], [np.array(b.push(y)) for y in clips[1]]
        equal = (np.array(mixed).swapaxes(0, 1) == np.array(alone)).mean()
        yield share("two streams against each alone", equal, 1.0)
    if "decoder" in mimi.codec:
        decoder = mimi.decoder_stream()
        parts = [np.array(decoder.push(codes[..., i : i + 1])) for i in range(codes.shape[2])]
        off = metrics.relative_error(np.array(mimi.decode(codes)), np.concatenate(parts, axis=-1))
        yield error("waveform, stream against whole", off, limits[1])


def devices(mimi: Mimi, clip: np.ndarray, codes: np.ndarray, limits: Limits) -> Iterator[Check]:
    """Each stage on the GPU against the CPU, both given the CPU's input."""
    if not device_of.has_gpu():
        yield Check("GPU against CPU", "this machine has no GPU", "", None)
        return
    for half in filter(mimi.codec.__contains__, bench.STAGES):
        with device_of.on(mx.cpu):
            latents = mimi.codec.quantizer.decode(mx.array(codes))
        x = mx.array(clip)[None, :, None] if half == "encoder" else latents
        for stage in bench.STAGES[half]:
            module, outputs = mimi.codec[stage], []
            for device in (mx.cpu, mx.gpu):
                with device_of.on(device):
                    y, _ = module.step(x, module.init_state(1))
                    outputs.append(np.array(y))
            off = metrics.relative_error(*outputs)
            yield error(f"{stage}, GPU against CPU", off, limits[1])
            x = mx.array(outputs[0])


def kernels(mimi: Mimi, clip: np.ndarray) -> Check:
    """Frames' codes by the quantiser's kernel, many at once and each alone, and by operations."""
    name, quantizer = "quantiser's kernel against its operations", mimi.codec.quantizer
    with mimi.on_device():
        if not device_of.is_gpu():
            why = "it runs on the CPU" if device_of.has_gpu() else "this machine has no GPU"
            return Check(name, why, "", None)
        if not search.has_kernels(quantizer.codebooks, quantizer.num_semantic):
            return Check(name, "it is off: operations are used", "", None)
        latents = mimi.encode_to_latent(clip).swapaxes(1, 2)[:, : search.MOST_ROWS]
        x, books, count = quantizer.input_proj(latents), quantizer.codebooks, mimi.num_codebooks
        alone = [search.by_kernels(x[:, i : i + 1], books, count) for i in range(x.shape[1])]
        found = [search.by_kernels(x, books, count), mx.concatenate(alone, axis=-1)]
        expected = search.by_operations(x, books, count, 1)
        equal = np.mean([np.array(codes == expected) for codes in found])
        return share(name, float(equal), 1.0)


def paced(mimi: Mimi, load: float) -> Check:
    """A second of frames, one each 80 ms, there and back: the best of some.

    One without a late frame proves that the machine can. A late frame fails it on an idle machine
    alone; where others work too, nothing was proven.
    """
    count = min(8, mimi.num_codebooks)
    found = bench.paced(mimi, count, seconds=1)
    for _ in range(_SECONDS - 1):
        if found["late"]:
            found = bench.paced(mimi, count, seconds=1)
    figure = f"{found['late']} of {found['frames']} frames late, busy {found['busy_percent']:.0f} %"
    passed: bool | None = not found["late"]
    if not passed and load > _LOADED:
        figure, passed = f"{figure}; load {load:.1f} a processor before", None
    return Check(f"a paced second, {count} codebooks", figure, "no frame late", passed)
