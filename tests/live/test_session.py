"""Whole live runs with devices and a clock that are made up: what real devices do, and worse."""

import contextlib
import io

import numpy as np
import pytest
from fake_audio import FakeAudio, FakeDevice, FakeWorker

from mimi_mlx.live.devices.echo_path import EchoPath
from mimi_mlx.live.devices.supervisor import DeviceSupervisor
from mimi_mlx.live.frame_codec import CodedFrame
from mimi_mlx.live.pipeline import Outgoing, RunLog
from mimi_mlx.live.recorder import Recorder
from mimi_mlx.live.screen import Screen
from mimi_mlx.live.session import Session
from mimi_mlx.live.stats import LiveStats


class EchoCodec:
    """Gives back what it gets: what is heard is then exactly what was said."""

    def __init__(self):
        self.frames: list[np.ndarray] = []

    def encode(self, frame: np.ndarray, decode: bool) -> CodedFrame:
        self.frames.append(frame)
        return CodedFrame(np.zeros(8, np.int32), frame, -20.0, 0.0, 0.0, 0.0)


class Run:
    """A session between a microphone and a speaker, with the echo for a codec."""

    def __init__(
        self, tiny, microphone, speaker, sound, takes=lambda: 0.004, wanted=(None, None), aec=False
    ):
        self.microphone, self.speaker = microphone, speaker
        self.audio = FakeAudio(microphone, speaker, sound=sound)
        self.codec, self.terminal = EchoCodec(), io.StringIO()
        self.stats = LiveStats(0.08, 1.1)
        screen = Screen(self.terminal, self.audio.clock)
        names = {"input": wanted[0], "output": wanted[1]}
        echo = EchoPath(self.audio.clock) if aec else None
        self.supervisor = DeviceSupervisor(self.audio, names, 24000, 1920, 0.02, screen.say, echo)
        self.stats.echo = echo
        self.stats.microphone, self.stats.speaker = (
            self.supervisor.microphone,
            self.supervisor.speaker,
        )
        log = RunLog(self.stats, Recorder(tiny, 8), None)
        worker = FakeWorker(self.audio, takes)
        ends = self.supervisor.microphone, worker, self.codec, log, self.supervisor.speaker, None
        self.session = Session(self.audio, self.supervisor, [Outgoing(*ends)], log, screen)

    def go(self, seconds: float) -> LiveStats:
        self.session.run(seconds)
        return self.stats

    @property
    def said(self) -> str:
        return self.terminal.getvalue()


def hum(seconds: np.ndarray) -> np.ndarray:
    """Two tones whose sum does not repeat within a minute."""
    return 0.4 * np.sin(2 * np.pi * 311.1 * seconds) + 0.4 * np.sin(2 * np.pi * 1234.56 * seconds)


def pulse(seconds: np.ndarray) -> np.ndarray:
    """A short tone every second, on the second."""
    return np.where(seconds % 1 < 0.02, np.sin(2 * np.pi * 1000 * seconds), 1e-4)


def onset(run: Run) -> float:
    """How long after a second's beginning the last whole pulse was heard."""
    times, heard = run.audio.ear()
    loud = times[np.abs(heard) > 0.2]
    return loud[np.flatnonzero(np.diff(loud, prepend=0) > 0.2)[-2]] % 1


@pytest.mark.parametrize(
    ("microphone", "speaker"),
    [
        (FakeDevice("mic", inputs=1), FakeDevice("speaker", outputs=2)),
        (FakeDevice("mic", inputs=1, rate=48000), FakeDevice("speaker", outputs=2, rate=48000)),
        (FakeDevice("mic", inputs=1, rate=44100), FakeDevice("speaker", outputs=1, rate=44100)),
        (
            FakeDevice("mic", inputs=2, rate=48000, least_channels=2),
            FakeDevice("speaker", outputs=6, rate=44100),
        ),
        (
            FakeDevice("mic", inputs=1, rate=48000, converts=True),
            FakeDevice("speaker", outputs=2, rate=44100, converts=True),
        ),
        (FakeDevice("mic", inputs=1, rate=16000), FakeDevice("speaker", outputs=2, rate=96000)),
    ],
)
def test_any_devices_and_the_delay_is_as_shown(tiny, microphone, speaker):
    run = Run(tiny, microphone, speaker, pulse)
    stats = run.go(5.0)
    measured = onset(run)
    rate = 24000 if speaker.converts else speaker.rate
    assert {heard for _, heard, _ in run.audio.heard} == {rate}
    assert stats.mouth_to_ear_now == pytest.approx(measured, abs=0.004)
    print(f"mouth to ear: shown {stats.mouth_to_ear_now:.4f} s, measured {measured:.4f} s")
    # 20 ms into the microphone, 80 of the frame, 4 to compute, 10 through the speaker, 20 of
    # margin, 2 of the loop, and at first as much as both devices' blocks of 10.
    assert 0.115 < measured < 0.165
    assert stats.late == stats.underruns == stats.dropped == stats.overruns == 0


