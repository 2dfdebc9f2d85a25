"""The jitter buffer against a simulated network: one frame out per call, in order, in time."""

import random
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_network import Played, arrivals, frame, play

from mimi_mlx.live.network.jitter_buffer import CAPACITY, FADE, JitterBuffer, Lateness, LinkStats

FRAMES = 3000  # 4 minutes
SETTLED = 400  # calls, after which the depth has found its level


def run(delays, lost=(), drift=0.0, first=0, extra=()) -> tuple[JitterBuffer, Played]:
    """Frames sent every 80 ms with their delays, some lost, some (time, number) besides."""
    buffer = JitterBuffer(LinkStats())

    def put(n: int) -> None:
        buffer.put((first + n) % 2**32, frame(n))

    events = sorted(arrivals(delays, lost, drift) + list(extra))
    played = play(events, put, buffer.take, lambda: buffer.depth)
    assert played.received == sorted(set(played.received)), "in order, and each once"
    assert buffer.counts.received == len(played.received) + buffer.counts.dropped + _waiting(buffer)
    return buffer, played


def _waiting(buffer: JitterBuffer) -> int:
    """Frames that are in a buffer."""
    return len(buffer._frames)


def uniform(most: float, seed: int = 0, frames: int = FRAMES) -> np.ndarray:
    """Delays of 20 ms to 20 ms more than ``most``."""
    return 0.02 + np.random.default_rng(seed).uniform(0, most, frames)


def some(part: float, seed: int = 1, frames: int = FRAMES) -> list[int]:
    """A part of all frames, but not the first and the last ones: those end in no gap."""
    chosen = np.flatnonzero(np.random.default_rng(seed).random(frames) < part)
    return [int(n) for n in chosen if 2 <= n < frames - 12]


def test_a_good_network_plays_every_frame():
    buffer, played = run(uniform(0.005))
    assert played.received == list(range(len(played.received)))
    assert played.gains.count(1) >= len(played.gains) - 2
    assert set(played.depths[10:]) == {2}
    counts = buffer.counts
    assert (counts.lost, counts.late, counts.dropped, counts.concealed) == (0, 0, 0, 0)


@pytest.mark.parametrize("part", [0, 0.05, 0.2])
def test_concealed_equals_lost(part):
    lost = some(part)
    buffer, played = run(uniform(0.005), lost)
    assert buffer.counts.concealed == buffer.counts.lost == len(lost)
    assert len(lost) == pytest.approx(part * FRAMES, rel=0.15)
    assert (buffer.counts.late, buffer.counts.duplicate, buffer.counts.dropped) == (0, 0, 0)
    assert played.received == [n for n in range(played.received[-1] + 1) if n not in lost]
    # time goes on: the frame at each call is as many after the first as calls have passed
    first = played.gains.index(1)
    for call, (n, gain) in enumerate(zip(played.numbers, played.gains, strict=True)):
        assert gain < 1 or n == call - first


@pytest.mark.parametrize("length", [1, 2, 3, 5, 11, 24])
def test_bursts_of_loss(length):
    """After one, playing goes on with the delay that it had."""
    lost = [n for start in range(100, FRAMES - 100, 250) for n in range(start, start + length)]
    buffer, played = run(uniform(0.005), lost)
    assert buffer.counts.concealed == buffer.counts.lost == len(lost)
    assert buffer.counts.dropped == buffer.counts.late == 0
    assert played.depths[-1] == 2


@pytest.mark.parametrize("jitter", [0, 0.02, 0.05, 0.08, 0.1, 0.15, 0.2])
@pytest.mark.parametrize("part", [0, 0.05])
def test_jitter_with_reordering(jitter, part):
    """The depth settles where all frames are in time, and not above."""
    lost = some(part)
    buffer, played = run(uniform(jitter), lost)
    gone = [n for n in lost if n >= played.numbers[SETTLED]]
    settled = played.gains[SETTLED:]
    assert abs(len([gain for gain in settled if gain < 1]) - len(gone)) <= 1
    assert buffer.counts.late <= 3 and buffer.counts.dropped <= 1
    assert buffer.counts.lost == len(lost) + buffer.counts.late
    assert max(played.delays(SETTLED)) <= 0.02 + jitter + 2 * 0.08
    assert buffer.target <= 2 + jitter / 0.08


