"""listen: what the page holds, and what it refuses."""

import base64
import io
import json
import re

import numpy as np
import pytest
import soundfile
from paths import SPEECH

from mimi_mlx import audio, listening
from mimi_mlx.evaluation import quality
from mimi_mlx.listening.document import LONGEST, check_length
from mimi_mlx.text import printable

CLIP = SPEECH / "kathleen-1.flac"
TINY = ("--model", "tiny")


def data(page: str) -> dict:
    """What the page's scripts read."""
    return json.loads(re.search('<script id="data".*?>(.*?)</script>', page, re.DOTALL)[1])


def samples(version: dict) -> np.ndarray:
    with io.BytesIO(base64.b64decode(version["sound"])) as file:
        return soundfile.read(file, dtype="int16")[0]


def version(clip: np.ndarray, **more) -> listening.Version:
    codes = np.arange(16).reshape(2, 8)
    values = dict(label="2 codebooks", model="m", codes=codes, codebook_size=2048, frame_rate=12.5)
    return listening.Version(**{**values, "samples": clip, "kbps": 0.275, **more})


def listened(run, tmp_path) -> dict:
    """The clip of the page of a.wav with 1 and 4 codebooks."""
    code, _, err = run("listen", "a.wav", "-o", "p.html", "--codebooks", "1,4", *TINY)
    assert code == 0 and re.fullmatch(r"p\.html: 0\.\d MB\. Open it in a browser\.\n", err)
    [clip] = data((tmp_path / "p.html").read_text())["clips"]
    return clip


@pytest.mark.parametrize("rate", [pytest.param(24000, marks=pytest.mark.slow), 44100])
def test_the_sound_is_that_of_roundtrip(run, tmp_path, rate):
    audio.write("a.wav", audio.read(CLIP, rate)[: rate // 4], rate)
    assert run("roundtrip", "a.wav", "-o", "b.flac", "--codebooks", 4, *TINY)[0] == 0
    clip = listened(run, tmp_path)
    assert clip["name"] == "a.wav" and clip["rate"] == rate
    original, _, four = clip["versions"]
    for found, file in ((original, "a.wav"), (four, "b.flac")):
        np.testing.assert_array_equal(samples(found), soundfile.read(file, dtype="int16")[0])
    assert run("listen", "a.wav", "-o", "p.html", *TINY)[0] == 2  # p.html exists


@pytest.mark.slow
def test_the_figures_are_those_of_eval(run, tmp_path):
    audio.write("a.wav", audio.read(CLIP, 24000), 24000)
    rows = json.loads(run("eval", "a.wav", "--codebooks", "1,4", "--json", *TINY)[1])
    for found, row in zip(listened(run, tmp_path)["versions"][1:], rows, strict=True):
        assert found["kbps"] == row.pop("kbps") and found["codebooks"] == row.pop("codebooks")
        assert found["figures"] == row


def test_nothing_of_a_name_is_markup_and_nothing_of_the_page_is_elsewhere():
    clip = np.zeros(1920, np.float32)
    for name in ("</script><b>.wav", "{{policy}}<!--<script>", "\u2028\ud800'\""):
        page = listening.page([listening.Comparison(name, 24000, clip, [version(clip)])])
        assert "<b>" not in page and page.count("<script") == 2 and "<!--<" not in page
        assert data(page)["clips"][0]["name"] == printable(name)
        assert not re.findall(r"(?:src|href)=\"(?!data:)", page)


def test_a_figure_without_a_value_and_a_sample_past_the_range_are_no_matter():
    clip = np.float32([0.5, 2, -2, 0] * 480)
    figures = {"si_sdr_db": -np.inf, "pesq": np.nan, "stoi": 0.5}
    page = listening.page(
        [listening.Comparison("a", 24000, clip, [version(clip, figures=figures)])]
    )
    [found] = data(page)["clips"][0]["versions"][1:]
    assert found["figures"] == {"si_sdr_db": None, "pesq": None, "stoi": 0.5}
    assert samples(found)[:4].tolist() == [16384, 32767, -32768, 0]
    codes = np.frombuffer(base64.b64decode(found["codes"]), "<u2")
    assert codes.tolist() == list(range(16))


def test_the_page_says_what_it_needs():
    clip = np.ones(1920, np.float32)
    with pytest.raises(ValueError, match="Give a clip"):
        listening.page([])
    with pytest.raises(ValueError, match="no version"):
        listening.page([listening.Comparison("a", 24000, clip, [])])
    with pytest.raises(ValueError, match=r"the same \[T\]"):
        listening.page([listening.Comparison("a", 24000, clip, [version(clip[:-1])])])
    with pytest.raises(ValueError, match="Resample it"):
        listening.page([listening.Comparison("a", 4000, clip, [version(clip)])])
    check_length([LONGEST])
    with pytest.raises(ValueError, match="--seconds"):
        check_length([LONGEST / 2, LONGEST / 2 + 1])


def test_wrong_input_is_one_line(run, tmp_path):
    audio.write("silent.wav", np.zeros(24000, np.float32), 24000)
    audio.write("low.wav", np.ones(4000, np.float32), 4000)
    soundfile.write("two.wav", np.zeros((2400, 2)), 24000)
    wrong = {
        "no file": ("none.wav", "-o", "p.html"),
        "is silent": ("silent.wav", "-o", "p.html"),
        "Resample": ("low.wav", "-o", "p.html"),
        "--mono": ("two.wav", "-o", "p.html"),
        ".html": (CLIP, "-o", "p.wav"),
        "1 to 16": (CLIP, "-o", "p.html", "--codebooks", "8,17"),
        "no list": (CLIP, "-o", "p.html", "--codebooks", "8,x"),
        "0.1 to 1200": (CLIP, "-o", "p.html", "--seconds", "nan"),
    }
    for said, arguments in wrong.items():
        code, out, err = run("listen", *arguments, *TINY)
        assert (code, out, err.count("\n")) == (2, "", 1) and said in err, err
    assert not (tmp_path / "p.html").exists()


def test_a_page_of_more_sound_than_it_may_hold_is_refused(run, monkeypatch):
    monkeypatch.setattr("mimi_mlx.listening.document.LONGEST", 3)
    code, _, err = run("listen", CLIP, "-o", "p.html", *TINY)
    assert code == 2 and "are 8 s of sound" in err and "--seconds" in err and err.count("\n") == 1
    assert run("listen", CLIP, "-o", "p.html", "--seconds", 0.3, "--codebooks", 1, *TINY)[0] == 0


def test_a_clip_is_cut_before_it_is_read_to_its_end():
    assert len(listening.load(SPEECH / "dialogue.flac", seconds=0.5).samples) == 12000
    assert len(listening.load(CLIP, seconds=100).samples) == len(listening.load(CLIP).samples)


@pytest.mark.slow
def test_models_are_compared_side_by_side(tiny):
    sound = listening.load(CLIP, seconds=0.5)
    found = listening.compare({"a": tiny, "b": tiny}, "clip", sound, [1, 2])
    assert [(each.model, each.label) for each in found.versions] == [
        *(("a", "1 codebook"), ("a", "2 codebooks"), ("b", "1 codebook"), ("b", "2 codebooks")),
    ]
    assert quality.counts(None, [tiny]) == [1, 4, 8, 16]
