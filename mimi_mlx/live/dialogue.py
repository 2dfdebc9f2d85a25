"""A microphone and a loudspeaker in one room: what is heard there, and what is said."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .barge_in import BargeInDetector
from .devices.echo_path import EchoPath
from .devices.interface import Audio, Kind
from .devices.supervisor import DeviceSupervisor
from .voice import Voice

# In Hz and in samples, as Mimi has them; and the part of a frame that is handed on at once: 10 ms.
RATE, FRAME, PIECE = 24000, 1920, 240


class DuplexFrame(NamedTuple):
    """80 ms of what the microphone heard, without what the speaker played.

    Attributes:
        pcm: ``[1920]``, float32, 24 kHz.
        speech: How likely it is that somebody speaks, 0 to 1: the mean over its 10 ms.
        interrupted: Whether somebody spoke over what was being said, which is hushed since.
    """

    pcm: np.ndarray
    speech: float
    interrupted: bool


class Dialogue:
    """The turns of a loop between the devices. :meth:`turn` is the loop's, ``voice`` anyone's.

    Args:
        wanted: The names of the devices, or None: the default.
        latency: Seconds to ask of them.
        say: Takes lines for the user.

    Raises:
        ValueError: A device is not there, cannot be opened, or has a rate at which an echo cannot
            be cancelled; or pywebrtc-audio is not installed.
    """

    def __init__(
        self,
        audio: Audio,
        wanted: dict[Kind, str | None],
        latency: float,
        say: Callable[[str], None],
    ):
        self._echo, self._barge_in = EchoPath(audio.clock), BargeInDetector()
        self.devices = DeviceSupervisor(audio, wanted, RATE, PIECE, latency, say, self._echo)
        if self._echo.problem:
            self.devices.close()
            raise ValueError(self._echo.problem)
        assert self.devices.microphone and self.devices.speaker
        self._microphone = self.devices.microphone
        self.voice = Voice(self.devices.speaker, RATE, PIECE)
        self._pieces: list[np.ndarray] = []  # of the next frame
        self._speech: list[float] = []
        self.interrupted = False  # whether the next frame will say so

    def turn(self, now: float) -> list[DuplexFrame]:
        """At some seconds of the clock: listen, stop if somebody interrupts, else go on saying."""
        pieces = self._microphone.frames()
        for block in self._echo.take_blocks():
            self._speech.append(block.speech)
            if self._barge_in.hears(block, self.voice.waiting > 0):
                self.interrupted = True
                self.voice.hush()
        self.voice.turn(now)
        return [frame for piece in pieces for frame in self._add(piece)]

    def _add(self, piece: np.ndarray) -> list[DuplexFrame]:
        """The next 10 ms, and the frame that they complete."""
        self._pieces.append(piece)
        if len(self._pieces) < FRAME // PIECE:
            return []
        speech = float(np.mean(self._speech)) if self._speech else 0.0
        frame = DuplexFrame(np.concatenate(self._pieces), speech, self.interrupted)
        self._pieces, self._speech, self.interrupted = [], [], False
        return [frame]
