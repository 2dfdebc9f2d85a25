"""Proof that a model is right on this machine: each check is a figure and what it must be."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import mlx.core as mx
import numpy as np

from .. import audio, files
from ..checkpoint import mlx_format, precision, repository
from ..mimi import Mimi
from ..model.ops import device as device_of
from ..tiny import RECORDED, SPEECH
from . import bench, metrics, numerics, quality

Limits = tuple[float, float]
"""The least share of equal codes, and the most RMS of a difference over RMS of what is right."""

_FLOAT32: Limits = 1.0, 1e-4
_REDUCED: Limits = 0.98, 2e-2  # of 8 or 11 bits: the last bits of an input decide oftener

# A product of float32 is within 1e-6 or so; one of 11 bits (TF32, on M5 GPUs) is 3e-4 or more off.
_PRODUCT_ERROR = 2e-5

_FIRST_CODES = 0.9  # of the first codebook's, in a reduced recipe against float32

# Processes a processor before it began, from which on a paced second proves nothing by failing.
_LOADED = 0.4

# Source: transformers' MimiIntegrationTest: codebooks, sum of all codes, RMSE, for
# obama_first_45_secs.mp3 of hf-internal-testing/dummy-audio-samples.
_PUBLISHED = ((8, 4621433, 0.00067151), (32, 18446927, 0.00049521))


class Check(NamedTuple):
    """One line of the table."""

    name: str
    figure: str
    must: str  # what the figure has to be; empty if this machine has nothing to check
    passed: bool


def run(mimi: Mimi, recipe: precision.Recipe | None, device: mx.DeviceType | None) -> list[Check]:
    """All checks of a model, and of this package with the embedded one, on a device."""
    load = os.getloadavg()[0] / (os.cpu_count() or 1)  # a processor, before this adds to it
    reduced = recipe is not None and recipe._replace(group_size=64) != precision.Recipe()
    tiny = Mimi.from_pretrained("tiny", device=device)
    clip = audio.read(SPEECH, tiny.sample_rate)
    checks = [*recorded(tiny, clip), *products(tiny)]
    if recipe is not None and reduced:
        checks += in_recipe(tiny, recipe, clip, device)
    clip = clip[: 20 * mimi.frame_size + 123]  # ragged
    if "encoder" in mimi.codec:
        codes = np.array(mimi.encode(clip))
    else:
        shape = 1, mimi.num_codebooks, 21
        codes = np.random.default_rng(0).integers(0, mimi.codebook_size, shape, np.int32)
    limits = _REDUCED if reduced else _FLOAT32
    checks += [*streams(mimi, clip, codes, limits), *devices(mimi, clip, codes, limits)]
    if "encoder" in mimi.codec and "decoder" in mimi.codec:
        checks.append(paced(mimi, load))
    return checks


def checksum(paths: list[Path]) -> Iterator[Check]:
    """Files against the sums that convert wrote beside them, or that the Hub gave them."""
    for path in paths:
        for who, said in (
            ("config.json", mlx_format.checksum(path)),
            ("the Hub", repository.checksum(path)),
        ):
            if said:
                found = files.sha256(path)
                must = f"{said[:16]}..., as {who} says"
                yield Check(f"SHA-256 of {path.name}", f"{found[:16]}...", must, found == said)


def recorded(tiny: Mimi, clip: np.ndarray) -> Iterator[Check]:
    """The embedded model against what PyTorch made of the embedded clip."""
    with np.load(RECORDED) as file:
        codes, waveform, stride = (file[k] for k in ("codes", "waveform", "stride"))
    codes = codes.astype(np.int32)
    yield _share("codes of PyTorch, tiny", (np.array(tiny.encode(clip)) == codes).mean(), 1.0)
    pcm = np.array(tiny.decode(codes))[..., ::-1][..., :: int(stride)]
    yield _error("waveform of PyTorch, tiny", metrics.relative_error(waveform, pcm), 1e-4)


def products(mimi: Mimi) -> Iterator[Check]:
    """Whether the device computes products of float32 in fewer bits, and the codec all the same."""
    with mimi.on_device():
        measured = list(numerics.errors())
    for name, own, codec in measured:
        check = _error(name, codec, _PRODUCT_ERROR)
        figure = f"{check.figure}, MLX's own {own:.1e}"
        if own > _PRODUCT_ERROR:
            figure += ": reduced" + ", which the codec avoids" * check.passed
        if not check.passed:
            check = check._replace(must=f"{check.must}; start Python with MLX_ENABLE_TF32=0")
        yield check._replace(figure=figure)


def in_recipe(
    tiny: Mimi, recipe: precision.Recipe, clip: np.ndarray, device: mx.DeviceType | None
) -> Iterator[Check]:
    """The embedded model in the recipe of the model that is verified."""
    other = bench.as_converted("tiny", recipe, device)
    found = quality.compare(tiny, other, [clip])
    assert found.first_codebook is not None and found.snr is not None  # both halves are there
    yield _share(f"first codebook, tiny in {recipe}", found.first_codebook, _FIRST_CODES)
    yield Check(
        f"waveform, tiny in {recipe}",
        f"{found.snr:.1f} dB",
        f"at least {precision.WORST_SNR:g} dB",
        found.snr >= precision.WORST_SNR,
    )


def streams(mimi: Mimi, clip: np.ndarray, codes: np.ndarray, limits: Limits) -> Iterator[Check]:
    """Any cutting gives what the whole gives, and so do two streams by turns."""
    if "encoder" in mimi.codec:
        stream = mimi.encoder_stream()
        cuts = np.split(clip, [1, 700, 1920, 9000, 9001, 20000])
        parts = [np.array(stream.push(part)) for part in cuts] + [np.array(stream.flush())]
        equal = (np.concatenate(parts, axis=-1) == codes).mean()
        yield _share("codes, stream against whole", equal, limits[0])
        clips = clip[: 12 * mimi.frame_size].reshape(2, 6, mimi.frame_size)
        a, b = mimi.encoder_stream(), mimi.encoder_stream()
        mixed = [(np.array(a.push(x)), np.array(b.push(y))) for x, y in zip(*clips, strict=True)]
        a, b = mimi.encoder_stream(), mimi.encoder_stream()
        alone = [np.array(a.push(x)) for x in clips[0]], [np.array(b.push(y)) for y in clips[1]]
        equal = (np.array(mixed).swapaxes(0, 1) == np.array(alone)).mean()
        yield _share("two streams against each alone", equal, 1.0)
    if "decoder" in mimi.codec:
        decoder = mimi.decoder_stream()
        parts = [np.array(decoder.push(codes[..., i : i + 1])) for i in range(codes.shape[2])]
        error = metrics.relative_error(np.array(mimi.decode(codes)), np.concatenate(parts, axis=-1))
        yield _error("waveform, stream against whole", error, limits[1])


def devices(mimi: Mimi, clip: np.ndarray, codes: np.ndarray, limits: Limits) -> Iterator[Check]:
    """Each stage on the GPU against the CPU, both given the CPU's input."""
    if not device_of.has_gpu():
        yield Check("GPU against CPU", "this machine has no GPU", "", True)
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
            error = metrics.relative_error(*outputs)
            yield _error(f"{stage}, GPU against CPU", error, limits[1])
            x = mx.array(outputs[0])


