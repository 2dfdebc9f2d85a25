"""info and demo: what a model, codes and sound are said to be."""

import json
import re

import numpy as np
from paths import SPEECH

from mimi_mlx import audio
from mimi_mlx.tiny import FOLDER as TINY

CLIP = SPEECH / "kathleen-1.flac"  # 40134 samples: 21 frames, the last one ragged


def test_info_of_a_model(run, tiny):
    code, out, err = run("info", "tiny")
    assert (code, err) == (0, "")
    lines = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in out.splitlines())
    assert lines["layout"] == "hub" and lines["fingerprint"] == tiny.fingerprint
    assert lines["parameters"].startswith("3,631,569 in 158 tensors")
    assert lines["codebooks"].startswith("16, 1 of them semantic, of 2048 entries of 32")
    assert lines["frames"] == "12.5 a second, 1920 samples each"
    assert "1.1 kbps with 8, 2.2 kbps with all 16" in lines["bitrate"]
    assert {"model", "files", "size", "audio", "device", "BLAS", "versions"} <= lines.keys()


def test_info_of_codes_and_of_sound(run, tmp_path):
    run("encode", CLIP, "-o", "a.safetensors", "--model", "tiny")
    run("encode", CLIP, "-o", "a.npy", "--model", "tiny")
    out = run("info", "a.safetensors")[1]
    assert "[1, 8, 21]" in out and "1.6723 (40134 at 24000 Hz)" in out and "1.1 kbps" in out
    assert "tiny, fingerprint" in out
    out = run("info", "a.npy")[1]
    assert "[1, 8, 21]" in out and "1.68, in whole frames" in out
    out = run("info", CLIP)[1]
    assert "40134 samples, channels: 1" in out and "1.6723" in out and "FLAC" in out


def test_demo_writes_a_sound_and_a_table_and_says_what_it_is(run, tmp_path, tiny):
    code, out, err = run("demo")
    assert (code, err) == (0, "")
    assert "not kyutai/mimi" in out
    rows = [line.split() for line in out.splitlines() if re.match(r" +\d", line)]
    assert [row[:2] for row in rows] == [
        ["1", "0.138"],
        ["2", "0.275"],
        ["4", "0.550"],
        ["8", "1.100"],
    ]
    distances = [float(row[2]) for row in rows]
    assert sorted(distances, reverse=True) == distances and max(distances) < 7
    clip, heard = (audio.read(f, 24000) for f in (TINY / "speech.flac", tmp_path / "demo.wav"))
    parts = heard[: 4 * (len(clip) + 12000)].reshape(4, -1)
    codes = tiny.encode(clip, 8)
    for row, part, count in zip(rows, parts, (1, 2, 4, 8), strict=True):
        pcm = np.array(tiny.decode(codes[:, :count], length=len(clip)))[0, 0]
        np.testing.assert_allclose(part, np.pad(pcm, (0, 12000)), atol=2**-15)
        assert float(row[3]) == round((len(clip) / 24000 + 0.5) * rows.index(row), 1)
    np.testing.assert_array_equal(heard[parts.size :], clip)
    assert "demo.html" in out and "8 codebooks" in (tmp_path / "demo.html").read_text()
    (tmp_path / "demo.wav").unlink()
    assert "demo.html exists" in run("demo")[2] and not (tmp_path / "demo.wav").exists()


def test_info_as_json(run, tmp_path, tiny):
    run("encode", CLIP, "-o", "a.mimi", "--model", "tiny")
    run("encode", CLIP, "-o", "a.npy", "--model", "tiny")
    found = json.loads(run("info", "a.mimi", CLIP, "a.npy", "--model", "tiny", "--json")[1])
    codes, sound, arrays, model = found
    assert codes["kind"] == "codes" and codes["fingerprint"] == tiny.fingerprint
    assert (codes["codebooks"], codes["frames"], codes["samples"]) == (8, 21, 40134)
    assert codes["metadata"] == {"model": "tiny"} and codes["damage"] is None
    assert sound["kind"] == "sound" and (sound["samples"], sound["channels"]) == (40134, 1)
    assert arrays["frames"] == 21 and arrays["fingerprint"] is None
    assert model["kind"] == "model" and model["codebooks"] == 16
    assert json.loads(run("info", "tiny", "--json")[1]) == model
    assert run("info", "--model", "tiny")[1] == run("info", "tiny")[1]
    code, _, err = run("info")
    assert code == 2 and "nothing to describe" in err
