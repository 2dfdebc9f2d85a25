"""The link over real sockets on loopback, IPv4 and IPv6, and what cannot be linked."""

import contextlib
import socket
import time

import pytest
from live_network import FORMAT, frame, free_port, heard

from mimi_mlx.live.network.link import Link
from mimi_mlx.live.network.udp import UdpSocket, hosts


def test_names_of_hosts_are_looked_up():
    assert hosts("localhost") & {"127.0.0.1", "::1"}
    assert hosts("127.0.0.1") == hosts("::ffff:127.0.0.1") == {"127.0.0.1"}


def need(host: str) -> None:
    """Skip where the machine has no such address: many containers have no IPv6."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except OSError:
        pytest.skip(f"this machine has no {host}")


def until(done, *links: Link) -> None:
    """Poll until something is so; the network gets 10 s."""
    end = time.monotonic() + 10
    while not done():
        assert time.monotonic() < end, [link.stats for link in links]
        for link in links:
            link.poll()
        time.sleep(0.001)


@pytest.mark.parametrize(("host", "kbps"), [("127.0.0.1", 5.9), ("::1", 7.9)])
def test_a_call_over_loopback(host, kbps):
    """Both directions, each end over one socket: it sends from the port where it listens."""
    need(host)
    ports = free_port(), free_port()
    with contextlib.ExitStack() as stack:
        one = Link(FORMAT, (host, ports[1]), ports[0], host)
        stack.callback(one.close)
        two = Link(FORMAT, (host, ports[0]), ports[1], host)
        stack.callback(two.close)
        for n in range(10):
            one.send(frame(n))
            two.send(frame(100 + n))
        until(lambda: one.stats.received == two.stats.received == 10, one, two)
        assert heard(one, 2) == [108, 109] and heard(two, 2) == [8, 9]
        assert one.peer == (host, ports[1]) and two.peer == (host, ports[0])
        assert one.stats.sent == two.stats.sent == 10
        assert one.stats.errors == one.stats.foreign == 0
        assert one.stats.kbps == two.stats.kbps == kbps
        assert (one.port, two.port) == ports


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_one_direction_over_loopback(host):
    need("127.0.0.1" if host == "localhost" else host)
    ear = Link(FORMAT, None, 0)
    mouth = Link(FORMAT, (host, ear.port), None)
    try:
        for n in range(5):
            mouth.send(frame(n))
        until(lambda: ear.stats.received == 5, ear)
        assert heard(ear, 5) == list(range(5))
        assert ear.peer.port == mouth.port
        mouth.poll()
        assert mouth.next_frame() == (None, 0.0)
    finally:
        ear.close()
        mouth.close()


def test_garbage_over_a_real_socket():
    link = Link(FORMAT, None, 0)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for size in (0, 1, 31, 2000, 60_000):
                sender.sendto(b"\xffM" * (size // 2), ("127.0.0.1", link.port))
        until(lambda: link.stats.foreign == 5, link)
        assert link.peer is None and link.stats.errors == 0
    finally:
        link.close()


def test_sending_where_nobody_listens_goes_on():
    link = Link(FORMAT, ("127.0.0.1", free_port()), 0)
    try:
        for n in range(20):
            link.send(frame(n))
            link.poll()
        assert link.stats.sent + link.stats.errors >= 20
    finally:
        link.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_who_sends_where_nobody_listens_is_told_once_and_loses_nothing_later(host):
    need(host)
    port = free_port()
    mouth, ear = Link(FORMAT, (host, port), None), None
    try:
        told = []

        def refused() -> bool:
            mouth.send(frame(0))
            told.extend(mouth.messages())
            return mouth.stats.errors > 2

        until(refused, mouth)
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        remedy = f"start the other end with --listen {port}"
        assert told == [f"nobody listens at {where}; {remedy}"]
        before, ear = mouth.port, Link(FORMAT, None, port)
        for n in range(10):
            mouth.send(frame(n))
        until(lambda: ear.stats.received == 10, ear)
        assert ear.peer.port == mouth.port == before
    finally:
        mouth.close()
        if ear:
            ear.close()


def test_sending_goes_on_from_the_same_port_when_the_network_is_back(monkeypatch):
    class Down:
        def sendto(self, *_):
            raise OSError("network is unreachable")

        send = connect = sendto
        bind = setblocking = close = lambda *_: None

    ear = Link(FORMAT, None, 0)
    mouth = Link(FORMAT, ("127.0.0.1", ear.port), None)
    try:
        mouth.send(frame(0))
        port, real = mouth.port, socket.socket
        mouth._socket._socket.close()
        mouth._socket._socket = Down()
        monkeypatch.setattr("socket.socket", lambda *_: Down())
        for n in range(3):
            mouth.send(frame(1 + n))
        assert mouth.stats.errors == 3
        monkeypatch.setattr("socket.socket", real)
        for n in range(2):
            mouth.send(frame(4 + n))
        until(lambda: ear.stats.received >= 2, ear)
        assert ear.peer.port == mouth.port == port
    finally:
        ear.close()
        mouth.close()


def test_a_link_can_listen_at_one_address_only():
    need("127.0.0.2")
    one = Link(FORMAT, None, 0, bind="127.0.0.1")
    two = Link(FORMAT, ("127.0.0.1", one.port), one.port, bind="127.0.0.2")
    try:
        for n in range(10):
            two.send(frame(n))
        until(lambda: one.stats.received == 10, one)
        assert one.peer == ("127.0.0.2", one.port)
        with pytest.raises(ValueError, match=r"::1 has only IPv6 addresses.*IPv4"):
            Link(FORMAT, ("::1", 9), 0, bind="127.0.0.1")
    finally:
        one.close()
        two.close()


def test_errors_of_the_socket_are_counted(monkeypatch):
    class Down:
        family = socket.AF_INET

        def sendto(self, *_):
            raise OSError("network is down")

        def recvfrom(self, *_):
            raise ConnectionRefusedError

        def close(self):
            pass

    link = Link(FORMAT, ("127.0.0.1", 9), 0)
    link._socket.close()
    monkeypatch.setattr(link._socket, "_socket", Down())
    for n in range(3):
        link.send(frame(n))
    link.poll()
    assert link.stats.errors == 4 and link.stats.sent == 0
    assert link.messages() == ["cannot send to 127.0.0.1:9 (network is down), and goes on trying"]
    link.send(frame(3))
    assert link.messages() == []


def test_a_port_that_is_taken():
    link = Link(FORMAT, None, 0)
    try:
        with pytest.raises(ValueError, match=rf"cannot listen at port {link.port} .*another"):
            Link(FORMAT, None, link.port)
    finally:
        link.close()
        link.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None, None), "neither sends nor listens"),
        ((("a..b", 5000), None), "'a..b' is not known"),
        ((("nowhere", 5000), None), "'nowhere' is not known"),
        ((None, 0, "nowhere"), "'nowhere' is not known"),
        ((("127.0.0.1", 70_000), None), "port 70000"),
        ((("127.0.0.1", 0), None), "port 0"),
        ((None, -1), "port -1"),
        ((None, 7000, None, "192.0.2.1"), "cannot listen at port 7000 of 192.0.2.1"),
        ((None, 0, None, "nowhere"), "'nowhere' is not known"),
    ],
)
def test_what_cannot_be_linked(monkeypatch, arguments, message):
    def look_up(host, *arguments, real=socket.getaddrinfo, **more):
        if host == "nowhere":
            raise socket.gaierror("Name or service not known")
        return real(host, *arguments, **more)

    monkeypatch.setattr("socket.getaddrinfo", look_up)
    with pytest.raises(ValueError, match=message):
        Link(FORMAT, *arguments)


def test_a_link_that_only_listens_cannot_send():
    link = Link(FORMAT, None, 0)
    try:
        with pytest.raises(ValueError, match="only listens"):
            link.send(frame(0))
    finally:
        link.close()


def test_a_machine_without_ipv6(monkeypatch):
    """It listens with IPv4 alone, and cannot send to a host that has no IPv4."""
    real = socket.socket

    def only_ipv4(family, kind):
        if family == socket.AF_INET6:
            raise OSError("address family not supported")
        return real(family, kind)

    monkeypatch.setattr("socket.socket", only_ipv4)
    ear, mouth = UdpSocket(None, 0), None
    try:
        mouth = UdpSocket(("127.0.0.1", ear.port), 0)
        assert mouth.send(b"hello")
        until(lambda: (got := ear.receive()) and got[0] == b"hello")
        with pytest.raises(ValueError, match="only IPv6"):
            UdpSocket(("::1", 9), 0)
    finally:
        ear.close()
        mouth.close()
