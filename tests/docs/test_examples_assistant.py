"""examples/assistant.py: it hears while it speaks, and begins anew when it is interrupted."""

import importlib
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from mimi_mlx import MimiWorker

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
    voice = np.concatenate([it.hear(x) for x in frames(pcm)])

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


class SoundCard:
    """Plays frames into a callback from a thread of its own, each when the last was heard."""

    def __init__(self, pcm: np.ndarray, heard: list, **given):
        self.given, self.played = given, []
        self.thread = threading.Thread(target=self.play, args=(frames(pcm), heard))

    def play(self, pcm: list[np.ndarray], heard: list) -> None:
        end = time.monotonic() + 120  # for an assistant that hears nothing
        for count, frame in enumerate(pcm):
            while len(heard) < count and time.monotonic() < end:
                time.sleep(0.001)
            out = np.full((FRAME, 1), np.nan, np.float32)
            self.given["callback"](frame[:, None], out, FRAME, None, None)
            self.played.append(out[:, 0])

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.thread.join()


def test_from_microphone_to_speaker(tiny, speech, assistant, monkeypatch):
    """Each frame comes out one block later or two; Ctrl-C ends it; only the worker computes."""
    pcm = np.zeros(26 * FRAME, np.float32)
    pcm[: 10 * FRAME] = speech("kathleen-1")[4 * FRAME : 14 * FRAME]
    it = assistant.Assistant(tiny, assistant.MODELS["echo"](DELAY))
    expected = np.concatenate([it.hear(x) for x in frames(pcm)])
    it = assistant.Assistant(tiny, assistant.MODELS["echo"](DELAY))
    hear, heard = it.hear, []

    def hear_and_stop(frame: np.ndarray) -> np.ndarray:
        answer = hear(frame)
        heard.append(threading.current_thread().name)
        if len(heard) == 26:
            raise KeyboardInterrupt
        return answer

    it.hear = hear_and_stop
    cards = []

    def stream(rate: int, size: int, **given) -> SoundCard:
        assert (rate, size, given["channels"], given["dtype"]) == (24000, FRAME, 1, "float32")
        cards.append(SoundCard(pcm, heard, **given))
        return cards[0]

    monkeypatch.setitem(sys.modules, "sounddevice", SimpleNamespace(Stream=stream))
    with MimiWorker() as worker, pytest.raises(KeyboardInterrupt):
        assistant.live(it, worker, tiny.sample_rate)
    assert set(heard) == {"mimi-worker"}
    spoken = [frame for frame in cards[0].played if frame.any()]
    wanted = [frame for frame in frames(expected) if frame.any()]
    assert 8 < len(spoken) >= len(wanted) - 2
    np.testing.assert_allclose(spoken, wanted[: len(spoken)], atol=1e-5)


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
