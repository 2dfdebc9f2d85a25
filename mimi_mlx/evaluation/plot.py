"""One picture of what the codec does to a clip: spectrograms, codes, and the use of the entries."""

from typing import IO, Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from ..model.config import MimiConfig
from ..text import counted, printable
from . import metrics

# Of the spectrograms: 43 ms every 5 ms at 24 kHz.
_WINDOW, _STRIDE = 1024, 128

# A picture has some 2000 dots in a row. Of what falls into one, so many windows are looked at.
_COLUMNS, _LOOKS = 2000, 4

_MOST_LABELS = 16  # codebooks whose perplexity has room for a number

_RANGE = 80  # dB below the loudest that are drawn

# The font of everything, and those that systems have for Chinese, Japanese and Korean.
_FONT = "DejaVu Sans"
_MORE_FONTS = (
    *("Hiragino Sans", "PingFang SC", "Apple SD Gothic Neo", "Arial Unicode MS"),
    *("Noto Sans CJK JP", "Noto Sans CJK SC", "Source Han Sans", "WenQuanYi Zen Hei"),
    *("Droid Sans Fallback", "IPAexGothic", "IPAGothic", "NanumGothic"),
)
_BOX = "\u25a1"  # in place of a character that no font has


class RoundTrip(NamedTuple):
    """A clip and what the codec made of it."""

    title: str  # what was coded; may be empty
    clip: np.ndarray  # samples [T]
    decoded: np.ndarray  # samples [T]
    codes: np.ndarray  # [K, F]
    config: MimiConfig


def draw(file: IO[bytes], trip: RoundTrip, format: str) -> None:
    """Write the picture: 7 inches wide, as a page's text is.

    Spectrograms and codes are pictures of 300 dots an inch in every format, also in PDF and SVG.
    """
    families, title = fonts(trip.title)
    trip = trip._replace(title=title)
    style: dict[Any, Any] = {"font.size": 7, "axes.labelsize": 8, "axes.titlesize": 8}
    style |= {"axes.titlelocation": "left", "text.parse_math": False, "font.family": families}
    with matplotlib.rc_context(style):
        layout = ConstrainedLayoutEngine(h_pad=0.06, hspace=0.03)
        figure = Figure(figsize=(7, 7.6), dpi=300, layout=layout)
        axes = figure.subplots(4, 1, height_ratios=(1.15, 1.15, 1, 0.8))
        _spectrograms(figure, axes[:2], trip)
        _codes(figure, axes[2], trip)
        draw_use(axes[3], trip.codes, trip.config.codebook_size)
        for each in axes[:3]:
            each.set_xlim(0, len(trip.clip) / trip.config.sampling_rate)
        for letter, each in zip("abcd", axes, strict=True):
            each.set_title(f"({letter}) {each.get_title(loc='left')}")
        figure.savefig(file, format=format)


def fonts(text: str) -> tuple[list[str], str]:
    """The families of fonts to draw a text with, and the text with what none of them has boxed."""
    text, families = printable(text), [_FONT]
    missing = set(text) - _characters(_FONT)
    if missing:
        installed = {font.name for font in font_manager.fontManager.ttflist}
        for family in filter(installed.__contains__, _MORE_FONTS):
            if found := missing & _characters(family):
                families.append(family)
                missing -= found
    return families, "".join(_BOX if c in missing else c for c in text)


def _characters(family: str) -> set[str]:
    path = font_manager.findfont(font_manager.FontProperties(family=family))
    font = font_manager.get_font(path)
    return {chr(code) for code in font.get_charmap()}


def spectrogram(clip: np.ndarray) -> np.ndarray:
    """Levels in dB ``[columns, bins]`` of a clip, in as many columns as a picture shows."""
    wide = _wide(clip)
    looks = min(_LOOKS, wide // _STRIDE)
    padded = np.pad(clip, (0, wide))
    starts = [look * wide // looks for look in range(looks)]
    each = [metrics.spectrum(padded[start:], _WINDOW, wide) for start in starts]
    columns = min(map(len, each))
    power = np.mean([np.square(x[:columns]) for x in each], axis=0)
    return 10 * np.log10(np.maximum(power, 1e-18))


def _wide(clip: np.ndarray) -> int:
    """Samples in a column: a multiple of the stride."""
    return _STRIDE * -(-len(clip) // (_STRIDE * _COLUMNS))


def _spectrograms(figure: Figure, axes: np.ndarray, trip: RoundTrip) -> None:
    both = [spectrogram(x) for x in (trip.clip, trip.decoded)]
    top = max(x.max() for x in both)
    rate, count = trip.config.sampling_rate, len(trip.codes)
    titles = (
        f"Original: {trip.title}" if trip.title else "Original",
        f"Decoded from {count} codebooks, {trip.config.kbps(count):.3g} kbps",
    )
    for each, values, title in zip(axes, both, titles, strict=True):
        each.imshow(
            values.T,
            origin="lower",
            aspect="auto",
            extent=(0, len(values) * _wide(trip.clip) / rate, 0, rate / 2000),
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


def draw_use(axes: Axes, codes: np.ndarray, size: int) -> None:
    """Distinct entries and perplexity of each codebook: how many it uses, and how evenly.

    Args:
        codes: ``[K, F]``.
        size: Entries in a codebook.
    """
    count, frames = codes.shape
    shares = [np.unique(row, return_counts=True)[1] / frames for row in codes]
    numbers, distinct = np.arange(1, count + 1), [len(s) for s in shares]
    top = 1.3 * max(distinct)  # above is room for the legend
    axes.bar(numbers, distinct, 0.72, color="#a9bdd6", label="distinct entries")
    perplexity = [np.exp(-np.sum(s * np.log(s))) for s in shares]
    axes.plot(numbers, perplexity, "o", ms=4, color="#20344f", label="perplexity", clip_on=False)
    if count <= _MOST_LABELS:  # what is near 0 can be told apart
        for point in zip(numbers, perplexity, strict=True):
            axes.annotate(
                *(f"{point[1]:.0f}", point, (4, -1)),
                textcoords="offset points",
                fontsize=6,
                color="#20344f",
            )
    most, what = min((frames, "frames"), (size, "all entries"))
    if most < top:
        axes.axhline(most, color="0.4", lw=0.7, ls="--", label=f"{what} ({most})")
    axes.xaxis.set_major_locator(MaxNLocator(16, integer=True, min_n_ticks=1))
    axes.set(xlim=(0.4, count + 0.6), ylim=(0, top), xlabel="Codebook", ylabel="Entries")
    axes.set_title(f"Use of each codebook's {size} entries in {frames} frames")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, ncols=3, loc="upper right")


def _bar(figure: Figure, image: AxesImage, axes: list[Axes], label: str) -> None:
    bar = figure.colorbar(
        image, ax=axes, label=label, pad=0.01, aspect=12 * len(axes), fraction=0.05
    )
    bar.outline.set_linewidth(0.5)
