"""The parts of the live codec that need no device: rings, filters, queues, meters, files."""

import io
import json
import math

import numpy as np
import pytest

from mimi_mlx.live import meters
from mimi_mlx.live.devices import drift
from mimi_mlx.live.devices.playout import Playout
from mimi_mlx.live.devices.polyphase import PolyphaseResampler
from mimi_mlx.live.devices.ring import Ring
from mimi_mlx.live.devices.stretch import Stretch, shorten
from mimi_mlx.live.screen import Screen, live_line
from mimi_mlx.live.stats import LiveStats
from mimi_mlx.live.trace import Trace


def numbers(count: int, start: int = 0) -> np.ndarray:
    return np.arange(start, start + count, dtype=np.float32)


def test_a_ring_gives_what_it_took():
    ring, given, random = Ring(100), [], np.random.default_rng(0)
    taken = 0
    for size in random.integers(0, 40, 200):
        ring.write(numbers(size, taken))
        taken += size
        out = np.empty(random.integers(0, 90), np.float32)
        given.append(out[: ring.read_into(out)].copy())
        if ring.waiting > 50:
            given.append(ring.read())
    given.append(ring.read())
    np.testing.assert_array_equal(np.concatenate(given), numbers(taken))
    assert ring.dropped == 0 and ring.waiting == 0


@pytest.mark.parametrize("piece", [7, 64, 1000])
def test_a_full_ring_drops_the_oldest_and_counts(piece):
    ring = Ring(100)
    for start in range(0, 1000, piece):
        ring.write(numbers(min(piece, 1000 - start), start))
    assert ring.waiting == 100
    np.testing.assert_array_equal(ring.read(), numbers(100, 900))
    assert ring.dropped == 900


def tone(hertz: float, rate: int, seconds: float = 0.4) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(seconds * rate) / rate).astype(np.float32)


def decibels(samples: np.ndarray) -> float:
    """Of a full-scale sine; the filter's beginning is left out."""
    return 10 * math.log10(2 * np.mean(samples[1000:].astype(float) ** 2) + 1e-20)


RATES = [(48000, 24000), (44100, 24000), (96000, 24000), (24000, 48000), (24000, 44100)]


@pytest.mark.parametrize("rates", RATES)
def test_a_resampler_is_flat_to_10_khz_and_in_time(rates):
    source, rate = rates
    for hertz in (50, 440, 3000, 7000, 9000, 10000):
        there = PolyphaseResampler(source, rate).push(tone(hertz, source))
        wanted = tone(hertz, rate)[: len(there)]
        # In time and level at once: nothing but the tone is left, and nothing is left of it.
        assert decibels(there - wanted) < -60
        assert abs(decibels(there) - decibels(wanted)) < 0.1


@pytest.mark.parametrize("rates", [pair for pair in RATES if pair[0] > pair[1]])
def test_what_a_lower_rate_cannot_hold_is_gone(rates):
    for hertz in (12050, 13000, 14000, 16000, 19000, 21000):
        assert decibels(PolyphaseResampler(*rates).push(tone(hertz, rates[0]))) < -80


@pytest.mark.parametrize("rates", [pair for pair in RATES if pair[0] < pair[1]])
def test_a_higher_rate_gets_no_images(rates):
    source, rate = rates
    for hertz in (1000, 6000, 10000, 11500):
        there = PolyphaseResampler(source, rate).push(tone(hertz, source))[1000:16000]
        spectrum = np.abs(np.fft.rfft(there * np.blackman(len(there)))) / (0.21 * len(there))
        above = spectrum[math.ceil(12100 * len(there) / rate) :]
        assert 20 * math.log10(above.max()) < -80


