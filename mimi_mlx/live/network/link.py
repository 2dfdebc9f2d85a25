"""Frames between two machines, over UDP: for loopback and trusted networks, without encryption."""

import secrets
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from .jitter_buffer import LinkStats
from .packet import SEQUENCES, PacketFormat
from .receiver import Receiver
from .udp import Address, UdpSocket, hosts

_AT_ONCE = 64  # datagrams that one poll reads
_IP_UDP = {False: 28, True: 48}  # bytes of both headers: IPv4, IPv6


class Link:
    """Sends frames of codes to a peer, receives a peer's, or both: a call.

    Nothing here blocks or starts a thread. What comes from the network can neither raise an
    error nor make it grow. One thread at a time may use a link.

    Args:
        format: Of the packets, in both directions; those of another are refused.
        send_to: Host and port of the peer, or None: only receive. A name is looked up once.
        listen: Port to receive at, 0 for any free one; or None: only send.
        allow: The one host that may send to this link, looked up once; None means any.
        bind: The one address of this machine to receive at; None means all.
        clock: Seconds, from any zero.
        frame_rate: Frames a second.

    Raises:
        ValueError: Neither ``send_to`` nor ``listen`` is given, a host is not known, the port is
            not free, or the address is not this machine's.
    """

    def __init__(
        self,
        format: PacketFormat,
        send_to: tuple[str, int] | None,
        listen: int | None,
        allow: str | None = None,
        bind: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        frame_rate: float = 12.5,
    ):
        if send_to is None and listen is None:
            raise ValueError("a link that neither sends nor listens. Give send_to, listen or both.")
        self._format = format
        allowed = None if allow is None else hosts(allow)
        self._counts = LinkStats()
        self._receiver = Receiver(format, allowed, clock, self._counts)
        self._frame_rate = frame_rate
        self._sends, self._listens = send_to is not None, listen is not None
        self._stream = secrets.randbits(32)
        self._sequence = 0
        self._told: set[str] = set()
        self._to = send_to and Address(*send_to)
        self._socket = UdpSocket(send_to, listen, bind)
        self.bind = bind

    @property
    def port(self) -> int:
        """The port that it listens at, or sends from."""
        return self._socket.port

    @property
    def peer(self) -> Address | None:
        """Whom it hears; None: nobody yet."""
        return self._receiver.peer

    @property
    def silent(self) -> bool:
        """Whether nobody is heard now: for 2 s no frame came that could be used."""
        return self._receiver.silent

    def send(self, codes: np.ndarray) -> None:
        """Send one frame, int32 ``[K]``. Whether it can be sent or not, it is not sent again.

        Raises:
            ValueError: The link was made without ``send_to``.
        """
        if not self._sends:
            raise ValueError("send on a link that only listens. Make it with send_to.")
        packet = self._format.pack(self._stream, self._sequence, codes)
        self._sequence = (self._sequence + 1) % SEQUENCES
        self._counts.sent += self._socket.send(packet)

    def poll(self) -> None:
        """Take in what has come, at most 64 datagrams. To be called every few milliseconds."""
        for _ in range(_AT_ONCE if self._listens else 0):
            datagram = self._socket.receive()
            if datagram is None:
                return
            self._receiver.take_in(*datagram)

    def next_frame(self) -> tuple[np.ndarray | None, float]:
        """The codes ``[K]`` to decode next, and the gain that their frame shall end with.

        To be called once for each frame that the playout needs. The gain is 1 for a frame that
        was received. A missing one is concealed: the last codes again, fading within three
        frames, then with gain 0. (None, 0.0) before the first frame: play silence.
        """
        return self._receiver.buffer.take()

    def messages(self) -> list[str]:
        """What to tell the user since the last call, in lines; each kind is told once."""
        found, failure = [], self._socket.failure
        if failure:
            found.append(f"cannot send to {self._to} ({failure}), and goes on trying")
        if self._to and self._socket.refused:
            remedy = f"start the other end with --listen {self._to.port}"
            found.append(f"nobody listens at {self._to}; {remedy}")
        news = self._receiver.messages() + [each for each in found if each not in self._told]
        self._told.update(found)
        return news

    @property
    def stats(self) -> LinkStats:
        """What it has counted so far."""
        peer = self._receiver.peer
        is_used = self._counts.sent > 0 or peer is not None
        is_ipv6 = self._socket.is_ipv6 if self._sends else peer is not None and ":" in peer.host
        bits = 8 * (self._format.size + _IP_UDP[is_ipv6])
        return replace(
            self._counts,
            errors=self._socket.errors,
            depth=self._receiver.buffer.depth,
            kbps=bits * self._frame_rate / 1000 if is_used else 0.0,
        )

    def close(self) -> None:
        """Close the socket. Again: nothing."""
        self._socket.close()
