"""A network in memory, whose time is simulated: what the tests of the live link run over."""

import socket
from collections import deque
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from mimi_mlx.live.network.link import Link
from mimi_mlx.live.network.packet import PacketFormat
from mimi_mlx.live.network.udp import Address

FRAME = 0.08  # seconds
PEER = Address("10.0.0.2", 5000)
PORT = 6000
OTHER = Address("10.0.0.3", 5000)
FORMAT = PacketFormat(8, 2048, "0123456789abcdef")


class MemorySocket:
    """In the place of ``UdpSocket``: what is sent is in ``sent``, what is in ``inbox`` came."""

    def __init__(self, send_to, listen, bind):
        self.sent: list[bytes] = []
        self.inbox: deque[tuple[bytes, Address]] = deque()
        self.errors = 0
        self.failure = None
        self.refused = False
        self.port = listen
        self.is_ipv6 = False

    def send(self, data: bytes) -> bool:
        self.sent.append(data)
        return True

    def receive(self) -> tuple[bytes, Address] | None:
        return self.inbox.popleft() if self.inbox else None

    def close(self) -> None:
        pass


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def free_port() -> int:
    """A UDP port that nobody has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def frame(number: int, num_codebooks: int = 8) -> np.ndarray:
    """Codes ``[K]`` that say which frame they are."""
    codes = np.zeros(num_codebooks, np.int32)
    codes[:2] = number % 2048, number // 2048
    return codes


def number(codes: np.ndarray) -> int:
    """Which frame codes are."""
    return int(codes[0] + 2048 * codes[1])


def heard(link: Link, calls: int) -> list[int]:
    """The numbers of the frames received that come out of so many calls."""
    given = [link.next_frame() for _ in range(calls)]
    return [number(codes) for codes, gain in given if gain == 1]


class Played:
    """What came out, call by call.

    Args:
        phase: Time of the first call, in seconds.
    """

    def __init__(self, phase: float):
        self.phase = phase
        self.numbers: list[int | None] = []
        """Which frame was given; None before the first."""
        self.gains: list[float] = []
        self.depths: list[int] = []
        """Before the call."""

    @property
    def received(self) -> list[int]:
        """The frames that were given as they had been received."""
        return [n for n, gain in zip(self.numbers, self.gains, strict=True) if gain == 1]

    def delays(self, first: int = 0) -> list[float]:
        """Seconds from sending to playing of each frame given from a call on."""
        given = list(zip(self.numbers, self.gains, strict=True))[first:]
        return [
            self.phase + (call - n) * FRAME
            for call, (n, gain) in enumerate(given, first)
            if gain == 1
        ]


def play(
    arrivals: Iterable[tuple[float, int]],
    put: Callable[[int], object],
    take: Callable[[], tuple[np.ndarray | None, float]],
    depth: Callable[[], int],
    phase: float = 0.03,
) -> Played:
    """Simulate until the last arrival: frames come at their times, one is taken every 80 ms.

    Args:
        arrivals: Times in seconds and what ``put`` is then called with, in order of time.
        put: Takes in a frame.
        take: Gives the next.
        depth: Read before each ``take``.
        phase: Time of the first call, in seconds.
    """
    played = Played(phase)
    for time, what in arrivals:
        while phase + len(played.gains) * FRAME < time:
            played.depths.append(depth())
            codes, gain = take()
            played.numbers.append(None if codes is None else number(codes))
            played.gains.append(gain)
        put(what)
    return played


def arrivals(
    delays: Sequence[float], lost: Iterable[int] = (), drift: float = 0.0
) -> list[tuple[float, int]]:
    """Times at which frames sent every 80 ms come, and their numbers, in order of time.

    Args:
        delays: Of each frame, in seconds.
        lost: Numbers that never come.
        drift: How much slower the sender's clock is.
    """
    lost = set(lost)
    times = np.arange(len(delays)) * FRAME * (1 + drift) + np.asarray(delays)
    return sorted((float(time), n) for n, time in enumerate(times) if n not in lost)


def packets(count: int, first: int = 0, format: PacketFormat = FORMAT) -> list[bytes]:
    """What a new sender sends, from a frame on."""
    sender = Link(format, PEER, None)
    for n in range(first + count):
        sender.send(frame(n, format.num_codebooks))
    return sender._socket.sent[first:]


def receiver(clock, **about) -> Link:
    return Link(FORMAT, None, PORT, clock=clock, **about)


def bring(link: Link, data: bytes | list[bytes], address: Address = PEER) -> None:
    for each in [data] if isinstance(data, bytes) else data:
        link._socket.inbox.append((each, address))
    while link._socket.inbox:
        link.poll()
