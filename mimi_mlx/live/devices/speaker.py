"""The speaker: frames at 24 kHz in, what the device's callback takes out."""

import math

import numpy as np

from .drift import DriftControl
from .echo_path import RATE, EchoPath
from .interface import Audio, Device
from .open_device import OpenDevice
from .playout import Playout
from .polyphase import PolyphaseResampler
from .stretch import Stretch, shorten

# Seconds: what may wait in the queue at most; a fade; and what is kept in the queue if all goes
# well, for the times when a frame takes longer than usual.
_WAITING, _FADE, _MARGIN = 1.0, 0.005, 0.015

# Seconds of jitter that a queue is given room for when it begins; more makes its own.
_MOST_JITTER = 0.06


class Speaker:
    """An open output. The callback copies from a queue, :meth:`feed` fills it.

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
        self._frames = 0
        self.late = 0  # frames that came after the device had needed them
        self.underruns = 0  # how many times the queue ran empty
        self.cut = 0.0  # seconds of sound left out, because too much waited
        self._device_rate = sample_rate
        self.playout = Playout(0, 0)  # while no device is open it can be fed, and is not heard
        asked = device, RATE if echo else sample_rate, latency
        self.opened = OpenDevice(audio, "output", *asked, self._prepare, self._called)

    def close(self) -> None:
        """Close the device."""
        self.opened.port.close()
        self._count()

    @property
    def waiting(self) -> float:
        """Seconds of sound in the queue."""
        return self.playout.ring.waiting / self._device_rate

    def feed(self, frame: np.ndarray, jitter: float | None = None) -> None:
        """Add a frame ``[frame_size]``.

        Args:
            jitter: Seconds by which frames come earlier and later, by another clock than the
                device's: the queue's length is then kept right. None: they come when the queue
                wants them.
        """
        self._count()
        change, cut = 0, 0
        least = self.playout.take_least() / self._device_rate
        if jitter is not None and math.isfinite(least):
            seconds, change = self.drift.next(least)
            cut = int(seconds * self._rate)
        samples = self._stretch.push(frame, change)
        if cut:
            samples = shorten(samples, cut, int(_FADE * self._rate))
            self.cut += cut / self._rate
        samples = self._resampler.push(samples)
        self._frames += 1
        if self.playout.pulled:
            both = self.opened.watchdog.jitter + (jitter or 0.0)
            reserve = self.drift.margin + min(_MOST_JITTER, both)
            self.late += self.playout.push(samples, int(reserve * self._device_rate))
        else:  # it would be too old when the device begins
            self.cut += len(samples) / self._device_rate

    @property
    def clock_offset(self) -> float | None:
        """Where in the sound the speaker is, less the clock, in seconds; None: it is silent.

        The sound begins with the first sample of the first frame.
        """
        mark = self.playout.mark
        if mark is None:
            return None
        heard, number = mark
        return self.place(number) - heard

    def place(self, number: int) -> float:
        """Where in the sound the queue's sample of a number is, in seconds."""
        held = self._stretch.delay / self._rate + self._resampler.delay
        head = self._frames * self._frame_size / self._rate - held
        return head - (self.playout.ring.written - number) / self._device_rate

    def needs(self, lead: float) -> bool:
        """Whether it is time for the next frame, which comes in so many seconds."""
        return self.waiting < self.drift.margin + self.opened.watchdog.jitter + lead

    def clear(self) -> None:
        """Forget what is still in the filters, 3 ms: the next frame does not go on from it."""
        self._stretch = Stretch(self._frame_size)
        self._resampler = PolyphaseResampler(self._rate, self._device_rate)

    def _prepare(self, rate: int) -> None:
        unheard = self.playout.ring.written - self.playout.ring.taken
        self.cut += unheard / self._device_rate
        self._device_rate = rate
        self.drift = DriftControl(_MARGIN, self._frame_size, self._rate)
        self.clear()
        self._counted = (0, 0)
        self._mono = np.zeros(int(_WAITING * rate), np.float32)
        self.playout = Playout(int(_WAITING * rate), int(_FADE * rate))
        if self._echo:
            self._echo.set_speaker(rate)

    def _called(self, block: np.ndarray, heard: float) -> None:
        for start in range(0, len(block), len(self._mono)):
            piece = block[start : start + len(self._mono)]
            mono = self._mono[: len(piece)]
            self.playout.pull(mono, heard + start / self._device_rate)
            if self._echo:
                self._echo.played(mono)
            piece[:] = mono[:, None]

    def _count(self) -> None:
        """Take over what the queue has counted."""
        underruns, dropped = self.playout.underruns, self.playout.ring.dropped
        if underruns != self._counted[0]:
            self.drift.ran_dry()
        self.underruns += underruns - self._counted[0]
        self.cut += (dropped - self._counted[1]) / self._device_rate
        self._counted = (underruns, dropped)
