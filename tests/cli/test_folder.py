"""A folder of sound files to a folder of codes: whole files only, and the same after any end."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from folders import contents

from mimi_mlx import atomic, audio, cli, codefile
from mimi_mlx.cli import folder as command
from mimi_mlx.cli import folder_encoder

LENGTHS = {"a.wav": 4000, "b.flac": 1920, "sub/c.wav": 9601, "sub/deep/d.wav": 1, "sub/e.ogg": 5000}


@pytest.fixture
def folder(tmp_path, speech) -> Path:
    clip = speech("kathleen-1")
    for i, (name, length) in enumerate(LENGTHS.items()):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        audio.write(path, clip[2000 * i : 2000 * i + length], 24000)
    (tmp_path / "in/sub/notes.txt").write_text("no sound")
    (tmp_path / "in/._a.wav").write_text("the system's own")
    return tmp_path


@pytest.fixture
def encode(run, folder):
    """Encode the folder: exit code and stderr."""

    def encode(*args: object, out: str = "out") -> tuple[int, str]:
        code, stdout, err = run("encode", "in", "-o", out, "--model", "tiny", *args)
        assert stdout == ""
        return code, err

    return encode


@pytest.mark.parametrize(("size", "jobs"), [(1, 1), (1, 3), (2, 1), (2, 2), (8, 2)])
def test_the_tree_is_made_again_with_each_files_codes(encode, folder, tiny, size, jobs):
    code, err = encode("--recursive", "--batch-size", size, "--jobs", jobs)
    assert code == 0
    assert "5 files encoded, 0 done before, 0 failed, 1 passed over that are no sound" in err
    targets = {name: str(Path(name).with_suffix(".mimi")) for name in LENGTHS}
    assert set(contents(folder / "out")) == {*targets.values(), "manifest.jsonl"}
    lines = (folder / "out/manifest.jsonl").read_text().splitlines()
    manifest = {line["path"]: line for line in map(json.loads, lines)}
    assert sorted(manifest) == list(manifest) == sorted(targets.values())
    for name, target in targets.items():
        pcm = audio.read(folder / "in" / name, 24000)
        found = codefile.read(folder / "out" / target)
        codes = np.array(tiny.encode(pcm, num_codebooks=8))
        np.testing.assert_array_equal(found.codes, codes)
        assert found.samples == found.header.samples == len(pcm) == LENGTHS[name]
        assert found.damage is None and found.header.fingerprint == tiny.fingerprint
        sound = folder / "in" / name
        assert manifest[target] == {
            "path": target,
            "source": name,
            "source_bytes": sound.stat().st_size,
            "source_mtime_ns": sound.stat().st_mtime_ns,
            "source_sha256": hashlib.sha256(sound.read_bytes()).hexdigest(),
            "frames": codes.shape[2],
            "seconds": len(pcm) / 24000,
            "codebooks": 8,
            "fingerprint": tiny.fingerprint,
            "sha256": hashlib.sha256(codes.tobytes()).hexdigest(),
        }


def test_only_recursive_goes_into_folders(encode, folder):
    assert encode()[0] == 0
    assert set(contents(folder / "out")) == {"a.mimi", "b.mimi", "manifest.jsonl"}


def test_a_folder_that_may_not_be_read_is_named(encode, folder, monkeypatch):
    scan = os.scandir

    def refusing(path: str) -> object:
        if Path(path).name == "deep":
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refusing)
    _, err = encode("--recursive")
    assert "mimi-mlx: in/sub/deep is passed over: Permission denied" in err
    assert "4 files encoded, 0 done before, 0 failed, 1 passed over" in err


def test_what_is_done_and_whole_is_left_alone_and_the_rest_done_again(encode, folder):
    encode("--recursive")
    before = contents(folder / "out")
    files = {path: path.stat().st_ino for path in (folder / "out").rglob("*.mimi")}
    code, err = encode("--recursive")
    assert code == 0 and "0 files encoded, 5 done before" in err
    assert {path: path.stat().st_ino for path in files} == files  # none is made again
    # Existence is not enough: one byte of codes, an end cut off, an empty file.
    a, b = folder / "out/a.mimi", folder / "out/b.mimi"
    data = bytearray(a.read_bytes())
    data[-40] ^= 1
    a.write_bytes(data)
    b.write_bytes(b.read_bytes()[:-1])
    (folder / "out/sub/c.mimi").write_bytes(b"")
    code, err = encode("--recursive")
    assert code == 0 and "3 files encoded, 2 done before" in err
    assert contents(folder / "out") == before


def test_other_codes_are_overwritten_only_when_asked(encode, folder):
    encode()
    code, err = encode("--codebooks", 4)
    assert code == 2 and "was made with codebooks 8, not 4" in err and err.count("\n") == 1
    (folder / "out/manifest.jsonl").unlink()
    code, err = encode("--codebooks", 4)
    assert code == 1 and "num_codebooks 8, not 4" in err and "2 failed" in err
    assert codefile.read(folder / "out/a.mimi").codes.shape[1] == 8
    assert encode("--codebooks", 4, "-f")[0] == 0
    assert codefile.read(folder / "out/a.mimi").codes.shape[1] == 4


def inodes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_ino for path in folder.rglob("*.mimi")}


@pytest.mark.parametrize("length", [4000, 100])
def test_sound_that_changed_since_is_encoded_anew(encode, folder, tiny, speech, length):
    """Also if it is as long as before."""
    encode()
    before = inodes(folder / "out")
    pcm = speech("kerstin-1")[:length]
    audio.write(folder / "in/a.wav", pcm, 24000)
    code, err = encode()
    assert code == 0 and "1 file encoded, 1 done before, 0 failed" in err
    found = codefile.read(folder / "out/a.mimi")
    pcm = audio.read(folder / "in/a.wav", 24000)
    np.testing.assert_array_equal(found.codes, tiny.encode(pcm, num_codebooks=8))
    assert inodes(folder / "out")["b.mimi"] == before["b.mimi"]
    assert "0 files encoded, 2 done before" in encode()[1]


def test_sound_that_was_only_touched_is_not_encoded_anew(encode, folder):
    encode()
    before = inodes(folder / "out")
    os.utime(folder / "in/a.wav")
    assert "0 files encoded, 2 done before" in encode()[1]
    assert inodes(folder / "out") == before
    manifest = (folder / "out/manifest.jsonl").read_text()
    assert str((folder / "in/a.wav").stat().st_mtime_ns) in manifest


def test_without_a_manifest_newer_sound_is_named(encode, folder):
    """A killed run left whole files, and nobody knows what they were made from."""
    encode()
    (folder / "out/manifest.jsonl").unlink()
    assert "0 files encoded, 2 done before" in encode()[1]
    (folder / "out/manifest.jsonl").unlink()
    os.utime(folder / "in/a.wav")
    before = inodes(folder / "out")
    code, err = encode()
    assert code == 1 and "a.wav is newer than" in err and "Give -f" in err
    assert inodes(folder / "out") == before


def test_what_a_run_passed_over_is_still_its_own(encode, folder):
    """Sound that was bad for a while is encoded when it is good again."""
    encode()
    good = (folder / "in/a.wav").read_bytes()
    (folder / "in/a.wav").write_text("no sound")
    assert encode()[0] == 1 and encode("--codebooks", 4)[0] == 2
    audio.write(folder / "in/a.wav", np.zeros(4000, np.float32), 24000)
    assert encode()[0] == 0 and "0 failed" in encode()[1]
    assert (folder / "in/a.wav").read_bytes() != good
    assert codefile.read(folder / "out/a.mimi").samples == 4000


@pytest.mark.parametrize("mark", ["\u2028", "\u0085", "\n", '"', "\\"])
def test_any_name_is_read_again_from_the_manifest(encode, folder, mark):
    (folder / "in/a.wav").rename(folder / f"in/a{mark}b.wav")
    assert encode()[0] == 0
    code, err = encode()
    assert code == 0 and "0 files encoded, 2 done before" in err


def test_a_manifest_that_is_no_file_is_refused(encode, folder):
    (folder / "out").mkdir()
    os.mkfifo(folder / "out/manifest.jsonl")
    code, err = encode()
    assert code == 2 and "it is no file" in err


def test_force_encodes_everything_anew(encode, folder):
    encode()
    before, bytes_before = inodes(folder / "out"), contents(folder / "out")
    code, err = encode("-f")
    assert code == 0 and "2 files encoded, 0 done before" in err
    assert not set(inodes(folder / "out").items()) & set(before.items())
    assert contents(folder / "out") == bytes_before


def test_bad_files_are_named_and_passed_over(encode, folder):
    (folder / "in/bad.flac").write_bytes((folder / "in/b.flac").read_bytes()[:-300])
    (folder / "in/empty.wav").touch()
    (folder / "in/text.wav").write_text("no sound at all")
    soundfile.write(folder / "in/nan.wav", np.full(2000, np.nan), 24000, "FLOAT")
    soundfile.write(folder / "in/stereo.wav", np.zeros((2000, 2)), 24000)
    code, err = encode()
    assert code == 1 and "2 files encoded, 0 done before, 5 failed" in err
    for name in ("bad.flac", "empty.wav", "text.wav", "nan.wav", "stereo.wav"):
        assert sum(name in line for line in err.splitlines()) == 1
    assert set(contents(folder / "out")) == {"a.mimi", "b.mimi", "manifest.jsonl"}
    lines = [json.loads(x) for x in (folder / "out/manifest.jsonl").read_text().splitlines()]
    assert [line["source"] for line in lines if "error" not in line] == ["a.wav", "b.flac"]
    failed = {line["source"]: line["error"] for line in lines if "error" in line}
    assert len(failed) == 5 and "NaN" in failed["nan.wav"]
    assert encode()[0] == 1
    assert len((folder / "out/manifest.jsonl").read_text().splitlines()) == 7


def test_long_files_are_encoded_alone_as_they_are_read(encode, folder, monkeypatch):
    encode("--recursive", "--batch-size", 2)
    monkeypatch.setattr(audio, "read", lambda *a: pytest.fail("took a long file whole"))
    (folder / "in/b.flac").unlink()
    (folder / "in/sub/deep/d.wav").unlink()
    line = "encode in -o long --model tiny --recursive --batch-size 2"
    args = cli.parse(line.split())
    assert command.run(args, folder_encoder.TASK, most_seconds=0.1) == 0  # 2400 samples
    for name, data in contents(folder / "long").items():
        assert name == "manifest.jsonl" or data == (folder / "out" / name).read_bytes()


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_full_disk_ends_it_in_one_line_with_whole_files_only(encode, folder, monkeypatch, jobs):
    written = []
    replace = atomic.os.replace

    def full(*args: Path) -> None:
        written.append(args)
        if len(written) >= 4:  # the first says that the run begins
            raise OSError(28, "No space left on device")
        replace(*args)

    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, "replace", full)
        code, err = encode("--recursive", "--batch-size", 2, "--jobs", jobs)
    assert code == 2 and err.count("\n") == 1 and "No space left" in err
    there = contents(folder / "out")
    there.pop("manifest.1-of-1.jsonl")  # the run was begun, and did not end
    assert len(there) == 2 and all(name.endswith(".mimi") for name in there)
    assert encode("--recursive", "--batch-size", 2)[0] == 0
    encode("--recursive", "--batch-size", 2, out="undisturbed")
    assert contents(folder / "out") == contents(folder / "undisturbed")


def test_nothing_disappears_that_no_run_made(encode, folder):
    """Also where the codes go beside the sounds, as in a home."""
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    names = (f".a.{done.pid}.mimi", f".notes.{done.pid}.jsonl", ".mine.mimi", ".a.mimi_mlx")
    for name in names:
        (folder / "in" / name).write_text("mine")
        (folder / "in/sub" / name).write_text("mine")
    before = contents(folder / "in")
    (folder / "in/sub/.0123456789abcdef.mimi_mlx").write_text("a killed run's")
    encode("--recursive", out="in")
    after = contents(folder / "in")
    made = {str(Path(name).with_suffix(".mimi")) for name in LENGTHS} | {"manifest.jsonl"}
    assert set(after) - set(before) == made and before.items() <= after.items()


def growing(path: Path, tiny) -> None:
    """A recording that another program is making."""
    header = codefile.Header.for_model(tiny, 8, 24000)
    writer = codefile.Writer(path, header)
    writer.write(np.zeros((8, 3), np.int32))
    writer.flush()


@pytest.mark.parametrize("earlier", [False, True])
def test_without_force_no_run_replaces_what_it_did_not_make(encode, folder, tiny, earlier):
    """Text, a growing recording, a damaged file, an empty one; ``earlier`` runs made others."""
    if earlier:
        (folder / "in/sub").rename(folder / "sub")
        encode("--recursive")
        (folder / "sub").rename(folder / "in/sub")
    out = folder / "out"
    (out / "sub/deep").mkdir(parents=True)
    (out / "sub/c.mimi").write_text("dear diary")
    growing(out / "sub/e.mimi", tiny)
    (out / "sub/deep/d.mimi").touch()
    before = contents(out)
    code, err = encode("--recursive")
    assert code == 1 and "3 failed" in err
    for name in ("c.mimi", "e.mimi", "d.mimi"):
        assert sum(f"{name} " in line for line in err.splitlines()) == 1
    assert err.count("nothing is overwritten unasked. Give -f") == 3
    after = contents(out)
    before.pop("manifest.jsonl", None)
    assert before.items() <= after.items() and after["a.mimi"]
    assert encode("--recursive", "-f")[0] == 0
    assert codefile.read(out / "sub/c.mimi").damage is None


def test_an_earlier_runs_file_that_became_another_is_left_alone(encode, folder, tiny):
    encode("--recursive")
    (folder / "out/a.mimi").write_text("dear diary")
    codefile.write(folder / "out/b.mimi", np.zeros((4, 3), np.int32), codefile.Header(4))
    before = contents(folder / "out")
    code, err = encode("--recursive")
    assert code == 1 and "2 failed" in err
    after = contents(folder / "out")
    assert after.pop("manifest.jsonl") and before.pop("manifest.jsonl")
    assert after == before


@pytest.mark.parametrize("force", [(), ("-f",)])
def test_links_are_not_followed_out_of_the_folder(encode, folder, force):
    out, elsewhere = folder / "out", folder / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    (elsewhere / "a.mimi").write_text("mine")
    (out / "a.mimi").symlink_to(elsewhere / "a.mimi")
    (out / "sub").symlink_to(elsewhere)
    (out / "b.mimi").symlink_to(elsewhere / "new.mimi")  # to nothing
    code, err = encode("--recursive", *force)
    assert code == 1 and "0 files encoded" in err and err.count("is a link, or in one") == 5
    assert contents(elsewhere) == {"a.mimi": b"mine"}
    (out / "manifest.jsonl").unlink()
    (out / "manifest.jsonl").symlink_to(elsewhere / "a.mimi")
    code, err = encode(*force)
    assert code == 2 and "manifest.jsonl is a link" in err and err.count("\n") == 1
    assert contents(elsewhere) == {"a.mimi": b"mine"}


@pytest.mark.parametrize(
    "text",
    [
        "my own list\n",
        '{"path": 1}\n[]\n',
        '{"path": "a", "source": 1}\n',
        '{"file": "a"}\n',
        "\xff",
    ],
)
def test_a_manifest_of_somebody_else_is_left_alone(encode, folder, text):
    (folder / "out").mkdir()
    (folder / "out/manifest.jsonl").write_bytes(text.encode("latin-1"))
    code, err = encode()
    assert code == 2 and "no list of an earlier run" in err and err.count("\n") == 1
    assert set(contents(folder / "out")) == {"manifest.jsonl"}
    assert (folder / "out/manifest.jsonl").read_bytes() == text.encode("latin-1")
    assert encode("-f")[0] == 0


@pytest.mark.parametrize("size", [1, 2])
def test_a_target_that_cannot_be_written_is_named_and_passed_over(encode, folder, size):
    clip = (folder / "in/a.wav").read_bytes()
    long = 251 * "l"
    (folder / f"in/{long}.au").write_bytes(clip)
    (folder / "in/c.wav").write_bytes(clip)
    (folder / "out/c.mimi").mkdir(parents=True)
    os.mkfifo(folder / "out/b.mimi")
    code, err = encode("--batch-size", size)
    assert code == 1 and "1 file encoded, 0 done before, 3 failed" in err, err
    for name in (f"{long}.mimi", "c.mimi", "b.mimi"):
        assert sum(name in line for line in err.splitlines()) == 1
    (folder / "out/sub").write_text("a file, where a folder must be")
    code, err = encode("--batch-size", size, "--recursive")
    assert code == 1 and "0 files encoded, 1 done before, 6 failed" in err, err


@pytest.mark.parametrize("size", [1, 2])
def test_sound_that_vanishes_while_it_works_is_named_and_passed_over(
    encode, folder, monkeypatch, size
):
    """One that was encoded before, and one that was not."""
    encode()
    (folder / "out/b.mimi").unlink()
    (folder / "in/c.wav").write_bytes((folder / "in/a.wav").read_bytes())
    work = command.in_threads

    def meanwhile(*args: object) -> None:
        (folder / "in/a.wav").unlink()
        (folder / "in/b.flac").unlink()
        work(*args)

    monkeypatch.setattr(command, "in_threads", meanwhile)
    code, err = encode("--batch-size", size)
    assert code == 1 and "1 file encoded, 0 done before, 2 failed" in err, err
    for name in ("in/a.wav", "in/b.flac"):
        assert sum(name in line for line in err.splitlines()) == 1
    assert (folder / "out/a.mimi").exists()


def test_names_that_are_not_utf_8_are_encoded_and_named(encode, folder):
    name = b"caf\xe9"
    try:
        (folder / "in" / os.fsdecode(name + b".wav")).write_bytes(
            (folder / "in/a.wav").read_bytes()
        )
        (folder / "in" / os.fsdecode(name + b" 2.wav")).write_text("no sound")
    except OSError:
        pytest.skip("this file system has UTF-8 names alone")
    code, err = encode()
    assert code == 1 and "3 files encoded, 0 done before, 1 failed" in err, err
    assert "caf\\udce9 2.wav cannot be read" in err
    codes = codefile.read(folder / "out" / os.fsdecode(name + b".mimi")).codes
    np.testing.assert_array_equal(codes, codefile.read(folder / "out/a.mimi").codes)
    before = contents(folder / "out")
    code, err = encode()
    assert "0 files encoded, 3 done before, 1 failed" in err
    assert contents(folder / "out") == before


def test_two_that_would_share_a_name_are_passed_over(encode, folder):
    (folder / "in/a.flac").write_bytes((folder / "in/b.flac").read_bytes())
    code, err = encode()
    assert code == 1 and "1 file encoded, 0 done before, 2 failed" in err, err
    assert "in/a.flac and in/a.wav would both become a.mimi" in err
    assert "in/a.wav and in/a.flac would both become a.mimi" in err
    assert set(contents(folder / "out")) == {"b.mimi", "manifest.jsonl"}


def test_wrong_use_is_one_line(encode, folder, run):
    (folder / "none").mkdir()
    for args, rule in {
        ("in", "-o", "in/b.flac"): "in/b.flac is none",
        ("in", "-o", "-"): "- is none",
        ("in", "-o", "out", "--batch-size", 0): "at least one file",
        ("in", "-o", "out", "--jobs", 0): "at least one thread",
        ("in", "-o", "out", "--jobs", -1): "at least one thread",
        ("in", "-o", "out", "--raw", "s16le"): "--raw is for one file",
        ("none", "-o", "out"): "no sound files",
        ("in/a.wav", "-o", "a.mimi", "--recursive"): "--recursive is for a folder",
        ("in/a.wav", "-o", "a.mimi", "--batch-size", 0): "--batch-size is for a folder",
        ("in/a.wav", "-o", "a.mimi", "--jobs", 0): "--jobs is for a folder",
    }.items():
        code, _, err = run("encode", *args, "--model", "tiny")
        assert code == 2 and rule in err and err.count("\n") == 1, err
    assert not (folder / "out").exists()


@pytest.mark.slow
def test_killed_at_twenty_random_moments_it_ends_with_the_same_bytes(tmp_path, speech):
    clip, chance = speech("dialogue"), random.Random(6)
    (tmp_path / "in/sub").mkdir(parents=True)
    for i in range(60):
        start, length = chance.randrange(400000), chance.randrange(1, 30000)
        path = tmp_path / "in" / ("sub" * (i % 2)) / f"{i}.wav"
        audio.write(path, clip[start : start + length], 24000)

    def work(out: str, jobs: int) -> subprocess.Popen:
        command = ["encode", "in", "-o", out, "--recursive", "--batch-size", "2"]
        return subprocess.Popen(
            [sys.executable, "-m", "mimi_mlx", *command, "--jobs", str(jobs), "--model", "tiny"],
            cwd=tmp_path,
            stderr=subprocess.PIPE,
        )

    whole = 0
    for i in range(20):
        process = work("out", chance.randrange(1, 4))
        until = min(60, whole + chance.randrange(7))  # how far it may come
        while process.poll() is None and len(list((tmp_path / "out").rglob("*.mimi"))) < until:
            time.sleep(0.002)
        time.sleep(chance.random() * 0.05)
        process.send_signal([signal.SIGKILL, signal.SIGTERM, signal.SIGINT][i % 3])
        err = process.communicate(timeout=60)[1]
        # As the signals have it; 1 is Python's own, when it is not quite up.
        assert process.returncode in (0, 1, -9, 143, 130, -15, -2), err
        found = [path for path in (tmp_path / "out").rglob("*.mimi") if path.name[0] != "."]
        assert all(codefile.read(path).damage is None for path in found)
        assert len(found) >= whole
        whole = len(found)
    assert whole > 10
    assert work("out", 3).wait(120) == work("undisturbed", 1).wait(120) == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "undisturbed")
    assert len(contents(tmp_path / "out")) == 61
