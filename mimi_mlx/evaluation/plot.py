"""One picture of what the codec does to a clip: spectrograms, codes, and the use of the entries."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from . import metrics

# Of the spectrograms: 43 ms every 5 ms at 24 kHz.
_WINDOW, _STRIDE = 1024, 128

_RANGE = 80  # dB below the loudest that are drawn

_STYLE = {"fontsize": 8}
_INK, _PALE = "#20344f", "#a9bdd6"


class CodedClip(NamedTuple):
    """A clip and what the codec made of it."""

    name: str
    clip: np.ndarray
    """Samples ``[T]``."""
    decoded: np.ndarray
    """Samples ``[T]``."""
    codes: np.ndarray
    """``[K, F]``."""
    sample_rate: int
    frame_size: int
    codebook_size: int
    kbps: float


def draw(path: Path, coded: CodedClip) -> None:
    """Write the picture as PNG: 7 inches wide, as a page's text is, at 300 dots an inch."""
    figure = Figure(figsize=(7, 7.6), dpi=300, layout="constrained")
    figure.get_layout_engine().set(h_pad=0.06, hspace=0.03)
    axes = figure.subplots(4, 1, height_ratios=(1.15, 1.15, 1, 0.8))
    _spectrograms(figure, axes[:2], coded)
    _codes(figure, axes[2], coded)
    _use(axes[3], coded)
    for letter, each in zip("abcd", axes, strict=True):
        each.tick_params(labelsize=7)
        each.set_title(f"({letter}) {each.get_title(loc='left')}", loc="left", **_STYLE)
    FigureCanvasAgg(figure).print_png(str(path))


def _spectrograms(figure: Figure, axes: np.ndarray, coded: CodedClip) -> None:
    both = [
        20 * np.log10(np.maximum(metrics.spectrum(x, _WINDOW, _STRIDE), 1e-9))
        for x in (coded.clip, coded.decoded)
    ]
    top = max(x.max() for x in both)
    seconds = len(coded.clip) / coded.sample_rate
    titles = (
        f"Original: {coded.name}",
        f"Decoded from {len(coded.codes)} codebooks, {coded.kbps:.3g} kbps",
    )
    for each, values, title in zip(axes, both, titles, strict=True):
        image = each.imshow(
            values.T,
            origin="lower",
            aspect="auto",
            extent=(0, len(values) * _STRIDE / coded.sample_rate, 0, coded.sample_rate / 2000),
            cmap="magma",
            vmin=top - _RANGE,
            vmax=top,
            interpolation="bilinear",
        )
        each.set_xlim(0, seconds)
        each.set_ylabel("Frequency, kHz", **_STYLE)
        each.set_title(title, loc="left")
        each.tick_params(labelbottom=False)
    _bar(figure, image, list(axes), "Magnitude, dB")


def _codes(figure: Figure, axes: Axes, coded: CodedClip) -> None:
    count, frames = coded.codes.shape
    image = axes.imshow(
        coded.codes,
        aspect="auto",
        extent=(0, frames * coded.frame_size / coded.sample_rate, count + 0.5, 0.5),
        cmap="cividis",
        vmin=0,
        vmax=coded.codebook_size - 1,
        interpolation="nearest",
    )
    axes.set_xlim(0, len(coded.clip) / coded.sample_rate)
    axes.yaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    axes.set_ylim(count + 0.5, 0.5)
    axes.set_xlabel("Time, s", **_STYLE)
    axes.set_ylabel("Codebook", **_STYLE)
    axes.set_title(f"Codes: {frames} frames of {count}; codebook 1 is semantic", loc="left")
    _bar(figure, image, [axes], "Entry")


def _use(axes: Axes, coded: CodedClip) -> None:
    """Distinct entries and perplexity of each codebook: how many it uses, and how evenly."""
    count, frames = coded.codes.shape
    shares = [np.unique(row, return_counts=True)[1] / frames for row in coded.codes]
    numbers = np.arange(1, count + 1)
    axes.bar(numbers, [len(s) for s in shares], 0.72, color=_PALE, label="distinct entries")
    perplexity = [np.exp(-np.sum(s * np.log(s))) for s in shares]
    axes.plot(numbers, perplexity, "o", ms=4, color=_INK, label="perplexity")
    axes.axhline(frames, color="0.4", lw=0.7, ls="--", label=f"frames ({frames})")
    axes.xaxis.set_major_locator(MaxNLocator(16, integer=True, min_n_ticks=1))
    axes.set_xlim(0.4, count + 0.6)
    axes.set_ylim(0, 1.3 * frames)
    axes.set_xlabel("Codebook", **_STYLE)
    axes.set_ylabel("Entries", **_STYLE)
    axes.set_title(f"Use of each codebook's {coded.codebook_size} entries", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=7, frameon=False, ncols=3, loc="upper right")


def _bar(figure: Figure, image, axes: list[Axes], label: str) -> None:
    bar = figure.colorbar(image, ax=axes, pad=0.01, aspect=12 * len(axes), fraction=0.05)
    bar.set_label(label, **_STYLE)
    bar.ax.tick_params(labelsize=7)
    bar.outline.set_linewidth(0.5)
