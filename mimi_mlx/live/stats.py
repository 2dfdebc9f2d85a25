"""Counts and times of a live run, as they are shown, and written as JSON at the end."""

from collections import deque
from dataclasses import asdict
from statistics import median
from typing import Any

from .devices.echo_path import EchoPath
from .devices.microphone import Microphone
from .devices.speaker import Speaker
from .meters import SILENCE, Times
from .network.jitter_buffer import LinkStats

_RECENT = 25  # frames, 2 s


class LiveStats:
    """Counts and times of one run, whose codes alone need so many ``kbps``."""

    def __init__(self, frame_seconds: float, kbps: float):
        self._frame_seconds = frame_seconds
        self._kbps = kbps
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self.encode = Times()
        self.decode = Times()
        self.cancel = Times()  # taking out the echo, a frame
        self.mouth_to_ear = Times()
        self.seconds = 0.0  # how long the run has lasted
        self.frames = 0  # that were encoded, or decoded if none are encoded
        self.heard = self.said = SILENCE  # the last frames that came in and went out, in dBFS
        self.reopened = 0  # how many times devices were opened anew
        self.microphone: Microphone | None = None
        self.speaker: Speaker | None = None
        self.echo: EchoPath | None = None
        self.link: LinkStats | None = None
        self.alone = False  # whether somebody is listened for, and nobody is heard now

    def delayed(self, seconds: float) -> None:
        """A frame will be heard so many seconds after it was said."""
        seconds = max(0.0, seconds)  # devices' words on their delays may be less than true
        self._recent.append(seconds)
        self.mouth_to_ear.add(seconds)

    @property
    def echo_db(self) -> float | None:
        """What is left of the echo; None: there was none, or it is not taken out."""
        return self.echo.echo_db if self.echo else None

    @property
    def kbps(self) -> float:
        """On the network, headers included; without one, of the codes alone."""
        return self.link.kbps if self.link else self._kbps

    @property
    def kbps_now(self) -> float:
        """The same, or 0 while nothing is sent and nobody is heard."""
        return 0.0 if self.alone and self.link and not self.link.sent else self.kbps

    @property
    def mouth_to_ear_now(self) -> float | None:
        """Seconds, of the last 2 s; None where one of the two is not here."""
        return median(self._recent) if self._recent else None

    @property
    def parts(self) -> dict[str, float]:
        """What the time from mouth to ear is made of, in seconds; queues are what is left over."""
        parts = {
            "microphone": self.microphone.opened.delay if self.microphone else 0.0,
            **({"echo": self.echo.delay} if self.echo else {}),
            "frame": self._frame_seconds,
            "compute": self.encode.median + self.decode.median,
            "speaker": self.speaker.opened.delay if self.speaker else 0.0,
        }
        rest = (self.mouth_to_ear_now or 0.0) - sum(parts.values())
        return {**parts, "queues": max(0.0, rest)}

    @property
    def queue(self) -> float:
        """Seconds of sound that wait: here, and for the network."""
        if self.mouth_to_ear_now is not None:
            return self.parts["queues"]
        waiting = self.speaker.waiting if self.speaker else 0.0
        return waiting + (self.link.depth * self._frame_seconds if self.link else 0.0)

    @property
    def late(self) -> int:
        """Frames that came too late: to the speaker, or over the network."""
        return (self.speaker.late if self.speaker else 0) + (self.link.late if self.link else 0)

    @property
    def dropped(self) -> float:
        """Seconds of sound left out, because too much waited."""
        left_out = self.link.dropped * self._frame_seconds if self.link else 0.0
        left_out += self.microphone.dropped if self.microphone else 0.0
        return left_out + (self.speaker.cut if self.speaker else 0.0)

    @property
    def overruns(self) -> int:
        """How many times a device said that it lost sound on its way in."""
        return self.microphone.opened.lost if self.microphone else 0

    @property
    def underruns(self) -> int:
        """How many times there was nothing for the speaker to play."""
        return self.speaker.underruns if self.speaker else 0

    def as_dict(self) -> dict[str, Any]:
        """All of them, for JSON."""
        ear = self.mouth_to_ear_now
        found: dict[str, Any] = {
            "seconds": round(self.seconds, 3),
            "frames": self.frames,
            "kbps": round(self.kbps, 4),
            "encode_ms": _milliseconds(self.encode),
            "decode_ms": _milliseconds(self.decode),
            "cancel_ms": _milliseconds(self.cancel),
            "echo_db": None if self.echo_db is None else round(self.echo_db, 1),
            "mouth_to_ear_ms": _milliseconds(self.mouth_to_ear),
            "mouth_to_ear_parts_ms": None if ear is None else _all_milliseconds(self.parts),
            "queue_ms": round(1e3 * self.queue, 1),
            "late_frames": self.late,
            "dropped_ms": round(1e3 * self.dropped, 1),
            "overruns": self.overruns,
            "underruns": self.underruns,
            "device_underflows": self.speaker.opened.lost if self.speaker else 0,
            "reopened": self.reopened,
            "trim_ppm": round(1e6 * self.speaker.drift.trim) if self.speaker else 0,
        }
        for name, end in (("microphone", self.microphone), ("speaker", self.speaker)):
            found[name] = end and {"name": end.opened.device.name, "rate": end.opened.port.rate}
        found["link"] = asdict(self.link) if self.link else None
        return found


def _milliseconds(times: Times) -> dict[str, float] | None:
    if not times.count:
        return None
    return _all_milliseconds({"median": times.median, "p95": times.p95, "worst": times.worst})


def _all_milliseconds(seconds: dict[str, float]) -> dict[str, float]:
    return {name: round(1e3 * value, 2) for name, value in seconds.items()}
