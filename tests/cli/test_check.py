"""``mimi-mlx check``: every way in which a folder of codes can be wrong is told."""

import json
from pathlib import Path

import pytest

from mimi_mlx import audio, codefile
from mimi_mlx.cli.manifest import Manifest
from mimi_mlx.cli.shards import Shard


@pytest.fixture
def codes(tmp_path, speech, run) -> Path:
    """A folder of three files of codes, with a manifest."""
    (tmp_path / "in/sub").mkdir(parents=True)
    for i, name in enumerate(("a", "b", "sub/c")):
        audio.write(tmp_path / f"in/{name}.wav", speech("kathleen-1")[: 4000 + i], 24000)
    encode = ("encode", "in", "-o", "out", "--recursive", "--model", "tiny")
    assert run(*encode)[0] == 0
    return tmp_path / "out"


@pytest.fixture
def check(run, codes):
    """Check the folder: exit code and the problems, by their files."""

    def check() -> tuple[int, dict[str, str]]:
        code, stdout, err = run("check", "out", "--json")
        assert not err
        found = {each["path"]: each["problem"] for each in json.loads(stdout)["problems"]}
        code_too, stdout, err = run("check", "out")
        lines = err.splitlines()
        assert not stdout and code_too == code and len(lines) == len(found) + 1
        assert all(any(path in line for line in lines) for path in found)
        return code, found

    return check


def test_a_whole_folder_has_no_problems(check, run, tiny):
    assert check() == (0, {})
    said = json.loads(run("check", "out", "--json")[1])
    assert (said["files"], said["frames"]) == (3, 9)
    assert said["seconds"] == pytest.approx(12003 / 24000)
    kind = {"codebooks": 8, "fingerprint": tiny.fingerprint, "files": 3}
    assert said["kinds"] == [kind]
    assert run("check", "out")[2] == "out: 3 files, 9 frames, 0.00 h; 0 problems\n"


def test_damage_is_told(check, codes):
    data = bytearray((codes / "a.mimi").read_bytes())
    data[-60] ^= 1
    (codes / "a.mimi").write_bytes(data)
    (codes / "b.mimi").write_bytes((codes / "b.mimi").read_bytes()[:-1])
    (codes / "sub/c.mimi").write_text("dear diary")
    code, found = check()
    assert code == 1 and set(found) == {"a.mimi", "b.mimi", "sub/c.mimi"}


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("other", ["codebooks", "fingerprint"])
def test_codes_of_another_kind_are_told(check, codes, listed, other):
    there = codefile.read(codes / "a.mimi")
    count = 4 if other == "codebooks" else 8
    mark = "0123456789abcdef" if other == "fingerprint" else there.header.fingerprint
    header = codefile.Header(count, fingerprint=mark)
    codefile.write(codes / "a.mimi", there.codes[:, :count], header, there.samples)
    if not listed:
        (codes / "manifest.jsonl").unlink()
    code, found = check()
    assert code == 1 and set(found) == {"a.mimi"}


def test_other_codes_than_are_listed_are_told(check, codes):
    there = codefile.read(codes / "a.mimi")
    codefile.write(codes / "a.mimi", there.codes ^ 1, there.header, there.samples)
    codefile.write(codes / "b.mimi", there.codes[..., :2], there.header)
    (codes / "sub/c.mimi").unlink()
    codefile.write(codes / "new.mimi", there.codes, there.header)
    code, found = check()
    assert code == 1 and set(found) == {"a.mimi", "b.mimi", "sub/c.mimi", "new.mimi"}
    assert "sha256" in found["a.mimi"] and "frames is 2, and 3 is listed" in found["b.mimi"]
    assert "not there" in found["sub/c.mimi"] and "not listed" in found["new.mimi"]


def test_what_was_not_done_is_told(check, codes, run):
    (codes.parent / "in/bad.wav").write_text("no sound")
    assert run("encode", "in", "-o", "out", "--recursive", "--model", "tiny")[0] == 1
    run_of = {"becomes": ".mimi", "files": 60, "shards": 2}
    Manifest(codes, Shard(2, 2), force=True).begin(
        {**dict.fromkeys(("codebooks", "fingerprint")), **run_of}
    )
    code, found = check()
    assert code == 1 and set(found) == {"bad.wav", "manifest.2-of-2.jsonl"}
    assert "60 files in 2 shards" in found["manifest.2-of-2.jsonl"]


@pytest.mark.parametrize("left", ["manifest.jsonl", "manifest.1-of-1.jsonl"])
def test_a_run_that_made_nothing_is_told(run, tmp_path, monkeypatch, left):
    def ended(*_: object) -> None:
        raise KeyboardInterrupt

    (tmp_path / "in").mkdir()
    (tmp_path / "in/bad.wav").write_text("no sound")
    if left != "manifest.jsonl":
        monkeypatch.setattr(Manifest, "finish", ended)
    assert run("encode", "in", "-o", "out", "--model", "tiny")[0] in (1, 130)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [left]
    code, _, err = run("check", "out")
    assert code == 1 and err.count("\n") == 2 and "0 files" in err
    assert ("bad.wav cannot" if left == "manifest.jsonl" else "did not come to its end") in err


def test_what_decode_made_is_no_folder_of_codes(run, codes):
    assert run("decode", "out", "-o", "sound")[0] == 0
    (codes.parent / "sound/a.wav").unlink()
    code, _, err = run("check", "sound")
    assert code == 2 and err.count("\n") == 1 and "no .mimi" in err


def test_what_a_strangers_manifest_says_is_short(run, codes):
    line = {"path": "a.mimi", "frames": 999 * [1]}
    (codes / "manifest.jsonl").write_text(json.dumps(line))
    code, _, err = run("check", "out")
    assert code == 1 and all(len(line) < 200 for line in err.splitlines())


def test_what_is_no_folder_of_codes_is_one_line(run, codes, tmp_path):
    (tmp_path / "empty").mkdir()
    for name, rule in {
        "empty": "no .mimi",
        "nowhere": "no folder",
        "in/a.wav": "no folder",
    }.items():
        code, _, err = run("check", name)
        assert code == 2 and err.count("\n") == 1 and rule in err
    (codes / "manifest.jsonl").write_text("dear diary")
    code, _, err = run("check", "out")
    assert code == 2 and err.count("\n") == 1 and "no list of an earlier run" in err
