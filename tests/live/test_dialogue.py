"""An assistant in a made-up room: it does not hear itself, and hears who speaks over it."""

import numpy as np
import pytest
from room import RATE
from scene import Scene, from_onset, leveled

from mimi_mlx.live.meters import level

SAYS = -20.0  # dBFS of a voice, without its pauses; the echo of it is at -26


@pytest.fixture
def voices(speech):
    """Sentences of one of two voices, each at its level."""

    def read(voice: str, order: list[int], db: float = SAYS) -> list[np.ndarray]:
        return [leveled(speech(f"{voice}-{number + 1}"), db) for number in order]

    return read


def reduction(scene: Scene) -> float:
    """By how many dB the echo is less, in the next second."""
    scene.go(1.0)
    return level(scene.heard(1.0)) - level(scene.left(1.0))


@pytest.mark.parametrize("ppm", [100, pytest.param(0, marks=pytest.mark.slow)])
def test_the_echo_is_gone_in_three_seconds(voices, ppm):
    scene = Scene(5, ppm=ppm, noise_db=-70)
    scene.dialogue.voice.say(np.concatenate(voices("kathleen", [0, 1])))
    scene.go(3.0)
    less = reduction(scene)
    print(f"echo less by {less:.1f} dB")
    assert less > 25
    assert not scene.interrupted()


@pytest.mark.slow
@pytest.mark.parametrize("ppm", [0, 100])
def test_the_echo_is_gone_again_after_a_stall_and_after_a_device_was_away(voices, ppm):
    scene = Scene(25, ppm=ppm, noise_db=-70)
    scene.dialogue.voice.say(np.concatenate(voices("kathleen", [*range(6)] * 2)))
    scene.go(3.0)
    scene.audio.wait(1.0, None)
    scene.go(3.0)
    after = [reduction(scene)]
    for device in (scene.microphone, scene.speaker):
        scene.audio.unplug(device)
        scene.go(0.5)
        scene.audio.plug(device)
        scene.go(1.0, until=lambda: not scene.dialogue.devices.down)
        scene.go(3.0)
        after.append(reduction(scene))
    print(f"echo less by {np.round(after, 1)} dB: after a stall, a microphone, a speaker")
    assert min(after) > 25 and scene.dialogue.devices.reopened == 2
    assert not scene.interrupted()


def test_a_voice_alone_is_as_if_there_were_no_canceller(tiny, voices):
    scene = Scene(4)
    scene.room.say(scene.audio.now + 0.7, voices("kerstin", [1])[0])
    scene.go(2.9)
    clean = np.concatenate([frame.pcm for frame in scene.frames])[-26 * 1920 :]
    # Without it all would be the same, but earlier: the sound itself tells how much.
    now = scene.times[-1] - np.arange(len(clean))[::-1] / RATE
    lags, part = np.arange(0.02, 0.025, 1 / 96000), slice(24000, 34000)
    lag = max(lags, key=lambda lag: np.dot(scene.room.sound(now[part] - lag), clean[part]))
    heard = scene.room.sound(now - lag).astype(np.float32)
    assert level(clean) == pytest.approx(level(heard), abs=0.1)
    same = tiny.encode(clean, num_codebooks=1) == tiny.encode(heard, num_codebooks=1)
    assert np.mean(np.array(same)) >= 0.9


def test_who_speaks_over_it_has_it_hushed_and_who_knocks_has_not(voices):
    scene = Scene(6)
    scene.dialogue.voice.say(np.concatenate(voices("kathleen", [0, 1, 2])))
    knock = np.random.default_rng(0).standard_normal(1200) * np.exp(-np.arange(1200) / 240)
    scene.room.say(scene.audio.now + 2.9, 0.3 * knock.astype(np.float32))
    scene.go(3.5)
    assert not scene.interrupted()
    assert scene.dialogue.voice.waiting > 2 * RATE
    begun = scene.audio.now
    scene.room.say(begun, from_onset(voices("kerstin", [0])[0]))
    scene.go(1.0, until=scene.interrupted)
    assert scene.dialogue.voice.waiting == 0
    assert scene.dialogue.voice.heard / RATE == pytest.approx(3.5 + 0.25 - 0.04, abs=0.1)
    scene.go(0.3)
    times, played = scene.audio.ear()
    last = times[np.abs(played) > 1e-3][-1]
    assert 0.15 < last - begun < 0.43  # 0.4 to notice, and a fade
    assert sum(frame.interrupted for frame in scene.frames) == 1
    assert scene.frames[-1].speech > 0.5


def test_without_anything_said_nothing_is_interrupted(voices):
    scene = Scene(3)
    scene.room.say(scene.audio.now + 0.3, voices("kerstin", [0])[0])
    scene.go(2.0)
    assert not scene.interrupted()
    speech = [frame.speech for frame in scene.frames]
    assert max(speech) > 0.8 > 0.2 > speech[1]


@pytest.mark.slow
@pytest.mark.parametrize(("near", "noticed"), [(-20.0, 20), (-26.0, 16)])
def test_who_speaks_over_it_is_noticed_within_400_ms(voices, near, noticed):
    """In all of 20 trials if louder than the echo by 6 dB; in most if as loud."""
    delays = []
    for trial in range(20):
        random = np.random.default_rng(trial)
        own, other = ("kathleen", "kerstin")[:: 1 if trial % 2 else -1]
        scene = Scene(9, ppm=100 * (trial // 2 % 2), seed=trial)
        scene.dialogue.voice.say(np.concatenate(voices(own, random.permutation(6))))
        scene.go(random.uniform(3, 6))
        assert not scene.interrupted()
        begun = scene.audio.now
        scene.room.say(begun, from_onset(voices(other, [trial // 2 % 6], near)[0]))
        scene.go(1.0, until=scene.interrupted)
        delays.append(scene.audio.now - begun)
    print(f"noticed within {np.median(delays):.3f} s;", np.round(sorted(delays), 2))
    assert np.sum(np.array(delays) < 0.4) >= noticed


@pytest.mark.slow
@pytest.mark.parametrize("minute", range(10))
def test_its_own_voice_never_interrupts_it_in_10_minutes(voices, minute):
    random = np.random.default_rng(minute)
    scene = Scene(61, ppm=100 * (minute % 2), seed=100 + minute, echo_db=(-6, 6)[minute // 5])
    for number in random.integers(0, 6, 24):
        sentence = voices(("kathleen", "kerstin")[number % 2], [number])[0]
        pause = np.zeros(int(random.uniform(0, 1.5) * RATE), np.float32)
        scene.dialogue.voice.say(np.concatenate([sentence, pause]))
    scene.go(60.0)
    assert scene.dialogue.voice.heard > 59 * RATE
    assert not scene.interrupted()


@pytest.mark.slow
def test_an_echo_that_is_louder_than_the_voice_does_not_interrupt_it_either(voices):
    """The detector of speech hears it in what is left, which has to be a share of the whole."""
    scene = Scene(16, ppm=100, seed=101, echo_db=6)
    clips = voices("kathleen", [*range(6)]) + voices("kerstin", [*range(6)])
    order = np.random.default_rng(101).integers(0, 12, 8)
    scene.dialogue.voice.say(np.concatenate([clips[number] for number in order]))
    scene.go(15.0)
    assert not scene.interrupted()