def test_reordering_within_the_depth_costs_nothing():
    """Each second frame comes 85 ms late, after the one that was sent after it."""
    delays = np.full(FRAMES, 0.005)
    delays[1::2] += 0.085
    buffer, played = run(delays)
    assert played.received == list(range(len(played.received)))
    assert buffer.counts.lost == buffer.counts.late == 0


def test_duplicates_are_dropped_and_counted():
    delays = uniform(0.005)
    extra = [(n * 0.08 + delays[n] + 0.01 * (n % 40), n) for n in range(0, FRAMES - 50, 3)]
    buffer, played = run(delays, extra=extra)
    assert buffer.counts.duplicate == len(extra)
    assert (buffer.counts.late, buffer.counts.lost, buffer.counts.concealed) == (0, 0, 0)
    assert played.received == list(range(len(played.received)))


def test_a_late_frame_is_dropped_and_counted_and_the_depth_grows_once():
    delays = np.full(FRAMES, 0.02)
    delays[500:1000:50] += 0.3
    buffer, played = run(delays)
    # The first finds its time passed; each makes the buffer wait once, until three frames of
    # depth more hold the next ones.
    assert 1 <= buffer.counts.late <= 4 and buffer.counts.lost == buffer.counts.late
    assert max(played.depths[:500]) == 2
    assert 4 <= max(played.depths[900:1000]) <= 6
    assert played.received[-1] - played.received[-100] == 99
    assert played.depths[-1] <= 3, "shrunk again"
    assert 1 <= buffer.counts.dropped <= 4


def test_the_depth_shrinks_slowly():
    delays = uniform(0.005)
    delays[:300] = uniform(0.3)[:300]
    buffer, played = run(delays)
    high = max(played.depths[250:300])
    assert high >= 4
    assert max(played.depths[300:420]) >= high - 1, "not for one quiet moment"
    assert set(played.depths[1000:]) <= {2, 3}
    assert buffer.counts.dropped <= high


def test_the_depth_shrinks_by_a_frame_a_second():
    delays = np.full(FRAMES, 0.02)
    delays[:300] += 0.24
    _, played = run(delays)
    steps = -np.diff(played.delays(280)) / 0.08
    drops = np.flatnonzero(steps > 0.5)
    assert len(drops) == 3 and steps[drops] == pytest.approx(1)
    assert np.diff(drops).min() >= 11 and drops[0] >= 125


def test_the_depth_does_not_grow_past_a_second():
    """However late frames come: each third is 2 s behind the others."""
    delays = np.full(FRAMES, 0.02)
    delays[::3] += 2
    buffer, played = run(delays)
    assert buffer.counts.late > 500
    assert 11 <= max(played.depths) <= 15


@pytest.mark.parametrize(("pause", "frames"), [(0.25, 4), (0.5, 7), (1.0, 13), (1.8, 23)])
def test_a_pause_whose_frames_come_at_once(pause, frames):
    """They are played up to a little delay; of a long pause only the newest are."""
    delays = np.full(FRAMES, 0.02)
    delays[1000 : 1000 + frames] += np.maximum(pause - 0.08 * np.arange(frames), 0)
    buffer, played = run(delays)
    assert buffer.counts.lost == buffer.counts.late == 0
    assert max(played.depths[1030:]) <= 5
    assert played.depths[1500] == 2, "back where it was"
    assert buffer.counts.dropped == buffer.counts.concealed


