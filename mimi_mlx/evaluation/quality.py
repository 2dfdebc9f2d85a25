"""How close audio is to its original: every figure that ``mimi-mlx eval`` knows, in one row."""

import importlib.util
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..mimi import Mimi
from . import metrics

# Rates in Hz that PESQ is defined at; wide band.
_PESQ_RATE = 16000


def coded(
    mimi: Mimi, clip: np.ndarray, counts: Sequence[int], other: Mimi | None = None
) -> list[dict[str, Any]]:
    """A row for each number of codebooks, of ``clip [T]`` after this model.

    With another model, also the share of its codes that are equal, and its waveform's SNR against
    this model's for the same codes.
    """
    rows = []
    whole = np.array(mimi.encode(clip, max(counts)))
    theirs = None if other is None else np.array(other.encode(clip, max(counts)))
    for count in counts:
        codes = whole[:, :count]
        decoded = np.array(mimi.decode(codes, length=len(clip)))[0, 0]
        kbps = mimi.config.kbps(count)
        row = {"codebooks": count, "kbps": kbps, **row_of(clip, decoded, mimi.sample_rate)}
        if other is not None:
            row["equal codes, %"] = 100 * float((codes == theirs[:, :count]).mean())
            again = np.array(other.decode(codes, length=len(clip)))[0, 0]
            row["SNR of other, dB"] = metrics.snr(decoded, again)
        rows.append(row)
    return rows


def row_of(reference: np.ndarray, degraded: np.ndarray, sample_rate: int) -> dict[str, float]:
    """The figures of two clips ``[T]``; PESQ and STOI where their packages are installed."""
    row = {
        "SI-SDR, dB": metrics.si_sdr(reference, degraded),
        "log-mel, dB": metrics.log_mel_distance(reference, degraded, sample_rate),
        "STFT": metrics.stft_distance(reference, degraded),
    }
    if importlib.util.find_spec("pesq"):
        row["PESQ"] = _pesq(reference, degraded, sample_rate)
    if importlib.util.find_spec("pystoi"):
        import pystoi

        row["STOI"] = float(pystoi.stoi(reference, degraded, sample_rate))
    return row


def _pesq(reference: np.ndarray, degraded: np.ndarray, sample_rate: int) -> float:
    """Wide-band PESQ (ITU-T P.862.2); NaN where it finds no utterance."""
    import pesq

    from ..audio import resample

    pair = (resample(x.astype(np.float32), sample_rate, _PESQ_RATE) for x in (reference, degraded))
    return float(pesq.pesq(_PESQ_RATE, *pair, "wb", on_error=pesq.PesqError.RETURN_VALUES))
