"""Opening the devices, and opening them anew when they go away."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future

from . import hints
from .echo_path import EchoPath
from .interface import Audio, Kind, find
from .microphone import Microphone
from .open_device import OpenDevice
from .speaker import Speaker

# Seconds between two attempts to find a device that has gone; and a pause in our own work (the
# computer slept, or we were stopped) after which the devices cannot be blamed.
_RETRY, _AWAY = 0.7, 0.3

# Seconds that devices may take to begin, and between two turns of a loop.
_STARTING, _PAUSE = 3.0, 0.002


class DeviceSupervisor:
    """Keeps a microphone, a speaker or both open.

    Args:
        wanted: For each kind that is needed, a number or a part of a name, or None: the default.
        sample_rate: Of the codec, in Hz.
        frame_size: Samples a frame.
        latency: Seconds to ask of the devices.
        say: Takes lines for the user.
        echo: Takes the speaker out of the microphone, if it is to be.

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
        echo: EchoPath | None = None,
    ):
        self._audio, self._wanted, self._say = audio, wanted, say
        self.echo = echo
        self._next = 0.0
        self.microphone: Microphone | None = None
        self.speaker: Speaker | None = None
        self.down: set[Kind] = set()  # what is gone for now
        self.reopened = 0  # how many times devices were opened anew
        self._zeros = False  # whether exact zeros were told of
        devices = {kind: find(audio, kind, name) for kind, name in wanted.items()}
        asked = sample_rate, frame_size, latency, echo
        try:
            if "input" in devices:
                self.microphone = Microphone(audio, devices["input"], *asked)
                self._introduce(self.microphone.opened)
            if "output" in devices:
                self.speaker = Speaker(audio, devices["output"], *asked)
                self._introduce(self.speaker.opened)
        except OSError as error:
            self.close()
            raise ValueError(f"{error}. Choose another, see --list-devices.") from error
        self._polled = audio.clock()

    def start(self) -> None:
        """Wait until the devices run at their pace, for as long as that may take."""
        now = self._polled = self._audio.clock()
        end = now + _STARTING
        while now <= end and not all(each.watchdog.steady for each in self._opened()):
            self.poll(now)
            self._audio.wait(_PAUSE, None)
            now = self._audio.clock()
        if self.microphone:
            self.microphone.skip()

    def turns(self, result: Callable[[], Future | None] = lambda: None) -> Iterator[float]:
        """A loop that keeps the devices open: at each turn the seconds of the clock.

        Between two turns a moment passes, less of it if the future that ``result`` gives is done.
        """
        while True:
            now = self._audio.clock()
            self.poll(now)
            yield now
            self._audio.wait(_PAUSE, result())

    def poll(self, now: float) -> None:
        """Open again what has gone away. To be called many times a second.

        PortAudio sees a change only when all is closed and it begins anew, so both are reopened.
        """
        away = now - self._polled > _AWAY
        self._polled = now
        for each in self._opened():
            if away:
                each.watchdog.restart(now)
            elif not self.down and (trouble := each.watchdog.trouble(now)):
                self._say(f"{each.kind}: {each.device.name}: {trouble}; opening it anew")
                self.down.add(each.kind)
                self._next = now
                break
        if self.down and now >= self._next:
            self._next = now + _RETRY
            self._reopen()
        microphone = self.microphone
        if microphone and not self._zeros and microphone.zeros > microphone.opened.port.rate:
            self._zeros = True
            self._say(hints.zeros())

    def close(self) -> None:
        """Close all."""
        for end in (self.microphone, self.speaker):
            if end:
                end.close()

    def _opened(self) -> list[OpenDevice]:
        return [end.opened for end in (self.microphone, self.speaker) if end]

    def _reopen(self) -> None:
        self.close()
        self._audio.refresh()
        for each in self._opened():
            before = each.port.rate
            try:
                each.open(find(self._audio, each.kind, self._wanted[each.kind]))
            except (OSError, ValueError):  # not there yet
                self.down.add(each.kind)
                continue
            if each.kind in self.down:
                self.down.discard(each.kind)
                self.reopened += 1
                self._introduce(each)
                if hint := hints.rate(before, each.port.rate):
                    self._say(hint)
                if self.echo and self.echo.problem:
                    self._say(self.echo.problem)

    def _introduce(self, opened: OpenDevice) -> None:
        device, rate = opened.device, opened.port.rate
        own = "" if rate == device.rate else f" (its own: {device.rate} Hz)"
        self._say(f"{opened.kind}: {device.number} {device.name} ({device.system}), {rate} Hz{own}")