def test_pauses_that_come_again_are_bridged():
    """The second of the same length finds a depth that lasts."""
    delays = np.full(FRAMES, 0.02)
    for start in range(500, FRAMES - 100, 100):
        delays[start : start + 13] += np.maximum(1 - 0.08 * np.arange(13), 0)
    _, played = run(delays)
    assert played.gains[900:].count(1) >= len(played.gains[900:]) - 2
    assert max(played.depths) <= 20


@pytest.mark.parametrize("drift", [200e-6, -200e-6])
def test_an_hour_of_drift(drift):
    """One frame more or less every 400 s: nine in an hour, and the depth stays."""
    buffer, played = run(uniform(0.02, frames=45_000), drift=drift)
    assert buffer.counts.late <= 1
    assert 8 <= (buffer.counts.concealed if drift > 0 else buffer.counts.dropped) <= 10
    assert (buffer.counts.dropped if drift > 0 else buffer.counts.concealed) <= 1
    assert max(played.depths) <= 4
    assert buffer.target <= 3


@pytest.mark.parametrize("before", [1, 2, 10, 500])
def test_the_sequence_wraps(before):
    lost = some(0.05)
    buffer, played = run(uniform(0.1), lost, first=2**32 - before)
    assert buffer.counts.lost == len(lost) + buffer.counts.late
    assert buffer.counts.late <= 2 and len(played.received) > 0.9 * FRAMES


def test_the_first_frames_out_of_order():
    buffer = JitterBuffer(LinkStats())
    for n in (1, 0, 2):
        assert buffer.put((2**32 - 1 + n) % 2**32, frame(n))
    assert [buffer.take()[0][0] for _ in range(3)] == [0, 1, 2]


def test_silence_before_the_first_frame_and_fading_after_the_last():
    buffer = JitterBuffer(LinkStats())
    assert [buffer.take() for _ in range(3)] == [(None, 0.0)] * 3
    buffer.put(0, frame(0))
    assert buffer.take() == (None, 0.0), "not filled yet"
    buffer.put(1, frame(1))
    given = [buffer.take() for _ in range(40)]
    assert [gain for _, gain in given] == [1, 1, *FADE] + [0] * 35
    assert all(codes is given[1][0] for codes, _ in given[2:])
    assert buffer.counts.concealed == 25, "then it is silence, not concealment"
    assert buffer.counts.lost == 0


def test_calls_before_the_first_frame_may_come_at_any_rate():
    buffer = JitterBuffer(LinkStats())
    for n in range(2):
        for _ in range(500):
            assert buffer.take() == (None, 0.0)
        buffer.put(n, frame(n))
    for n in range(2, 2000):
        assert buffer.take()[0][0] == (n - 2) % 2048
        buffer.put(n, frame(n))
    assert buffer.counts.concealed == buffer.counts.dropped == 0 and buffer.target == 2


def test_one_frame_alone_after_a_silence_is_played_too():
    buffer = JitterBuffer(LinkStats())
    for n in range(2):
        buffer.put(n, frame(n))
    assert [buffer.take()[1] for _ in range(60)][:2] == [1, 1]
    buffer.put(70, frame(70))
    assert [buffer.take()[1] for _ in range(3)] == [0, 1, FADE[0]]


@pytest.mark.parametrize("missing", [30, 63, 64, 1000])
def test_after_a_long_silence_it_fills_to_its_target_again(missing):
    delays = uniform(0.2)
    lost = range(1000, 1000 + missing)
    buffer, played = run(delays, lost)
    resumed = next(call for call, n in enumerate(played.numbers) if n and n >= 1000)
    assert played.depths[resumed] >= 3
    assert buffer.counts.lost - buffer.counts.late == missing
    assert buffer.counts.concealed < 40
    assert played.gains[resumed:].count(1) >= len(played.gains[resumed:]) - 5


