"""What a client of asyncio_websocket.py may cost: a row for some seconds, and small buffers."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from socket import SO_RCVBUF, SO_SNDBUF, SOL_SOCKET
from typing import Any

from websockets.asyncio.server import ServerConnection

BUFFER = 1 << 15  # bytes of each buffer of a connection, the system's own too
FAREWELL = 0.5  # seconds that a client has to answer a closing handshake


class Broken(Exception):
    """A client has broken a limit."""


@dataclass(frozen=True)
class Limits:
    """What a client may cost; who costs more is told which limit it was."""

    idle: float = 30.0  # seconds within which it sends a whole frame
    unread: float = 10.0  # seconds that an answer may wait because those before are not read
    patience: float = 30.0  # seconds that it may wait for a row
    waiting: int = 64  # clients that may wait for one, each way
    message: int = 1 << 16  # bytes of a message

    def options(self) -> dict[str, Any]:
        """Arguments of ``serve``."""
        return {
            "create_connection": Connection,
            "compression": None,  # else a small message may become a large one
            "ping_interval": None,  # the limits above find out who has vanished
            "close_timeout": FAREWELL,
            "max_size": self.message,
            "max_queue": 4,
            "write_limit": BUFFER,
        }


USUAL = Limits()


class Connection(ServerConnection):
    """Has small buffers."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        for buffer in (SO_RCVBUF, SO_SNDBUF):
            transport.get_extra_info("socket").setsockopt(SOL_SOCKET, buffer, BUFFER)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # Pings are answered as they come: who does not read the answers would fill the memory.
        if self.transport.get_write_buffer_size() > 8 * BUFFER:
            self.transport.abort()


async def within(seconds: float, done: Awaitable, fault: str) -> Any:
    """What is awaited, or Broken after so many seconds."""
    try:
        return await asyncio.wait_for(done, seconds)
    except asyncio.TimeoutError:
        raise Broken(f"{fault} for {seconds:g} s") from None