@pytest.mark.parametrize(("rate", "added"), [(24000, 0.009), (48000, 0.0)])
def test_an_echo_canceller_adds_at_most_ten_milliseconds_and_they_are_shown(tiny, rate, added):
    """None where a filter made the last sample of a frame wait for the device's next block."""
    measured = []
    for aec in (False, True):
        mic = FakeDevice("mic", inputs=1, rate=rate)
        run = Run(tiny, mic, FakeDevice("speaker", outputs=2, rate=48000), pulse, aec=aec)
        stats = run.go(3.5)
        measured.append(onset(run))
        assert stats.mouth_to_ear_now == pytest.approx(measured[-1], abs=0.004)
        assert stats.late == stats.underruns == stats.dropped == 0
    assert measured[1] - measured[0] == pytest.approx(added, abs=0.003)
    assert 0.008 < stats.parts["echo"] <= 0.01 and stats.cancel.count == stats.frames


def test_a_rate_that_cancelling_does_not_do_is_told_of_and_sound_goes_on(tiny):
    mic, speaker = FakeDevice("mic", inputs=1, rate=48000), FakeDevice("speaker", outputs=2)
    run = Run(tiny, mic, speaker, pulse, aec=True)
    spare = FakeDevice("spare", inputs=1, rate=96000)
    run.audio.at(0.5, lambda: run.audio.plug(spare))
    run.audio.at(1.0, lambda: run.audio.unplug(mic))
    stats = run.go(4.5)
    assert run.said.count("does not take 96000 Hz") == 1
    assert stats.mouth_to_ear_now == pytest.approx(onset(run), abs=0.004) and stats.echo.delay == 0


def test_what_is_heard_is_what_was_said(tiny):
    mic, speaker = FakeDevice("mic", inputs=1), FakeDevice("speaker", outputs=2)
    run = Run(tiny, mic, speaker, hum)
    run.go(4.0)
    times, heard = run.audio.ear()
    said = hum(times - run.stats.mouth_to_ear_now)
    # The clock gives the delay within a sample; the sound itself gives the rest.
    heard, said = heard[24000:84000], said[24000:84000]
    errors = [np.std(heard - np.roll(said, shift)) for shift in range(-96, 96)]
    assert min(errors) < 0.03 * np.std(heard)


def test_a_stall_loses_the_oldest_and_the_delay_comes_back(tiny):
    mic, speaker = FakeDevice("mic", inputs=1), FakeDevice("speaker", outputs=2)
    calls = iter(range(10**6))
    run = Run(tiny, mic, speaker, pulse, lambda: 3.0 if next(calls) == 50 else 0.004)
    stats = run.go(11.0)
    assert stats.late == stats.underruns == 1
    # 3 s were said meanwhile; what could not wait is counted, and so is what was cut afterwards.
    assert 2.7 < stats.dropped < 3.1
    assert onset(run) < 0.2
    assert stats.mouth_to_ear_now == pytest.approx(onset(run), abs=0.004)
    assert stats.reopened == 0


def test_a_slow_frame_now_and_then_makes_room_for_itself(tiny):
    mic, speaker = FakeDevice("mic", inputs=1), FakeDevice("speaker", outputs=2)
    calls = iter(range(10**6))
    run = Run(tiny, mic, speaker, hum, lambda: 0.05 if next(calls) % 60 == 50 else 0.004)
    stats = run.go(30.0)
    assert 0 < stats.late <= 3  # of six
    assert stats.late == stats.underruns


