"""How far a waveform is from another: log-mel and STFT magnitudes at many resolutions.

Whatever is compared has one loudness scale: a target that is half as loud gives the same losses,
but for what is near silence.
"""

import functools
from typing import NamedTuple

import mlx.core as mx
import numpy as np

# Windows in samples, and bands of mel: DAC's, but that it has 160 and 320 of the longest two, many
# of which would be of one bin alone at 24 kHz.
_MEL = {32: 5, 64: 10, 128: 20, 256: 40, 512: 80, 1024: 120, 2048: 160}
_STFT = (512, 1024, 2048)

_FLOOR = 1e-5  # what is below counts as silence: -100 dB, where a full-scale sine is 0 dB

# -60 dB of a waveform, -80 dB of a spectrum: no target counts as more quiet than that in what is
# relative to it.
_QUIET, _QUIET_SPECTRUM = 1e-3, 1e-4

LONGEST = max(_MEL)
"""Samples that a waveform must have at least."""


class Losses(NamedTuple):
    """The parts of a loss, scalars without a unit; less is better."""

    log_mel: mx.array
    stft: mx.array
    waveform: mx.array


WEIGHTS = (1.0, 0.5, 0.1)
"""Of the parts: the waveform a little, for the phase that magnitudes leave open."""


def total(losses: Losses) -> mx.array:
    """The weighted sum of the parts."""
    return sum((x * w for x, w in zip(losses, WEIGHTS, strict=True)), mx.array(0.0))


def reconstruction(target: mx.array, found: mx.array, sample_rate: int) -> Losses:
    """How far ``found [B, T]`` is from ``target [B, T]``, T at least ``LONGEST``.

    The log-mel part is the mean absolute difference over windows of 32 to 2048 samples, the STFT
    part that of magnitudes and of their logarithms. EnCodec adds squared differences of mel
    spectrograms; with these, log-mel distance and STOI of what was held out were worse.

    Source: Kumar et al., DAC (arXiv 2306.06546), section 3.4; Défossez et al., EnCodec (arXiv
    2210.13438), section 3.4.
    """
    log_mels, stfts = [], []
    for window, bands in _MEL.items():
        a, b = (magnitudes(x, window) for x in (target, found))
        filters = _mean_filters(sample_rate, window, bands)
        log_mels.append(_log_difference(a @ filters, b @ filters))
        if window in _STFT:
            stfts.append(_difference(a, b) + _log_difference(a, b))
    return Losses(_mean(log_mels), _mean(stfts), _difference(target, found))


def magnitudes(x: mx.array, window: int) -> mx.array:
    """STFT magnitudes ``[B, windows, window / 2 + 1]`` of ``x [B, T]``; 1 is a full-scale sine.

    Windows are Hann's, a quarter of their length apart, and none reaches past an end.
    """
    stride = window // 4
    blocks = x[:, : x.shape[1] // stride * stride].reshape(len(x), -1, stride)
    count = blocks.shape[1] - 3
    frames = mx.concatenate([blocks[:, i : i + count] for i in range(4)], axis=-1)
    spectrum = mx.fft.rfft(frames * _taper(window), axis=-1)
    # The root of 0 has no slope.
    power = mx.square(spectrum.real) + mx.square(spectrum.imag)
    return mx.sqrt(mx.maximum(power, _FLOOR**2))


def mel_filters(sample_rate: int, window: int, bands: int) -> np.ndarray:
    """Triangles of height 1 ``[window / 2 + 1, bands]``, equally wide in mel from 0 Hz on.

    Source: Slaney, Auditory Toolbox; librosa's ``filters.mel(norm=None)``.
    """
    # Below 1 kHz a mel is 200 / 3 Hz; from there on a factor of 6.4 is 27 mel.
    top = 15 + 27 * np.log(max(sample_rate / 2 / 1000, 1)) / np.log(6.4)
    mel = np.linspace(0, top if sample_rate > 2000 else sample_rate / 2 * 3 / 200, bands + 2)
    edges = np.where(mel < 15, mel * 200 / 3, 1000 * 6.4 ** ((mel - 15) / 27))
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    bins = np.fft.rfftfreq(window, 1 / sample_rate)[:, None]
    rise, fall = (bins - lower) / (centre - lower), (upper - bins) / (upper - centre)
    return np.maximum(0, np.minimum(rise, fall))


@functools.cache
def _mean_filters(sample_rate: int, window: int, bands: int) -> mx.array:
    """The same, as means over each band."""
    filters = mel_filters(sample_rate, window, bands)
    return mx.array((filters / np.maximum(filters.sum(axis=0), 1e-9)).astype(np.float32))


@functools.cache
def _taper(window: int) -> mx.array:
    taper = np.hanning(window + 1)[:-1]  # periodic
    return mx.array((2 / taper.sum() * taper).astype(np.float32))


def _mean(parts: list[mx.array]) -> mx.array:
    return mx.stack(parts).mean()


def _log_difference(a: mx.array, b: mx.array) -> mx.array:
    return mx.abs(mx.log(mx.maximum(a, _FLOOR)) - mx.log(mx.maximum(b, _FLOOR))).mean()


def _difference(a: mx.array, b: mx.array) -> mx.array:
    """The mean absolute difference, relative to ``a``, of each row.

    Differs from DAC and EnCodec: relative, so that loudness does not matter.
    """
    axes = tuple(range(1, a.ndim))
    quiet = _QUIET if a.ndim == 2 else _QUIET_SPECTRUM
    level = mx.maximum(mx.abs(a).mean(axis=axes), quiet)
    return (mx.abs(a - b).mean(axis=axes) / level).mean()
