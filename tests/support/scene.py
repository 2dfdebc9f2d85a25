"""An assistant and a person in a made-up room, with the whole way between them."""

from collections.abc import Callable

import numpy as np
from fake_audio import FakeAudio, FakeDevice
from room import RATE, Room

from mimi_mlx.live.dialogue import Dialogue, DuplexFrame

ACTIVE = 1e-3  # of a clip's loudest 10 ms: what is below that power is a pause


class Scene:
    """A :class:`Dialogue` in a :class:`Room`, whose remaining arguments are the room's.

    Args:
        ppm: How fast the microphone's clock runs.
        rate: Of both devices.
    """

    def __init__(self, seconds: float, ppm: float = 0.0, rate: int = 48000, **room: float):
        self.room = Room(seconds, **room)
        self.microphone = FakeDevice("mic", inputs=1, rate=rate, ppm=ppm)
        self.speaker = FakeDevice("speaker", outputs=2, rate=rate)
        ends = self.room.sound, self.room.played
        self.audio = FakeAudio(self.microphone, self.speaker, sound=ends[0], played=ends[1])
        self.told: list[str] = []
        wanted = {"input": None, "output": None}
        self.dialogue = Dialogue(self.audio, wanted, 0.02, self.told.append)
        self.dialogue.devices.start()
        self.frames: list[DuplexFrame] = []
        self.times: list[float] = []  # when each frame was there

    def go(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        end = self.audio.now + seconds
        for now in self.dialogue.devices.turns():
            new = self.dialogue.turn(now)
            self.frames += new
            self.times += [now] * len(new)
            if now >= end or until():
                break

    def interrupted(self) -> bool:
        return self.dialogue.interrupted or any(frame.interrupted for frame in self.frames)

    def heard(self, seconds: float) -> np.ndarray:
        """What the microphone heard for so many seconds until the last frame, at 24 kHz."""
        count = round(seconds * RATE)
        return self.room.sound(self.times[-1] - 0.03 - np.arange(count)[::-1] / RATE)

    def left(self, seconds: float) -> np.ndarray:
        """What is left of that."""
        count = round(seconds * RATE)
        return np.concatenate([frame.pcm for frame in self.frames[-count // 1920 - 1 :]])[-count:]


def leveled(clip: np.ndarray, db: float) -> np.ndarray:
    """A clip whose speech, without its pauses, has a level in dBFS."""
    powers = np.mean(np.square(clip[: len(clip) // 240 * 240].reshape(-1, 240)), axis=1)
    active = np.mean(powers[powers > ACTIVE * powers.max()])
    return clip * np.float32(10 ** (db / 20) / np.sqrt(active))


def from_onset(clip: np.ndarray) -> np.ndarray:
    """A clip without what is 20 dB below its speech before it begins."""
    powers = np.mean(np.square(clip[: len(clip) // 240 * 240].reshape(-1, 240)), axis=1)
    return clip[
        240 * int(np.argmax(powers > 0.01 * np.mean(powers[powers > powers.max() / 1e3]))) :
    ]