@pytest.mark.parametrize("rates", [*RATES, (16000, 24000), (24000, 16000), (8000, 24000)])
def test_a_resampler_is_quick_and_does_not_mind_the_cutting(rates):
    resampler, random = PolyphaseResampler(*rates), np.random.default_rng(0)
    assert 0 < resampler.delay <= 3.01e-3
    sound = random.normal(0, 0.1, rates[0] // 2).astype(np.float32)
    whole = PolyphaseResampler(*rates).push(sound)
    ends = np.sort(random.integers(0, len(sound), 60))
    pieces = np.concatenate([resampler.push(piece) for piece in np.split(sound, ends)])
    np.testing.assert_allclose(pieces, whole, atol=1e-6)
    missing = len(sound) / rates[0] - len(pieces) / rates[1]
    assert missing == pytest.approx(resampler.delay, abs=1.01 / min(rates))


def test_at_24_khz_nothing_is_changed():
    sound = tone(440, 24000)
    assert PolyphaseResampler(24000, 24000).push(sound) is sound


@pytest.mark.parametrize("change", [-4, -1, 0, 1, 4])
def test_a_stretched_tone_is_the_same_tone_a_little_slower_or_faster(change):
    stretch, frames = Stretch(1920), 50
    sound = tone(3000, 24000, 4.0)[: frames * 1920].reshape(frames, 1920)
    there = np.concatenate([stretch.push(frame, change) for frame in sound])
    assert len(there) == frames * (1920 + change)
    speed = 1920 / (1920 + change)
    at = np.arange(len(there)) * speed - stretch.delay  # samples of the source
    wanted = np.sin(2 * np.pi * 3000 * at / 24000)
    assert decibels((there - wanted)[200:]) < -60


def test_shorten_leaves_no_edge():
    sound = tone(200, 24000, 0.08)
    there = shorten(sound, 500, 120)
    assert len(there) == 1920 - 500
    assert there[0] == pytest.approx(sound[0], abs=1e-3)
    np.testing.assert_array_equal(there[120:], sound[620:])
    assert np.abs(np.diff(there)).max() < 3 * np.abs(np.diff(sound)).max()


def test_a_queue_that_runs_dry_fades_and_counts_once():
    queue, out = Playout(10000, 100), np.empty(480, np.float32)
    queue.pull(out, 0.0)
    assert queue.underruns == 0 and not out.any()  # nothing was expected yet
    assert not queue.push(np.ones(1000, np.float32), 240)
    heard = []
    for _ in range(6):
        queue.pull(out, 0.0)
        heard.append(out.copy())
    heard = np.concatenate(heard)
    assert queue.underruns == 1 and queue.dry
    assert not heard[:240].any()  # the margin
    assert (heard[400:1240] == 1).all() and not heard[1400:].any()
    assert np.abs(np.diff(heard)).max() < 0.03  # in and out without a click
    assert queue.push(np.ones(1000, np.float32), 240)  # late
    queue.expecting = False
    for _ in range(6):
        queue.pull(out, 0.0)
    assert queue.underruns == 1


class Clocks:
    """A queue that is filled by one clock and emptied by another, and nothing else."""

    def __init__(self, ppm: float):
        self.drift = drift.DriftControl(0.015, 1920, 24000)
        self.queue, self.stretch = Playout(24000, 120), Stretch(1920)
        self.out = np.empty(240, np.float32)
        self.rate = 24000 * (1 + ppm * 1e-6)
        self.pulled, self.cut = 0, 0
        self.left: list[float] = []
        self.trims: list[float] = []

    def frame(self, number: int, late: float = 0.0) -> None:
        """The device takes what it needs until the frame comes, which goes in."""
        while self.pulled < (0.08 * number + late) * self.rate:
            self.queue.pull(self.out, 0.0)
            self.pulled += 240
        least = self.queue.take_least() / 24000
        change = self.drift.next(least) if math.isfinite(least) else drift.Change()
        self.left.append(least)
        self.trims.append(self.drift.trim)
        samples = self.stretch.push(np.zeros(1920, np.float32), change.stretch)
        if change.cut:
            self.cut += 1
            samples = samples[int(change.cut * 24000) :]
        self.queue.push(samples, int(self.drift.margin * 24000))


@pytest.mark.parametrize(
    ("ppm", "seconds"),
    [(200, 300), (-200, 300), pytest.param(200, 3600, marks=pytest.mark.slow)],
)
def test_drifting_clocks_leave_the_queue_as_it_should_be(ppm, seconds):
    clocks, random = Clocks(ppm), np.random.default_rng(0)
    for number in range(1, round(seconds / 0.08)):
        clocks.frame(number, late=0.004 * random.random())
    assert clocks.queue.underruns == clocks.queue.ring.dropped == clocks.cut == 0
    half = len(clocks.left) // 2
    assert np.mean(clocks.trims[half:]) == pytest.approx(-ppm * 1e-6, abs=30e-6)
    settled = np.array(clocks.left[half:])
    # The device takes 10 ms at once: where its blocks begin wanders past where frames do.
    assert settled.min() > 0.001 and settled.max() < 0.035


def test_a_queue_that_is_far_too_long_is_cut():
    clocks = Clocks(0)
    for number in range(1, 20):
        clocks.frame(number)
    clocks.queue.push(np.zeros(7200, np.float32), 0)  # 0.3 s at once
    for number in range(20, 60):
        clocks.frame(number)
    assert clocks.cut > 0 and clocks.queue.underruns == 0
    assert clocks.left[-1] < 0.07  # the rest goes slowly


def test_levels_and_times():
    assert meters.level(tone(100, 24000)) == pytest.approx(-3.01, abs=0.01)
    assert meters.level(np.zeros(10)) == meters.level(np.zeros(0)) == meters.SILENCE
    times = meters.Times()
    assert times.median == times.worst == 0
    for value in np.random.default_rng(0).permutation(np.linspace(0.001, 0.1, 1000)):
        times.add(value)
    assert times.median == pytest.approx(0.05, rel=0.02)
    assert times.p95 == pytest.approx(0.095, rel=0.02)
    assert times.worst == 0.1 and times.count == 1000


def test_a_trace_can_be_read_at_any_time(tmp_path):
    trace = Trace(tmp_path / "trace.json", lambda: 5.0)
    trace.span("encode", 5.0, 5.004)
    trace.flush()
    trace.counters("queue", {"ms": 12.5})  # not handed over: lost in a kill
    text = (tmp_path / "trace.json").read_text()
    events = json.loads(text + "]")  # viewers close the array themselves
    assert events[-1] == {
        **{"pid": 1, "tid": 2, "name": "encode", "ph": "X", "ts": 0, "dur": 4000},
    }
    trace.instant("underrun")
    trace.close()
    names = [event["name"] for event in json.loads((tmp_path / "trace.json").read_text())]
    assert names == ["thread_name", "thread_name", "encode", "queue", "underrun"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_screen_draws_over_its_line_only_on_a_terminal():
    now = [0.0]
    for file, live in ((Terminal(), True), (io.StringIO(), False)):
        screen = Screen(file, lambda: now[0])
        stats = LiveStats(0.08, 1.1)
        for step in range(5):
            now[0] += 0.05
            screen.show(stats)
            if step == 3:
                screen.say("something happened")
        screen.close()
        lines = file.getvalue().split("\n")
        assert any(line.endswith("something happened") for line in lines)
        assert ("\r" in file.getvalue()) == live
        assert ("kbps" in file.getvalue()) == live


def test_the_live_line_says_it_all():
    stats = LiveStats(0.08, 1.1)
    stats.heard, stats.said = -20.0, -100.0
    for times in (stats.encode, stats.decode):
        times.add(0.004)
    stats.delayed(0.131)
    line = live_line(stats)
    assert "▕████  ▏ -20" in line and "▕      ▏-100" in line
    assert "enc 4.0/4.0/4.0 dec 4.0/4.0/4.0 queue 43 ear 131 ms | 1.1 kbps" in line
    assert "late 0 drop 0 ms over 0" in line
