"""Whether weights are the right ones: sums, recordings, their source, published figures."""

from collections.abc import Iterator
from pathlib import Path

import mlx.core as mx
import numpy as np

from .. import audio, files
from ..checkpoint import hub, mlx_format, precision, repository
from ..checkpoint.load import load
from ..mimi import Mimi
from ..tiny import RECORDED, SPEECH
from . import metrics, quality
from .checks import FIRST_CODES, FLOAT32, Check, error, share, snr

# Source: transformers' MimiIntegrationTest: codebooks, sum of all codes, RMSE, for
# obama_first_45_secs.mp3 of hf-internal-testing/dummy-audio-samples.
_PUBLISHED = ((8, 4621433, 0.00067151), (32, 18446927, 0.00049521))

# The most that two models of the same weights differ by, on the same machine: by nothing so far.
_SAME = 1e-6

NONE = "no reference for this checkpoint"


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
    yield share("codes of PyTorch, tiny", (np.array(tiny.encode(clip)) == codes).mean(), 1.0)
    pcm = np.array(tiny.decode(codes))[..., ::-1][..., :: int(stride)]
    yield error("waveform of PyTorch, tiny", metrics.relative_error(waveform, pcm), FLOAT32[1])


def of_weights(
    mimi: Mimi,
    paths: list[Path],
    recipe: precision.Recipe | None,
    device: mx.DeviceType | mx.Device | None,
) -> Iterator[Check]:
    """A model that is not the embedded one, against whatever its weights can be held against.

    A copy of the embedded model is held against that, which :func:`recorded` proves; a converted
    one against what it was made from, if that is on this disk. Else it is not run.

    Args:
        mimi: The model, as ``recipe`` reduced it.
        paths: Its files.
        recipe: How they were converted; None if they were not.
        device: What runs it.
    """
    if recipe is not None:
        yield from _of_conversion(mimi, paths[0], recipe, device)
        return
    tiny = Mimi.from_pretrained("tiny", device=device)
    if (mimi.config, mimi.fingerprint) == (tiny.config, tiny.fingerprint):
        yield from same(mimi, tiny, "tiny, which this copies")
    else:
        yield _not_run("none was recorded from PyTorch")


def _of_conversion(
    mimi: Mimi, file: Path, recipe: precision.Recipe, device: mx.DeviceType | mx.Device | None
) -> Iterator[Check]:
    origin = mlx_format.origin(file)
    if mlx_format.trained(file):
        yield _not_run("its decoder was trained here")
        return
    if origin is None:
        yield _not_run("its config.json does not say what it was converted from")
        return
    try:
        source = hub.on_disk(origin.name, origin.revision)
    except ValueError:  # it has become something else
        source = None
    if source is None:
        yield _not_run(f"its source {origin.name} is not on this disk")
        return
    if {path.name: files.sha256(path) for path in source.files} != origin.sha256:
        yield _not_run(f"{origin.name} is not what it was converted from, by its SHA-256")
        return
    reference = Mimi(load(source.files, source.config, device=device), device)
    name = f"its source {origin.name}"
    if recipe._replace(group_size=64) == precision.Recipe():
        yield from same(mimi, reference, name)
    else:
        yield from near(mimi, reference, name)


def same(mimi: Mimi, reference: Mimi, name: str) -> Iterator[Check]:
    """A model, or a half of it, against one that has the same weights, on the embedded speech."""
    clip = audio.read(SPEECH, mimi.sample_rate)
    codes = np.array(reference.encode(clip, mimi.num_codebooks))
    if "encoder" in mimi.codec:
        latents = [np.array(each.encode_to_latent(clip)) for each in (reference, mimi)]
        yield error(f"latents of {name}", metrics.relative_error(*latents), _SAME)
        yield share(f"codes of {name}", (np.array(mimi.encode(clip)) == codes).mean(), 1.0)
    if "decoder" in mimi.codec:
        waveforms = [np.array(each.decode(codes)) for each in (reference, mimi)]
        yield error(f"waveform of {name}", metrics.relative_error(*waveforms), _SAME)


def near(mimi: Mimi, reference: Mimi, name: str) -> Iterator[Check]:
    """A model, or a half of it, against the one that it reduces, on the embedded speech."""
    halves = [half for half in ("encoder", "decoder") if half in mimi.codec]
    half = halves[0] if len(halves) == 1 else None
    found = quality.compare(reference, mimi, [audio.read(SPEECH, mimi.sample_rate)], half)
    if found.first_codebook is not None:
        yield share(f"first codebook of {name}", found.first_codebook, FIRST_CODES)
    if found.snr is not None:
        yield snr(f"waveform of {name}", found.snr, precision.WORST_SNR)


def published(mimi: Mimi) -> Iterator[Check]:
    """kyutai/mimi's codes and reconstruction against the figures that transformers publishes.

    Raises:
        ValueError: The clip that they are of cannot be fetched.
    """
    pcm = audio.resample(*audio.load(_clip(), mono=True), mimi.sample_rate)
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
        difference = pcm / np.linalg.norm(pcm) - out / np.linalg.norm(out)
        off = float(np.sqrt(np.mean(difference**2)))
        yield Check(
            f"published RMSE, {count} codebooks",
            f"{off:.8f}",
            f"within 1e-5 of {rmse}",
            abs(off - rmse) <= 1e-5,
        )


def _clip() -> Path:
    from huggingface_hub import hf_hub_download

    repository, file = "hf-internal-testing/dummy-audio-samples", "obama_first_45_secs.mp3"
    try:
        return Path(hf_hub_download(repository, file, repo_type="dataset"))
    except Exception as error:  # of whichever HTTP library huggingface_hub uses
        raise ValueError(
            f"{file} of the dataset {repository}, of which the published figures are, cannot be "
            f"fetched ({files.reason(error)}). Try again with a network, or leave out --hub."
        ) from error


def _not_run(why: str) -> Check:
    return Check("these weights", f"{NONE}: {why}", "codes and waveform of PyTorch", None)
