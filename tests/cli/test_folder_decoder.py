"""A folder of codes to one of sound: whole files only, resumed, and nothing else is replaced."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from folders import contents

from mimi_mlx import audio, cli, codefile
from mimi_mlx.cli import folder as command
from mimi_mlx.cli import folder_decoder

LENGTHS = {"a.mimi": (8, 4000), "b.mimi": (8, 1920), "sub/c.mimi": (4, 9601), "sub/d.mimi": (8, 1)}


@pytest.fixture
def folder(tmp_path, tiny, speech) -> Path:
    clip = speech("kathleen-1")
    (tmp_path / "in/sub").mkdir(parents=True)
    for name, (count, length) in LENGTHS.items():
        header = codefile.Header.for_model(tiny, count, metadata={"model": "tiny"})
        codes = tiny.encode(clip[:length], num_codebooks=count)
        codefile.write(tmp_path / "in" / name, codes, header, length)
    (tmp_path / "in/notes.txt").write_text("no codes")
    return tmp_path


@pytest.fixture
def decode(run, folder):
    """Decode the folder: exit code and stderr."""

    def decode(*args: object, out: str = "out") -> tuple[int, str]:
        code, stdout, err = run("decode", "in", "-o", out, *args)
        assert stdout == ""
        return code, err

    return decode


@pytest.mark.parametrize(("size", "jobs"), [(1, 1), (2, 2), (8, 1)])
def test_the_tree_is_made_again_as_each_file_is_alone(decode, folder, run, size, jobs):
    code, err = decode("--recursive", "--batch-size", size, "--jobs", jobs)
    assert code == 0, err
    assert "4 files decoded, 0 done before, 0 failed, 1 passed over that are no codes" in err
    lines = (folder / "out/manifest.jsonl").read_text().splitlines()
    manifest = {line["path"]: line for line in map(json.loads, lines)}
    assert set(contents(folder / "out")) == {*manifest, "manifest.jsonl"}
    for name, (_, length) in LENGTHS.items():
        target = str(Path(name).with_suffix(".wav"))
        assert run("decode", f"in/{name}", "-o", "alone.wav", "-f")[0] == 0
        data = (folder / "alone.wav").read_bytes()
        assert (folder / "out" / target).read_bytes() == data
        said = manifest[target]
        assert (said["source"], said["samples"], said["codebooks"]) == (name, length, None)
        assert said["sha256"] == hashlib.sha256(data).hexdigest()
        source = (folder / "in" / name).read_bytes()
        assert said["source_sha256"] == hashlib.sha256(source).hexdigest()


def test_what_is_done_is_left_alone_and_the_rest_done_again(decode, folder, tiny):
    decode("--recursive")
    before = contents(folder / "out")
    inodes = {path: path.stat().st_ino for path in (folder / "out").rglob("*.wav")}
    code, err = decode("--recursive")
    assert code == 0 and "0 files decoded, 4 done before" in err
    assert {path: path.stat().st_ino for path in inodes} == inodes
    (folder / "out/a.wav").unlink()
    header = codefile.read(folder / "in/b.mimi").header
    codefile.write(folder / "in/b.mimi", np.zeros((8, 2), np.int32), header)
    code, err = decode("--recursive")
    assert code == 0 and "2 files decoded, 2 done before" in err
    after = contents(folder / "out")
    assert after["a.wav"] == before["a.wav"] and after["b.wav"] != before["b.wav"]


def test_sound_of_somebody_else_is_left_alone(decode, folder):
    """It was there before, or it was changed since."""
    (folder / "out").mkdir()
    audio.write(folder / "out/a.wav", np.zeros(4000, np.float32), 24000)
    mine = (folder / "out/a.wav").read_bytes()
    code, err = decode()
    assert code == 1 and "1 file decoded" in err and "no earlier run lists it" in err
    audio.write(folder / "out/b.wav", np.zeros(1920, np.float32), 24000)
    code, err = decode()
    assert code == 1 and "0 files decoded" in err and "b.wav was changed since" in err
    assert (folder / "out/a.wav").read_bytes() == mine
    assert decode("-f")[0] == 0 and (folder / "out/a.wav").read_bytes() != mine


@pytest.fixture
def killed(decode, folder, monkeypatch):
    """A run that ends when it has made the sound of some of its batches."""

    def end(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(command.Manifest, "finish", end)
        assert decode()[0] == 130


def test_what_a_killed_run_made_is_known_again(decode, folder, killed):
    code, err = decode()
    assert code == 0 and "0 files decoded, 2 done before" in err
    decode(out="undisturbed")
    assert contents(folder / "out") == contents(folder / "undisturbed")


@pytest.mark.parametrize("change", ["older", "length"])
def test_what_a_killed_run_made_of_something_else_is_named(decode, folder, killed, change):
    if change == "older":
        os.utime(folder / "in/a.mimi")
    else:
        audio.write(folder / "out/a.wav", np.zeros(4001, np.float32), 24000)
    code, err = decode()
    assert code == 1 and "1 done before, 1 failed" in err and "a.wav" in err


def test_another_shard_at_work_makes_nobodys_sound_its_own(decode, folder):
    """Sound that happens to be as long as what is to be made."""
    (folder / "out").mkdir()
    for name, length in (("a", 4000), ("b", 1920)):
        audio.write(folder / f"out/{name}.wav", np.zeros(length, np.float32), 24000)
    for number in (1, 2):
        code, err = decode("--shard", f"{number}/2")
        assert code == 1 and "0 done before, 1 failed" in err, err


def test_other_codebooks_into_one_folder_are_refused_in_one_line(decode, folder, killed):
    code, err = decode("--codebooks", 4)
    assert code == 2 and err.count("\n") == 1 and "with codebooks None, not 4" in err
    assert decode()[0] == 0
    code, err = decode("--codebooks", 4)
    assert code == 2 and err.count("\n") == 1 and "with codebooks None, not 4" in err
    assert decode("--codebooks", 4, "-f")[0] == 0


def test_bad_files_are_named_and_passed_over(decode, folder, tiny):
    data = (folder / "in/a.mimi").read_bytes()
    (folder / "in/cut.mimi").write_bytes(data[:-3])
    (folder / "in/flipped.mimi").write_bytes(data[:-60] + bytes([data[-60] ^ 1]) + data[-59:])
    (folder / "in/text.mimi").write_text("no codes")
    other = codefile.Header(8, fingerprint="0123456789abcdef", metadata={"model": "a/b"})
    codefile.write(folder / "in/other.mimi", np.zeros((8, 3), np.int32), other)
    codefile.write(folder / "in/empty.mimi", np.zeros((8, 0), np.int32), codefile.Header(8))
    codefile.write(folder / "in/many.mimi", np.zeros((255, 3), np.int32), codefile.Header(255))
    for size in (1, 8):
        code, err = decode("--batch-size", size)
        assert code == 1 and "6 failed" in err, err
        for name in ("cut", "flipped", "text", "other", "empty", "many"):
            assert sum(f"{name}.mimi" in line for line in err.splitlines()) == 1, err
        made = {name for name in contents(folder / "out") if name.endswith(".wav")}
        assert made == {"a.wav", "b.wav"}


def test_long_files_are_decoded_alone_as_they_are_read(decode, folder, monkeypatch):
    decode("--recursive")
    monkeypatch.setattr(codefile, "read", lambda *a: pytest.fail("took a long file whole"))
    args = cli.parse(["decode", "in", "-o", "long", "--recursive", "--batch-size", "2"])
    assert command.run(args, folder_decoder.TASK, most_seconds=0.0) == 0
    for name, data in contents(folder / "out").items():
        assert (folder / "long" / name).read_bytes() == data or name == "manifest.jsonl"


def test_sound_beside_its_codes_shares_their_manifest(run, folder, speech):
    audio.write(folder / "in/e.wav", speech("kathleen-1")[:3000], 24000)
    assert run("encode", "in", "-o", "in", "--model", "tiny")[0] == 0
    (folder / "in/e.wav").rename(folder / "e.wav")
    assert run("decode", "in", "-o", "in", "--codebooks", 4)[0] == 0
    lines = (folder / "in/manifest.jsonl").read_text().splitlines()
    paths = [json.loads(line)["path"] for line in lines]
    assert sorted(paths) == ["a.wav", "b.wav", "e.mimi", "e.wav"]


def test_wrong_use_is_one_line(decode, folder, run):
    (folder / "none").mkdir()
    for args, rule in {
        ("in", "-o", "out", "--skip-lost"): "--skip-lost is for one file",
        ("in", "-o", "out", "--raw", "s16le"): "--raw is for one file",
        ("in", "-o", "-"): "- is none",
        ("none", "-o", "out"): "none has no codes files",
        ("in/a.mimi", "-o", "a.wav", "--shard", "1/2"): "--shard is for a folder",
    }.items():
        code, _, err = run("decode", *args)
        assert code == 2 and rule in err and err.count("\n") == 1, err
    assert not (folder / "out").exists()
