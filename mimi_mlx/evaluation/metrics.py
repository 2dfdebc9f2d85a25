"""How close a decoded clip is to the original, and codes to codes. Numpy only."""

import numpy as np

# The log-mel spectrogram: windows of 43 ms every 11 ms at 24 kHz, and 80 bands.
_WINDOW, _STRIDE, _BANDS = 1024, 256, 80

_FLOOR = 1e-5  # what is below counts as silence: -100 dB, where a full-scale sine is 0 dB


def si_sdr(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Scale-invariant signal-to-distortion ratio of ``estimate [T]``, in dB; more is better.

    Raises:
        ValueError: The lengths differ, or the reference is silent.

    Source: Le Roux et al., SDR: half-baked or well done? (arXiv 1811.02508).
    """
    reference, estimate = _pair(reference, estimate, "SI-SDR needs a signal")
    if not estimate.any():
        return -np.inf
    target = (estimate @ reference) / (reference @ reference) * reference
    distortion = estimate - target
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(np.divide(target @ target, distortion @ distortion)))


def snr(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Signal-to-noise ratio of ``estimate [T]``, in dB; infinite where nothing differs.

    Raises:
        ValueError: The lengths differ, or the reference is silent.
    """
    reference, estimate = _pair(reference, estimate, "an SNR needs a signal")
    noise = np.sum((reference - estimate) ** 2)
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(np.divide(reference @ reference, noise)))


def relative_error(reference: np.ndarray, estimate: np.ndarray) -> float:
    """RMS of the difference over RMS of ``reference``, of any shape; errors are :func:`snr`'s."""
    return 10 ** (-snr(reference.ravel(), estimate.ravel()) / 20)


def stft_distance(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Multi-resolution STFT distance; less is better, 0 is equal.

    The mean over windows of 512, 1024 and 2048 samples of the spectral convergence and of the mean
    absolute difference of log magnitudes. The result has no unit.

    Raises:
        ValueError: The lengths differ, or the reference is silent.

    Source: Yamamoto et al., Parallel WaveGAN (arXiv 1910.11480), section 2.2.
    """
    reference, estimate = _pair(reference, estimate, "it has no spectrum")
    total = 0.0
    for window in (512, 1024, 2048):
        a, b = (np.maximum(spectrum(x, window, window // 4), _FLOOR) for x in (reference, estimate))
        total += np.linalg.norm(a - b) / np.linalg.norm(a) + np.abs(np.log(a / b)).mean()
    return float(total / 3)


def log_mel_distance(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> float:
    """Mean absolute difference of the log-mel spectrograms of ``[T]``, in dB; less is better.

    Raises:
        ValueError: The lengths differ.
    """
    reference, estimate = _pair(reference, estimate)
    return float(np.abs(log_mel(reference, sample_rate) - log_mel(estimate, sample_rate)).mean())


def log_mel(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """The log-mel spectrogram ``[windows, 80]`` of samples ``[T]``, in dB of magnitude."""
    magnitudes = spectrum(samples, _WINDOW, _STRIDE)
    return 20 * np.log10(np.maximum(magnitudes @ mel_bands(sample_rate), _FLOOR))


def spectrum(samples: np.ndarray, window: int, stride: int) -> np.ndarray:
    """Magnitudes ``[windows, window / 2 + 1]`` of samples ``[T]``; 1 is a full-scale sine."""
    samples = np.pad(samples, (window // 2, window))  # every sample is inside some window
    windows = np.lib.stride_tricks.sliding_window_view(samples, window)[::stride]
    taper = np.hanning(window)
    return np.abs(np.fft.rfft(windows * (2 / taper.sum() * taper), axis=-1))


def mel_bands(sample_rate: int) -> np.ndarray:
    """Triangular bands ``[_WINDOW / 2 + 1, 80]``, equally wide in mel, each of sum 1.

    Source: O'Shaughnessy's mel scale, 2595 log10(1 + f / 700 Hz).
    """
    top = 2595 * np.log10(1 + sample_rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, _BANDS + 2) / 2595) - 1)  # Hz
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    # A band narrower than the bins are apart would fall between them and hold nothing.
    apart = sample_rate / _WINDOW
    lower, upper = np.minimum(lower, centre - apart), np.maximum(upper, centre + apart)
    bins = np.fft.rfftfreq(_WINDOW, 1 / sample_rate)[:, None]
    rise, fall = (bins - lower) / (centre - lower), (upper - bins) / (upper - centre)
    bands = np.maximum(0, np.minimum(rise, fall))
    return bands / bands.sum(axis=0)


def code_agreement(reference: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """The share of equal codes in each codebook, ``[K]``, of codes ``[B, K, F]`` or ``[K, F]``.

    Raises:
        ValueError: The shapes differ, or there are no codes.
    """
    reference, codes = np.asarray(reference), np.asarray(codes)
    if reference.shape != codes.shape or reference.ndim not in (2, 3) or not reference.size:
        raise ValueError(
            f"codes have shapes {reference.shape} and {codes.shape}; both must be the same "
            "[B, K, F] or [K, F]. Compare the same frames of the same codebooks."
        )
    same = (reference == codes).reshape(-1, *reference.shape[-2:])
    return same.mean(axis=(0, 2))


def _pair(reference: np.ndarray, estimate: np.ndarray, rule: str = "") -> list[np.ndarray]:
    """Both in float64, equally long; a ``rule`` says why the reference must not be silent."""
    reference, estimate = pair = [np.asarray(x, np.float64) for x in (reference, estimate)]
    if reference.ndim != 1 or reference.shape != estimate.shape or not reference.size:
        raise ValueError(
            f"the clips have shapes {reference.shape} and {estimate.shape}; both must be [T]. "
            "Cut the decoded clip to the original's length."
        )
    if rule and reference @ reference == 0:
        raise ValueError(f"the reference is silent; {rule}. Choose another clip.")
    return pair
