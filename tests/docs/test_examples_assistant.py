"""examples/assistant.py: it hears while it speaks, and begins anew when it is interrupted."""

import functools
import importlib
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fake_audio import FakeDevice, PacedAudio

from mimi_mlx import MimiWorker
from mimi_mlx.live import Duplex, DuplexFrame

EXAMPLES = Path(__file__).parents[2] / "examples"
FRAME = 1920
DELAY = 12
LATER, RESUMES = 16, 24  # frames: somebody speaks over it for 4; it goes on after 5 quiet ones


@pytest.fixture
def assistant(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module("assistant")


def frames(x: np.ndarray) -> list[np.ndarray]:
    return np.split(x, x.shape[-1] // FRAME, axis=-1)


def said(tiny, codes: list[np.ndarray]) -> np.ndarray:
    """What a decoder says that has said nothing before."""
    return np.array(tiny.decode(np.concatenate(codes, axis=-1)))[0, 0]


@pytest.mark.parametrize("barges_in", [True, False])
def test_an_interruption(tiny, speech, assistant, barges_in):
    """Somebody speaks for 10 frames and, when these are echoed, perhaps once more."""
    pcm = np.zeros(40 * FRAME, np.float32)
    clip = speech("kathleen-1")[4 * FRAME :]
    pcm[: 10 * FRAME] = clip[: 10 * FRAME]
    if barges_in:
        pcm[LATER * FRAME : (LATER + 4) * FRAME] = clip[: 4 * FRAME]
    heard, answers = [], []
    echo = assistant.MODELS["echo"](DELAY)

    def step(codes: np.ndarray) -> np.ndarray | None:
        heard.append(codes)
        answers.append(echo(codes))
        return answers[-1]

    it = assistant.Assistant(tiny, step)
    with MimiWorker() as worker:
        voice = assistant.recorded(it, worker, pcm)

    undisturbed = tiny.encode(pcm, num_codebooks=assistant.NUM_CODEBOOKS)
    np.testing.assert_array_equal(np.concatenate(heard, axis=-1), undisturbed)
    assert it.interruptions == barges_in
    assert not voice[: DELAY * FRAME].any()
    if not barges_in:
        np.testing.assert_allclose(voice[DELAY * FRAME :], said(tiny, answers[DELAY:]), atol=1e-5)
        return
    before = voice[DELAY * FRAME : LATER * FRAME]
    np.testing.assert_allclose(before, said(tiny, answers[DELAY:LATER]), atol=1e-5)
    assert not voice[LATER * FRAME : RESUMES * FRAME].any()
    after = voice[RESUMES * FRAME :]
    np.testing.assert_allclose(after, said(tiny, answers[RESUMES:]), atol=1e-5)
    as_if_nothing_was = said(tiny, answers[DELAY:LATER] + answers[RESUMES:])[4 * FRAME :]
    assert np.abs(after - as_if_nothing_was).max() > 1e-3


def test_from_microphone_to_speaker(tiny, speech, assistant, monkeypatch):
    """All that it says is played; Ctrl-C ends it; only the worker computes."""
    clip = speech("kathleen-1")[4 * FRAME : 14 * FRAME]
    fakes = FakeDevice("mic", inputs=1), FakeDevice("speaker", outputs=2)
    audio = PacedAudio(*fakes)
    begun, places = audio.now + 1.5, np.arange(len(clip)) / 24000
    audio.sound = lambda seconds: np.interp(seconds - begun, places, clip, left=0, right=0)
    it = assistant.Assistant(tiny, assistant.MODELS["echo"](DELAY))
    hear, threads, said = it.hear, set(), []

    def hear_and_stop(frame: DuplexFrame) -> np.ndarray:
        said.append(hear(frame))
        threads.add(threading.current_thread().name)
        if len(said) == 60:
            raise KeyboardInterrupt
        return said[-1]

    it.hear = hear_and_stop
    monkeypatch.setattr(assistant, "Duplex", functools.partial(Duplex, audio=audio, inform=print))
    with MimiWorker() as worker, pytest.raises(KeyboardInterrupt):
        assistant.live(it, worker)
    assert threads == {"mimi-worker"} and it.interruptions == 0
    assert not audio.ports
    energy = np.sum(np.square(said))
    assert energy > 20
    assert np.sum(np.square(audio.ear()[1])) == pytest.approx(energy, rel=0.05)


@pytest.mark.parametrize("model", ["echo", "moshi"])
def test_it_runs_on_a_file(tmp_path, model):
    if model == "moshi":
        pytest.importorskip("moshi_mlx")
    command = [sys.executable, EXAMPLES / "assistant.py", "--output", "answer.wav"]
    run = subprocess.run([*command, "--model", model], capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert int(lines[0].split()[0]) > 0 and "interruptions" in lines[0]
    spent = {line.split()[0]: float(line.split()[1]) for line in lines[1:]}
    assert set(spent) == {"encode", "model", "decode"}
    answer, _ = soundfile.read(tmp_path / "answer.wav", dtype="float32")
    assert len(answer) == 108 * FRAME
    assert np.sqrt(np.mean(answer**2)) > 0.005
