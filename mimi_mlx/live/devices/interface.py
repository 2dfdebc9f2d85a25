"""What the live codec needs of audio devices and of the clock, whoever provides them."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Literal, NamedTuple, Protocol

import numpy as np

Kind = Literal["input", "output"]

Callback = Callable[[np.ndarray, float, bool], None]
"""Called by the device, in a thread of its own, with:

- samples ``[T, channels]``, float32: those that came, or those to fill;
- seconds from the first of them at the converter to now, or from now to it: both positive;
- whether the device says that it lost some.
"""


class Device(NamedTuple):
    """An input, an output or both."""

    number: int
    name: str
    system: str  # through what it is reached, such as Core Audio
    inputs: int  # channels
    outputs: int
    rate: int  # its own, in Hz

    def channels(self, kind: Kind) -> int:
        """How many it has of a kind."""
        return self.inputs if kind == "input" else self.outputs


class PortOptions(NamedTuple):
    """How a device is to be opened."""

    kind: Kind
    device: Device
    rate: int
    channels: int
    latency: float  # seconds


class Port(Protocol):
    """A device that is open and running."""

    rate: int

    @property
    def active(self) -> bool:
        """False once the device has stopped."""
        ...

    def close(self) -> None:
        """Stop; no callback comes after."""


class Audio(Protocol):
    """The devices of a machine, and its clock."""

    def devices(self) -> list[Device]:
        """All that there are."""
        ...

    def default(self, kind: Kind) -> int | None:
        """The number of the one that the system would take."""

    def refresh(self) -> None:
        """Look for devices anew. No port may be open."""

    def open(self, options: PortOptions, callback: Callback) -> Port:
        """Open a device and start it.

        Raises:
            OSError: It cannot be opened so.
        """
        ...

    def clock(self) -> float:
        """Seconds; never goes back."""
        ...

    def wait(self, seconds: float, future: Future | None) -> None:
        """Let time pass; less of it if the future is done before."""


def find(audio: Audio, kind: Kind, wanted: str | None) -> Device:
    """The device that is meant by a number or a part of its name, in any case; None: the default.

    Raises:
        ValueError: There is none, or there are several.
    """
    those = [device for device in audio.devices() if device.channels(kind)]
    if not those:
        raise ValueError(f"there is no {kind} device. Plug one in, or see --list-devices.")
    number = audio.default(kind) if wanted is None else wanted
    found = [device for device in those if str(device.number) == str(number)]
    if wanted is None:
        return (found or those)[0]
    found = found or [device for device in those if device.name.lower() == wanted.lower()]
    found = found or [device for device in those if wanted.lower() in device.name.lower()]
    if len(found) != 1:
        names = ", ".join(f"{device.number} {device.name!r}" for device in found or those)
        problem = "means several" if found else f"is no {kind} device"
        raise ValueError(f"{wanted!r} {problem}. Give one of these, or its number: {names}.")
    return found[0]
