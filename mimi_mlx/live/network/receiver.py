"""Whom a link hears: one peer at a time, and nothing from anyone else."""

from collections.abc import Callable

from .jitter_buffer import JitterBuffer, LinkStats
from .packet import Packet, PacketFormat, Refusal
from .udp import Address

SILENT = 2.0  # seconds without a frame that could be used, after which a peer may be replaced


class Receiver:
    """Puts the frames of one peer into a jitter buffer, and refuses all else.

    The first good packet binds its sender: an address and a stream. docs/live-protocol.md says
    when another takes its place.

    Args:
        allowed: The hosts that may send; None means any.
        clock: Seconds, from any zero.
        counts: Where it counts, and its buffer.
    """

    def __init__(
        self,
        format: PacketFormat,
        allowed: frozenset[str] | None,
        clock: Callable[[], float],
        counts: LinkStats,
    ):
        self.buffer = JitterBuffer(counts)
        self.peer: Address | None = None  # who is bound
        self._counts = counts
        self._format = format
        self._allowed = allowed
        self._clock = clock
        self._stream = self._replaced = -1  # of the peer, and of the one before
        self._heard = 0.0  # when the last frame came that could be used
        self._told: set[str] = set()
        self._messages: list[str] = []

    def take_in(self, data: bytes, address: Address) -> None:
        """Judge a datagram, and put its frame into the buffer if it is the peer's."""
        packet = self._format.unpack(data)
        if packet is not None and self._allowed is not None and address.host not in self._allowed:
            packet = Refusal("host", "sends, but is not the host that --allow names.")
        if isinstance(packet, Packet):
            packet = self._admit(address, packet)
        if isinstance(packet, Packet):
            self._put(address, packet)
        else:
            self._counts.foreign += 1
            if packet is not None and packet.kind not in self._told:
                self._told.add(packet.kind)
                self._messages.append(f"{address} {packet.reason}")

    def messages(self) -> list[str]:
        """What to tell the user since the last call, in lines; each kind is told once."""
        news, self._messages = self._messages, []
        return news

    def _admit(self, address: Address, packet: Packet) -> Packet | Refusal | None:
        """The packet if its sender may be heard now, else why not."""
        if address == self.peer:
            # Another stream: it was started anew, since two programs cannot have one port. What
            # the network still brings of the old one is nobody's.
            return None if packet.stream == self._replaced else packet
        if self.peer is None or self._is_silent():
            return packet
        return Refusal("second", f"sends too, and is not heard: {self.peer} is, until it stops.")

    def _put(self, address: Address, packet: Packet) -> None:
        if (address, packet.stream) != (self.peer, self._stream):
            self._bind(address, packet.stream)
        if not self.buffer.put(packet.sequence, packet.codes):
            if not self._is_silent():
                return
            # It sends nothing but old numbers, so it counts anew.
            self._bind(address, packet.stream)
            self.buffer.put(packet.sequence, packet.codes)
        self._heard = self._clock()

    def _bind(self, address: Address, stream: int) -> None:
        if stream != self._stream:
            self._replaced = self._stream
        self.peer, self._stream = address, stream
        self.buffer.restart()

    def _is_silent(self) -> bool:
        return self._clock() - self._heard >= SILENT
