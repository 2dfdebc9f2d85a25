"""A UDP socket for IPv4 and IPv6 that never blocks, and whose errors are counted."""

import contextlib
import ipaddress
import socket
from typing import NamedTuple

_LARGEST = 1024  # bytes of a datagram that are read: any packet is smaller


class Address(NamedTuple):
    """Where a datagram came from."""

    host: str  # in numbers; an IPv4 address is in its own form also on an IPv6 socket
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class UdpSocket:
    """Sends to one address, hears all; both over one socket.

    One that only sends is connected, and so the system tells it if nobody listens there.

    Args are those of :class:`link.Link`.

    Raises:
        ValueError: The host is not known, or the port is not free or not a port.
    """

    def __init__(
        self, send_to: tuple[str, int] | None, listen: int | None, bind: str | None = None
    ):
        for port, least in ((listen, 0), (send_to and send_to[1], 1)):
            if port is not None and not least <= port <= 65535:
                raise ValueError(f"port {port}: ports are from 1 to 65535. Give one of those.")
        self.errors = 0  # datagrams that were refused or could not be sent, and reads that failed
        self.refused = False  # whether nobody listened there at some time
        self.failure: str | None = None  # why the first of them could not be sent
        found = _found(*send_to) if send_to else []
        self._only_sends, self._port = listen is None, 0
        if listen is None:
            self._to = _reachable(found)
            assert self._to is not None
            self._socket = socket.socket(self._to[0], socket.SOCK_DGRAM)
            with contextlib.suppress(OSError):  # the first to be sent says so
                self._connect()
            return
        self._socket = _listening(listen, bind)
        self._socket.setblocking(False)
        family = self._socket.family
        takes = {family} if bind else {family, socket.AF_INET}  # IPv4 over a socket of IPv6
        self._to = _reachable([each for each in found if each[0] in takes])
        if send_to and not self._to:
            self._socket.close()
            kinds = ("IPv6", "IPv4") if family == socket.AF_INET else ("IPv4", "IPv6")
            raise ValueError(
                f"{send_to[0]} has only {kinds[0]} addresses, and this end has none. Give its "
                f"{kinds[1]} address."
            )

    @property
    def port(self) -> int:
        """Its own port; 0 if it only sends and has not yet."""
        return self._socket.getsockname()[1]

    @property
    def is_ipv6(self) -> bool:
        """Whether what it sends goes over IPv6."""
        return self._to is not None and self._to[0] == socket.AF_INET6

    def send(self, data: bytes) -> bool:
        """Send a datagram if that is possible at once; whether it was."""
        try:
            self._hand_over(data)
        except OSError as error:
            self.errors += 1
            self.failure = self.failure or str(error)
            return False
        return True

    def _hand_over(self, data: bytes) -> None:
        assert self._to is not None
        if not self._only_sends:
            family, address = self._to
            if family == socket.AF_INET and self._socket.family == socket.AF_INET6:
                address = (f"::ffff:{address[0]}", address[1])
            self._socket.sendto(data, address)
            return
        try:
            self._socket.send(data)
        except ConnectionRefusedError:  # so was what went before; this one did not go yet
            self.refused = True
            self.errors += 1
            self._socket.send(data)
        except OSError:  # this machine's own address may be another by now
            self._connect()
            self._socket.send(data)

    def _connect(self) -> None:
        """Go on with a new socket, from the same port: who hears it takes it for the same peer."""
        assert self._to is not None
        family, address = self._to
        new = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.close()
        self._socket = new
        new.setblocking(False)
        if self._port:
            new.bind(("", self._port))
        new.connect(address)
        self._port = new.getsockname()[1]

    def receive(self) -> tuple[bytes, Address] | None:
        """The next datagram that has come and whence; None: there is none."""
        try:
            data, (host, port, *_) = self._socket.recvfrom(_LARGEST)
        except BlockingIOError:
            return None
        except OSError:  # of an earlier send: nobody listens there, or the network is down
            self.errors += 1
            return None
        return data, Address(_plain(host), port)

    def close(self) -> None:
        """Close the socket. Again: nothing."""
        self._socket.close()


def hosts(name: str) -> frozenset[str]:
    """All addresses of a host, as :class:`Address` has them.

    Raises:
        ValueError: The host is not known.
    """
    return frozenset(_plain(address[0]) for _, address in _found(name, None))


def _found(host: str, port: int | None) -> list[tuple[int, tuple]]:
    """Families and addresses of a host, the best first."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        raise ValueError(
            f"the host {host!r} is not known ({error}). Give its name or its IP address."
        ) from error
    families = (socket.AF_INET, socket.AF_INET6)
    return [(family, address) for family, _, _, _, address in found if family in families]


def _reachable(found: list[tuple[int, tuple]]) -> tuple[int, tuple] | None:
    """The first address that there is a route to, else the first."""
    for family, address in found:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect(address)  # looks for a route, and sends nothing
        except OSError:
            continue
        return family, address
    return found[0] if found else None


def _listening(port: int, bind: str | None) -> socket.socket:
    """A socket bound to a port at one address, or at all.

    At all it is of IPv6 and hears IPv4 too, or of IPv4 where there is no IPv6.
    """
    ends = [(family, ("", port)) for family in (socket.AF_INET6, socket.AF_INET)]
    failure = OSError("it has no address")
    for family, address in _found(bind, port) if bind else ends:
        bound = None
        try:
            bound = socket.socket(family, socket.SOCK_DGRAM)
            if family == socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, bool(bind))
            bound.bind(address)
        except OSError as error:
            failure = error
            if bound:
                bound.close()
        else:
            return bound
    where = f"port {port} of {bind}" if bind else f"port {port}"
    raise ValueError(
        f"cannot listen at {where} ({failure}). Give another, or end the program that has it."
    ) from failure


def _plain(host: str) -> str:
    """An address without its network interface, and an IPv4 one out of its IPv6 form."""
    address = ipaddress.ip_address(host.partition("%")[0])
    return str(getattr(address, "ipv4_mapped", None) or address)
