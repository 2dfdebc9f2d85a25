"""Datagrams of all kinds for a receiver, 100 an attack; the clock and the network are simulated."""

import random
from pathlib import Path

import numpy as np
from live_network import FRAME, OTHER, PEER, Clock

from mimi_mlx.codefile.header import sealed
from mimi_mlx.live.network.jitter_buffer import CAPACITY, FADE, LinkStats
from mimi_mlx.live.network.packet import PacketFormat
from mimi_mlx.live.network.receiver import Receiver
from mimi_mlx.live.network.udp import Address

# Seeds that once broke something: a datagram of another stream silenced the peer.
FOUND: tuple[int, ...] = (0, 1, 5)

STREAM = 7  # the peer's
GAINS = {1.0, 0.0, *FADE}
HEARD = 3.0  # seconds after which a peer that goes on sending is heard, whatever came before


class Sent:
    """What has been packed beforehand for one format: packing takes longer than receiving."""

    def __init__(self, format: PacketFormat):
        rng = np.random.default_rng(0)
        self.format = format

        def packed(stream: int, sequence: int) -> bytes:
            codes = rng.integers(0, format.codebook_size, format.num_codebooks).astype(np.int32)
            return format.pack(stream, sequence % 2**32, codes)

        self.first = 2**32 - 50  # the peer's numbers pass the last
        self.peer = [packed(STREAM, self.first + n) for n in range(200)]
        streams = [1, 2, *(int(x) for x in rng.integers(8, 2**32, 100))]
        self.others = [packed(x, int(rng.integers(2**32))) for x in streams for _ in range(3)]
        numbers = [*range(0, 2**32, 2**28), *range(self.first - 200, self.first + 400, 7)]
        self.forged = [packed(STREAM, number) for number in numbers]


class Call:
    """A receiver of one attack, and the peer that it shall hear."""

    def __init__(self, sent: Sent, allowed: frozenset[str] | None):
        self.sent, self.clock, self.counts = sent, Clock(), LinkStats()
        self.receiver = Receiver(sent.format, allowed, self.clock, self.counts)
        self.told: list[str] = []
        self.next = self.played = 0

    def take_in(self, data: bytes, address: Address) -> bool:
        """Whether a frame was received; each datagram is counted once."""
        counts = self.counts
        received, refused = counts.received, counts.late + counts.duplicate + counts.foreign
        self.receiver.take_in(data, address)
        received = counts.received - received
        refused = counts.late + counts.duplicate + counts.foreign - refused
        # A peer that counts anew is heard with a packet that came late by its old numbers.
        assert (received, refused) in ((1, 0), (0, 1), (1, 1)), (received, refused)
        return received == 1

    def play(self) -> None:
        """The playout takes a frame."""
        codes, gain = self.receiver.buffer.take()
        assert gain in GAINS and (codes is not None or gain == 0)
        self.played += gain == 1
        if codes is not None:
            format = self.sent.format
            assert codes.shape == (format.num_codebooks,) and codes.dtype == np.int32
            assert codes.min() >= 0 and codes.max() < format.codebook_size

    def peer_sends(self) -> bool:
        """The peer's next packet comes, 80 ms later; whether it was received."""
        self.clock.now += FRAME
        came = self.take_in(self.sent.peer[self.next], PEER)
        self.next += 1
        self.play()
        return came

    def check(self) -> None:
        """Nothing has grown, and what was received is accounted for."""
        receiver, buffer = self.receiver, self.receiver.buffer
        waiting = len(buffer._frames)
        assert waiting <= CAPACITY and buffer.depth <= CAPACITY and len(buffer._seen) <= 128
        assert 2 <= buffer.target <= 12 and len(receiver._told) <= 7
        assert buffer._next.bit_length() < 64 and buffer._newest.bit_length() < 64
        assert self.counts.received == self.played + self.counts.dropped + waiting
        self.told += receiver.messages()
        assert len(self.told) == len(receiver._told) and all(s.isprintable() for s in self.told)


