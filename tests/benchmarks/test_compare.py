"""The race runs each implementation as its users do, and says how, also when it is cut short."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import compare_table
import numpy as np
import peer_process
import pytest
from paths import TINY

# In place of an implementation that is no part of this package: it notes what its process holds.
STUB = """
import ctypes, json, os, sys, time
import numpy as np
try:
    import kernels  # as transformers does
except ImportError:
    pass

class Tokenizer:
    def __init__(self, file, num_codebooks):
        self.codebooks = num_codebooks
        if file == "broken":
            raise ValueError("no such weights")

    def reset(self):
        pass

    def encode(self, pcm):
        return np.zeros((1, self.codebooks, -(-pcm.shape[-1] // 1920)), np.int64)

    def decode(self, codes):
        held = {
            "pid": os.getpid(),
            "modules": [*sys.modules],
            "settings": [x for x in os.environ if "THREADS" in x],
            "openblas": hasattr(ctypes.CDLL(None), "openblas_get_config"),
        }
        with open("held.tmp", "w") as file:
            json.dump(held, file)
        os.replace("held.tmp", "held.json")
        time.sleep(float(os.environ.get("STUB_SLEEPS", 0)))

    encode_step = encode
    decode_step = decode
"""


@pytest.fixture
def compare(tmp_path):
    """Start the race in a folder where rustymimi is the stub; it ends with the test."""
    (tmp_path / "rustymimi.py").write_text(STUB)
    about = tmp_path / "rustymimi-0.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: rustymimi\nVersion: 0.0\n")
    started = []

    def start(*arguments: str, weights: str = "weights", **environment: str) -> subprocess.Popen:
        script = Path(peer_process.__file__).with_name("compare.py")
        found = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
        process = subprocess.Popen(
            [sys.executable, script, TINY, weights, "--codebooks", "8", *arguments],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": found} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.terminate()
        process.communicate()


def row(table: str, name: str) -> list[str]:
    line = next(line for line in table.splitlines() if line.startswith(f"| {name} "))
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.slow
def test_each_runs_as_its_users_run_it(compare, tmp_path):
    arguments = ["--only", "mimi_mlx", "rustymimi", "--rounds", "2", "--json", "times.json"]
    tasks = ["encode frame", "decode frame"]
    process = compare(*arguments, "--tasks", *tasks, OMP_NUM_THREADS="1", LD_PRELOAD="")
    table, progress = process.communicate(timeout=120)
    assert process.returncode == 0, progress
    assert "round 2 of 2, decode frame: mimi_mlx rustymimi\n" in progress
    held = json.loads((tmp_path / "held.json").read_text())
    assert not [name for name in held["modules"] if name.partition(".")[0] in ("mimi_mlx", "mlx")]
    assert held["settings"] == [] and not held["openblas"]
    found = json.loads((tmp_path / "times.json").read_text())
    assert found["complete"] and found["machine"] in table and found["command"] in table
    ours, theirs = found["peers"]["mimi_mlx"], found["peers"]["rustymimi"]
    assert [len(ours["seconds"][task]) for task in tasks] == [2, 2]
    assert ours["peak_mb"] > 20 and "mlx" in ours["given"]
    assert f"- mimi_mlx: {ours['given']}." in table and f"- rustymimi: {theirs['given']}." in table
    assert "Incomplete" not in table
    assert "(1.00)" in row(table, "mimi_mlx")[1]


def test_ctrl_c_prints_the_table_so_far_and_ends_all(compare, tmp_path):
    tasks = ["encode 8 x 10 s", "encode frame", "decode 10 s", "encode 10 s"]
    process = compare("--only", "rustymimi", "--tasks", *tasks, STUB_SLEEPS="600")
    held, end = tmp_path / "held.json", time.monotonic() + 60
    while not held.exists():
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.02)
    for _ in range(3):  # impatiently, and as a terminal does: to all of its processes
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.005)
    table, progress = process.communicate(timeout=60)
    assert process.returncode == 130, progress
    assert table.startswith("**Incomplete**") and "Traceback" not in progress
    cells = row(table, "rustymimi")
    assert cells[1] == "has none" and cells[2].endswith(" ms")
    assert cells[3:5] == ["not yet", "not yet"]
    with pytest.raises(ProcessLookupError):
        os.kill(json.loads(held.read_text())["pid"], 0)


def test_an_implementation_that_fails_is_left_out_by_name(compare):
    process = compare("--only", "rustymimi", "--rounds", "1", weights="broken")
    table, progress = process.communicate(timeout=60)
    assert process.returncode == 0, progress
    assert "- rustymimi ended: ValueError: no such weights." in table


@pytest.mark.parametrize(("patience", "used", "share"), [(50, 10, 0.1), (200, 100, 1)])
def test_what_would_take_too_long_is_scaled_from_a_tenth(monkeypatch, patience, used, share):
    lengths = []
    monkeypatch.setattr(peer_process, "seconds", lambda call, x: call(x))
    measure = peer_process.whole(
        lambda x: lengths.append(x.shape[-1]) or x.shape[-1], np.zeros((1, 1, 100)), patience
    )
    assert measure() == (100, share)
    assert lengths[-1] == used and max(lengths) == used


def test_what_was_scaled_is_marked():
    def peer(times: list[float], share: float) -> dict:
        return {"seconds": {"decode 10 s": times}, "share": {"decode 10 s": share}} | about

    about = {"version": "1", "given": "itself", "peak_mb": 1.0}
    about |= {"equal_codes": None, "equal_streamed_codes": None}
    peers = {"mimi_mlx": peer([1.0, 3.0, 2.0], 1), "moshi_mlx": peer([10.0, 60.0, 8.0], 0.1)}
    race = {"machine": "", "python": "", "weights": "", "codebooks": 8, "rounds": 3, "command": ""}
    race |= {"complete": True, "left_out": {}, "peers": peers, "load_before": 0.1}
    table = compare_table.table(race, ["decode 10 s"])
    assert row(table, "mimi_mlx")[1] == "2.00 s (1.00)"
    assert row(table, "moshi_mlx")[1] == r"10.00 s (10.00) \*"
    assert r"\*: a tenth of the clip" in table and "load" not in table
    peers["moshi_mlx"]["share"]["decode 10 s"] = 1
    assert r"\*" not in compare_table.table(race, ["decode 10 s"])
    assert "load 2.5" in compare_table.table(race | {"load_before": 2.5}, ["decode 10 s"])