def paced(mimi: Mimi, load: float) -> Check:
    """A second of frames, one each 80 ms, there and back; no failure where others work too."""
    found = bench.paced(mimi, min(8, mimi.num_codebooks), seconds=1)
    figure = f"{found['late']} of {found['frames']} frames late, busy {found['busy_percent']:.0f} %"
    check = Check(
        "a paced second, 8 codebooks", figure, "busy less than 100 %", found["busy_percent"] < 100
    )
    if check.passed or load <= _LOADED:
        return check
    figure += f"; not judged, load {load:.1f} a processor before"
    return check._replace(figure=figure, must="", passed=True)


def published(mimi: Mimi) -> Iterator[Check]:
    """kyutai/mimi's codes and reconstruction against the figures that transformers publishes."""
    from huggingface_hub import hf_hub_download

    name = "hf-internal-testing/dummy-audio-samples"
    file = Path(hf_hub_download(name, "obama_first_45_secs.mp3", repo_type="dataset"))
    pcm = audio.resample(*audio.load(file, mono=True), mimi.sample_rate)
    for count, total, rmse in _PUBLISHED:
        codes = mimi.encode(pcm, count)
        found = int(np.array(codes, np.int64).sum())
        yield Check(
            f"published sum of codes, {count} codebooks",
            str(found),
            f"within 0.3 % of {total}",
            abs(found / total - 1) <= 3e-3,
        )
        out = np.array(mimi.decode(codes, length=len(pcm)))[0, 0]
        error = float(
            np.sqrt(np.mean((pcm / np.linalg.norm(pcm) - out / np.linalg.norm(out)) ** 2))
        )
        yield Check(
            f"published RMSE, {count} codebooks",
            f"{error:.8f}",
            f"within 1e-5 of {rmse}",
            abs(error - rmse) <= 1e-5,
        )


def _share(name: str, share: float, least: float) -> Check:
    must = "all" if least == 1 else f"at least {100 * least:g} %"
    return Check(name, f"{100 * share:.2f} % equal", must, bool(share >= least))


def _error(name: str, error: float, most: float) -> Check:
    return Check(name, f"error {error:.1e}", f"at most {most:.0e}", bool(error <= most))
