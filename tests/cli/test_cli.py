"""The command line itself: what it imports, how it ends, what it says of failures."""

import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import soundfile
from paths import SPEECH

from mimi_mlx import atomic, cli
from mimi_mlx.cli.progress import Progress

CLIP = SPEECH / "kathleen-1.flac"  # 40134 samples: 21 frames, the last one ragged


def test_ctrl_c_leaves_nothing(run, tmp_path, monkeypatch):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored
    monkeypatch.setattr(Progress, "advance", lambda *a: signal.raise_signal(signal.SIGINT))
    code, _, err = run("roundtrip", CLIP, "-o", "a.wav", "--model", "tiny")
    assert (code, err) == (130, "mimi-mlx: interrupted\n")
    assert not list(tmp_path.iterdir())


def test_a_failure_is_one_line_and_exit_code_1_and_leaves_nothing(run, tmp_path, monkeypatch):
    def full(*args: object) -> None:
        raise RuntimeError("it\nbroke off")

    monkeypatch.setattr(soundfile.SoundFile, "write", full)
    command = ["roundtrip", CLIP, "-o", "a.wav", "--model", "tiny"]
    code, _, err = run(*command)
    assert code == 1 and err.count("\n") == 1
    assert err.startswith("mimi-mlx: RuntimeError: it broke off")
    assert not list(tmp_path.iterdir())
    code, _, err = run(*command, "--debug")
    assert code == 1 and err.startswith("Traceback") and "writer.py" in err


@pytest.mark.parametrize("target", ["a.wav", "a.flac", "a.mimi", "a.npz", "a.safetensors"])
def test_what_the_system_refuses_is_told_with_the_users_path(run, tmp_path, monkeypatch, target):
    command = "encode" if Path(target).suffix in (".mimi", ".npz", ".safetensors") else "roundtrip"
    for number, remedy in {13: "permissions", 30: "another disk", 28: "Make room"}.items():

        def refuse(path: Path, number: int = number) -> int:
            raise OSError(number, os.strerror(number), str(path))

        monkeypatch.setattr(atomic, "_create", refuse)
        code, _, err = run(command, CLIP, "-o", target, "--model", "tiny")
        assert code == 2 and err.startswith(f"mimi-mlx: {target}: {os.strerror(number)}. ")
        assert remedy in err and err.count("\n") == 1


@pytest.mark.parametrize("target", ["a.wav", "a.flac"])
def test_a_disk_that_becomes_full_is_told_as_that(tmp_path, target):
    """libsndfile says "System error" alone."""
    limit = "import resource as r; r.setrlimit(r.RLIMIT_FSIZE, (9000, 9000)); "
    code = limit + "from mimi_mlx import cli; raise SystemExit(cli.main())"
    arguments = ["roundtrip", CLIP, "-o", target, "--model", "tiny"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    assert f"mimi-mlx: {target}: File too large. Make room" in done.stderr
    assert not list(tmp_path.iterdir())


def test_sound_that_may_not_be_read_is_told_as_that(run, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *args: False)
    code, _, err = run("encode", CLIP, "-o", "a.mimi", "--model", "tiny")
    assert code == 2 and f"{CLIP} may not be read by this user" in err and err.count("\n") == 1


def command(*args: str, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "mimi_mlx", *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_as_a_module_and_into_a_closed_pipe():
    helped = command("--help")
    broken = command("info", "tiny")
    broken.stdout.close()
    assert broken.wait(60) == 141
    assert broken.stderr.read() == ""
    out, err = helped.communicate(timeout=60)
    assert helped.returncode == 0 and err == ""
    assert all(name in out for name in ("roundtrip", "encode", "decode", "info", "demo"))


@pytest.mark.parametrize(
    ("args", "code", "imported"),
    [(["--help"], 0, []), (["sing"], 2, []), (["info", "--help"], 0, ["mimi_mlx.cli.info"])],
)
def test_only_the_chosen_command_is_imported(args, code, imported):
    heavy = [f"mimi_mlx.cli.{name}" for name in cli.COMMANDS]
    if not imported:
        heavy += ["mimi_mlx.cli.options", "soundfile", "soxr", "tqdm", "huggingface_hub"]
    script = (
        "import atexit, json, sys; from mimi_mlx.cli import main\n"
        f"found = lambda: print(json.dumps([n for n in {heavy} if n in sys.modules]))\n"
        "atexit.register(found); main(sys.argv[1:])"
    )
    done = subprocess.run([sys.executable, "-c", script, *args], capture_output=True, text=True)
    assert done.returncode == code
    assert json.loads(done.stdout.splitlines()[-1]) == imported


def test_what_main_sets_is_put_back(run):
    before = warnings.formatwarning, signal.getsignal(signal.SIGTERM)
    assert run("info", CLIP)[0] == 0 and run("info", "nowhere")[0] == 2
    assert (warnings.formatwarning, signal.getsignal(signal.SIGTERM)) == before


def test_the_help_recommends_mimi(capsys):
    with pytest.raises(SystemExit):
        cli.main(["encode", "--help"])
    assert "a file of codes: .mimi, the smallest" in " ".join(capsys.readouterr().out.split())


def test_every_package_is_installed():
    root = Path(cli.__file__).parent
    listed = (SPEECH.parents[1] / "pyproject.toml").read_text()
    for package in root.glob("*/__init__.py"):
        assert f'"mimi_mlx.{package.parent.name}"' in listed
