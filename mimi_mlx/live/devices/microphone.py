"""The microphone: what its callback gives, at 24 kHz and in whole frames."""

import numpy as np

from .echo_path import RATE, EchoPath
from .interface import Audio, Device
from .open_device import OpenDevice
from .polyphase import PolyphaseResampler
from .ring import Ring

# Sound that may wait for the codec, in seconds: a stall longer than this loses its beginning.
_WAITING = 0.4

# Samples of several channels that are mixed at once.
_MIXED = 4096


class Microphone:
    """An open input. The callback copies into a ring, :meth:`frames` does the rest.

    Args are those of :class:`supervisor.DeviceSupervisor`.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(
        self,
        audio: Audio,
        device: Device,
        sample_rate: int,
        frame_size: int,
        latency: float,
        echo: EchoPath | None = None,
    ):
        self._rate, self._frame_size, self._echo = sample_rate, frame_size, echo
        self._pending = np.zeros(0, np.float32)
        self._taken = 0  # frames
        self.dropped = 0.0  # seconds of sound that were lost because they waited for too long
        self.zeros = 0  # samples at the end of what has come that are all exactly zero
        asked = device, RATE if echo else sample_rate, latency
        self.opened = OpenDevice(audio, "input", *asked, self._prepare, self._called)

    def close(self) -> None:
        """Close the device. Frames that are left can still be had."""
        self.opened.port.close()

    @property
    def jitter(self) -> float:
        """Seconds by which samples come earlier and later."""
        return self.opened.watchdog.jitter

    def skip(self) -> None:
        """Leave out what has come so far: nobody was ready for it."""
        self._ring.read()
        self._lost = self._ring.dropped
        if self._echo:
            self._echo.restart()

    def frames(self) -> list[np.ndarray]:
        """Every frame ``[frame_size]`` that is whole by now."""
        if not self._ring.waiting:
            return []
        samples = self._ring.read()
        self._entered += len(samples) / self._device_rate
        self.dropped += (self._ring.dropped - self._lost) / self._device_rate
        self._lost = self._ring.dropped
        self.zeros += len(samples)
        if len(sounding := np.flatnonzero(samples)):
            self.zeros = len(samples) - 1 - int(sounding[-1])
        if self._echo:
            samples = self._echo.clean(samples, self._ring)
        self._pending = np.concatenate([self._pending, self._resampler.push(samples)])
        count = len(self._pending) // self._frame_size
        whole, self._pending = np.split(self._pending, [count * self._frame_size])
        self._taken += count
        return list(whole.reshape(count, self._frame_size))

    @property
    def clock_offset(self) -> float | None:
        """Where in the sound the microphone is, less the clock, in seconds; None: nowhere yet.

        The sound begins with the first sample of the first frame.
        """
        if self._mark is None:
            return None
        heard, number = self._mark
        return self._entered + (number - self._ring.taken) / self._device_rate - heard

    def _prepare(self, rate: int) -> None:
        self._device_rate = rate
        self._mark: tuple[float, int] | None = None
        self._mixed = np.empty(_MIXED, np.float32)
        self._resampler = PolyphaseResampler(rate, self._rate)
        self._entered = (self._taken * self._frame_size + len(self._pending)) / self._rate
        self._lost = 0
        self._ring: Ring = Ring(int(_WAITING * rate))
        if self._echo:
            self._echo.set_microphone(rate)
            # Silence before it lets a frame be whole with its last block: else it waits for more.
            late = self._resampler.delay
            self._resampler.push(np.zeros(round(late * rate), np.float32))
            self._entered += late + self._echo.delay

    def _called(self, block: np.ndarray, heard: float) -> None:
        self._mark = (heard, self._ring.written)
        if block.shape[1] == 1:
            self._ring.write(block[:, 0])
        else:
            for start in range(0, len(block), _MIXED):
                piece = block[start : start + _MIXED]
                self._ring.write(np.mean(piece, axis=1, out=self._mixed[: len(piece)]))
        if self._echo:
            self._echo.heard(self._ring.written)
