"""What all tests share: the embedded model, the speech, and OpenBLAS before MLX."""

import os
import signal
from collections.abc import Iterator

import numpy as np
import pytest
import soundfile
from safetensors.numpy import load_file

if "PYTEST_XDIST_WORKER" in os.environ:  # beside others: OpenBLAS's idle threads would spin
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# isort: split
from mimi_mlx import Mimi, cli
from mimi_mlx.evaluation import verify
from mimi_mlx.model.ops.device import named

# isort: split
from browser import Browser
from live_page import microphone
from paths import SPEECH, TINY

# isort: split
import mlx.core as mx


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", choices=("cpu", "gpu"), help="of MLX, for all tests")


def pytest_configure(config: pytest.Config) -> None:
    # A job in the background ignores Ctrl-C, and under nohup that the terminal hangs up; every
    # process that a test starts would do the same.
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    for number, handler in usual.items():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)
    if device := config.getoption("--device"):
        try:
            mx.set_default_device(named(device))
        except ValueError as error:
            raise pytest.UsageError(str(error)) from error


@pytest.fixture(scope="session")
def tiny() -> Mimi:
    return Mimi.from_pretrained("tiny")


@pytest.fixture(scope="session")
def speech():
    """A clip of the shipped speech by name: float32 samples ``[T]`` at 24 kHz."""

    def read(name: str) -> np.ndarray:
        samples, rate = soundfile.read(SPEECH / f"{name}.flac", dtype="float32")
        assert rate == 24000
        return samples

    return read


@pytest.fixture(scope="session")
def browser(tmp_path_factory) -> Iterator[Browser]:
    """A Chromium whose microphone hears speech; the test is skipped where there is none."""
    with microphone(tmp_path_factory.mktemp("microphone")) as found:
        yield found


@pytest.fixture
def tiny_tensors() -> dict[str, np.ndarray]:
    """The tensors of the embedded checkpoint under their names in the file, to change at will."""
    return load_file(TINY / "model.safetensors")


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run the command line in an empty folder: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*args: object) -> tuple[int, str, str]:
        try:
            code = cli.main([str(arg) for arg in args])
        except SystemExit as ending:  # argparse's own
            code = ending.code
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def not_paced(monkeypatch) -> None:
    """A loaded machine may be too slow for verify; that is no defect."""
    found = {"frames": 12, "late": 0, "busy_percent": 10.0}
    monkeypatch.setattr(verify.bench, "paced", lambda *args, **named: found)
