"""A device that is open and watched: what a microphone and a speaker share."""

from collections.abc import Callable

import numpy as np

from .interface import Audio, Device, Kind, Port, PortOptions
from .watchdog import Watchdog

# The share of a device's newest word on its delay: it says another at each block, by some 10 ms.
_NEWEST = 0.02


class OpenDevice:
    """Hands the blocks of a device on, and can go on with another.

    Args:
        sample_rate: To open it at, in Hz, if the system converts.
        latency: Seconds to ask of it.
        prepare: Called with the rate in Hz at which a device was opened, before its first block.
        called: Takes each block ``[T, channels]``, in the device's thread, and the seconds of
            the clock at which its first sample is at the converter.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(
        self,
        audio: Audio,
        kind: Kind,
        device: Device,
        sample_rate: int,
        latency: float,
        prepare: Callable[[int], None],
        called: Callable[[np.ndarray, float], None],
    ):
        self._audio, self._sample_rate, self._latency = audio, sample_rate, latency
        self._prepare, self._hand_on = prepare, called
        self.kind: Kind = kind
        self.delay = 0.0  # seconds through the device, as it says; 0 before it has said so
        self.lost = 0  # how many times the device said that it lost samples
        self.open(device)

    def open(self, device: Device) -> None:
        """Go on with a device, which may be another and have another rate. None may be open.

        Raises:
            OSError: It cannot be opened. All is then as it was, and no block comes.
        """
        self._ready = False  # the callback waits for it
        self.port = self._open_best(device)
        self.device = device
        self.watchdog = Watchdog(self.port, self._audio.clock())
        self._prepare(self.port.rate)
        self._ready = True

    def _open_best(self, device: Device) -> Port:
        """Open a device at ``sample_rate`` if the system converts, else at its own rate.

        A microphone gives one channel if it can; a speaker gets two, so that both sides are heard.
        """
        most = min(2, device.channels(self.kind))
        order = range(1, most + 1) if self.kind == "input" else range(most, 0, -1)
        error = OSError(f"{device.name} has no {self.kind}")
        for rate in dict.fromkeys((self._sample_rate, device.rate)):
            for channels in order:
                options = PortOptions(self.kind, device, rate, channels, self._latency)
                try:
                    return self._audio.open(options, self._called)
                except OSError as refused:
                    error = refused
        raise error

    def _called(self, block: np.ndarray, delay: float, trouble: bool) -> None:
        is_output = self.kind == "output"
        if not self._ready:
            if is_output:
                block[:] = 0
            return
        self.lost += trouble
        # It moves slowly from what it was to what it is.
        self.delay += _NEWEST * (delay - self.delay) if self.delay else delay
        now = self._audio.clock()
        self.watchdog.heard(len(block), now)
        self._hand_on(block, now + delay if is_output else now - delay)