class Fuzzer:
    """Mutated, cut, late, repeated, spoofed, forged and random datagrams, from any address.

    No exception; every container is bounded; each datagram and each frame is counted once; what is
    given can be decoded; once others are silent, the peer is heard within 3 s. If it is bound, goes
    on sending, and nobody knows its stream, nothing that others send costs it a frame.
    """

    PER_ATTACK = 100  # datagrams

    def __init__(self, folder: Path):
        formats = ((8, 2048), (32, 1999), (1, 2), (255, 65536))
        self.sent = [Sent(PacketFormat(k, size, "0123456789abcdef")) for k, size in formats]

    def attack(self, seed: int) -> None:
        rng = random.Random(seed)
        sent = rng.choice(self.sent)
        allowed = rng.choice([None, None, frozenset({PEER.host})])
        call = Call(sent, allowed)
        knows = rng.random() < 0.3  # whether they know the peer's stream
        pauses = rng.random() < 0.3
        bound = False
        for _ in range(self.PER_ATTACK):
            if rng.random() < 0.2:
                came = call.peer_sends()
                assert came or not bound or knows or pauses, "others cost the peer a frame"
                bound = bound or came
            else:
                call.take_in(*self._datagram(rng, call, knows))
            if pauses and rng.random() < 0.05:
                call.clock.now += rng.choice([0.1, 1.0, 2.0, 5.0])
            if rng.random() < 0.1:
                call.play()
        call.check()
        # From here on the peer goes on and all others are silent.
        heard = int(HEARD / FRAME)
        came = [call.peer_sends() for _ in range(2 * heard + 10)]
        assert any(came[:heard]), "the peer stays unheard"
        # A forged number of its own stream may cost it a second time: one frame fits before it.
        assert all(came[2 * heard if knows else heard :]), "the peer is not heard for good"
        call.check()

    def _datagram(self, rng: random.Random, call: Call, knows: bool) -> tuple[bytes, Address]:
        """Anything but the peer's next packet, and whence it comes."""
        sent = call.sent
        pool = sent.others
        if rng.random() < 0.3:  # late, or again
            pool = sent.peer[max(call.next - rng.choice([1, 3, 100]), 0) : call.next] or pool
        elif knows and rng.random() < 0.3:
            pool = sent.forged
        data = rng.choice(pool)
        kind = rng.randrange(8)
        if kind == 0:
            data = self._changed(rng, data)
        elif kind == 1:
            data = data[: rng.randrange(len(data))] + rng.randbytes(rng.choice([0, 0, 1, 40]))
        elif kind == 2:
            data = rng.randbytes(rng.choice([0, 3, 20, 31, 64, 1024]))
        elif kind == 3:
            data = self._resealed(rng, data, knows)
        address = rng.choice([PEER, PEER, OTHER, Address(f"10.9.0.{rng.randrange(256)}", 1)])
        return data, address

    def _changed(self, rng: random.Random, data: bytes) -> bytes:
        """A few bytes are others; the CRC is as it was."""
        changed = bytearray(data)
        for _ in range(rng.choice([1, 1, 2, 5])):
            changed[rng.randrange(len(data))] = rng.randrange(256)
        return bytes(changed)

    def _resealed(self, rng: random.Random, data: bytes, knows: bool) -> bytes:
        """Changed by one who knows the protocol: the CRC is right."""
        body = bytearray(data[:-4])
        for _ in range(rng.choice([1, 1, 2, 5])):
            body[rng.randrange(len(body))] = rng.choice([0, 1, 2, 127, 255, rng.randrange(256)])
        if not knows:
            body[8:12] = rng.randbytes(3) + b"\x01"  # whatever it is, not the peer's stream
        return sealed(bytes(body[: rng.choice([len(body)] * 4 + [rng.randrange(len(body))])]))
