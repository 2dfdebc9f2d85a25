"""What strangers wrote does nothing to a terminal."""

import io
import json
import subprocess
import sys

import numpy as np
import pytest
from fake_audio import FakeAudio, FakeDevice
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from mimi_mlx import cli, codefile
from mimi_mlx.cli import stream
from mimi_mlx.live.screen import Screen
from mimi_mlx.text import counted, printable

EVIL = "\x1b]0;mine\x07\r\nmimi-mlx: all is well\x7f\x9b31m\u202e\ud800\u2028"


def harmless(*texts: str) -> bool:
    """All lines could be written, and only move a terminal down."""
    return all(line.isprintable() for text in texts for line in text.split("\n"))


@given(st.text(st.characters()))
def test_any_text_becomes_one_printable_line(text):
    found = printable(text)
    assert found.isprintable()
    found.encode()
    if text.isprintable():
        assert found == text


def evil_codes(path, fingerprint: str | None = None):
    about = {"model": EVIL, EVIL: EVIL}
    header = codefile.Header(8, fingerprint=fingerprint, metadata=about)
    codefile.write(path, np.zeros((8, 3), np.int32), header)
    return path


@pytest.mark.parametrize("command", [("info",), ("decode", "-o", "out.wav", "--model", "tiny")])
def test_metadata_is_shown_in_printable_lines(run, tmp_path, command):
    path = evil_codes(tmp_path / "a.mimi", "0123456789abcdef")
    _, out, err = run(command[0], path, *command[1:])
    assert "x1b" in out + err and harmless(out, err)


@pytest.mark.parametrize("command", ["info", "decode", "encode", "verify", "plot"])
def test_names_of_files_are_shown_in_one_printable_line(run, tmp_path, command):
    name = EVIL.replace("\ud800", "\udce9") + ".mimi"
    (tmp_path / name).write_text("no codes")
    out = () if command in ("info", "verify") else ("-o", f"{name}.png", "--model", "tiny")
    code, out, err = run(command, name, *out)
    assert code == 2 and err.count("\n") == 1 and harmless(out, err)


def test_names_of_tensors_are_shown_in_one_printable_line(run, tmp_path):
    save_file({EVIL.replace("\ud800", ""): np.zeros(3, np.float32)}, tmp_path / "model.safetensors")
    code, out, err = run("info", tmp_path / "model.safetensors")
    assert code == 2 and err.count("\n") == 1 and harmless(out, err)


def test_names_of_devices_and_peers_are_shown_in_printable_lines(monkeypatch, capsys):
    devices = FakeDevice(EVIL, inputs=1), FakeDevice("fine", outputs=1)
    monkeypatch.setattr(stream, "PortAudio", lambda: FakeAudio(*devices))
    assert cli.main(["stream", "--list-devices"]) == 0
    terminal = io.StringIO()
    Screen(terminal, lambda: 0.0).say(f"hears {EVIL}")
    found = capsys.readouterr()
    assert harmless(found.out, found.err, terminal.getvalue())
    assert terminal.getvalue().count("\n") == 1 and found.out.count("\n") == 2


def test_usage_and_warnings_too(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mimi_mlx", "info", "--\x1b[31m"], capture_output=True, text=True
    )
    assert done.returncode == 2 and harmless(done.stderr)


@pytest.mark.parametrize(
    ("maker", "recommended"),
    [
        *(
            ("tiny", True),
            ("kyutai/mimi", True),
            ("tiny; rm -rf ~", False),
            ("--upload-repo", False),
        ),
        *(("$(reboot)", False), ("a/b --force", False), (json.dumps([1]), False), ("", False)),
    ],
)
def test_a_stranger_recommends_nothing_but_a_name(run, tmp_path, maker, recommended):
    header = codefile.Header(8, fingerprint="0123456789abcdef", metadata={"model": maker})
    codefile.write(tmp_path / "a.mimi", np.zeros((8, 3), np.int32), header)
    code, _, err = run("decode", "a.mimi", "-o", "a.wav", "--model", "tiny")
    assert code == 2
    assert (f"Give --model {maker}, or" in err) == recommended
    assert ("Give --model with that fingerprint" in err) != recommended


def test_one_is_no_plural():
    assert [counted(n, "frame") for n in range(3)] == ["0 frames", "1 frame", "2 frames"]
    assert counted(1, "is", "are") == "1 is" and counted(2, "is", "are") == "2 are"
