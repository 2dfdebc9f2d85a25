"""eval and plot: the figures are those of their definitions, and the picture is drawn."""

import csv
import importlib.util
import io
import json

import numpy as np
import pytest
from paths import SPEECH

from mimi_mlx import audio
from mimi_mlx.checkpoint import convert, precision
from mimi_mlx.evaluation import metrics, quality

CLIP = SPEECH / "kathleen-1.flac"


def test_snr_is_a_ratio_of_powers():
    draw = np.random.default_rng(1)
    clip, noise = draw.normal(size=(2, 24000))
    noise *= np.linalg.norm(clip) / np.linalg.norm(noise)
    for expected in (-10.0, 0.0, 30.0):
        assert metrics.snr(clip, clip + noise * 10 ** (-expected / 20)) == pytest.approx(expected)
    assert metrics.snr(clip, clip) == np.inf
    assert metrics.snr(clip, clip / 2) == pytest.approx(20 * np.log10(2))
    assert metrics.relative_error(clip.reshape(2, -1), clip / 2) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="silent"):
        metrics.snr(0 * clip, clip)


def test_stft_distance_of_a_gain_is_known(speech):
    clip = 0.3 * np.random.default_rng(2).normal(size=24000)  # no bin is silent
    assert metrics.stft_distance(clip, clip) == 0
    # convergence |1 - g|, log magnitude |log g|
    assert metrics.stft_distance(clip, clip / 2) == pytest.approx(0.5 + np.log(2), rel=1e-3)
    voice = speech("kathleen-1")
    noise = np.random.default_rng(3).normal(size=voice.shape)
    near, far = (metrics.stft_distance(voice, voice + x * noise) for x in (0.001, 0.01))
    assert 0 < near < far
    with pytest.raises(ValueError, match="silent"):
        metrics.stft_distance(0 * clip, clip)


def test_a_row_for_each_number_of_codebooks(run, tiny, speech):
    code, out, _ = run("eval", CLIP, "--model", "tiny", "--codebooks", "1,8", "--json")
    rows = json.loads(out)
    assert code == 0 and [row["codebooks"] for row in rows] == [1, 8]
    assert [row["kbps"] for row in rows] == pytest.approx([0.1375, 1.1])
    clip = speech("kathleen-1")
    decoded = np.array(tiny.decode(tiny.encode(clip, 8), length=len(clip)))[0, 0]
    assert rows[1]["SI-SDR, dB"] == pytest.approx(metrics.si_sdr(clip, decoded), abs=0.1)
    assert rows[1]["STFT"] == pytest.approx(metrics.stft_distance(clip, decoded), rel=1e-3)
    assert rows[1]["log-mel, dB"] < rows[0]["log-mel, dB"]
    assert ("PESQ" in rows[0]) == bool(importlib.util.find_spec("pesq"))
    assert ("STOI" in rows[0]) == bool(importlib.util.find_spec("pystoi"))
    header, *lines = run("eval", CLIP, "--model", "tiny", "--codebooks", "1,8")[1].splitlines()
    assert "SI-SDR, dB" in header and len(lines) == 2


def test_two_clips(run, speech):
    clip = speech("kathleen-1")
    audio.write("half.wav", clip / 2, 24000)
    rows = list(csv.DictReader(io.StringIO(run("eval", CLIP, "half.wav", "--csv")[1])))
    assert len(rows) == 1 and "codebooks" not in rows[0]
    assert float(rows[0]["SI-SDR, dB"]) > 40  # 16 bits of a quiet clip
    assert float(rows[0]["STFT"]) == pytest.approx(0.5 + np.log(2), rel=0.2)


@pytest.mark.slow
def test_two_models(run, tmp_path):
    convert.convert(convert.Wanted("tiny", precision.Recipe("float32", 8)), tmp_path / "small")
    _, out, _ = run("eval", CLIP, "--model", "tiny", "--against", "small", "--json")
    rows = json.loads(out)
    assert [row["codebooks"] for row in rows] == [1, 4, 8, 16]
    assert rows[0]["equal codes, %"] > 90 and rows[0]["SNR of other, dB"] > 40
    same = json.loads(
        run("eval", CLIP, "--model", "tiny", "--against", "tiny", "--codebooks", "4", "--json")[1]
    )
    assert same[0]["equal codes, %"] == 100 and same[0]["SNR of other, dB"] is None


def test_without_the_metrics_extra_there_are_fewer_columns(speech, monkeypatch):
    monkeypatch.setattr(quality.importlib.util, "find_spec", lambda name: None)
    clip = speech("kathleen-1")
    assert list(quality.row_of(clip, clip, 24000)) == ["SI-SDR, dB", "log-mel, dB", "STFT"]


@pytest.mark.parametrize(
    ("args", "rule"),
    [
        ((CLIP, SPEECH / "kathleen-2.flac"), "equally long"),
        ((CLIP, CLIP, "--codebooks", "8"), "Leave out DEG"),
        ((CLIP, "--codebooks", "8,x"), "no list of numbers"),
        ((CLIP, "--codebooks", "17", "--model", "tiny"), "1 to 16"),
        ((CLIP, "--json", "--csv"), "not allowed with"),
        (("gone.wav", "--model", "tiny"), "gone.wav"),
    ],
)
def test_wrong_input_is_one_line(run, args, rule):
    code, out, err = run("eval", *args)
    assert (code, out, err.count("\n")) == (2, "", 1) and rule in err


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
