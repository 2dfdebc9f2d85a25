"""How the process begins: Ctrl-C at once, ends that are closed. No trace, whatever comes."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from paths import ROOT, SPEECH

CLIP = SPEECH / "kathleen-1.flac"

# Ctrl-C is what a terminal's is, also where the tests run in the background; and then the console
# script, which says that it is about to begin.
CONSOLE_SCRIPT = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
import mimi_mlx_command
os.write(1, b".")
sys.exit(mimi_mlx_command.main())
"""


def ignore(*numbers: int) -> Callable[[], object]:
    return lambda: [signal.signal(number, signal.SIG_IGN) for number in numbers]


def test_ctrl_c_while_it_imports_is_quiet():
    for milliseconds in (0, 1, 3, 10, 20, 35, 50, 70, 100):
        command = [
            sys.executable,
            "-c",
            CONSOLE_SCRIPT,
            "roundtrip",
            str(CLIP),
            "-o",
            "-",
            "--model",
            "tiny",
        ]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
        ) as process:
            assert process.stdout.read(1) == b"."
            time.sleep(milliseconds / 1000)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        # By the signal, which a shell has as 130; or, when all is imported, by this number.
        assert process.returncode in (-signal.SIGINT, 130), (milliseconds, err)
        assert err in (b"", b"mimi-mlx: interrupted\n"), (milliseconds, err.decode())


SWALLOWING = """
import os, signal, sys
from mimi_mlx.cli import main

class Finder:
    def find_spec(name, *_):
        if name == "mimi_mlx.cli.encode":
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            except BaseException:
                pass

sys.meta_path.insert(0, Finder)
sys.exit(main())
"""


def test_an_end_while_it_imports_is_not_lost():
    """What is raised inside an import may be: a launcher sends it once, and waits."""
    command = [sys.executable, "-c", SWALLOWING, "encode", str(CLIP), "-o", "/nowhere/a.mimi"]
    assert subprocess.run(command, capture_output=True).returncode == -signal.SIGTERM


INTERRUPTED_AT = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)

class Finder:
    def find_spec(name, *_):
        if name == os.environ["AT"]:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder)
"""


@pytest.mark.parametrize("module", ["mimi_mlx", "mimi_mlx.stream"])
def test_ctrl_c_while_python_runs_the_package_is_quiet(tmp_path, module):
    """In the midst of an import, early and late."""
    (tmp_path / "sitecustomize.py").write_text(INTERRUPTED_AT)
    for at in ("mimi_mlx.model.ops.linux", "mimi_mlx.cli", "mimi_mlx.text", "mlx.core"):
        env = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}", "AT": at}
        command = [sys.executable, "-m", module, *(["info", "tiny"] * (module == "mimi_mlx"))]
        done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, timeout=60)
        assert (done.returncode, done.stderr) == (-signal.SIGINT, b""), at


def test_importing_the_package_leaves_signals_alone(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other/__init__.py").write_text("import mimi_mlx")
    show = "import signal; print(signal.getsignal(signal.SIGINT) == signal.default_int_handler)"
    before = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    (tmp_path / "other/__main__.py").write_text(show)
    (tmp_path / "sitecustomize.py").write_text(before)
    env = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-m", "other", "mimi_mlx"], env=env, capture_output=True, text=True
    )
    assert done.stdout == "True\n", done.stderr


def test_in_the_background_ctrl_c_is_ignored(tmp_path):
    command = [sys.executable, "-m", "mimi_mlx_command", "info", str(CLIP)]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        preexec_fn=ignore(signal.SIGINT),
    ) as process:
        for _ in range(30):
            time.sleep(0.01)
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and b"40134 samples" in out and err == b""


@pytest.mark.parametrize(
    ("command", "code", "line"),
    [
        ("info tiny >&-", 0, ""),
        ("info - <&-", 2, "mimi-mlx: - is stdin, which is closed. Give the name of a file.\n"),
        ("decode - -o a.wav <&-", 2, "mimi-mlx: - is stdin, which is closed. Give the name"),
        ("encode {clip} -o - >&-", 2, "mimi-mlx: - is stdout, which is closed. Give -o a file"),
        ("encode {clip} -o a.mimi --model tiny <&- >&-", 0, "a.mimi: 1.67 s"),
        ("encode {clip} -o a.mimi --model tiny <&- >&- 2>&-", 0, ""),
        ("encode none.wav -o a.mimi 2>&-", 2, ""),
        ("--version >&-", 0, None),
    ],
)
def test_closed_ends_are_no_trace(tmp_path: Path, command, code, line):
    script = f"{sys.executable} -m mimi_mlx {command.format(clip=CLIP)}"
    done = subprocess.run(
        ["bash", "-c", f"export PYTHONPATH={ROOT}; {script}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert line is None or done.stdout == ""
    if line is not None:
        assert done.stderr.startswith(line) and done.stderr.count("\n") == bool(line)
