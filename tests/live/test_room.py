"""The made-up room does what it says: later, quieter, by its own clock, with a tail."""

import numpy as np
import pytest
from room import RATE, Room


def through(room: Room, rate: int, ppm: float, tone: float) -> tuple[np.ndarray, np.ndarray]:
    """Times, and what a microphone hears of a tone from a speaker of a rate that runs fast."""
    true, block, heard, times = rate * (1 + ppm * 1e-6), rate // 100, [], []
    for number in range(100):
        at = 100.02 + number * block / true
        pcm = np.sin(2 * np.pi * tone * (at + np.arange(block) / true))
        room.played(at, true, pcm.astype(np.float32))
        seconds = 100.0001 + number * 0.01 + np.arange(240) / RATE
        heard.append(room.sound(seconds))
        times.append(seconds)
    return np.concatenate(times)[6000:], np.concatenate(heard)[6000:]


@pytest.mark.parametrize(("rate", "ppm"), [(48000, 0), (24000, 100), (44100, -100)])
def test_the_straight_sound_comes_later_and_is_else_as_it_was(rate, ppm):
    room = Room(3, echo_db=-6, direct_db=200, noise_db=-200)
    times, heard = through(room, rate, ppm, 1234.5)
    expected = 10 ** (-6 / 20) * np.sin(2 * np.pi * 1234.5 * (times - 0.04))
    assert np.std(heard - expected) < 1e-3 * np.std(expected)
    room.say(102.0, np.ones(RATE // 2, np.float32))
    assert room.sound(np.array([102.1, 102.2])) == pytest.approx([1, 1], abs=1e-3)


def test_the_echo_has_its_level_and_its_tail():
    room = Room(5, decay=0.05, noise_db=-200)
    random = np.random.default_rng(0).standard_normal(2 * RATE).astype(np.float32)
    for start in range(0, len(random), 240):
        room.played(100 + start / RATE, RATE, random[start : start + 240])
    heard = room.sound(100 + np.arange(3 * RATE) / RATE)
    level = 10 * np.log10(np.mean(np.square(heard[RATE : 2 * RATE])))
    assert level == pytest.approx(-6, abs=0.5)
    ends = heard[2 * RATE + 960 :][:4800].reshape(4, 1200)  # 50 ms each, after the last sample
    falls = 10 * np.log10(np.mean(np.square(ends), axis=1))
    assert np.diff(falls) == pytest.approx([-8.7] * 3, abs=2)
