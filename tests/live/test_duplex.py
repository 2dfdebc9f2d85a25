"""Duplex: a thread between devices and a program that hears and says."""

import time

import mlx.core as mx
import numpy as np
import pytest
from fake_audio import FakeAudio, FakeDevice, PacedAudio

from mimi_mlx import live
from mimi_mlx.live.devices import echo_canceller


def devices(rate: int = 48000) -> PacedAudio:
    fakes = FakeDevice("mic", inputs=1, rate=rate), FakeDevice("speaker", outputs=2, rate=rate)
    return PacedAudio(*fakes, sound=lambda seconds: 0.1 * np.sin(2 * np.pi * 300 * seconds))


def test_a_program_hears_says_and_hushes():
    audio, told = devices(), []
    with live.Duplex(audio=audio, inform=told.append) as duplex:
        frames = duplex.frames()
        for _ in range(15):
            frame = next(frames)
            assert frame.pcm.shape == (1920,) and frame.pcm.dtype == np.float32
            assert 0 <= frame.speech <= 1 and not frame.interrupted
        assert np.std(frame.pcm) == pytest.approx(0.1 / np.sqrt(2), rel=0.05)
        said = 0.5 * np.sin(2 * np.pi * 440 * np.arange(12000) / 24000).astype(np.float32)
        duplex.say(mx.array(said)[None, None])
        duplex.say(np.tile(said, 100))
        while duplex.heard < 12000:
            next(frames)
        duplex.hush()
        assert duplex.waiting == 0
        for _ in range(5):
            next(frames)
        heard = duplex.heard
        assert 12000 <= heard < 40000
        next(frames)
        assert duplex.heard == heard and duplex.dropped == 0
    duplex.close()
    duplex.say(said)
    assert not audio.ports and duplex.waiting == 0
    assert told[0] == "input: 0 mic (fake), 48000 Hz" and len(told) == 2
    _, played = audio.ear()
    assert np.sum(np.abs(played) > 1e-3) / 2 == pytest.approx(heard, abs=500)


def test_frames_that_nobody_takes_are_dropped_and_counted():
    audio = devices()
    with live.Duplex(audio=audio, inform=print) as duplex:
        end = audio.now + 3.0
        while audio.now < end:
            time.sleep(0.001)
    assert 5 < duplex.dropped < 40
    assert len(list(duplex.frames())) == 25


def test_what_fails_in_the_thread_is_raised_to_who_waits(monkeypatch):
    audio = devices()
    with live.Duplex(audio=audio, inform=print) as duplex:
        monkeypatch.setattr(audio, "sound", lambda seconds: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            list(duplex.frames())
    assert not audio.ports


@pytest.mark.parametrize(
    ("pcm", "message"),
    [
        (np.zeros((2, 1, 1920), np.float32), "2 rows"),
        (np.zeros((2, 1920), np.float32), "one channel"),
        (np.zeros(1920, np.int16), "float32"),
        (np.full(10, np.nan, np.float32), "NaN"),
    ],
)
def test_what_cannot_be_said_is_refused(pcm, message):
    with live.Duplex(audio=devices(), inform=print) as duplex:
        with pytest.raises(ValueError, match=message):
            duplex.say(pcm)
        assert duplex.waiting == 0


def test_devices_that_do_not_do_are_told_of():
    with pytest.raises(ValueError, match="does not take 96000 Hz"):
        live.Duplex(audio=devices(96000), inform=print)
    with pytest.raises(ValueError, match="there is no output device"):
        live.Duplex(audio=FakeAudio(FakeDevice("mic", inputs=1)), inform=print)
    with pytest.raises(ValueError, match="'7' is no input device"):
        live.Duplex(7, audio=devices(), inform=print)
    with pytest.raises(ValueError, match="latency is 40; it is"):
        live.Duplex(latency=40, audio=devices(), inform=print)


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(echo_canceller.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install '.\[aec\]'"):
        live.Duplex(audio=devices(), inform=print)
