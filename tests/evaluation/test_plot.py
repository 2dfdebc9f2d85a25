"""plot: the picture is drawn, in every format, of any clip and under any name."""

import io
import re
import shutil
import warnings

import numpy as np
import pytest
from paths import SPEECH

CLIP = SPEECH / "kathleen-1.flac"
TINY = ("--model", "tiny")


def test_the_picture_is_drawn(run, tmp_path):
    pytest.importorskip("matplotlib")
    import matplotlib.image

    code, _, err = run("plot", CLIP, "-o", "p.png", *TINY)
    assert code == 0
    assert re.fullmatch(r"p\.png: 1\.67 s, 21 frames of 8 codes, 1\.1 kbps, .*real time\n", err)
    picture = matplotlib.image.imread(tmp_path / "p.png")
    assert picture.shape == (2280, 2100, 4)
    assert picture[..., :3].std() > 0.1  # not blank
    assert "Give -f" in run("plot", CLIP, "-o", "p.png", *TINY)[2]
    assert [path.name for path in tmp_path.iterdir()] == ["p.png"]


@pytest.mark.slow
def test_vector_formats_keep_the_heavy_panels_as_pictures(run, tmp_path):
    matplotlib = pytest.importorskip("matplotlib")
    assert run("plot", CLIP, "-o", "p.pdf", *TINY)[0] == 0
    assert (tmp_path / "p.pdf").read_bytes().startswith(b"%PDF-")
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        assert run("plot", CLIP, "-o", "p.SVG", "--title", "", *TINY)[0] == 0
    svg = (tmp_path / "p.SVG").read_text()
    assert svg.count("data:image/png;base64") >= 3 and svg.count("<path") < 500
    assert "(a) Original<" in svg and "kathleen" not in svg
    assert all((tmp_path / name).stat().st_size < 3e6 for name in ("p.pdf", "p.SVG"))


def test_the_title_is_the_files_name_or_what_is_given(run, monkeypatch):
    pytest.importorskip("matplotlib")
    drawn = []
    monkeypatch.setattr(
        *("mimi_mlx.evaluation.plot.draw", lambda file, trip, format: drawn.append(trip.title))
    )
    for more in ((), ("--title", "A voice"), ("--title", "")):
        assert run("plot", CLIP, "-o", "p.svg", "-f", *more, *TINY)[0] == 0
    assert drawn == ["kathleen-1.flac", "A voice", ""]


@pytest.mark.slow
def test_any_name_is_drawn_without_a_warning(run, tmp_path):
    pytest.importorskip("matplotlib")
    name = "Ünïcödé 日本語 한국어 😀 $\\frac$x^$ \n.flac"
    shutil.copy(CLIP, tmp_path / name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        code, _, err = run("plot", name, "-o", "p.png", *TINY)
    assert code == 0 and err.count("\n") == 1 and err.startswith("p.png: "), err


def test_a_font_that_is_installed_is_used_for_what_the_first_lacks(monkeypatch):
    pytest.importorskip("matplotlib")
    from mimi_mlx.evaluation import plot

    assert plot.fonts("Größe ∑") == (["DejaVu Sans"], "Größe ∑")
    monkeypatch.setattr(plot, "_MORE_FONTS", ("No such font", "STIXGeneral"))
    both = ["DejaVu Sans", "STIXGeneral"]
    assert plot.fonts("a ᶁ 語") == (both, "a ᶁ □")


def round_trip(seconds: float, entries: int, config):
    """A clip of noise that grows louder, and codes that use so many entries."""
    from mimi_mlx.evaluation import plot

    draw = np.random.default_rng(0)
    clip = draw.normal(0, 0.1, int(24000 * seconds)).astype(np.float32)
    codes = draw.integers(0, entries, (8, -(-len(clip) // 1920)))
    return plot.RoundTrip("noise", clip, clip, codes, config)


@pytest.mark.parametrize(
    ("seconds", "entries"),
    [(1020, 60), *(pytest.param(*use, marks=pytest.mark.slow) for use in [(5, 60), (1020, 2048)])],
)
def test_the_use_of_entries_fills_its_panel_however_long_the_clip(seconds, entries, tiny):
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    from mimi_mlx.evaluation import plot

    codes = round_trip(seconds, entries, tiny.config).codes
    axes = Figure().subplots()
    plot.draw_use(axes, codes, tiny.config.codebook_size)
    most = max(bar.get_height() for bar in axes.patches)
    assert 0.6 < most / axes.get_ylim()[1] < 0.85  # above it is room for the legend


@pytest.mark.slow
def test_a_long_clip_costs_no_more_than_a_picture_has_dots(tiny):
    pytest.importorskip("matplotlib")
    from mimi_mlx.evaluation import plot

    for seconds in (0.01, 3, 1020):
        levels = plot.spectrogram(round_trip(seconds, 9, tiny.config).clip)
        assert 1 <= len(levels) <= 2100 and levels.shape[1] == 513
    with io.BytesIO() as file:
        plot.draw(file, round_trip(1020, 2048, tiny.config), "png")
        assert file.tell() > 100_000


def test_plot_says_what_it_needs(run, monkeypatch):
    assert ".png or .pdf or .svg" in run("plot", CLIP, "-o", "p.gif", *TINY)[2]
    monkeypatch.setattr("mimi_mlx.cli.plot.importlib.util.find_spec", lambda name: None)
    code, _, err = run("plot", CLIP, "-o", "p.png", *TINY)
    assert code == 2 and "pip install" in err and "[plot]" in err
