"""Opening the devices, and opening them anew when they go away."""

from collections.abc import Callable

from . import hints
from .interface import Audio, Kind, find
from .microphone import Microphone
from .speaker import Speaker

# Seconds between two attempts to find a device that has gone; and a pause in our own work (the
# computer slept, or we were stopped) after which the devices cannot be blamed.
_RETRY, _AWAY = 0.7, 0.3

# Seconds that devices may take to begin, and between two looks at them.
_STARTING, _PAUSE = 3.0, 0.002


class DeviceSupervisor:
    """Keeps a microphone, a speaker or both open.

    Args:
        audio: The devices and the clock.
        wanted: For each kind that is needed, a number or a part of a name, or None: the default.
        sample_rate: Of the codec, in Hz.
        frame_size: Samples a frame.
        latency: Seconds to ask of the devices.
        say: Takes lines for the user.

    Raises:
        ValueError: A device is not there, or cannot be opened.
    """

    def __init__(
        self,
        audio: Audio,
        wanted: dict[Kind, str | None],
        sample_rate: int,
        frame_size: int,
        latency: float,
        say: Callable[[str], None],
    ):
        self._audio, self._wanted, self._latency, self._say = audio, wanted, latency, say
        self._ends: dict[Kind, Microphone | Speaker] = {}
        self._next = self._polled = 0.0
        self.down: set[Kind] = set()
        """What is gone for now."""
        self.reopened = 0
        """How many times devices were opened anew."""
        devices = {kind: find(audio, kind, name) for kind, name in wanted.items()}
        for kind, device in devices.items():
            make = Microphone if kind == "input" else Speaker
            try:
                self._ends[kind] = make(audio, device, sample_rate, frame_size, latency)
            except OSError as error:
                self.close()
                raise ValueError(f"{error}. Choose another, see --list-devices.") from error
            self._introduce(kind)
        self._polled = audio.clock()

    @property
    def microphone(self) -> Microphone | None:
        """The input, if there is one."""
        return self._ends.get("input")

    @property
    def speaker(self) -> Speaker | None:
        """The output, if there is one."""
        return self._ends.get("output")

    def start(self) -> None:
        """Wait until the devices run at their pace, for as long as that may take."""
        start = self._polled = self._audio.clock()
        while not all(end.watchdog.steady for end in self._ends.values()):
            now = self._audio.clock()
            if now - start > _STARTING:
                break
            self.poll(now)
            self._audio.wait(_PAUSE, None)
        if self.microphone:
            self.microphone.skip()

    def poll(self, now: float) -> None:
        """Open again what has gone away. To be called many times a second.

        PortAudio sees a change only when all is closed and it begins anew, so both are reopened.
        """
        away = now - self._polled > _AWAY
        self._polled = now
        for kind, end in self._ends.items():
            if away:
                end.watchdog.restart(now)
            elif not self.down and (trouble := end.watchdog.trouble(now)):
                self._say(f"{kind}: {end.device.name}: {trouble}; opening it anew")
                self.down.add(kind)
                self._next = now
                break
        if self.down and now >= self._next:
            self._next = now + _RETRY
            self._reopen()

    def close(self) -> None:
        """Close all."""
        for end in self._ends.values():
            end.close()

    def _reopen(self) -> None:
        self.close()
        self._audio.refresh()
        for kind, end in self._ends.items():
            before, known = end.port.rate, kind not in self.down
            try:
                end.reopen(find(self._audio, kind, self._wanted[kind]), self._latency)
            except (OSError, ValueError):  # not there yet
                self.down.add(kind)
                continue
            self.down.discard(kind)
            if not known:
                self.reopened += 1
                self._introduce(kind)
                self._hint(hints.rate(before, end.port.rate))

    def _introduce(self, kind: Kind) -> None:
        end = self._ends[kind]
        device, rate = end.device, end.port.rate
        own = "" if rate == device.rate else f" (its own: {device.rate} Hz)"
        self._say(f"{kind}: {device.number} {device.name} ({device.system}), {rate} Hz{own}")

    def _hint(self, hint: str | None) -> None:
        if hint:
            self._say(hint)
