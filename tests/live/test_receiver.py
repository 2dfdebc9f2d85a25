"""Whom a link hears, and what it refuses."""

import random
import tracemalloc
from dataclasses import replace

import pytest
from live_network import (
    FORMAT,
    OTHER,
    PEER,
    bring,
    frame,
    heard,
    packets,
    receiver,
)

from mimi_mlx.live.network.udp import Address


@pytest.mark.parametrize("bound", [False, True])
def test_a_hundred_thousand_random_packets(memory, clock, bound):
    """Some with the magic, some with a whole head, from many addresses; also during a call."""
    rng = random.Random(0)
    link = receiver(clock)
    good = packets(30)
    if bound:
        bring(link, good[:10])
    starts = [b"", b"\xffM", b"\xffM\x01\x08", good[0][:12], good[0][:16]]

    def flood(count: int) -> None:
        for _ in range(count):
            data = rng.choice(starts) + rng.randbytes(rng.choice([0, 4, 15, 31, 200]))
            bring(link, data, rng.choice([PEER, Address(f"10.0.1.{rng.randrange(256)}", 1)]))

    flood(90_000)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    flood(10_000)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 20_000
    assert link.stats.foreign == 100_000
    assert link.messages() == []
    assert link.peer == (PEER if bound else None)
    assert link.stats.received == (10 if bound else 0)
    bring(link, good[10:])
    assert link.peer == PEER and heard(link, 2) == [28, 29], "of many at once, the newest"


def test_a_hundred_thousand_changed_packets(memory, clock):
    """From the peer's own address, in the midst of its stream: none is taken for a frame."""
    rng = random.Random(1)
    sent, link = packets(1000), receiver(clock)
    got = []
    for n, data in enumerate(sent):
        for _ in range(100):
            changed = bytearray(data)
            for at in rng.sample(range(len(data)), rng.randint(1, 5)):
                changed[at] ^= rng.randrange(1, 256)
            bring(link, bytes(changed))
        bring(link, data)
        got += heard(link, 1)
        assert link.stats.foreign == 100 * (n + 1)
    assert got == list(range(999))
    assert link.stats.lost == link.stats.concealed == 0
    assert link.messages() == []


def test_good_packets_with_any_numbers_do_no_harm(memory, clock):
    """Whoever knows the protocol can disturb the sound, but raises no error and takes no memory."""
    rng = random.Random(2)
    link, played = receiver(clock), 0
    for _ in range(20_000):
        stream, sequence = rng.choice([1, 1, 1, 2, rng.randrange(2**32)]), rng.randrange(2**32)
        if rng.random() < 0.7:
            sequence %= 200
        address = rng.choice([PEER, PEER, PEER, OTHER])
        bring(link, FORMAT.pack(stream, sequence, frame(sequence % 1000)), address)
        if rng.random() < 0.5:
            codes, gain = link.next_frame()
            played += gain == 1
            assert codes is None or codes.shape == (8,)
        clock.now += rng.choice([0, 0.01, 3]) if rng.random() < 0.01 else 0.001
        assert link.stats.depth <= 64
        waiting = len(link._receiver.buffer._frames)
        assert link.stats.received == played + link.stats.dropped + waiting
    told = " ".join(link.messages())
    assert "sends too" in told and "sends a second stream" in told and len(told) < 300


def test_a_peer_started_anew_at_its_port_is_heard_once_the_first_has_been_silent(memory, clock):
    link = receiver(clock)
    first, second = packets(20), packets(40)
    for data in first:
        bring(link, data)
        link.next_frame()
    for n, data in enumerate(second):
        clock.now += 0.08
        bring(link, data)
        bring(link, first[19 - n % 20])  # what the network still brings of the old one
        link.next_frame()
    (message,) = link.messages()
    assert message.startswith("10.0.0.2:5000 sends a second stream, ")
    assert heard(link, 1) == [39]
    assert link.stats.received == 20 + 16 and link.stats.foreign == 24 + 16


def test_frames_of_the_old_stream_are_not_played_after_those_of_the_new(memory, clock):
    link = receiver(clock)
    bring(link, packets(5))
    assert heard(link, 1) == [0]
    clock.now += 2
    bring(link, packets(5, first=10))
    assert heard(link, 5) == [10, 11, 12, 13, 14]


def test_a_datagram_of_another_stream_does_not_disturb_a_call(memory, clock):
    """Whether it is late or spoofed; nor do many, each of a stream of its own."""
    link, got = receiver(clock), []
    for n, data in enumerate(packets(200)):
        bring(link, data)
        for each in range(3 if n > 2 else 0):
            bring(link, FORMAT.pack(1000 * n + each, n, frame(9)))
        got += heard(link, 1)
        clock.now += 0.08
    assert got == list(range(199))
    assert link.stats.foreign == 3 * 197
    (message,) = link.messages()
    assert message.startswith("10.0.0.2:5000 sends a second stream, ")


