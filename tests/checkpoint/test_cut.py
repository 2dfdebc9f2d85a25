"""A model of the first codebooks of another is of its family: it takes the codes of the whole."""

import json
import re
import shutil

import numpy as np
import pytest
from paths import SPEECH
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from mimi_mlx import Mimi, codefile
from mimi_mlx.checkpoint import convert, precision

CLIP = SPEECH / "kathleen-1.flac"
TINY = ("--model", "tiny")


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    """tiny's decoder and its first 8 codebooks, in a folder."""
    folder = tmp_path_factory.mktemp("cut") / "cut"
    convert.convert(convert.Wanted("tiny", only="decoder", num_codebooks=8), folder)
    return folder


def test_it_decodes_the_codes_of_the_whole(run, cut, tmp_path):
    assert run("encode", CLIP, "-o", "8.mimi", *TINY)[0] == 0
    assert run("decode", "8.mimi", "-o", "whole.wav", *TINY)[0] == 0
    code, _, err = run("decode", "8.mimi", "-o", "cut.wav", "--model", cut)
    assert code == 0, err
    assert (tmp_path / "cut.wav").read_bytes() == (tmp_path / "whole.wav").read_bytes()


@pytest.mark.parametrize("suffix", [".mimi", ".npz"])
def test_of_more_codebooks_it_reads_the_first(run, cut, tmp_path, suffix):
    name, first = f"16{suffix}", ("--codebooks", 8)
    assert run("encode", CLIP, "-o", name, "--codebooks", 16, *TINY)[0] == 0
    code, _, err = run("decode", name, "-o", "cut.wav", "--model", cut)
    assert code == 2 and err.count("\n") == 1, err
    assert re.search(rf"{name} has 16 codebooks to decode.* has 8\. Give --codebooks 8", err), err
    assert not (tmp_path / "cut.wav").exists()
    assert run("decode", name, "-o", "cut.wav", "--model", cut, *first)[0] == 0
    assert run("decode", name, "-o", "whole.wav", *first, *TINY)[0] == 0
    assert (tmp_path / "cut.wav").read_bytes() == (tmp_path / "whole.wav").read_bytes()


def test_its_fingerprint_is_that_of_the_whole(cut, tiny, speech, tmp_path):
    file = cut / "model.safetensors"
    for name in (cut, file):  # also a lone file
        assert Mimi.from_pretrained(name).fingerprint == tiny.fingerprint
    about = json.loads((cut / "config.json").read_text())["mimi_mlx"]
    assert about["fingerprint"] == tiny.fingerprint
    mimi = Mimi.from_pretrained(cut)
    codefile.Header.for_model(tiny, 8).check_model(mimi)
    stream = tiny.decoder_stream()
    codes = np.array(tiny.encode(speech("kathleen-1")[:9600], 8))
    stream.push(codes)
    stream.save(tmp_path / "call.safetensors")
    there = mimi.load_stream(tmp_path / "call.safetensors")
    np.testing.assert_array_equal(there.push(codes), stream.push(codes))


def test_a_file_may_not_claim_what_is_no_fingerprint(cut, tmp_path):
    shutil.copytree(cut, tmp_path / "cut")
    path = tmp_path / "cut" / "model.safetensors"
    with safe_open(path, "numpy") as file:
        facts = file.metadata()
    for claim in ("0" * 16, "A" * 16, "abc", 7, ["0123456789abcdef"]):
        said = json.loads(facts["mimi_mlx"]) | {"fingerprint": claim}
        save_file(load_file(cut / path.name), path, facts | {"mimi_mlx": json.dumps(said)})
        with pytest.raises(ValueError, match="16 hexadecimal digits"):
            Mimi.from_pretrained(tmp_path / "cut")


def test_whole_models_files_stay_as_they_were(tmp_path):
    convert.convert(convert.Wanted("tiny", precision.Recipe("float16")), tmp_path / "out")
    with safe_open(tmp_path / "out" / "model.safetensors", "numpy") as file:
        said = json.loads(file.metadata()["mimi_mlx"])
    assert said == {"dtype": "float16", "bits": 0, "group_size": 64, "only": None}
