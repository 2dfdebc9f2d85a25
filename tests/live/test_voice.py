"""What an assistant says: all of it is played, and no more once it is hushed."""

import numpy as np
import pytest
from fake_audio import FakeAudio, FakeDevice

from mimi_mlx.live.devices.supervisor import DeviceSupervisor
from mimi_mlx.live.voice import Voice


class Talk:
    """A voice on a fake speaker, and the loop that it needs."""

    def __init__(self, **device):
        self.speaker = FakeDevice("speaker", outputs=2, **device)
        self.audio = FakeAudio(self.speaker)
        self.devices = DeviceSupervisor(
            self.audio, {"output": None}, 24000, 240, 0.02, lambda line: None
        )
        self.voice = Voice(self.devices.speaker, 24000, 240)

    def go(self, seconds: float) -> None:
        end = self.audio.now + seconds
        for now in self.devices.turns():
            self.voice.turn(now)
            if now >= end:
                break

    def sounding(self) -> np.ndarray:
        """When anything was heard."""
        times, heard = self.audio.ear()
        return times[np.abs(heard) > 1e-3]


def tone(seconds: float) -> np.ndarray:
    return 0.5 * np.sin(
        2 * np.pi * 440 * np.arange(round(24000 * seconds)) / 24000, dtype=np.float32
    )


@pytest.mark.parametrize("rate", [24000, 48000, 44100])
def test_what_is_said_is_heard_whole_and_counted(rate):
    talk = Talk(rate=rate)
    talk.go(1.0)
    assert talk.voice.waiting == talk.voice.heard == 0
    said = np.concatenate([tone(0.5), tone(0.3), tone(0.111)])
    begun = talk.audio.now
    for part in np.split(said, [12000, 19200]):
        talk.voice.say(part)
    assert talk.voice.waiting == len(said)
    talk.go(0.4)
    playing = talk.audio.now - talk.sounding()[0]
    assert talk.voice.heard / 24000 == pytest.approx(playing, abs=0.004)
    assert talk.voice.heard + talk.voice.waiting == len(said)
    talk.go(1.0)
    assert (talk.voice.heard, talk.voice.waiting) == (len(said), 0)
    when = talk.sounding()
    assert when[0] - begun < 0.06  # 10 ms of latency, 10 of a block, 20 of margin, and filters
    assert when[-1] - when[0] == pytest.approx(0.911, abs=0.006)
    assert talk.devices.speaker.underruns == talk.devices.speaker.cut == 0


def test_a_hush_fades_within_20_ms_drops_the_rest_and_counts_what_was_heard():
    talk = Talk(rate=48000)
    talk.go(1.0)
    talk.voice.say(tone(3.0))
    talk.go(1.0)
    talk.voice.hush()
    assert talk.voice.waiting == 0
    hushed = talk.audio.now
    talk.go(0.5)
    when = talk.sounding()
    assert hushed < when[-1] < hushed + 0.02 + talk.speaker.latency
    assert talk.voice.heard / 24000 == pytest.approx(when[-1] - when[0], abs=0.006)
    _, heard = talk.audio.ear()
    assert np.abs(np.diff(heard)).max() < 0.06  # of a tone at 48 kHz: 0.03; no click
    before = talk.voice.heard
    talk.voice.say(tone(0.2))  # goes on as if nothing had been
    talk.go(0.5)
    assert talk.voice.heard - before == 4800
    later = talk.sounding()
    later = later[later > hushed + 0.1]
    assert later[-1] - later[0] == pytest.approx(0.2, abs=0.008)
    assert talk.devices.speaker.underruns == 0


def test_a_gap_in_what_is_said_does_not_click():
    talk = Talk(rate=48000)
    talk.go(0.5)
    talk.voice.say(tone(0.4 + 1 / 1760))  # a quarter of a period more: it ends at its loudest
    talk.go(0.42)
    talk.voice.say(tone(0.4)[14:])
    talk.go(0.6)
    _, heard = talk.audio.ear()
    assert np.abs(heard).max() > 0.49
    assert np.abs(np.diff(heard)).max() < 0.04  # of the tone: 0.03


def test_what_is_said_in_small_parts_is_copied_once_and_has_an_end():
    talk, part = Talk(), tone(0.08)
    talk.go(0.5)
    talk.voice.say(part)
    part[:] = 0  # the caller's own again
    talk.go(0.3)
    assert len(talk.sounding()) > 1800
    for _ in range(7499):
        talk.voice.say(part)
    with pytest.raises(ValueError, match="600 s would wait to be said; it is at most 600"):
        talk.voice.say(tone(0.4))


def test_a_hush_while_nothing_is_said_is_nothing():
    talk = Talk()
    talk.go(1.0)
    talk.voice.hush()
    talk.voice.say(tone(0.2))
    talk.go(1.0)
    assert talk.voice.heard == 4800


def test_what_is_to_be_said_waits_for_a_speaker_that_went_away():
    talk = Talk()
    talk.go(1.0)
    talk.voice.say(tone(1.0))
    talk.go(0.5)
    talk.audio.unplug(talk.speaker)
    talk.go(2.0)
    assert 0.3 < talk.voice.heard / 24000 < 0.6
    talk.voice.say(tone(0.5))
    talk.audio.plug(talk.speaker)
    talk.go(4.0)
    assert (talk.voice.heard, talk.voice.waiting) == (36000, 0)
    assert len(talk.sounding()) / 24000 == pytest.approx(1.5, abs=0.08)  # what was in the queue


def test_a_hush_just_before_the_speaker_goes_away_holds():
    talk = Talk()
    talk.go(1.0)
    talk.voice.say(tone(1.0))
    talk.go(0.5)
    talk.audio.unplug(talk.speaker)
    talk.voice.hush()
    talk.go(1.0)
    talk.audio.plug(talk.speaker)
    talk.voice.say(tone(0.25))
    before = talk.voice.heard
    talk.go(4.0)
    assert talk.voice.heard - before == 6000 and talk.voice.waiting == 0
