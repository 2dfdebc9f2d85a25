"""Several inputs of encode, decode, roundtrip and info: each as if alone, bad ones passed over."""

import numpy as np
import pytest
import soundfile

from mimi_mlx import Mimi, audio, codefile
from mimi_mlx.codefile import Header

TINY = ("--model", "tiny")


@pytest.fixture
def sounds(tmp_path, speech) -> list[str]:
    """Files of a few formats, each of another length."""
    names = ["a.wav", "b.flac", "c.au"]
    for i, name in enumerate(names):
        soundfile.write(tmp_path / name, speech("kathleen-1")[3000 * i : 5000 + 5000 * i], 24000)
    return names


def test_several_files_go_to_a_folder_each_as_if_alone(run, sounds, tmp_path, monkeypatch):
    loads = []
    load = Mimi.from_pretrained
    monkeypatch.setattr(Mimi, "from_pretrained", lambda *a, **k: loads.append(a) or load(*a, **k))
    code, out, err = run("encode", *sounds, "-o", "codes", *TINY)
    assert (code, out) == (0, "") and err.startswith("codes: 3 files written") and len(loads) == 1
    code, out, err = run("decode", "codes/a.mimi", "codes/b.mimi", "-o", "back", *TINY)
    assert code == 0 and err.startswith("back: 2 files written") and err.count("\n") == 1
    code, out, err = run("roundtrip", *sounds, "-o", "there/and/back", *TINY)
    assert code == 0 and err.startswith("there/and/back: 3 files written") and len(loads) == 3
    found = sorted(path.name for path in (tmp_path / "there/and/back").iterdir())
    assert found == ["a.wav", "b.flac", "c.wav"]
    for name in ("a.wav", "b.flac"):
        run("encode", name, "-o", "alone.mimi", "-f", *TINY)
        there = (tmp_path / f"codes/{name[0]}.mimi").read_bytes()
        assert there == (tmp_path / "alone.mimi").read_bytes()
        trip, decoded = (
            audio.load(tmp_path / path).samples
            for path in (f"there/and/back/{name}", f"back/{name[0]}.wav")
        )
        np.testing.assert_allclose(trip, decoded, atol=1e-4)


def test_one_file_goes_into_a_folder_that_is_there(run, sounds, tmp_path):
    (tmp_path / "to.mimi").mkdir()
    for command, name, made in (
        ("encode", "a.wav", "a.mimi"),
        ("decode", "to.mimi/a.mimi", "a.wav"),
        ("roundtrip", "b.flac", "b.flac"),
    ):
        code, _, err = run(command, name, "-o", "to.mimi", *TINY)
        assert code == 0 and err.startswith(f"to.mimi/{made}: ")
    assert {path.name for path in (tmp_path / "to.mimi").iterdir()} == {"a.mimi", "a.wav", "b.flac"}
    code, _, err = run("encode", "-", "-o", "to.mimi", *TINY)
    assert code == 2 and "- has no name" in err


def test_bad_files_are_named_and_passed_over(run, sounds, tmp_path):
    (tmp_path / "text.wav").write_text("no sound at all")
    (tmp_path / "folder").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/b.wav").write_text("mine")
    soundfile.write(tmp_path / "out/../b.ogg", np.zeros(3000), 24000)
    data = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(data[:-2000])
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/b.wav").write_bytes(data)
    bad = {
        "none.wav": "none.wav is no file",
        "text.wav": "text.wav cannot be read",
        "folder": "folder is a folder",
        "-": "- has no name",
        "b.flac": "b.flac and b.ogg would both become out/b.mimi",
        "b.ogg": "b.ogg and b.flac would both become out/b.mimi",
    }
    code, _, err = run("encode", *bad, "a.wav", "a.wav", "cut.wav", "-o", "out", *TINY)
    assert code == 1 and err.count("\n") == 8, err
    for line in bad.values():
        assert f"mimi-mlx: {line}" in err
    assert "mimi-mlx: cut.wav ends after 4000 samples" in err
    last = err.splitlines()[-1]
    assert last.startswith("out: 2 files written, 1 of them of damaged input, 6 failed; 0.")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.mimi", "cut.mimi", "b.wav"}
    # Nothing is overwritten unasked, and nothing that is read.
    code, _, err = run("roundtrip", "sub/b.wav", "a.wav", "-o", "out", *TINY)
    assert code == 1 and "out/b.wav exists" in err and "out: 1 file written" in err
    assert (tmp_path / "out/b.wav").read_text() == "mine"
    assert run("roundtrip", "sub/b.wav", "a.wav", "-o", "out", *TINY, "-f")[0] == 0
    code, _, err = run("roundtrip", "a.wav", "cut.wav", "-o", ".", *TINY, "-f")
    assert code == 1 and err.count("are one file") == 2
    assert (tmp_path / "a.wav").read_bytes() == data


