"""A peer that goes on sending is heard, in whatever order packets come and whoever sends them."""

import re
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from live_network import FORMAT, FRAME, PEER, Clock, frame, number

from mimi_mlx.live.network.jitter_buffer import LinkStats
from mimi_mlx.live.network.receiver import Receiver
from mimi_mlx.live.network.udp import Address

PAGE = Path(__file__).parents[2] / "docs" / "live-protocol.md"
SENT = [FORMAT.pack(7, n, frame(n)) for n in range(600)]  # by the peer
BEFORE = [
    FORMAT.pack(8, n, frame(2000)) for n in range(100)
]  # by the peer, before it was restarted

EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.floats(0, 0.5)),  # seconds
        st.tuples(st.just("late"), st.integers(0, 599)),  # which of what the peer has sent
        st.tuples(st.just("before"), st.integers(0, 99)),  # which of what it sent before
        st.tuples(st.just("spoofed"), st.integers(9, 20) | st.integers(9, 2**32 - 1)),  # its stream
        st.tuples(st.just("stranger"), st.integers(1, 65535)),  # its port
        st.tuples(st.just("random"), st.binary(max_size=40)),
    ),
    max_size=60,
)


class Call:
    """A peer that sends a frame every 80 ms, each played at once, and others that come too."""

    def __init__(self):
        self.clock, self.counts = Clock(), LinkStats()
        self.receiver = Receiver(FORMAT, None, self.clock, self.counts)
        self.sent = 0
        self.due = self.clock.now
        self.played: list[tuple[float, int]] = []
        """When which frame of the peer was given."""

    def go_on(self, seconds: float) -> None:
        """Time passes, and the peer sends what it has to."""
        end = self.clock.now + seconds
        while self.due <= end:
            self.clock.now = self.due
            self.due += FRAME
            self.receiver.take_in(SENT[self.sent], PEER)
            self.sent += 1
            codes, gain = self.receiver.buffer.take()
            if gain == 1 and number(codes) < 2000:
                self.played.append((self.clock.now, number(codes)))
        self.clock.now = end

    def other(self, what: str, about) -> None:
        """Somebody else's datagram comes, or one of the peer that is not its next."""
        address = Address("10.0.0.9", about) if what == "stranger" else PEER
        if what == "late":
            data = SENT[about % max(self.sent, 1)]
        elif what == "before":
            data = BEFORE[about]
        elif what == "random":
            data = about
        else:
            data = FORMAT.pack(about, about % 1000, frame(2000))
        self.receiver.take_in(data, address)


@settings(max_examples=100, deadline=None)
@given(EVENTS)
def test_nobody_costs_a_peer_that_goes_on_sending_a_frame(events):
    """Nor its place, once it has that: here, after it was started anew."""
    call = Call()
    call.receiver.take_in(BEFORE[0], PEER)
    call.clock.now = call.due = call.due + 2
    call.go_on(0)
    for what, about in events:
        if what == "pass":
            call.go_on(about)
        else:
            call.other(what, about)
        assert call.counts.received == 1 + call.sent
    call.go_on(1)
    assert [n for _, n in call.played] == list(range(call.sent - 1)), "each in its turn"


@settings(max_examples=100, deadline=None)
@given(EVENTS)
def test_a_peer_is_heard_within_three_seconds_of_anything(events):
    """Whoever came first, each under any address, and then fell silent."""
    call = Call()
    for what, about in events:
        if what == "pass":
            call.clock.now += about
        else:
            call.other(what, about)
    call.due = begun = call.clock.now
    call.go_on(6)
    assert call.played[0][0] < begun + 3
    assert len(call.played) >= 3 / FRAME


def test_the_example_of_the_protocol_page():
    """At each second of the table, the stream that it says is bound."""
    table = re.findall(r"^\| ([\d.]+) \| .* \| ([ABCD]) \| ", PAGE.read_text(), re.MULTILINE)
    sends = {FRAME * n: "A" for n in range(250) if not 10 <= FRAME * n < 12.5}
    sends |= {3: "B", 12.1: "C"} | {21 + FRAME * n: "D" for n in range(20)}
    call, found = Call(), {}
    for second, stream in sorted(sends.items()):
        call.clock.now = 1000 + second
        before = call.counts.received
        sequence = round(second / FRAME)
        call.receiver.take_in(FORMAT.pack(ord(stream), sequence, frame(sequence)), PEER)
        if call.counts.received > before:
            found[second] = stream
    assert len(table) == 8
    for second, stream in table:
        assert [s for at, s in sorted(found.items()) if at <= float(second) + FRAME][-1] == stream
    told = call.receiver.messages()
    assert len(told) == 2 and "second stream" in told[0] and "heard again" in told[1]