def test_a_codec_that_is_too_slow_keeps_going_and_counts(tiny):
    mic, speaker = FakeDevice("mic", inputs=1), FakeDevice("speaker", outputs=2)
    run = Run(tiny, mic, speaker, hum, lambda: 0.12)
    stats = run.go(8.0)
    assert 55 < stats.frames < 70  # of 100
    assert stats.dropped > 2 and stats.late > 15
    assert stats.mouth_to_ear_now < 1.0  # bounded


def test_flags_of_the_devices_are_counted_not_obeyed(tiny):
    mic, speaker = FakeDevice("mic", inputs=1), FakeDevice("speaker", outputs=2)
    run = Run(tiny, mic, speaker, hum)
    run.audio.at(2.0, lambda: setattr(mic, "flags", 7))
    stats = run.go(4.0)
    assert stats.overruns == 7
    assert stats.reopened == stats.late == 0


@pytest.mark.parametrize("end", ["microphone", "speaker"])
@pytest.mark.parametrize("how", ["unplugged", "silent"])
def test_a_device_that_goes_is_opened_again_within_two_seconds(tiny, end, how):
    mic, speaker = FakeDevice("mic", inputs=1), FakeDevice("speaker", outputs=2)
    run = Run(tiny, mic, speaker, pulse, wanted=("mic", "speaker"))
    fake = getattr(run, end)
    back: list[float] = []

    def go_away() -> None:
        run.audio.unplug(fake) if how == "unplugged" else setattr(fake, "silent", True)

    def come_back() -> None:
        back.append(run.audio.now)
        run.audio.plug(fake) if how == "unplugged" else setattr(fake, "silent", False)

    run.audio.at(2.0, go_away)
    run.audio.at(4.0, come_back)
    seen = []
    run.audio.at(6.0, lambda: seen.extend((run.audio.now, len(run.codec.frames))))
    stats = run.go(9.0)
    assert stats.reopened >= 1
    assert "opening it anew" in run.said
    assert all(port.active for port in run.audio.ports) and len(run.audio.ports) == 2
    # Two seconds after it came back all was as before.
    frames = (run.audio.now - seen[0]) / 0.08
    assert len(run.codec.frames) - seen[1] == pytest.approx(frames, abs=1)
    sounds = [when for when, _, block in run.audio.heard if np.abs(block).max() > 0.1]
    assert any(back[0] < when < back[0] + 2.2 for when in sounds)
    assert stats.mouth_to_ear_now == pytest.approx(onset(run), abs=0.004)
    assert onset(run) < 0.2


@pytest.mark.parametrize("end", ["microphone", "speaker"])
def test_a_device_that_is_there_but_refuses_is_tried_until_it_opens(tiny, end):
    mic, speaker = FakeDevice("mic", inputs=1), FakeDevice("speaker", outputs=2)
    run = Run(tiny, mic, speaker, hum)
    fake = getattr(run, end)

    def refuse() -> None:
        fake.refuses = True
        for port in run.audio.ports:
            port.active &= port.fake is not fake

    run.audio.at(2.0, refuse)
    run.audio.at(5.0, lambda: setattr(fake, "refuses", False))
    stats = run.go(8.0)
    assert run.said.count("it stopped") == 1 and stats.reopened == 1
    assert len(run.audio.ports) == 2 and run.audio.refreshed > 3
    assert stats.mouth_to_ear_now < 0.2


def test_without_a_name_another_device_takes_over(tiny):
    mic, speaker = FakeDevice("mic", inputs=1), FakeDevice("speaker", outputs=2)
    run = Run(tiny, mic, speaker, hum)
    spare = FakeDevice("spare", inputs=1, rate=48000)
    run.audio.at(1.0, lambda: run.audio.plug(spare))
    run.audio.at(2.0, lambda: run.audio.unplug(mic))
    stats = run.go(5.0)
    assert (
        stats.microphone.opened.device.name == "spare"
        and stats.microphone.opened.port.rate == 48000
    )
    assert stats.reopened == 1


