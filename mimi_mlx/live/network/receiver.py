"""Whom a link hears: one peer at a time, and nothing from anyone else."""

import math
from collections.abc import Callable
from typing import NamedTuple

from .jitter_buffer import JitterBuffer, LinkStats
from .packet import Packet, PacketFormat, Refusal
from .udp import Address

SILENT = 2.0  # seconds without a frame that could be used, after which a peer may be replaced


class Sender(NamedTuple):
    """Who sends: a program that is started anew is another sender at the same address."""

    address: Address
    stream: int


class Receiver:
    """Puts the frames of one peer into a jitter buffer, and refuses all else.

    The first good packet binds its sender. No other is heard until for ``SILENT`` seconds no frame
    of that one could be used (docs/live-protocol.md).

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
        self._counts = counts
        self._format = format
        self._allowed = allowed
        self._clock = clock
        self._bound: Sender | None = None  # who is heard, and who was before
        self._replaced: Sender | None = None
        self._heard = -math.inf  # when the last frame came that could be used
        self._told: set[str] = set()
        self._messages: list[str] = []

    @property
    def peer(self) -> Address | None:
        """Whose address and port are bound."""
        return self._bound.address if self._bound else None

    @property
    def silent(self) -> bool:
        """Whether for ``SILENT`` seconds no frame of the peer could be used, or there is none."""
        return self._clock() - self._heard >= SILENT

    def take_in(self, data: bytes, address: Address) -> None:
        """Judge a datagram, and put its frame into the buffer if it is the peer's."""
        packet = self._format.unpack(data)
        if packet is not None and self._allowed is not None and address.host not in self._allowed:
            packet = Refusal("host", "sends, but is not the host that --allow names.")
        if isinstance(packet, Packet):
            packet = self._admit(address, packet)
        if isinstance(packet, Packet):
            self._put(Sender(address, packet.stream), packet)
            return
        self._counts.foreign += 1
        if packet is not None:
            self._tell(packet.kind, f"{address} {packet.reason}")

    def messages(self) -> list[str]:
        """What to tell the user since the last call, in lines; each kind is told once."""
        news, self._messages = self._messages, []
        return news

    def _admit(self, address: Address, packet: Packet) -> Packet | Refusal:
        """The packet if its sender may be heard now, else why not."""
        if (address, packet.stream) == self._bound or self.silent:
            return packet
        if address == self.peer:
            # It was started anew, or is what the network still brings of the one before, or forged.
            return Refusal("stream", "sends a second stream, not heard until the first one stops.")
        return Refusal("second", f"sends too, and is not heard: {self.peer} is, until it stops.")

    def _put(self, sender: Sender, packet: Packet) -> None:
        if sender != self._bound:
            if sender == self._replaced:
                text = f"{sender.address} is heard again: what took its place has stopped."
                self._tell("again", text)
            self._replaced, self._bound = self._bound, sender
            self.buffer.restart()
        if not self.buffer.put(packet.sequence, packet.codes):
            if not self.silent:
                return
            # It sends nothing but old numbers, so it counts anew.
            self.buffer.restart()
            self.buffer.put(packet.sequence, packet.codes)
        self._heard = self._clock()

    def _tell(self, kind: str, message: str) -> None:
        if kind not in self._told:
            self._told.add(kind)
            self._messages.append(message)
