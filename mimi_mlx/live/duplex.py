"""Microphone and loudspeaker for an assistant that listens while it speaks."""

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator

from ..arrays import ArrayLike, host
from ..streaming import validation
from .devices.interface import Audio, Kind
from .devices.portaudio import LATENCY, PortAudio
from .dialogue import Dialogue, DuplexFrame

# Frames that may wait to be taken: 2 s.
_WAITING = 25


class Duplex:
    """Hears while it speaks, and not itself: no headphones are needed.

    ::

        with Duplex() as duplex:
            for frame in duplex.frames():
                duplex.say(answer(frame.pcm))

    A thread of its own takes what the speaker plays out of what the microphone hears, keeps the
    devices open, and watches for a barge-in: who speaks for 200 ms while something is being said
    has it hushed. All methods may be called from any thread.

    Args:
        input_device: A device's number or a part of its name; None: the system's default.
        output_device: The same.
        latency: Seconds to ask of each device, 0.001 to 0.5; None: 0.02 on a Mac, else 0.04.
        inform: Takes lines for the user, about the devices; None: they go to stderr.
        audio: In place of this machine's devices and clock.

    Raises:
        ValueError: A device is not there, cannot be opened, or has a rate at which an echo cannot
            be cancelled; ``latency`` is not in its range; or sounddevice or pywebrtc-audio is not
            installed.
    """

    def __init__(
        self,
        input_device: str | int | None = None,
        output_device: str | int | None = None,
        *,
        latency: float | None = None,
        inform: Callable[[str], None] | None = None,
        audio: Audio | None = None,
    ):
        latency = LATENCY if latency is None else latency
        if not 0.001 <= latency <= 0.5:
            raise ValueError(f"latency is {latency}; it is 0.001 to 0.5 seconds. Try {LATENCY}.")
        wanted: dict[Kind, str | None] = {
            "input": None if input_device is None else str(input_device),
            "output": None if output_device is None else str(output_device),
        }
        audio = PortAudio() if audio is None else audio
        self._dialogue = Dialogue(audio, wanted, latency, inform or _print)
        self._frames: deque[DuplexFrame] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._failure: BaseException | None = None
        self.dropped = 0
        """Frames that were lost because nobody took them within 2 s."""
        self._thread = threading.Thread(target=self._run, name="mimi-duplex", daemon=True)
        self._thread.start()

    def frames(self) -> Iterator[DuplexFrame]:
        """Each 80 ms of the microphone as they come, until this is closed.

        Raises:
            Exception: Of the thread, if it failed.
        """
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._frames or self._closed)
                if not self._frames:
                    break
                frame = self._frames.popleft()
            yield frame
        if self._failure:
            raise self._failure

    def say(self, pcm: ArrayLike) -> None:
        """Have samples of 24 kHz said, after all that waits; returns at once. Once closed: nothing.

        Args:
            pcm: ``[T]``, ``[1, T]`` or ``[1, 1, T]``, as a decoder gives it, float32 in [-1, 1].

        Raises:
            ValueError: ``pcm`` is something else, or more than 10 minutes would wait.
        """
        samples = host("pcm", validation.pcm(pcm))
        validation.rows("pcm", len(samples), 1)
        validation.finite(samples)
        if not self._closed:
            self._dialogue.voice.say(samples[0, 0])

    def hush(self) -> None:
        """Fade what is being said, within 20 ms at the device's door, and drop what waits."""
        self._dialogue.voice.hush()

    @property
    def heard(self) -> int:
        """Samples of all that was ever said that the speaker has played; within some ms."""
        return self._dialogue.voice.heard

    @property
    def waiting(self) -> int:
        """Samples that are still to be played; 0: nothing is being said."""
        return 0 if self._closed else self._dialogue.voice.waiting

    def close(self) -> None:
        """Close the devices, at once. Again: nothing."""
        self._end()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def __enter__(self) -> "Duplex":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _end(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _run(self) -> None:
        devices = self._dialogue.devices
        try:
            devices.start()
            for now in devices.turns():
                if self._closed:
                    break
                if frames := self._dialogue.turn(now):
                    self._hand_over(frames)
        except BaseException as failure:
            self._failure = failure
        finally:
            devices.close()
            self._end()

    def _hand_over(self, frames: list[DuplexFrame]) -> None:
        with self._changed:
            self._frames.extend(frames)
            while len(self._frames) > _WAITING:
                self._frames.popleft()
                self.dropped += 1
            self._changed.notify_all()


def _print(line: str) -> None:
    print(line, file=sys.stderr)
