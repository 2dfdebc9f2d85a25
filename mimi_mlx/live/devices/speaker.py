"""The speaker: frames at 24 kHz in, what the device's callback takes out."""

import math

import numpy as np

from .drift import DriftControl
from .interface import Audio, Device, Port, open_best
from .playout import Playout
from .polyphase import PolyphaseResampler
from .stretch import Stretch, shorten
from .watchdog import Watchdog, settled

# Seconds: what may wait in the queue at most; a fade; and what is kept in the queue if all goes
# well, for the times when a frame takes longer than usual.
_WAITING, _FADE, _MARGIN = 1.0, 0.005, 0.015

# Seconds of jitter that a queue is given room for when it begins; more makes its own.
_MOST_JITTER = 0.06


class Speaker:
    """An open output. The callback copies from a queue, :meth:`feed` fills it.

    Args:
        audio: The devices and the clock.
        device: Which one.
        sample_rate: Of the frames, in Hz.
        frame_size: Samples a frame.
        latency: Seconds to ask of the device.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(
        self, audio: Audio, device: Device, sample_rate: int, frame_size: int, latency: float
    ):
        self._audio = audio
        self._rate = sample_rate
        self._frame_size = frame_size
        self._frames = 0
        self.late = 0
        """Frames that came after the device had needed them."""
        self.underruns = 0
        """How many times the queue ran empty."""
        self.lost = 0
        """How many times the device said that it missed samples."""
        self.cut = 0.0
        """Seconds of sound left out, because too much waited."""
        self.delay = 0.0
        """Seconds through the device, as it says; 0 before it has said so."""
        self._open(device, latency)

    def reopen(self, device: Device, latency: float) -> None:
        """Go on with a device, which may be another and have another rate.

        Raises:
            OSError: It cannot be opened. This one can then be fed as before, and is not heard.
        """
        self.close()
        before, rate = self._playout, self.port.rate
        self._open(device, latency)
        self.cut += before.unheard / rate

    def close(self) -> None:
        """Close the device."""
        self.port.close()
        self._count()

    @property
    def waiting(self) -> float:
        """Seconds of sound in the queue."""
        return self._playout.waiting / self.port.rate

    @property
    def dry(self) -> bool:
        """Whether the queue is empty."""
        return self._playout.dry

    @property
    def margin(self) -> float:
        """Seconds that should be left in the queue when a frame comes."""
        return self._drift.margin

    @property
    def trim(self) -> float:
        """How much faster than the codec the device is fed."""
        return self._drift.trim

    @property
    def running(self) -> bool:
        """Whether the device has begun to take samples."""
        return self._playout.pulled

    @property
    def jitter(self) -> float:
        """Seconds by which the device takes samples earlier and later."""
        return self.watchdog.jitter

    def pause(self) -> None:
        """Nothing can come for now: it is no fault if the queue runs empty."""
        self._playout.expecting = False

    def feed(self, frame: np.ndarray, jitter: float | None = None) -> None:
        """Add a frame ``[frame_size]``.

        Args:
            frame: Samples.
            jitter: Seconds by which frames come earlier and later, by another clock than the
                device's: the queue's length is then kept right. None: they come when the queue
                wants them.
        """
        self._count()
        change, cut = 0, 0
        least = self._playout.take_least() / self.port.rate
        if jitter is not None and math.isfinite(least):
            seconds, change = self._drift.next(least)
            cut = int(seconds * self._rate)
        samples = self._stretch.push(frame, change)
        if cut:
            samples = shorten(samples, cut, int(_FADE * self._rate))
            self.cut += cut / self._rate
        samples = self._resampler.push(samples)
        self._frames += 1
        if self.running:
            reserve = self.margin + min(_MOST_JITTER, self.jitter + (jitter or 0.0))
            self.late += self._playout.push(samples, int(reserve * self.port.rate))
        else:  # it would be too old when the device begins
            self.cut += len(samples) / self.port.rate

    @property
    def clock_offset(self) -> float | None:
        """Where in the sound the speaker is, less the clock, in seconds; None: it is silent.

        The sound begins with the first sample of the first frame.
        """
        mark = self._playout.mark
        if mark is None:
            return None
        heard, number = mark
        held = self._stretch.delay / self._rate + self._resampler.delay
        head = self._frames * self._frame_size / self._rate - held
        return head - (self._playout.pushed - number) / self.port.rate - heard

    def _open(self, device: Device, latency: float) -> None:
        self._ready = False  # the callback waits for it
        self.port: Port = open_best(
            self._audio, "output", device, self._rate, latency, self._called
        )
        rate = self.port.rate
        self.device = device
        self.watchdog = Watchdog(self.port, self._audio.clock())
        self._drift = DriftControl(_MARGIN, self._frame_size, self._rate)
        self._stretch = Stretch(self._frame_size)
        self._resampler = PolyphaseResampler(self._rate, rate)
        self._counted = (0, 0)
        self._mono = np.zeros(int(_WAITING * rate), np.float32)
        self._playout = Playout(int(_WAITING * rate), int(_FADE * rate))
        self._ready = True

    def _called(self, block: np.ndarray, delay: float, trouble: bool) -> None:
        if not self._ready:
            block[:] = 0
            return
        self.lost += trouble
        self.delay = settled(self.delay, delay)
        now = self._audio.clock()
        self.watchdog.heard(len(block), now)
        heard = now + delay
        for start in range(0, len(block), len(self._mono)):
            piece = block[start : start + len(self._mono)]
            mono = self._mono[: len(piece)]
            self._playout.pull(mono, heard + start / self.port.rate)
            piece[:] = mono[:, None]

    def _count(self) -> None:
        """Take over what the queue has counted."""
        playout = self._playout
        underruns, dropped = playout.underruns, playout.dropped
        if underruns != self._counted[0]:
            self._drift.ran_dry()
        self.underruns += underruns - self._counted[0]
        self.cut += (dropped - self._counted[1]) / self.port.rate
        self._counted = (underruns, dropped)
