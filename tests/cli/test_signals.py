"""A terminal that hangs up, and a polite end: nothing half-written is left."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# As a system without nameless files, where an unfinished one lies beside its name.
RUN = (
    "import os, sys\n"
    "if hasattr(os, 'O_TMPFILE'): del os.O_TMPFILE\n"
    "from mimi_mlx.cli import main\n"
    "sys.exit(main(sys.argv[1:]))"
)
SOUND = "--raw", "s16le", "--sample-rate", "24000"
ENCODE = "encode", "-", *SOUND, "-o", "a.mimi", "--model", "tiny"


def encoding(folder: Path, **about) -> subprocess.Popen:
    """A process that encodes what comes through a pipe, once it has begun to."""
    pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", RUN, *ENCODE], cwd=folder, **pipes, **about)
    deadline = time.monotonic() + 60
    while not list(folder.iterdir()):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    return process


@pytest.mark.parametrize("name", ["SIGHUP", pytest.param("SIGTERM", marks=pytest.mark.slow)])
def test_it_cleans_up(tmp_path, name):
    number = getattr(signal, name)
    process = encoding(tmp_path)
    for _ in range(3):  # a shell repeats what the terminal sent
        process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (128 + number, b"")
    assert not list(tmp_path.iterdir())


def test_under_nohup_it_goes_on(tmp_path):
    process = encoding(tmp_path, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    process.send_signal(signal.SIGHUP)
    _, err = process.communicate(bytes(4 * 1920), timeout=60)
    assert process.returncode == 0, err
    assert [path.name for path in tmp_path.iterdir()] == ["a.mimi"]
