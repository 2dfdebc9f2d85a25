"""How close audio is to its original, and a model of reduced precision to its own in float32."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import audio
from ..checkpoint import convert, hub, precision
from ..checkpoint.load import load
from ..mimi import Mimi
from ..streaming import validation
from ..tiny import SPEECH
from . import metrics

HEADS = {
    "si_sdr_db": "SI-SDR, dB",
    "log_mel_db": "log-mel, dB",
    "stft": "STFT",
    "pesq": "PESQ",
    "stoi": "STOI",
    "equal_codes_percent": "equal codes, %",
    "snr_of_other_db": "SNR of other, dB",
}
"""How a table calls figures, where a key would not do."""


def counts(asked: Sequence[int] | None, models: Sequence[Mimi]) -> list[int]:
    """Numbers of codebooks that all models have; None means those of 1, 4, 8, 16 and 32.

    Raises:
        ValueError: A model has not so many.
    """
    for count in asked or ():
        for mimi in models:
            validation.num_codebooks(count, mimi.config)
    few = min(mimi.num_codebooks for mimi in models)
    return list(asked or [n for n in (1, 4, 8, 16, 32) if n <= few])


def coded(
    mimi: Mimi, clip: np.ndarray, counts: Sequence[int], other: Mimi | None = None
) -> list[dict[str, Any]]:
    """A row for each number of codebooks, of ``clip [T]`` at its rate after this model.

    With another model, also the share of its codes that are equal, and its waveform's SNR against
    this model's for the same codes.
    """
    rows = []
    whole = np.array(mimi.encode(clip, max(counts)))
    theirs = np.array(other.encode(clip, max(counts))) if other else whole
    for count in counts:
        codes = whole[:, :count]
        decoded = np.array(mimi.decode(codes, length=len(clip)))[0, 0]
        kbps = mimi.config.kbps(count)
        row = {"codebooks": count, "kbps": kbps, **row_of(clip, decoded, mimi.sample_rate)}
        if other is not None:
            row["equal_codes_percent"] = 100 * float((codes == theirs[:, :count]).mean())
            again = np.array(other.decode(codes, length=len(clip)))[0, 0]
            row["snr_of_other_db"] = metrics.snr(decoded, again)
        rows.append(row)
    return rows


def row_of(reference: np.ndarray, degraded: np.ndarray, sample_rate: int) -> dict[str, float]:
    """The figures of two clips ``[T]``; PESQ and STOI where their packages are installed.

    Raises:
        ValueError: The lengths differ, or ``reference`` is silent.
    """
    row = {
        "si_sdr_db": metrics.si_sdr(reference, degraded),
        "log_mel_db": metrics.log_mel_distance(reference, degraded, sample_rate),
        "stft": metrics.stft_distance(reference, degraded),
    }
    pair = reference, degraded, sample_rate
    if importlib.util.find_spec("pesq"):
        row["pesq"] = _pesq(*pair)
    if importlib.util.find_spec("pystoi"):
        row["stoi"] = _stoi(*pair)
    return row


def _pesq(reference: np.ndarray, degraded: np.ndarray, sample_rate: int) -> float:
    """Wide-band PESQ (ITU-T P.862.2), which is defined at 16 kHz; NaN if it finds no utterance."""
    import pesq  # pyright: ignore[reportMissingImports]  # of an extra

    both = (x.astype(np.float32) for x in (reference, degraded))
    wide = [audio.resample(x, sample_rate, 16000) for x in both]
    on_error = pesq.PesqError.RETURN_VALUES
    found = float(pesq.pesq(16000, *wide, mode="wb", on_error=on_error))
    return found if found > 0 else np.nan  # an error's code, as of a clip that is too short


def _stoi(reference: np.ndarray, degraded: np.ndarray, sample_rate: int) -> float:
    """Short-time objective intelligibility; NaN if there is less speech than it looks at once."""
    if len(reference) < 0.4 * sample_rate:
        return np.nan
    import pystoi  # pyright: ignore[reportMissingImports]  # of an extra

    found = float(pystoi.stoi(reference, degraded, sample_rate))
    return found if found > 1e-5 else np.nan  # what it gives where silence leaves too little


class Fidelity(NamedTuple):
    """Shares of equal codes; and, of the same codes, how close the waveforms are.

    A figure is None where a model lacks the half that it is of.
    """

    first_codebook: float | None
    first_8: float | None
    all_codebooks: float | None
    snr: float | None  # dB, of the worst clip
    log_mel: float | None  # dB, mean of the clips


def compare(
    reference: Mimi, other: Mimi, clips: Sequence[np.ndarray], half: str | None = None
) -> Fidelity:
    """Compare on clips ``[T]`` at the models' rate.

    Args:
        reference: In float32.
        other: The same model reduced, perhaps with fewer codebooks.
        half: The one half that both have; None if they are whole.
    """
    count = other.num_codebooks
    shares, snrs, distances = [], [], []
    for clip in clips:
        if half != "decoder":
            codes = np.array(reference.encode(clip, count))
            shares.append(metrics.code_agreement(codes, np.array(other.encode(clip))))
        else:  # any codes will do: these are of no clip
            draw = np.random.default_rng(0)
            codes = draw.integers(0, other.codebook_size, (1, count, len(clip) // other.frame_size))
        if half != "encoder":
            expected, found = (np.array(m.decode(codes))[0, 0] for m in (reference, other))
            snrs.append(metrics.snr(expected, found))
            distances.append(metrics.log_mel_distance(expected, found, other.sample_rate))

    def share(books: int) -> float | None:
        return float(np.mean(shares, axis=0)[:books].mean()) if shares else None

    log_mel = float(np.mean(distances)) if distances else None
    return Fidelity(share(1), share(8), share(count), min(snrs, default=None), log_mel)


def against_float32(wanted: convert.Wanted, source: hub.Checkpoint, folder: Path) -> Fidelity:
    """How close the model in a folder is to what it was converted from, on the embedded speech.

    Raises:
        ValueError: It is not close enough.
        RuntimeError: It is float32 too, and has other codes.
    """
    reference = Mimi(load(source.files, source.config, wanted.only))
    mimi = Mimi.from_pretrained(folder)
    clip = audio.read(SPEECH, mimi.sample_rate)
    found = compare(reference, mimi, [clip], wanted.only)
    exact = wanted.recipe == precision.Recipe(group_size=wanted.recipe.group_size)
    if found.snr is not None and found.snr < precision.WORST_SNR:
        raise ValueError(
            f"{wanted.source} as {wanted.recipe} is {found.snr:.1f} dB from float32; at least "
            f"{precision.WORST_SNR:g} dB are asked for. Give --dtype float16, or float32."
        )
    if exact and (found.all_codebooks not in (None, 1.0)):
        raise RuntimeError(f"codes of the float32 folder differ: {found}")
    return found
