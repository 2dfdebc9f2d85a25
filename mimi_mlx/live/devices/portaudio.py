"""Audio devices through PortAudio, by way of sounddevice, and the real clock."""

import concurrent.futures
import functools
import sys
import time
from concurrent.futures import Future
from typing import Any

import numpy as np

from ... import extras
from .interface import Callback, Device, Kind, PortOptions

# Blocks a second to ask ALSA for, for a speaker: through PulseAudio, larger ones run empty, and
# then it may call without end. Elsewhere, and for microphones, PortAudio chooses best.
_ALSA_BLOCKS = 200

# Seconds to ask of a device. Linux sound servers hand sound over in larger lumps.
LATENCY = 0.02 if sys.platform == "darwin" else 0.04

# Seconds: a device's own word on how late a block is, if it is more, is no use; nor is exactly 0.
_LATEST = 1.0


class PortAudio:
    """See :class:`interface.Audio`. The clock needs nothing installed.

    Raises:
        ValueError: From all that is about devices: sounddevice or PortAudio is not installed.
    """

    @functools.cached_property
    def _sd(self) -> Any:
        try:
            import sounddevice  # pyright: ignore[reportMissingImports]  # of an extra
        except ImportError as error:
            raise ValueError(
                f"the live codec needs sounddevice, which is missing. {extras.install('mic')}"
            ) from error
        except OSError as error:
            remedy = "Install it, for example with: apt install libportaudio2"
            if sys.platform != "linux":
                remedy = "Install it anew: pip install --force-reinstall sounddevice"
            raise ValueError(f"PortAudio cannot be loaded ({error}). {remedy}") from error
        return sounddevice

    def devices(self) -> list[Device]:
        """All that PortAudio knows since it was last initialised."""
        systems = [api["name"] for api in self._sd.query_hostapis()]
        return [
            Device(
                found["index"],
                found["name"],
                systems[found["hostapi"]],
                found["max_input_channels"],
                found["max_output_channels"],
                round(found["default_samplerate"]),
            )
            for found in self._sd.query_devices()
        ]

    def default(self, kind: Kind) -> int | None:
        """The system's default, or None."""
        try:
            return self._sd.query_devices(kind=kind)["index"]
        except self._sd.PortAudioError:
            return None

    def refresh(self) -> None:
        """Initialise PortAudio anew: it sees only devices that were there at that time."""
        self._sd._terminate()
        self._sd._initialize()

    def open(self, options: PortOptions, callback: Callback) -> "PortAudioPort":
        """Open and start a stream with blocks of whatever size suits the latency."""
        try:
            return PortAudioPort(self._sd, options, callback)
        except (self._sd.PortAudioError, ValueError) as error:
            raise OSError(f"{options.device.name} cannot be opened ({error})") from error

    clock = staticmethod(time.monotonic)

    def wait(self, seconds: float, future: Future | None) -> None:
        """Sleep, or wait for the future."""
        if future is None:
            time.sleep(seconds)
        else:
            concurrent.futures.wait([future], timeout=seconds)


class PortAudioPort:
    """A stream of PortAudio that runs."""

    def __init__(self, sd: Any, options: PortOptions, callback: Callback):
        self._kind, device, self.rate, channels, self._latency = options
        self._callback = callback
        make = sd.InputStream if self._kind == "input" else sd.OutputStream
        small = self._kind == "output" and device.system == "ALSA"
        self._stream = make(
            device=device.number,
            samplerate=self.rate,
            blocksize=self.rate // _ALSA_BLOCKS if small else 0,
            channels=channels,
            dtype="float32",
            latency=self._latency,
            callback=self._called,
        )
        self._latency = self._stream.latency  # as it says
        try:
            self._stream.start()
        except sd.PortAudioError:
            self._stream.close(ignore_errors=True)
            raise

    @property
    def active(self) -> bool:
        """Whether PortAudio still calls."""
        return self._stream is not None and self._stream.active

    def close(self) -> None:
        """Stop without playing what waits. Again: nothing; PortAudio would read freed memory."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.abort(ignore_errors=True)
            stream.close(ignore_errors=True)

    def _called(self, block: np.ndarray, frames: int, when: Any, status: Any) -> None:
        if self._kind == "input":
            delay = self._sane(when.currentTime - when.inputBufferAdcTime)
            # Its first sample is at least as old as the block is long, whatever ALSA says.
            delay = max(delay, frames / self.rate)
        else:
            delay = self._sane(when.outputBufferDacTime - when.currentTime)
        self._callback(block, delay, bool(status))

    def _sane(self, delay: float) -> float:
        return max(0.0, delay) if delay and abs(delay) < _LATEST else self._latency
