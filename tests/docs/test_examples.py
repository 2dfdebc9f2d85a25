"""The examples run as they stand, and are short."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mimi_mlx import codefile

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("two_streams", r"first call: 5.68 s, .* off the whole clip"),
        ("batch_server", r"64 calls on 16 lines: .*; each as if alone"),
        pytest.param(
            "latents",
            r"latents: 9\d of 103 pieces.*\nquantised: 10\d of.*\nspectrum: 103 of",
            marks=pytest.mark.slow,
        ),
        ("transcode_folder", r"13 files, 68 s of sound, .* 11065 bytes"),
    ],
)
def test_an_example_runs_as_it_stands(name, says, tmp_path):
    script = EXAMPLES / f"{name}.py"
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert re.search(says, run.stdout), run.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["live_recorder", "transcode_folder"])
def test_help_is_no_file(name, tmp_path):
    command = [sys.executable, EXAMPLES / f"{name}.py", "--help"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0 and run.stdout.startswith("usage: ")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_is_short_and_says_what_it_does(script):
    source = script.read_text()
    assert len(source.splitlines()) < 120
    assert ast.get_docstring(ast.parse(source)).splitlines()[0].endswith((".", "?"))


@pytest.fixture
def transcode_folder(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module("transcode_folder")


def test_a_folder_goes_on_past_a_bad_file(tiny, speech, transcode_folder, tmp_path, capsys):
    """Two channels, another rate, a folder inside, one that is no sound, one that is done."""
    sounds, codes = tmp_path / "sounds", tmp_path / "codes"
    (sounds / "inside").mkdir(parents=True)
    clips = {"a.wav": speech("kathleen-1"), "inside/b.flac": speech("kerstin-1")}
    for name, clip in clips.items():
        soundfile.write(sounds / name, clip, 24000)
    soundfile.write(sounds / "c.wav", np.stack([clips["a.wav"][:9000]] * 2, axis=-1), 8000)
    (sounds / "bad.wav").write_bytes(b"RIFF")
    (sounds / "notes.txt").write_text("no sound")
    assert transcode_folder.transcode(tiny, sounds, codes) == 1
    said = capsys.readouterr()
    assert "3 files" in said.out and "bad.wav" in said.err
    for name, clip in clips.items():
        found = codefile.read(codes / f"{name}.mimi")
        assert found.samples == len(clip) and found.damage is None
        np.testing.assert_array_equal(found.codes, tiny.encode(clip, num_codebooks=8))
    assert codefile.read(codes / "c.wav.mimi").samples == 27000
    (sounds / "bad.wav").unlink()
    (codes / "c.wav.mimi").unlink()
    assert transcode_folder.transcode(tiny, sounds, codes) == 0
    assert capsys.readouterr().out.startswith("1 files")
