"""plot: the picture is drawn."""

import pytest
from paths import SPEECH

CLIP = SPEECH / "kathleen-1.flac"


def test_the_picture_is_drawn(run, tmp_path):
    pytest.importorskip("matplotlib")
    import matplotlib.image

    assert run("plot", CLIP, "-o", "p.png", "--model", "tiny")[0] == 0
    picture = matplotlib.image.imread(tmp_path / "p.png")
    assert picture.shape == (2280, 2100, 4)
    assert picture[..., :3].std() > 0.1  # not blank
    assert "Give -f" in run("plot", CLIP, "-o", "p.png", "--model", "tiny")[2]
    assert [path.name for path in tmp_path.iterdir()] == ["p.png"]


def test_plot_says_what_it_needs(run, monkeypatch):
    assert "no .png" in run("plot", CLIP, "-o", "p.pdf", "--model", "tiny")[2]
    monkeypatch.setattr("mimi_mlx.cli.plot.importlib.util.find_spec", lambda name: None)
    code, _, err = run("plot", CLIP, "-o", "p.png", "--model", "tiny")
    assert code == 2 and "mimi_mlx[plot]" in err
