"""Devices and a clock that exist only in numbers: hours pass in seconds."""

import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np

from mimi_mlx.live.devices.interface import Callback, Device, Kind, PortOptions


class FakePort:
    """A device that is open: blocks of 10 ms, by a clock of its own."""

    def __init__(self, audio: "FakeAudio", fake: "FakeDevice", options: PortOptions, call):
        self.kind, _, self.rate, self.channels, _ = options
        self.fake, self._call = fake, call
        self.latency = fake.latency
        self.active = True
        self.block = self.rate // 100
        self.period = self.block / self.rate / (1 + fake.ppm * 1e-6)
        self.next = audio.now + self.period
        self.audio = audio

    def tick(self) -> None:
        """One block, now."""
        self.next += self.period
        if self.fake.silent:
            return
        flag, self.fake.flags = self.fake.flags > 0, max(0, self.fake.flags - 1)
        if self.kind == "input":
            start = self.audio.now - self.period - self.latency
            seconds = start + np.arange(self.block) * (self.period / self.block)
            block = np.repeat(self.audio.sound(seconds)[:, None], self.channels, axis=1)
            self._call(block.astype(np.float32), self.latency + self.period, flag)
        else:
            block = np.full((self.block, self.channels), np.nan, np.float32)
            self._call(block, self.latency, flag)
            self.audio.played(self.audio.now + self.latency, self.block / self.period, block[:, 0])
            self.audio.heard.append((self.audio.now + self.latency, self.rate, block))
            self.audio.heard_by.setdefault(self.fake.name, []).append(block)

    def close(self) -> None:
        self.active = False
        self.audio.close(self)


class FakeDevice:
    """A device: its clock runs ``ppm`` fast, and ``converts`` says if it takes other rates."""

    def __init__(
        self,
        name: str,
        inputs: int = 0,
        outputs: int = 0,
        rate: int = 24000,
        ppm: float = 0.0,
        converts: bool = False,
        least_channels: int = 1,
    ):
        self.name, self.inputs, self.outputs, self.rate = name, inputs, outputs, rate
        self.ppm, self.converts, self.least_channels = ppm, converts, least_channels
        self.latency = 0.01
        self.refuses = False  # listed, but cannot be opened
        self.silent = False  # open, but it does not call
        self.flags = 0  # callbacks yet to come with a flag


class FakeAudio:
    """See :class:`mimi_mlx.live.devices.interface.Audio`.

    ``sound`` is what there is to hear at some seconds of the clock; ``heard`` collects what the
    speakers made of it: the time of the first sample, the rate, and ``[T, channels]``. ``played``
    gets that too, one channel of it at the speaker's true rate: with a :class:`room.Room` for both
    the microphone hears the speaker.
    """

    def __init__(
        self,
        *fakes: FakeDevice,
        sound: Callable[[np.ndarray], np.ndarray] = np.zeros_like,
        played: Callable[[float, float, np.ndarray], None] = lambda at, rate, pcm: None,
    ):
        self.now = 100.0
        self.played = played
        self.plugged = list(fakes)
        self.sound = sound
        self.ports: list[FakePort] = []
        self.heard: list[tuple[float, int, np.ndarray]] = []
        self.heard_by: dict[str, list[np.ndarray]] = {}  # by the speaker's name
        self.events: list[tuple[float, Callable[[], Any]]] = []
        self.refreshed = 0
        self._known = list(fakes)

    def at(self, seconds: float, event: Callable[[], Any]) -> None:
        """Have something happen so many seconds from now."""
        self.events.append((self.now + seconds, event))
        self.events.sort(key=lambda event: event[0])

    def unplug(self, fake: FakeDevice) -> None:
        self.plugged.remove(fake)
        for port in [port for port in self.ports if port.fake is fake]:
            port.active = False
            self.ports.remove(port)

    def plug(self, fake: FakeDevice) -> None:
        self.plugged.append(fake)

    def devices(self) -> list[Device]:
        return [
            Device(number, fake.name, "fake", fake.inputs, fake.outputs, fake.rate)
            for number, fake in enumerate(self._known)
        ]

    def default(self, kind: Kind) -> int | None:
        those = [device.number for device in self.devices() if device.channels(kind)]
        return those[0] if those else None

    def refresh(self) -> None:
        assert not self.ports, "PortAudio cannot begin anew while a port is open"
        self._known = list(self.plugged)
        self.refreshed += 1

    def open(self, options: PortOptions, callback: Callback) -> FakePort:
        kind, device, rate, channels, _ = options
        fake = self._known[device.number]
        if fake not in self.plugged or fake.refuses:
            raise OSError(f"{fake.name} is gone")
        if rate != fake.rate and not fake.converts:
            raise OSError(f"{fake.name} does not do {rate} Hz")
        if not fake.least_channels <= channels <= device.channels(kind):
            raise OSError(f"{fake.name} does not do {channels} channels")
        port = FakePort(self, fake, options, callback)
        self.ports.append(port)
        return port

    def close(self, port: FakePort) -> None:
        if port in self.ports:
            self.ports.remove(port)

    def clock(self) -> float:
        return self.now

    def wait(self, seconds: float, future: Future | None) -> None:
        end = self.now + seconds
        while True:
            port = min(self.ports, key=lambda port: port.next, default=None)
            first = port.next if port else np.inf
            if self.events and self.events[0][0] <= min(first, end):
                when, event = self.events.pop(0)
                self.now = max(self.now, when)
                event()
            elif first <= end:
                self.now = first
                port.tick()
            else:
                break
        self.now = max(self.now, end)

    def ear(self) -> tuple[np.ndarray, np.ndarray]:
        """When each sample was heard, and all of them, both ``[T]``."""
        times, samples = [], []
        for start, rate, block in self.heard:
            assert np.isfinite(block).all()
            assert (block == block[:, :1]).all()  # the same in both ears
            times.append(start + np.arange(len(block)) / rate)
            samples.append(block[:, 0])
        return np.concatenate(times), np.concatenate(samples)


class PacedAudio(FakeAudio):
    """For a loop in a thread beside others: time passes 30 times as fast as it does."""

    def wait(self, seconds: float, future: Future | None) -> None:
        time.sleep(seconds / 30)
        super().wait(seconds, future)


class FakeWorker:
    """Calls at once, and says so after ``takes()`` seconds of the clock."""

    def __init__(self, audio: FakeAudio, takes: Callable[[], float] = lambda: 0.0):
        self._audio, self.takes = audio, takes

    def submit(self, function: Callable[..., Any], *args: Any) -> Future:
        future: Future = Future()
        result = function(*args)
        seconds = self.takes()
        if seconds:
            self._audio.at(seconds, lambda: future.set_result(result))
        else:
            future.set_result(result)
        return future