def test_bad_codes_are_named_and_passed_over(run, tmp_path, tiny):
    codes = np.zeros((8, 5), np.int32)
    codefile.write(tmp_path / "good.mimi", codes, Header.for_model(tiny, 8))
    codefile.write(tmp_path / "other.mimi", codes, Header(8, fingerprint="0123456789abcdef"))
    data = (tmp_path / "good.mimi").read_bytes()
    (tmp_path / "cut.mimi").write_bytes(data[:-40])
    (tmp_path / "text.wav").write_text("no sound at all")
    files = ("cut.mimi", "other.mimi", "none.mimi", "good.mimi")
    code, _, err = run("decode", *files, "-o", "out", *TINY)
    assert code == 1 and err.count("\n") == 4, err
    assert "nothing to decode" in err and "was encoded by" in err and "cannot be opened" in err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.wav"]
    code, out, err = run("info", *files, "text.wav", "good.mimi")
    assert code == 1 and err.count("\n") == 2 and "'none.mimi' is no folder or file" in err
    blocks = out.split("\n\n")
    assert [block.split()[1] for block in blocks] == [files[0], files[1], files[3], files[3]]


@pytest.mark.parametrize(
    ("args", "rule"),
    [
        (("encode", "a.wav", "b.flac", "-o", "a.mimi"), "2 inputs go to a folder, and a.mimi is"),
        (("encode", "a.wav", "b.flac", "-o", "-"), "2 inputs go to a folder, and - is none"),
        (("roundtrip", "a.wav", "b.flac", "-o", "c.au"), "and c.au is none"),
        (("decode", "a.mimi", "b.mimi", "-o", "c.wav"), "and c.wav is none"),
        (("encode", "a.wav", "b.flac", "-o", "out", "--codebooks", "99"), "num_codebooks is 99"),
        (("encode", "a.wav", "b.flac", "-o", "out", "--jobs", "2"), "--jobs is for a folder"),
        (
            ("decode", "a.mimi", "b.mimi", "-o", "out", "--model", "nowhere"),
            "'nowhere' is no folder",
        ),
    ],
)
def test_what_is_wrong_for_all_is_one_line(run, sounds, tmp_path, args, rule):
    code, _, err = run(*args, *(() if "--model" in args else TINY))
    assert code == 2 and rule in err and err.count("\n") == 1, err
    assert not (tmp_path / "out").exists()


def test_no_input_is_written_over_by_anothers_output(run, tmp_path):
    (tmp_path / "x").mkdir()
    audio.write(tmp_path / "x/a.wav", np.zeros(3000, np.float32), 24000)
    audio.write(tmp_path / "a.wav", np.full(2000, 0.1, np.float32), 24000)
    (tmp_path / "x/link.wav").symlink_to("../a.wav")
    before = (tmp_path / "a.wav").read_bytes()
    code, _, err = run("roundtrip", "-f", "x/a.wav", "x/link.wav", "-o", ".", "--model", "tiny")
    assert code == 1 and "are one file" in err
    assert (tmp_path / "a.wav").read_bytes() == before
