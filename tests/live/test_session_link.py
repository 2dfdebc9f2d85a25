"""What a live run says of the other end."""

import io
from types import SimpleNamespace

import numpy as np
from fake_audio import FakeAudio, FakeWorker
from live_network import FORMAT, PORT, bring, packets

from mimi_mlx.live.devices.supervisor import DeviceSupervisor
from mimi_mlx.live.frame_codec import CodedFrame
from mimi_mlx.live.network.link import Link
from mimi_mlx.live.pipeline import Incoming, RunLog
from mimi_mlx.live.recorder import Recorder
from mimi_mlx.live.screen import Screen
from mimi_mlx.live.session import Session
from mimi_mlx.live.stats import LiveStats


def test_who_listens_is_told_of_nobody_of_silence_and_of_its_end(memory, tiny):
    audio, terminal, stats = FakeAudio(), io.StringIO(), LiveStats(0.08, 1.1)
    link, sent = Link(FORMAT, None, PORT, clock=audio.clock), packets(200)
    codec = SimpleNamespace(
        frame_seconds=0.08,
        clock=audio.clock,
        decode=lambda codes: CodedFrame(codes, np.zeros(1920), 0.0, 0.0, 0.0, 0.0),
    )
    screen = Screen(terminal, audio.clock)
    log = RunLog(stats, Recorder(tiny, 8), None)
    supervisor = DeviceSupervisor(audio, {}, 24000, 1920, 0.02, screen.say)
    pipeline = Incoming(link, FakeWorker(audio), codec, log, None, True)
    seen = {}
    for first, begin in ((0, 6.0), (100, 13.0), (150, 20.0)):
        for n in range(40):  # 3.2 s
            data = sent[first + n]
            audio.at(begin + 0.08 * n, lambda data=data: bring(link, data))
    for when in (1, 5, 8, 12, 14):
        audio.at(when, lambda when=when: seen.update({when: (stats.alone, stats.kbps_now)}))
    Session(audio, supervisor, [pipeline], log, screen, link).run(26.0)
    peer = "10.0.0.2:5000"
    assert terminal.getvalue().splitlines() == [
        f"listening at UDP port {PORT}",
        "running; Ctrl-C ends it",
        f"hint: nobody is heard yet. Does the other end --send to port {PORT} here?",
        f"hears {peer}",
        f"{peer} is silent",
        f"{peer} is heard again",
        f"{peer} is silent",
        f"{peer} is heard again",
        f"{peer} is silent",
    ]
    assert seen == {
        **{1: (True, 0), 5: (True, 0), 12: (True, 0)},
        **{8: (False, 5.9), 14: (False, 5.9)},
    }
