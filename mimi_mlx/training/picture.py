"""The picture of a run: losses, and what is held out, by step."""

from typing import IO, Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from .card import FIGURES

_TRAINED, _HELD_OUT = "#a9bdd6", "#20344f"


def draw(file: IO[bytes], lines: list[dict[str, Any]], title: str) -> None:
    """Write a PNG of a log's lines: what is trained on, and each figure of what is held out."""
    names = [name for name in FIGURES if all(name in line["held_out"] for line in lines)]
    rows = -(-len(names) // 2)
    style: dict[Any, Any] = {"font.size": 7, "axes.labelsize": 7, "axes.titlesize": 8}
    style |= {"axes.titlelocation": "left", "text.parse_math": False}
    with matplotlib.rc_context(style):
        layout = ConstrainedLayoutEngine(h_pad=0.06, hspace=0.03)
        figure = Figure(figsize=(7, 1.9 * rows + 0.3), dpi=200, layout=layout)
        axes = figure.subplots(rows, 2, sharex=True, squeeze=False).flatten()
        best = min(lines, key=lambda line: line["held_out"]["loss"])
        for each, name in zip(axes, names, strict=False):
            _draw_figure(each, lines, name, best)
        for each in axes[len(names) :]:
            each.set_axis_off()
        for each in axes[max(0, len(names) - 2) : len(names)]:
            each.set_xlabel("Step")
            each.tick_params(labelbottom=True)
        figure.suptitle(title, fontsize=8)
        figure.savefig(file, format="png")


def _draw_figure(axes: Axes, lines: list[dict[str, Any]], name: str, best: dict[str, Any]) -> None:
    if name == "loss":
        trained = [(line["step"], line["train"]["loss"]) for line in lines if line["train"]]
        if trained:
            axes.plot(*zip(*trained, strict=True), ".-", ms=3, color=_TRAINED, label="trained on")
    steps, values = zip(*((line["step"], line["held_out"][name]) for line in lines), strict=True)
    axes.plot(steps, values, ".-", ms=4, color=_HELD_OUT, label="held out")
    axes.axhline(values[0], color="0.5", lw=0.7, ls="--", label="base, held out")
    axes.plot(best["step"], best["held_out"][name], "o", ms=7, mfc="none", mec="#c0392b")
    axes.set_title(FIGURES[name])
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    if name == "loss":
        axes.plot([], [], "o", ms=7, mfc="none", mec="#c0392b", ls="none", label="best, kept")
        axes.legend(frameon=False, fontsize=6)
