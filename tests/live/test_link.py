"""The link: a stream from end to end, and what it counts."""

from dataclasses import replace

import numpy as np
import pytest
from live_network import (
    FORMAT,
    PEER,
    Played,
    arrivals,
    bring,
    frame,
    heard,
    packets,
    play,
    receiver,
)

from mimi_mlx.live.network.link import Link
from mimi_mlx.live.network.udp import Address


@pytest.mark.parametrize("part", [0, 0.05, 0.2])
def test_a_stream_with_loss_duplicates_and_jitter(memory, clock, part):
    frames = 1000
    rng = np.random.default_rng(2)
    lost = [int(n) for n in np.flatnonzero(rng.random(frames) < part) if 2 <= n < frames - 12]
    sent, link = packets(frames), receiver(clock)
    events = arrivals(rng.uniform(0.01, 0.06, frames), lost)
    twice = sorted(events + [(when + 0.02, n) for when, n in events[:-5:10]])
    played: Played = play(
        twice, lambda n: bring(link, sent[n]), link.next_frame, lambda: link.stats.depth
    )
    stats = link.stats
    assert stats.concealed == stats.lost == len(lost)
    assert stats.duplicate == len(events[:-5:10])
    assert (stats.late, stats.foreign, stats.dropped, stats.errors) == (0, 0, 0, 0)
    last = played.received[-1]
    assert played.received == [n for n in range(last + 1) if n not in lost]
    assert stats.received == len(played.received) + frames - 1 - last
    assert link.peer == PEER and link.messages() == []


def test_poll_is_bounded(memory, clock):
    link = receiver(clock)
    link._socket.inbox.extend((data, PEER) for data in packets(200))
    link.poll()
    assert len(link._socket.inbox) == 200 - 64


def test_kbps_counts_every_header(memory, clock):
    link = receiver(clock)
    assert link.stats.kbps == 0, "nobody sends"
    bring(link, packets(2))
    assert link.stats.kbps == pytest.approx((28 + 20 + 11) * 8 * 12.5 / 1000)
    link = receiver(clock)
    bring(link, packets(2), Address("fd00::2", 5000))
    assert link.stats.kbps == pytest.approx((48 + 20 + 11) * 8 * 12.5 / 1000)
    assert str(link.peer) == "[fd00::2]:5000"
    link = Link(replace(FORMAT, num_codebooks=32), PEER, None)
    assert link.stats.kbps == 0
    link.send(frame(0, 32))
    assert link.stats.kbps == pytest.approx((28 + 20 + 44) * 8 * 12.5 / 1000)


def test_sequence_numbers_wrap_in_the_sender(memory, clock):
    link, sender = receiver(clock), Link(FORMAT, PEER, None)
    sender._sequence = 2**32 - 3
    for n in range(5):
        sender.send(frame(n))
    bring(link, sender._socket.sent)
    assert heard(link, 5) == list(range(5))
    assert sender.stats.sent == 5


def test_a_frame_that_could_not_be_sent_is_missing_for_the_peer(memory, clock):
    sender, link = Link(FORMAT, PEER, None), receiver(clock)
    for n in range(5):
        sender._socket.send = lambda data, n=n: n != 2 and not bring(link, data)
        sender.send(frame(n))
    assert heard(link, 5) == [0, 1, 3, 4]
    assert sender.stats.sent == 4 and link.stats.lost == 1
