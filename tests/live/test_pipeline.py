"""Two machines in a call, in one process: real datagrams over loopback, all else made up."""

import contextlib
import io

import numpy as np
import pytest
from fake_audio import FakeAudio, FakeDevice, FakeWorker
from live_network import FORMAT, free_port

from mimi_mlx.live.devices.supervisor import DeviceSupervisor
from mimi_mlx.live.frame_codec import CodedFrame
from mimi_mlx.live.network.link import Link
from mimi_mlx.live.pipeline import Incoming, Outgoing, RunLog
from mimi_mlx.live.recorder import Recorder
from mimi_mlx.live.screen import Screen
from mimi_mlx.live.session import Session
from mimi_mlx.live.stats import LiveStats


class LevelCodec:
    """Codes are how loud a frame is, and a frame is that loud."""

    frame_seconds = 0.08

    def __init__(self, clock):
        self.clock = clock

    def encode(self, frame: np.ndarray, decode: bool) -> CodedFrame:
        codes = np.full(8, round(2000 * np.abs(frame).max()), np.int32)
        return CodedFrame(codes, frame[:0], -20.0, 0.0, 0.0, 0.0)

    def decode(self, codes: np.ndarray) -> CodedFrame:
        pcm = np.full(1920, codes[0] / 2000, np.float32)
        return CodedFrame(codes, pcm, 0.0, 0.0, 0.0, 0.004)


class End:
    """One of the two."""

    def __init__(self, tiny, audio: FakeAudio, name: str, listen: int, send: int | None):
        self.stats, self.audio = LiveStats(0.08, 1.1), audio
        to = None if send is None else ("127.0.0.1", send)
        self.link = Link(FORMAT, to, listen, clock=audio.clock)
        screen = Screen(io.StringIO(), audio.clock)
        wanted = {"output": f"{name} speaker"} | ({"input": f"{name} mic"} if send else {})
        self.supervisor = DeviceSupervisor(audio, wanted, 24000, 1920, 0.02, screen.say)
        self.stats.microphone, self.stats.speaker = (
            self.supervisor.microphone,
            self.supervisor.speaker,
        )
        log = RunLog(self.stats, Recorder(tiny, 8), None)
        worker, codec = FakeWorker(audio, lambda: 0.004), LevelCodec(audio.clock)
        speaker = self.supervisor.speaker
        pipelines = [Incoming(self.link, worker, codec, log, speaker, not send)]
        if send:
            outgoing = Outgoing(self.supervisor.microphone, worker, codec, log, None, self.link)
            pipelines.append(outgoing)
        self.session = Session(audio, self.supervisor, pipelines, log, screen, self.link)

    def turn(self) -> None:
        self.session._turn(self.audio.now)

    def heard(self) -> np.ndarray:
        """The last second."""
        those = self.audio.heard_by[self.supervisor.speaker.opened.device.name]
        return np.concatenate([block[:, 0] for block in those[-100:]])


def wave(level: float):
    return lambda seconds: level * np.ones_like(seconds)


@pytest.fixture
def pair(tiny):
    audio = FakeAudio(
        *(FakeDevice("a mic", inputs=1), FakeDevice("a speaker", outputs=2, ppm=100)),
        *(FakeDevice("b mic", inputs=1, ppm=-100), FakeDevice("b speaker", outputs=2)),
        sound=wave(0.5),
    )
    with contextlib.ExitStack() as stack:

        def make(*args) -> End:
            end = End(tiny, audio, *args)
            stack.callback(end.link.close)
            stack.callback(end.supervisor.close)
            return end

        yield audio, make


def pass_time(audio: FakeAudio, seconds: float, *ends: End) -> None:
    until = audio.now + seconds
    while audio.now < until:
        for end in ends:
            end.turn()
        audio.wait(0.002, None)


def test_a_call(pair):
    audio, make = pair
    ports = free_port(), free_port()
    a, b = make("a", *ports), make("b", *ports[::-1])
    pass_time(audio, 20.0, a, b)
    for end in (a, b):
        assert np.median(end.heard()) == pytest.approx(0.5, abs=0.01)
        stats = end.stats.link
        assert stats.received > 200 and stats.foreign == 0
        assert end.stats.late == end.stats.underruns == 0
        assert 5 < end.stats.kbps < 7  # headers count
        assert end.stats.mouth_to_ear_now is None  # nobody here can know


def test_who_only_listens_hears_silence_until_somebody_speaks_and_after(pair):
    audio, make = pair
    b = make("b", 0, None)
    pass_time(audio, 1.0, b)
    assert not b.heard().any() and b.stats.underruns == 0 and b.stats.frames == 0
    a = make("a", 0, b.link.port)
    pass_time(audio, 5.0, a, b)
    assert np.median(b.heard()) == pytest.approx(0.5, abs=0.01)
    a.link.close()
    pass_time(audio, 3.0, b)
    assert not b.heard().any()
    blocks = np.concatenate([block[:, 0] for block in audio.heard_by["b speaker"]])
    assert np.abs(np.diff(blocks)).max() < 0.02  # it came and went without a click
    assert b.stats.underruns == 0
