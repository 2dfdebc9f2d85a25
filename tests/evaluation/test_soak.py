"""A long run, frame by frame: time, memory and sound stay as they were."""

import functools
import json
import mmap
import os
import re
import subprocess
import sys

import mlx.core as mx
import pytest
from soaking import FRAMES_AN_HOUR, TOLERANCE, assert_nothing_drifted

from mimi_mlx import Mimi
from mimi_mlx.evaluation import soak

LONG = """
import json
import mmap
from mimi_mlx import Mimi
from mimi_mlx.evaluation import soak
from mimi_mlx.model.codec import Codec
traces = 0
def counted(step):
    def call(*args):
        global traces
        traces += 1
        return step(*args)
    return call
Codec.encode_step, Codec.decode_step = counted(Codec.encode_step), counted(Codec.decode_step)
seen = soak.run(Mimi.from_pretrained("tiny"), 10_000 / 45_000, 2, report=lambda line: None)
print(json.dumps(seen | {"traces": traces}))
"""


@pytest.mark.slow
def test_ten_thousand_frames():
    """In a process of its own, whose memory is the run's; more BLAS threads would only wait."""
    run = subprocess.run(
        [sys.executable, "-c", LONG],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    seen = json.loads(run.stdout)
    assert seen["frames"] == 10_000 and not seen["interrupted"]
    assert seen["warmup_seconds"] == 30
    assert_nothing_drifted(seen)
    assert seen["traces"] == 2, "one trace for all encoder steps, one for all decoder steps"


# A later stream starts 80 frames before the last 30, which are compared. In each half 2 layers x 31
# positions are 31 frames; convolutions add a few.
short = functools.partial(soak.run, warmup=80, compared=30)


@pytest.mark.slow
def test_a_short_run_says_what_it_saw(tiny):
    lines = []
    seen = short(tiny, 130 / FRAMES_AN_HOUR, num_codebooks=8, report=lines.append, every=0.2)
    assert seen["frames"] == 130
    assert_nothing_drifted(seen)
    assert lines and all("frames in" in line and "memory" in line for line in lines)


@pytest.mark.slow
def test_ctrl_c_ends_it_with_the_figures_so_far(tiny):
    seen = short(tiny, 1, num_codebooks=4, voice=interrupted_at(120))
    assert seen["interrupted"] and seen["frames"] == 120
    assert_nothing_drifted(seen)


def interrupted_at(frame: int) -> soak.Voice:
    calls = iter(range(10**9))

    def call(mimi, index):
        if next(calls) == frame:
            raise KeyboardInterrupt
        return soak.voice(mimi, index)

    return call


@pytest.mark.slow
def test_a_model_that_drifts_is_found_out(monkeypatch):
    """Keys that turn a little too far for each position: nobody hears it at first."""
    tiny = Mimi.from_pretrained("tiny")
    transformer = tiny.codec.decoder_transformer
    positions = type(transformer).positions

    def drifting(self, length, state):
        at = positions(self, length, state)
        later = 1 + 1e-5 * state.position.astype(mx.float32).reshape(-1, 1, 1, 1, 1, 1)
        return at._replace(rotation=at.rotation._replace(cos=at.rotation.cos * later))

    monkeypatch.setattr(type(transformer), "positions", drifting)
    seen = short(tiny, 130 / FRAMES_AN_HOUR, num_codebooks=8)
    assert seen["waveform_error"] > TOLERANCE


@pytest.mark.slow
def test_a_process_that_grows_is_found_out(tiny):
    hoard = []

    def growing(mimi, index):
        hoard.append(mmap.mmap(-1, 1 << 22))  # not of memory that other tests gave back
        hoard[-1].write(b"1" * (1 << 22))
        return soak.voice(mimi, index)

    seen = soak.run(tiny, 40 / FRAMES_AN_HOUR, num_codebooks=1, voice=growing)
    assert seen["memory_growth_mb"] > 60


@pytest.mark.parametrize("hours", [0, -1, 1e-9])
def test_no_time_at_all(tiny, hours):
    with pytest.raises(ValueError, match=rf"hours is {hours}; .* Give more than 0"):
        soak.run(tiny, hours, num_codebooks=8)


def test_the_command_ends_with_what_was_seen(monkeypatch, run):
    ending = functools.partial(short, voice=interrupted_at(20), every=0)
    monkeypatch.setattr(soak, "run", ending)
    code, out, err = run("bench", "--model", "tiny", "--soak", "1", "--num-codebooks", "1")
    assert code == 0 and "19 frames in" in err
    assert "| encode, p10 |" in out and "| decode, p95 |" in out
    assert "stopped after 20 frames: the last frames' codes are equal to those of streams" in out
    assert re.search(r"waveforms \d\.\de[-+]\d\d of the RMS apart\nmemory: \d+\.\d MB, ", out)
