"""What a client may cost."""

from dataclasses import dataclass

LOWEST_RATE, HIGHEST_RATE = 8000, 192000
"""Samples a second of a session, in Hz."""

LOUDEST = 10.0
"""The greatest sample of a session; full scale is 1."""

MAX_TEXT = 4096
"""Characters of a message of text."""

WAITING = 4
"""Frames of a session that wait for the model, and once more between encoding and decoding."""

AT_ONCE = 8
"""Frames in a step of a whole clip: how long live sessions may have to wait for one."""

BUFFER = 1 << 17
"""Bytes of each of a connection's buffers in the system."""

FAREWELL = 0.5
"""Seconds that a client has to answer a closing handshake."""


@dataclass(frozen=True)
class Limits:
    """What clients may cost; who costs more is told which limit it was."""

    sessions: int = 64
    """Live sessions at once that encode, and as many that decode."""
    idle: float = 30.0
    """Seconds within which a session sends a whole frame, and a connection its next request."""
    unread: float = 10.0
    """Seconds that an answer may wait because those before are not read."""
    message: int = 1 << 20
    """Bytes of a WebSocket message."""
    connections: int = 64
    """Connections besides those of sessions."""
    clips: int = 4
    """Whole clips at once."""
    body: int = 256 << 20
    """Bytes of a clip."""
    upload: float = 300.0
    """Seconds that the body of a clip may take."""
    clip_seconds: float = 3600.0
    """Seconds of sound of a clip."""
    compared_seconds: float = 60.0
    """Seconds of sound of a clip that is made into a listening page."""


class Fault(Exception):
    """A client has done what it may not.

    Args:
        code: With which its WebSocket is closed.
        message: What it is told, in one line.
    """

    def __init__(self, code: int, message: str):
        super().__init__(message)
        self.code, self.message = code, message
