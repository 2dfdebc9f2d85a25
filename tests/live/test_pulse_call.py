"""A call between two ends with loudspeakers, on a real sound system."""

import contextlib
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pulse
import pytest
import soundfile
from live_network import free_port
from paths import SPEECH

from mimi_mlx.live.meters import level

pytestmark = pytest.mark.skipif(bool(pulse.missing()), reason=str(pulse.missing()))


class Call(NamedTuple):
    """What both ends said at the end, and what was heard, second by second, in dBFS."""

    figures: list[dict]
    said: list[str]
    speakers: list[np.ndarray]
    microphones: list[np.ndarray]

    @property
    def calm(self) -> bool:
        """Whether the sound system gave and took all in time."""
        return not any(end["reopened"] + end["device_underflows"] for end in self.figures)


def call(folder: Path, talking: float, quiet: float, *options: str) -> Call:
    """Somebody talks at the end A, and then is quiet; at B nobody says anything."""
    clips = [soundfile.read(path)[0] for path in sorted(SPEECH.glob("k*.flac"))]
    soundfile.write(folder / "speech.wav", np.concatenate(clips * 5), pulse.RATE)
    ports = {"_a": free_port(), "_b": free_port()}
    with pulse.running(pulse.LOUD) as system, contextlib.ExitStack() as ends:
        system.louder(6)
        streams = []
        for name, other in ("_a", "_b"), ("_b", "_a"):
            link = "--listen", str(ports[name]), "--send", f"127.0.0.1:{ports[other]}"
            devices = {"PULSE_SINK": f"speaker{name}", "PULSE_SOURCE": f"mic{name}"}
            started = pulse.stream(system, folder / f"said{name}", *link, *options, **devices)
            streams.append(ends.enter_context(started))
        kinds = ("speaker", "mic_feed")
        ears = [pulse.Ear(system, kind + name) for kind in kinds for name in ports]
        mouth = system.speak(folder / "speech.wav", "mic_feed_a")
        time.sleep(talking)
        mouth.terminate()
        mouth.wait()
        time.sleep(quiet)
        figures = [stream.end() for stream in streams]
        sounds = [ear.close()[1] for ear in ears]
    levels = [levels_of(sound[: int((talking + quiet) * pulse.RATE)]) for sound in sounds]
    said = [(folder / f"said{name}").read_text() for name in ports]
    return Call(figures, said, levels[:2], levels[2:])


def levels_of(sound: np.ndarray) -> np.ndarray:
    """Of each second, in dBFS."""
    seconds = sound[: len(sound) // pulse.RATE * pulse.RATE].reshape(-1, pulse.RATE)
    return np.array([level(second) for second in seconds])


@pytest.mark.slow
def test_two_ends_with_loudspeakers_do_not_howl(tmp_path):
    """Each microphone hears its speaker 6 dB louder than it is: without a canceller it howls."""
    for _ in range(2):
        made = call(tmp_path, 50.0, 10.0)
        if made.calm:
            break
    far = made.figures[1]
    talk = slice(5, 48)
    before = np.median(made.microphones[1][talk])
    after = np.median(made.speakers[0][talk])
    print(
        f"\necho at the end that only hears: shown {far['echo_db']} dB, measured through codec "
        f"and network {after - before:.0f} dB ({before:.0f} to {after:.0f} dBFS); cancelling took "
        f"{far['cancel_ms']} ms a frame; speakers by the second, in dBFS: "
        f"{[np.round(each).astype(int).tolist() for each in made.speakers]}; {made.figures}"
    )
    assert all("echo cancellation: on, as this is a call" in said for said in made.said)
    assert max(np.median(each[5:]) for each in made.speakers) < -20
    if not made.calm:
        pytest.skip(f"no howling, but too busy a machine for more: {made.figures}")
    assert max(each[5:].max() for each in made.speakers) < -20
    assert max(each[-4:].max() for each in made.speakers) < -45
    assert far["echo_db"] < -15 and after - before < -15