def test_a_stream_that_was_replaced_is_heard_again(memory, clock):
    """When for 2 s it alone is heard; and the user is told."""
    link, sent = receiver(clock), packets(80)
    bring(link, sent[:10])
    clock.now += 2  # the network fails, and somebody takes the place
    bring(link, FORMAT.pack(1, 0, frame(9)))
    assert link.messages() == []
    for data in sent[10:]:
        clock.now += 0.08
        bring(link, data)
        link.next_frame()
    assert heard(link, 1) == [79]
    _, again = link.messages()
    assert again.startswith("10.0.0.2:5000 is heard again")


@pytest.mark.slow
def test_a_call_goes_on_under_a_flood_of_strangers(memory, clock):
    """12,000 good packets a second, each from another address, in 4 s of a call."""
    rng = random.Random(3)
    link, got = receiver(clock), []
    sent, theirs = packets(50), packets(50)

    def turn(data: list[bytes]) -> None:
        link._socket.inbox.extend((each, PEER) for each in data)
        for _ in range(60):
            address = Address(f"10.1.{rng.randrange(256)}.{rng.randrange(256)}", 5000)
            link._socket.inbox.append((rng.choice(theirs), address))
        link.poll()
        clock.now += 0.005

    for n, data in enumerate(sent):
        turn([data])
        for _ in range(15):
            turn([])
        if n == 40:
            tracemalloc.start()
            before, _ = tracemalloc.get_traced_memory()
        got += heard(link, 1)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert got == list(range(49)) and after - before < 20_000
    assert link.stats.foreign == 50 * 16 * 60
    assert len(link.messages()) == 1 and not link._socket.inbox


def test_another_sender_is_heard_once_the_first_has_been_silent(memory, clock):
    link = receiver(clock)
    first, second = packets(100), packets(100)
    bring(link, first[:5])
    clock.now += 1.9
    bring(link, second[:3], OTHER)
    assert link.peer == PEER and link.stats.foreign == 3
    (message,) = link.messages()
    assert message.startswith("10.0.0.3:5000 sends too") and "10.0.0.2:5000 is" in message
    assert link.messages() == [], "told once"
    bring(link, first[5])
    clock.now += 1.9
    bring(link, second[3], OTHER)
    assert link.peer == PEER, "the peer was heard in between"
    clock.now += 0.2
    bring(link, second[4:8], OTHER)
    assert link.peer == OTHER
    assert heard(link, 4) == [4, 5, 6, 7]
    bring(link, first[6:20])
    assert link.peer == OTHER
    assert link.messages() == []


def test_the_peer_goes_on_after_a_silence(memory, clock):
    """It stays bound, and what was lost meanwhile is counted."""
    link, sent = receiver(clock), packets(120)
    bring(link, sent[:5])
    assert heard(link, 60) == [0, 1, 2, 3, 4]
    clock.now += 60
    bring(link, sent[100:104])
    assert heard(link, 4) == [100, 101, 102, 103]
    assert link.stats.lost == 95 and link.stats.concealed == 25


def test_a_peer_that_counts_anew_is_heard_after_two_seconds(memory, clock):
    """No peer of this package does so; a jump far ahead must not end the stream for ever."""
    link = receiver(clock)
    pack = FORMAT.pack
    bring(link, [pack(7, n, frame(n)) for n in range(5)])
    bring(link, pack(7, 2**31, frame(0)))
    for n in range(5, 60):
        clock.now += 0.08
        bring(link, pack(7, n, frame(n)))
        link.next_frame()
    assert link.stats.late in (24, 25)
    assert heard(link, 1) == [59]


def test_packets_of_another_model_or_kind_are_refused_with_one_message(memory, clock):
    link = receiver(clock)
    bring(link, packets(50, format=replace(FORMAT, fingerprint="f" * 16)))
    bring(link, packets(50, format=replace(FORMAT, num_codebooks=16)), OTHER)
    model, codebooks = link.messages()
    assert model.startswith("10.0.0.2:5000 sends codes of another model")
    assert "--model" in model
    assert codebooks.startswith("10.0.0.3:5000 sends 16 codebooks, here it is 8")
    assert link.stats.foreign == 100 and link.peer is None
    assert link.next_frame() == (None, 0.0)
    bring(link, packets(2))
    assert link.peer == PEER, "those do not keep a good one out"


def test_only_the_allowed_host_is_heard(memory, clock):
    link = receiver(clock, allow="10.0.0.2")
    bring(link, packets(3), OTHER)
    assert link.peer is None and link.stats.foreign == 3
    (message,) = link.messages()
    assert message == "10.0.0.3:5000 sends, but is not the host that --allow names."
    bring(link, b"anything", OTHER)
    bring(link, packets(3), Address("10.0.0.2", 9))
    assert link.peer == ("10.0.0.2", 9) and link.stats.foreign == 4
    assert link.messages() == []


def test_a_silent_peer_is_not_replaced_by_one_that_is_not_allowed(memory, clock):
    link = receiver(clock, allow="10.0.0.2")
    bring(link, packets(3))
    clock.now += 100
    bring(link, packets(3), OTHER)
    assert link.peer == PEER
