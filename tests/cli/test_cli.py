"""The command line itself: what it imports, how it ends, what it says of failures."""

import functools
import json
import os
import re
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import soundfile
from paths import SPEECH

from mimi_mlx import atomic, cli
from mimi_mlx.checkpoint import hub
from mimi_mlx.cli.progress import Progress
from mimi_mlx.evaluation import bench

CLIP = SPEECH / "kathleen-1.flac"  # 40134 samples: 21 frames, the last one ragged


def test_ctrl_c_leaves_nothing(run, tmp_path, monkeypatch):
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


COMMANDS = {
    "info": ("tiny",),
    "bench": ("tiny", "--device", "cpu"),
    "verify": ("tiny",),
    "encode": (CLIP, "-o", "a.mimi", "--model", "tiny"),
    "roundtrip": (CLIP, "-o", "a.wav", "--model", "tiny"),
    "eval": (CLIP, "--model", "tiny"),
    "plot": (CLIP, "-o", "a.png", "--model", "tiny"),
    "convert": ("tiny", "--mlx-path", "folder"),
    "demo": (),
}


@pytest.mark.parametrize("command", ["encode", "roundtrip", "convert"])
def test_quiet_says_nothing_but_what_is_wrong(run, command):
    flag = "--quiet" if command == "convert" else "-q"
    assert run(command, *COMMANDS[command], "-f")[2]
    assert run(command, *COMMANDS[command], "-f", flag) == (0, "", "")
    code, _, err = run(command, *COMMANDS[command], flag)
    assert code == 2 and "nothing is overwritten unasked" in err and err.count("\n") == 1
    assert run(command, *COMMANDS[command], "-f")[2], "not for ever"


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_the_common_flags(run, command):
    code, out, _ = run(command, "--help")
    assert code == 0 and "--quiet" in out and "--debug" in out
    assert ("--codebooks" in out) == ("--num-codebooks" in out)


@pytest.mark.parametrize("command", ["bench", "verify", "convert"])
def test_the_model_is_an_argument_or_an_option(run, command, not_paced, monkeypatch):
    seen = []
    monkeypatch.setattr(hub, "find", lambda name, *args, **more: seen.append(name) or 1 / 0)
    options = {"convert": [["--hf-path", "tiny"]]}.get(command, [])
    for model in (["tiny"], ["--model", "tiny"], *options):
        run(command, *model)
    assert set(seen) == {"tiny"} and len(seen) == 2 + len(options)
    code, _, err = run(command, "tiny", "--model", "other")
    assert code == 2 and "tiny and --model other are two models" in err


def test_the_version(run):
    import mimi_mlx

    assert run("--version")[1].split() == ["mimi-mlx", mimi_mlx.__version__]


def keys(found: object) -> set[str]:
    if isinstance(found, dict):
        return set(found).union(*map(keys, found.values()))
    return set().union(*map(keys, found)) if isinstance(found, list) else set()


@pytest.mark.parametrize(
    "command", ["bench", *(pytest.param(c, marks=pytest.mark.slow) for c in ("verify", "eval"))]
)
def test_json_has_keys_for_programs(run, not_paced, monkeypatch, command):
    monkeypatch.setattr(bench, "read_rate", lambda mimi: 1e9)
    monkeypatch.setattr(bench, "offline", functools.partial(bench.offline, seconds=0.4, runs=1))
    few = functools.partial(bench.frames, count=8)
    monkeypatch.setattr(bench, "frames", lambda mimi, count, *args: few(mimi, count))
    monkeypatch.setattr(bench, "batch", lambda *args: {"encode": 1.0, "decode": 1.0})
    code, out, err = run(command, *COMMANDS[command], "--json")
    assert code == 0, err
    assert all(re.fullmatch("[a-z][a-z0-9_]*", key) for key in keys(json.loads(out)))


def test_csv_has_plain_names_and_six_digits(run):
    head, *rows = run("eval", *COMMANDS["eval"], "--codebooks", "1,8", "--csv")[1].splitlines()
    assert re.fullmatch("[a-z0-9_,]+", head) and len(rows) == 2
    for cell in ",".join(rows).split(","):
        assert len(re.sub(r"e.*|\D", "", cell).lstrip("0")) <= 6


def test_no_soak_is_no_bench(run):
    for hours in ("0", "-1", "nan"):
        code, _, err = run("bench", "tiny", "--soak", hours)
        assert code == 2 and "more than 0 hours" in err
