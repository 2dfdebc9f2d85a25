"""The live codec on a real sound system, from the virtual microphone to the virtual speaker."""

import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pulse
import pytest
import soundfile
from paths import SPEECH

from mimi_mlx import codefile
from mimi_mlx.evaluation import metrics

pytestmark = pytest.mark.skipif(bool(pulse.missing()), reason=str(pulse.missing()))

CLIPS = [soundfile.read(path)[0] for path in sorted(SPEECH.glob("k*.flac"))]

# A machine that now and then lets an urgent thread wait for longer than this, in seconds, loses a
# frame now and then, and one that takes longer than the other for most frames cannot be timed.
HICCUP, QUICK = 0.01, 0.04


class Heard(NamedTuple):
    """What a run was told, and what was heard around it."""

    mouth: tuple[float, np.ndarray]
    ear: tuple[float, np.ndarray]
    figures: dict
    end: float
    hiccups: list[float]

    @property
    def calm(self) -> bool:
        """Whether the machine was fit for it."""
        half = self.figures["encode_ms"]["p95"], self.figures["decode_ms"]["p95"]
        fit = not self.hiccups and not self.figures["device_underflows"]
        return fit and sum(half) < 1e3 * QUICK


def live(folder: Path, seconds: float) -> Heard:
    """One run of the command, of about so long, while somebody speaks."""
    speech = np.concatenate(CLIPS * (1 + int(seconds / 15)))
    soundfile.write(folder / "speech.wav", speech, pulse.RATE)
    options = ["-f", "--record", folder / "a.mimi", "--save-wav", folder / "a.wav"]
    options += ["--trace", folder / "a.json"]
    with pulse.running() as system:
        ears = [pulse.Ear(system, "mic_feed"), pulse.Ear(system, "speaker")]
        mouth = system.speak(folder / "speech.wav")
        with pulse.stream(system, folder / "said", *options) as running:
            hiccups = pulse.Hiccups(HICCUP)
            time.sleep(seconds)
            end, waits = time.monotonic(), hiccups.close()
            figures = running.end()
        mouth.terminate()
        mouth.wait()
        return Heard(*(ear.close() for ear in ears), figures, end, waits)


def lag(reference: np.ndarray, delayed: np.ndarray) -> int:
    """Samples by which ``delayed`` follows the other: where both agree best."""
    size = 1 << (len(reference) + len(delayed)).bit_length()
    spectrum = np.fft.rfft(delayed, size) * np.conj(np.fft.rfft(reference, size))
    best = int(np.argmax(np.fft.irfft(spectrum, size)))
    return best if best < len(delayed) else best - size


def cut(first: float, samples: np.ndarray, start: float, seconds: float) -> np.ndarray:
    """So many seconds from ``start`` on, of samples the first of which was at ``first``."""
    begin = round((start - first) * pulse.RATE)
    return samples[begin : begin + round(seconds * pulse.RATE)]


def distance(wanted: np.ndarray, sound: np.ndarray) -> float:
    """The log-mel distance in dB of ``sound`` to that part of the other that it is."""
    start = max(0, -lag(wanted, sound))
    length = min(len(sound), len(wanted) - start)
    return metrics.log_mel_distance(wanted[start : start + length], sound[:length], pulse.RATE)


def check(heard: Heard, tiny, folder: Path, seconds: float) -> None:
    """What holds for a run, and for the last so many seconds of it."""
    figures = heard.figures
    (said_at, said), (heard_at, sound) = heard.mouth, heard.ear
    coded = np.array(tiny.decode(tiny.encode(said, num_codebooks=8), length=len(said)))[0, 0]
    start = heard.end - 0.2 - seconds  # s of the clock
    sound = cut(heard_at, sound, start, seconds)
    before = cut(said_at, coded, start - 1, seconds + 1)  # all that can be in it
    measured = 1e3 * (1 + lag(before, sound) / pulse.RATE)
    shown = sum(figures["mouth_to_ear_parts_ms"].values())
    found = codefile.read(folder / "a.mimi")
    decoded = np.array(tiny.decode(found.codes))[0, 0]
    last = decoded[-round((seconds + 1) * pulse.RATE) :]  # speech repeats in a long run
    played, offline = distance(last, sound), distance(before, sound)
    other = distance(last[::-1], sound)
    counts = "late_frames", "dropped_ms", "underruns", "overruns", "device_underflows", "reopened"
    counted = {name: figures[name] for name in counts}
    print(
        f"\nmouth to ear: shown {shown:.0f} ms, measured {measured:.0f} ms, of which "
        f"{figures['mouth_to_ear_parts_ms']}; {counted}; log-mel "
        f"distance to what the file of codes says {played:.2f} dB, to the offline round trip "
        f"{offline:.2f} dB, of other speech {other:.2f} dB; hiccups of the machine "
        f"{[round(1e3 * wait) for wait in heard.hiccups]} ms"
    )
    assert figures["late_frames"] <= len(heard.hiccups) + figures["device_underflows"]
    assert found.damage is None
    saved, _ = soundfile.read(folder / "a.wav", dtype="float32")
    np.testing.assert_allclose(saved, decoded, atol=1e-4)
    assert "encode" in (folder / "a.json").read_text()
    if heard.calm:
        assert played < 2 and offline < 6
        assert abs(shown - measured) < 40
        assert figures["late_frames"] == figures["underruns"] == 0


@pytest.mark.slow
def test_the_speech_comes_back(tiny, tmp_path):
    for _ in range(3):
        heard = live(tmp_path, 3.5)
        if heard.calm:
            break
    check(heard, tiny, tmp_path, 2.0)
    if not heard.calm:
        pytest.skip(f"too busy a machine to time sound: {heard.figures}, {heard.hiccups}")


@pytest.mark.slow
def test_a_minute_without_a_late_frame(tiny, tmp_path):
    check(live(tmp_path, 60), tiny, tmp_path, 2.0)


@pytest.mark.slow
def test_the_sound_system_dies_and_comes_back(tmp_path):
    with pulse.running() as system, pulse.stream(system, tmp_path / "said") as running:
        system.crash()
        running.wait_for("opening it anew")
        system.start()
        ear = pulse.Ear(system, "speaker")
        soundfile.write(tmp_path / "speech.wav", np.concatenate(CLIPS), pulse.RATE)
        mouth = system.speak(tmp_path / "speech.wav")
        time.sleep(8)
        figures = running.end()
        mouth.terminate()
        mouth.wait()
        assert figures["reopened"] >= 1
        assert np.abs(ear.close()[1]).max() > 0.05