def test_a_headset_that_changes_its_rate_in_mid_stream(tiny):
    """The port stays open, and what it gives comes at another pace."""
    mic = FakeDevice("AirPods", inputs=1, rate=48000)
    run = Run(tiny, mic, FakeDevice("speaker", outputs=2), pulse)

    def change() -> None:
        mic.rate = 16000
        for port in run.audio.ports:
            if port.fake is mic:
                port.period *= 3

    run.audio.at(3.0, change)
    stats = run.go(9.0)
    assert "its rate changed" in run.said and "Bluetooth" in run.said
    assert stats.microphone.opened.port.rate == 16000 and stats.reopened == 1
    assert stats.mouth_to_ear_now == pytest.approx(onset(run), abs=0.004)


def test_the_codec_does_not_notice_that_a_device_was_away(tiny):
    """Its frames go on: whole ones, all of what was said, none twice."""
    mic, speaker = FakeDevice("mic", inputs=1), FakeDevice("speaker", outputs=2)
    run = Run(tiny, mic, speaker, lambda seconds: (seconds - 100) / 1000)
    run.audio.at(2.0, lambda: run.audio.unplug(mic))
    run.audio.at(3.0, lambda: run.audio.plug(mic))
    run.go(6.0)
    steps = np.diff(np.concatenate(run.codec.frames))
    assert (steps > 0).all() and (steps > 1e-6).sum() == 1  # one gap


@pytest.mark.slow
def test_drift_of_real_devices_is_followed(tiny):
    mic, speaker = FakeDevice("mic", inputs=1, ppm=300), FakeDevice("speaker", outputs=2)
    run = Run(tiny, mic, speaker, lambda seconds: 0 * seconds + 0.1)
    stats = run.go(60.0)
    assert stats.late == stats.underruns == stats.dropped == 0
    assert stats.mouth_to_ear.worst - stats.mouth_to_ear.median < 0.02


def test_a_silent_microphone_is_told_of_once(tiny):
    mic, speaker = FakeDevice("mic", inputs=1), FakeDevice("speaker", outputs=2)
    run = Run(tiny, mic, speaker, np.zeros_like)
    run.go(5.0)
    assert run.said.count("exact zeros") == 1


def test_a_computer_that_slept_does_not_blame_its_devices(tiny):
    mic, speaker = FakeDevice("mic", inputs=1), FakeDevice("speaker", outputs=2)
    run = Run(tiny, mic, speaker, hum)

    def sleep() -> None:
        run.audio.now += 30
        for port in run.audio.ports:
            port.next += 30

    run.audio.at(2.0, sleep)
    assert run.go(36.0).reopened == 0


def test_devices_are_found_by_number_and_by_part_of_a_name(tiny):
    fakes = FakeDevice("Built-in Mic", inputs=1), FakeDevice("Built-in Speaker", outputs=2)
    with contextlib.redirect_stderr(io.StringIO()):
        assert (
            Run(tiny, *fakes, hum, wanted=("0", "built")).supervisor.speaker.opened.device.number
            == 1
        )
    with pytest.raises(ValueError, match=r"'2' is no input device.*0 'Built-in Mic'"):
        Run(tiny, *fakes, hum, wanted=("2", None))
    with pytest.raises(ValueError, match="'1' is no input device"):
        Run(tiny, *fakes, hum, wanted=("1", None))
    with pytest.raises(ValueError, match="there is no output device"):
        Run(tiny, fakes[0], FakeDevice("Mic 2", inputs=1), hum)
    twins = FakeDevice("Mic one", inputs=1), FakeDevice("Mic two", inputs=1, outputs=1)
    with pytest.raises(ValueError, match=r"'mic' means several.*0 'Mic one', 1 'Mic two'"):
        Run(tiny, *twins, hum, wanted=("mic", None))


def test_a_device_that_cannot_be_opened_is_named(tiny):
    mic, speaker = FakeDevice("mic", inputs=1, least_channels=2), FakeDevice("out", outputs=2)
    with pytest.raises(ValueError, match="mic does not do 1 channels"):
        Run(tiny, mic, speaker, hum)
