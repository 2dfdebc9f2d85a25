"""Noticing that a device has gone: it stopped, fell silent, or runs at another pace."""

import math

from .interface import Port

# Seconds without a callback, once a device has run well, and before: some pause at first.
_SILENT, _STARTING = 0.6, 3.0

# Seconds over which samples are counted, how far the count may be off, and how often in a row. A
# headset that changes between its two modes changes its rate by half.
_SPAN, _OFF, _TIMES = 0.4, 0.25, 2

# How far it may be off for a device that has just begun to count as running well.
_STEADY = 0.1


class Watchdog:
    """Watches one open port. :meth:`heard` is the callback's, all else the loop's.

    ``now`` is always in seconds of the clock.
    """

    def __init__(self, port: Port, now: float):
        self._port = port
        self._samples = 0
        self._started = self._settled = False
        self._least, self._most = math.inf, -math.inf  # seconds of sound, less the clock
        # Seconds by which the device takes or gives sound earlier and later, block included.
        self.jitter = 0.0
        self.steady = False  # whether the device runs at its pace; some do not at first
        self.restart(now)

    def heard(self, samples: int, now: float) -> None:
        """The device has called with so many samples."""
        ahead = self._samples / self._port.rate - now
        self._least = min(self._least, ahead)
        self._samples += samples
        self._most = max(self._most, ahead + samples / self._port.rate)

    def restart(self, now: float) -> None:
        """Begin to watch anew, after a pause of our own."""
        self._seen, self._seen_at = self._samples, now
        self._span_at, self._span_samples = now, self._samples
        self._off = 0

    def trouble(self, now: float) -> str | None:
        """What is wrong with the device, or None."""
        if not self._port.active:
            return "it stopped"
        if self._samples == self._seen:
            patience = _SILENT if self._settled else _STARTING
            return "it fell silent" if now - self._seen_at > patience else None
        if not self._started:
            self._started = True
            self.restart(now)
        self._seen, self._seen_at = self._samples, now
        return self._pace(now)

    def _pace(self, now: float) -> str | None:
        span = now - self._span_at
        if span < _SPAN:
            return None
        pace = (self._samples - self._span_samples) / (span * self._port.rate)
        self.steady = abs(pace - 1) < _STEADY
        self._settled |= self.steady
        self._off = self._off + 1 if abs(pace - 1) > _OFF else 0
        self._span_at, self._span_samples = now, self._samples
        if self.steady:
            self.jitter = self._most - self._least
        self._least, self._most = math.inf, -math.inf
        patience = _TIMES if self._settled else _STARTING / _SPAN
        return "its rate changed" if self._off >= patience else None
