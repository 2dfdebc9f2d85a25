"""eval: a row of figures for each number of codebooks, of two clips, or of two models."""

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


def test_a_row_for_each_number_of_codebooks(run, tiny, speech):
    code, out, _ = run("eval", CLIP, "--model", "tiny", "--codebooks", "1,8", "--json")
    rows = json.loads(out)
    assert code == 0 and [row["codebooks"] for row in rows] == [1, 8]
    assert [row["kbps"] for row in rows] == pytest.approx([0.1375, 1.1])
    clip = speech("kathleen-1")
    decoded = np.array(tiny.decode(tiny.encode(clip, 8), length=len(clip)))[0, 0]
    assert rows[1]["si_sdr_db"] == pytest.approx(metrics.si_sdr(clip, decoded), abs=0.1)
    assert rows[1]["stft"] == pytest.approx(metrics.stft_distance(clip, decoded), rel=1e-3)
    assert rows[1]["log_mel_db"] < rows[0]["log_mel_db"]
    assert ("pesq" in rows[0]) == bool(importlib.util.find_spec("pesq"))
    assert ("stoi" in rows[0]) == bool(importlib.util.find_spec("pystoi"))
    header, *lines = run("eval", CLIP, "--model", "tiny", "--codebooks", "1,8")[1].splitlines()
    assert "SI-SDR, dB" in header and len(lines) == 2


def test_two_clips(run, speech):
    clip = speech("kathleen-1")
    audio.write("half.wav", clip / 2, 24000)
    rows = list(csv.DictReader(io.StringIO(run("eval", CLIP, "half.wav", "--csv")[1])))
    assert len(rows) == 1 and "codebooks" not in rows[0]
    assert float(rows[0]["si_sdr_db"]) > 40  # 16 bits of a quiet clip
    assert float(rows[0]["stft"]) == pytest.approx(0.5 + np.log(2), rel=0.2)


@pytest.mark.slow
def test_two_models(run, tmp_path):
    convert.convert(convert.Wanted("tiny", precision.Recipe("float32", 8)), tmp_path / "small")
    _, out, _ = run("eval", CLIP, "--model", "tiny", "--against", "small", "--json")
    rows = json.loads(out)
    assert [row["codebooks"] for row in rows] == [1, 4, 8, 16]
    assert rows[0]["equal_codes_percent"] > 90 and rows[0]["snr_of_other_db"] > 40
    same = json.loads(
        run("eval", CLIP, "--model", "tiny", "--against", "tiny", "--codebooks", "4", "--json")[1]
    )
    assert same[0]["equal_codes_percent"] == 100 and same[0]["snr_of_other_db"] is None


def test_a_clip_too_short_for_a_figure_has_none(speech):
    clip = speech("kathleen-1")[20000:21000]
    row = quality.row_of(clip, 0.5 * clip, 24000)
    assert row["si_sdr_db"] > 60 and all(
        np.isnan(row.get(name, np.nan)) for name in ("pesq", "stoi")
    )


def test_without_the_metrics_extra_there_are_fewer_columns(speech, monkeypatch):
    monkeypatch.setattr(quality.importlib.util, "find_spec", lambda name: None)
    clip = speech("kathleen-1")
    assert list(quality.row_of(clip, clip, 24000)) == ["si_sdr_db", "log_mel_db", "stft"]


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
