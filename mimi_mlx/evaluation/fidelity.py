"""How close a model of reduced precision stays to the one that it was made from."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..mimi import Mimi
from . import metrics


class Fidelity(NamedTuple):
    """Shares of equal codes; and, of the same codes, how close the waveforms are.

    A figure is None where a model lacks the half that it is of.
    """

    first_codebook: float | None
    first_8: float | None
    all_codebooks: float | None
    snr: float | None
    """dB, of the worst clip."""
    log_mel: float | None
    """dB, mean of the clips."""


def compare(
    reference: Mimi, other: Mimi, clips: Sequence[np.ndarray], half: str | None = None
) -> Fidelity:
    """Compare on clips ``[T]``.

    Args:
        reference: In float32.
        other: The same model reduced, perhaps with fewer codebooks.
        clips: Samples at the models' rate.
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
    agreement = np.mean(shares, axis=0) if shares else None
    return Fidelity(
        *(None if agreement is None else float(agreement[:n].mean()) for n in (1, 8, None)),
        min(snrs, default=None),
        float(np.mean(distances)) if distances else None,
    )