def test_while_it_fills():
    buffer = JitterBuffer(LinkStats())
    for n in range(20):
        buffer.put(n, frame(n))
        buffer.take()
    for _ in range(30):
        buffer.take()
    assert buffer.depth == 0
    buffer.put(50, frame(50))
    assert buffer.depth == 1, "those lost in the silence are not waited for"
    assert buffer.take()[1] == 0
    assert not buffer.put(5, frame(5)) and buffer.counts.duplicate == 1
    assert not buffer.put(2**32 - 9, frame(5)) and buffer.counts.late == 1
    buffer.put(51, frame(51))
    assert [buffer.take()[0][0] for _ in range(2)] == [50, 51], (
        "a late one then is no reason to wait"
    )


def test_frames_wait_while_nobody_takes_any():
    """A device that is gone for 3 s, or for a minute: then the newest are played."""
    for away in (38, 750):
        buffer = JitterBuffer(LinkStats())
        for n in range(100):
            buffer.put(n, frame(n))
            buffer.take()
        for n in range(100, 100 + away):
            buffer.put(n, frame(n))
            assert buffer.depth <= CAPACITY
        given = []
        for n in range(100 + away, 140 + away):
            buffer.put(n, frame(n))
            given.append(buffer.take())
        assert given[-1][1] == 1 and buffer.depth <= 2 + 3


@pytest.mark.parametrize("jump", [CAPACITY - 1, CAPACITY, 10**6, 2**31 - 100])
def test_a_jump_ahead(jump):
    buffer = JitterBuffer(LinkStats())
    for n in range(50):
        buffer.put(n, frame(n))
        buffer.take()
    for n in range(50):
        buffer.put(50 + jump + n, frame(n))
        _, gain = buffer.take()
        assert gain == 1 or n < 2
    assert buffer.depth == 1 and buffer.counts.late == 0


def test_an_old_frame_is_late_however_old():
    buffer = JitterBuffer(LinkStats())
    for n in range(500):
        buffer.put(n, frame(n))
        buffer.take()
    for age in (300, 499, 2**31 - 600):
        assert not buffer.put((499 - age) % 2**32, frame(0))
    assert buffer.counts.late == 3


def test_the_target_is_of_the_last_two_windows():
    lateness, targets = Lateness(), []
    for window in range(6):
        for n in range(125):
            lateness.add(100 + (4 if (window, n) in ((1, 60), (5, 1)) else 0))
            lateness.tick()
        targets.append((lateness.target, lateness.latest))
    assert targets == [(2, 100), (5, 104), (5, 100), (2, 100), (2, 100), (5, 104)]


def test_nothing_is_known_before_the_first_window_has_passed():
    lateness = Lateness()
    lateness.add(3)
    assert lateness.latest is None and lateness.target == 2


_NUMBERS = st.one_of(
    st.integers(0, 2**32 - 1), st.integers(0, 80), st.integers(2**32 - 40, 2**32 - 1)
)


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.one_of(st.just(None), _NUMBERS), max_size=200))
def test_any_frames_in_any_order(events):
    """None is a call. One frame comes out of each, and what was received is accounted for."""
    buffer, given = JitterBuffer(LinkStats()), 0
    for event in events:
        if event is None:
            codes, gain = buffer.take()
            given += gain == 1
            assert (codes is None) <= (gain == 0) and gain in (1.0, *FADE)
        else:
            buffer.put(event, frame(event))
        assert 0 <= buffer.depth <= CAPACITY
        assert buffer.counts.received == given + buffer.counts.dropped + _waiting(buffer)
        assert 2 <= buffer.target <= 12


def test_its_memory_is_bounded():
    rng = random.Random(0)
    buffer = JitterBuffer(LinkStats())

    def feed() -> None:
        base = 0
        for _ in range(20_000):
            base = (base + rng.choice([1, 1, 1, 60, 2**20, -5])) % 2**32
            buffer.put(base, np.zeros(8, np.int32))
            if rng.random() < 0.3:
                buffer.take()

    feed()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        feed()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 50_000
    assert _waiting(buffer) <= CAPACITY
