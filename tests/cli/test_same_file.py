"""What is read is never what is written, by whatever name."""

import os

import pytest
from paths import SPEECH, TINY


@pytest.fixture
def clip(tmp_path):
    """A clip by three names: its own, a link's, and a second one of the file itself."""
    sound = (SPEECH / "kathleen-1.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(sound)
    for suffix in ("flac", "mimi", "png", "json", "npy"):
        (tmp_path / f"link.{suffix}").symlink_to("a.flac")
        os.link(tmp_path / "a.flac", tmp_path / f"twin.{suffix}")
    return tmp_path / "a.flac"


@pytest.mark.parametrize("name", ["link", "twin"])
@pytest.mark.parametrize(
    "args",
    [
        "encode a.flac -o {}.mimi",
        "encode a.flac -o {}.npy",
        "decode {}.npy -o a.flac",
        "roundtrip a.flac -o ../{folder}/a.flac",
        "roundtrip {}.flac -o a.flac",
        "plot a.flac -o {}.png",
        "stream --no-playback --input a.flac --record {}.mimi",
        "stream --no-playback --input a.flac --save-wav {}.flac",
        "stream --no-playback --input a.flac --trace {}.json",
        "stream --no-playback --record {}.mimi --trace {}.json",  # two outputs
    ],
)
def test_one_file_at_two_ends_is_refused(run, clip, tmp_path, args, name):
    before, there = clip.read_bytes(), sorted(tmp_path.iterdir())
    args = args.format(name, name, folder=tmp_path.name).split()
    code, out, err = run(*args, "-f", "--model", "tiny")
    assert (code, out) == (2, "") and err.count("\n") == 1
    assert "are one file" in err, err
    assert clip.read_bytes() == before and sorted(tmp_path.iterdir()) == there


def test_nor_is_the_model_written_over(run, clip, tmp_path):
    model = tmp_path / "model.safetensors"
    model.write_bytes((TINY / "model.safetensors").read_bytes())
    before = model.read_bytes()
    code, _, err = run("encode", clip, "-o", "./model.safetensors", "--model", model, "-f")
    assert code == 2 and "are one file" in err
    assert model.read_bytes() == before


def test_a_device_may_be_at_both_ends(run):
    code, _, err = run("encode", "/dev/null", "-o", "/dev/null", "-f")
    assert code == 2 and "one file" not in err
