"""One picture of what the codec does to a clip: spectrograms, codes, and the use of the entries."""

from typing import IO, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from ..model.config import MimiConfig
from ..text import counted
from . import metrics

# Of the spectrograms: 43 ms every 5 ms at 24 kHz.
_WINDOW, _STRIDE = 1024, 128

_RANGE = 80  # dB below the loudest that are drawn


class RoundTrip(NamedTuple):
    """A clip and what the codec made of it."""

    name: str
    clip: np.ndarray  # samples [T]
    decoded: np.ndarray  # samples [T]
    codes: np.ndarray  # [K, F]
    config: MimiConfig


def draw(file: IO[bytes], trip: RoundTrip) -> None:
    """Write the picture as PNG: 7 inches wide, as a page's text is, at 300 dots an inch."""
    with matplotlib.rc_context(
        {"font.size": 7, "axes.labelsize": 8, "axes.titlesize": 8, "axes.titlelocation": "left"}
    ):
        layout = ConstrainedLayoutEngine(h_pad=0.06, hspace=0.03)
        figure = Figure(figsize=(7, 7.6), dpi=300, layout=layout)
        axes = figure.subplots(4, 1, height_ratios=(1.15, 1.15, 1, 0.8))
        _spectrograms(figure, axes[:2], trip)
        _codes(figure, axes[2], trip)
        _use(axes[3], trip)
        for each in axes[:3]:
            each.set_xlim(0, len(trip.clip) / trip.config.sampling_rate)
        for letter, each in zip("abcd", axes, strict=True):
            each.set_title(f"({letter}) {each.get_title(loc='left')}")
        FigureCanvasAgg(figure).print_png(file)


def _spectrograms(figure: Figure, axes: np.ndarray, trip: RoundTrip) -> None:
    both = [
        20 * np.log10(np.maximum(metrics.spectrum(x, _WINDOW, _STRIDE), 1e-9))
        for x in (trip.clip, trip.decoded)
    ]
    top = max(x.max() for x in both)
    rate, count = trip.config.sampling_rate, len(trip.codes)
    titles = (
        f"Original: {trip.name}",
        f"Decoded from {count} codebooks, {trip.config.kbps(count):.3g} kbps",
    )
    for each, values, title in zip(axes, both, titles, strict=True):
        each.imshow(
            values.T,
            origin="lower",
            aspect="auto",
            extent=(0, len(values) * _STRIDE / rate, 0, rate / 2000),
            cmap="magma",
            vmin=top - _RANGE,
            vmax=top,
            interpolation="bilinear",
        )
        each.set(ylabel="Frequency, kHz", title=title)
        each.tick_params(labelbottom=False)
    _bar(figure, axes[0].images[0], list(axes), "Magnitude, dB")


def _codes(figure: Figure, axes: Axes, trip: RoundTrip) -> None:
    count, frames = trip.codes.shape
    image = axes.imshow(
        trip.codes,
        aspect="auto",
        extent=(0, frames / trip.config.frame_rate, count + 0.5, 0.5),
        cmap="cividis",
        vmin=0,
        vmax=trip.config.codebook_size - 1,
        interpolation="nearest",
    )
    axes.yaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    title = f"Codes: {counted(frames, 'frame')} of {count}; codebook 1 is semantic"
    axes.set(ylim=(count + 0.5, 0.5), xlabel="Time, s", ylabel="Codebook", title=title)
    _bar(figure, image, [axes], "Entry")


def _use(axes: Axes, trip: RoundTrip) -> None:
    """Distinct entries and perplexity of each codebook: how many it uses, and how evenly."""
    count, frames = trip.codes.shape
    shares = [np.unique(row, return_counts=True)[1] / frames for row in trip.codes]
    numbers = np.arange(1, count + 1)
    axes.bar(numbers, [len(s) for s in shares], 0.72, color="#a9bdd6", label="distinct entries")
    perplexity = [np.exp(-np.sum(s * np.log(s))) for s in shares]
    axes.plot(numbers, perplexity, "o", ms=4, color="#20344f", label="perplexity")
    axes.axhline(frames, color="0.4", lw=0.7, ls="--", label=f"frames ({frames})")
    axes.xaxis.set_major_locator(MaxNLocator(16, integer=True, min_n_ticks=1))
    axes.set(xlim=(0.4, count + 0.6), ylim=(0, 1.3 * frames), xlabel="Codebook", ylabel="Entries")
    axes.set_title(f"Use of each codebook's {trip.config.codebook_size} entries")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, ncols=3, loc="upper right")


def _bar(figure: Figure, image: AxesImage, axes: list[Axes], label: str) -> None:
    bar = figure.colorbar(
        image, ax=axes, label=label, pad=0.01, aspect=12 * len(axes), fraction=0.05
    )
    bar.outline.set_linewidth(0.5)
