"""Who speaks over the assistant interrupts it, and what is left of its own voice does not."""

import pytest

from mimi_mlx.live.barge_in import BargeInDetector
from mimi_mlx.live.devices.echo_canceller import CleanBlock

LOUD, ECHO, SILENCE = 1e-2, 1e-3, 1e-12


def hears(detector: BargeInDetector, blocks: int, learnt: float = 10.0, **block: float) -> int:
    """How many times it is interrupted, in so many blocks of an echo that are otherwise so."""
    known = {"speech": 0.0, "near": ECHO, "far": LOUD, "clean": 1e-4 * ECHO} | block
    made = [CleanBlock(learnt=learnt and learnt + n / 100, **known) for n in range(blocks)]
    return sum(detector.hears(each, True) for each in made)


@pytest.fixture
def detector():
    made = BargeInDetector()
    assert not hears(made, 100)
    return made


def test_who_goes_on_speaking_interrupts_once_in_200_ms(detector):
    assert hears(detector, 5, speech=0.9, near=LOUD, clean=LOUD) == 0
    assert 1 <= hears(detector, 20, speech=0.9, near=LOUD, clean=LOUD) <= 3


def test_speech_that_is_only_thought_of_in_silence_does_not_count(detector):
    """The detector of speech is sure of it for some time after it has ended."""
    assert not hears(detector, 40, speech=0.9, near=SILENCE, clean=1e-9)


@pytest.mark.parametrize(("learnt", "left", "interrupts"), [(0.5, 1e-4, True), (0.5, 1.0, False)])
def test_nobody_interrupts_until_the_canceller_was_seen_to_work(learnt, left, interrupts):
    detector = BargeInDetector()
    hears(detector, 1, learnt=0.0)
    hears(detector, 60, learnt=learnt, clean=left * ECHO)
    assert bool(hears(detector, 30, learnt, speech=0.9, near=LOUD, clean=LOUD)) == interrupts


def test_after_sound_was_lost_it_has_to_be_seen_again(detector):
    hears(detector, 1, learnt=0.0)
    assert not hears(detector, 30, learnt=0.1, speech=0.9, near=LOUD, clean=LOUD)
    assert hears(detector, 300, learnt=0.4, speech=0.9, near=LOUD, clean=LOUD)
