"""What the tests of a link share: sockets in memory, and a clock."""

import pytest
from live_network import Clock, MemorySocket

from mimi_mlx.live.network import link


@pytest.fixture
def memory(monkeypatch):
    """Links over sockets in memory."""
    monkeypatch.setattr(link, "UdpSocket", MemorySocket)


@pytest.fixture
def clock() -> Clock:
    return Clock()
