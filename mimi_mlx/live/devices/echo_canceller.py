"""WebRTC's echo canceller (AEC3), by way of pywebrtc_audio."""

import importlib.util
from collections import deque
from statistics import median
from typing import NamedTuple

import numpy as np

from ... import extras

# In Hz. Above, it hardly cancels anything; below is no device.
_LEAST_RATE, _MOST_RATE = 8000, 48000

# Blocks of 10 ms over which the reduction is told: 3 s in which the far end was heard. And the
# power from which on a block counts as sound: -60 dBFS from the speaker, -80 at the microphone.
_RECENT, _PLAYED, _HEARD = 300, 1e-6, 1e-8

# Blocks in which nothing was played after which no echo is left: 0.5 s.
_SILENT = 50

# Blocks of which it is told what they were like: those of 1 s.
_TOLD = 100


def missing() -> str | None:
    """What is not installed, and the remedy; or None."""
    if importlib.util.find_spec("pywebrtc_audio"):
        return None
    return f"echo cancellation needs pywebrtc-audio, which is missing. {extras.install('aec')}"


class CleanBlock(NamedTuple):
    """What is known of 10 ms that were cancelled."""

    speech: float  # how likely it is that somebody speaks in what came out, 0 to 1
    near: float  # power of what the microphone heard
    far: float  # of what the speaker played
    clean: float  # of what came out, which is ``EchoCanceller.delay`` late
    learnt: float  # seconds of the speaker's sound before it from which the room could be learnt


class EchoCanceller:
    """Takes what the speaker plays out of what the microphone hears, in blocks of 10 ms.

    An echo may come up to 0.4 s after its cause, and their clocks may differ by 100 ppm. Within a
    second 20 dB of it are gone, after some more 40. What is below 50 Hz goes too, and phases
    change, so while nothing is played what is heard passes as it is.

    It finds the delay itself. A hint of it, of which the library takes one, would win some dB in
    the first second where it is right, and lose 20 where a device's word on its delay is wrong.

    Args:
        rate: Of both, in Hz: 8000 to 48000, with whole samples in 10 ms, so 44100 is one.
        noise_suppression: Also make steady noise 12 dB quieter. Takes 6 ms more.
        auto_gain: Also bring voices to one level.

    Raises:
        ValueError: It does not take the rate, or pywebrtc_audio is not installed.
    """

    def __init__(self, rate: int, *, noise_suppression: bool = False, auto_gain: bool = False):
        if not _LEAST_RATE <= rate <= _MOST_RATE or rate % 100:
            raise ValueError(
                f"the echo canceller does not take {rate} Hz. It takes {_LEAST_RATE} to "
                f"{_MOST_RATE} Hz in steps of 100, such as 16000, 44100 or 48000."
            )
        if problem := missing():
            raise ValueError(problem)
        import pywebrtc_audio  # pyright: ignore[reportMissingImports]  # of an extra

        self._processor = pywebrtc_audio.AudioProcessor(
            sample_rate=rate,
            echo_cancellation=True,
            noise_suppression=noise_suppression,
            auto_gain_control=auto_gain,
        )
        self._block = rate // 100
        self._gains = auto_gain
        # Seconds by which sound comes out later than it goes in: AEC3's own blocks and its bands,
        # and the windows of the noise's spectrum. As measured, within 2 ms.
        self.delay = 0.015 if noise_suppression else 0.009
        self._near = self._far = np.zeros(0, np.float32)
        self._passes = not (noise_suppression or auto_gain)
        self._late = np.zeros(round(self.delay * rate), np.float32)  # what is to be passed next
        self._silent, self._share = 0, 0.0  # blocks, and how much of what goes out is just passed
        self.blocks: deque[CleanBlock] = deque(maxlen=_TOLD)  # the newest, to be taken from here
        self._reductions: deque[float] = deque(maxlen=_RECENT)
        self._learnt = 0.0

    def reset(self) -> None:
        """Forget the room. What waits for its block's rest stays, so no sound is lost."""
        self._processor.reset()
        self.doubt()

    def doubt(self) -> None:
        """What it learnt may be wrong from here on."""
        self._learnt = 0.0

    def process(self, near: np.ndarray, far: np.ndarray) -> np.ndarray:
        """Take the next samples ``[T]`` of both, give all blocks that are whole ``[n * block]``.

        Less than a block waits for its rest, so nothing is lost.

        Args:
            near: What the microphone heard.
            far: What the speaker played at that time, or up to 0.4 s before the echo of it is
                heard; never after.

        Raises:
            ValueError: They differ in length.
        """
        if near.shape != far.shape:
            raise ValueError(f"near is {near.shape}, far {far.shape}. Give as much of both, [T].")
        near, far = np.concatenate([self._near, near]), np.concatenate([self._far, far])
        count = len(near) // self._block * self._block
        self._near, self._far = near[count:], far[count:]
        near, far = near[:count], far[:count]
        if not count:
            return near
        parts, speech = [], []
        for start in range(0, count, self._block):
            block = slice(start, start + self._block)
            parts.append(self._processor.process(near[block], far[block]))
            speech.append(float(self._processor.speech_probability))
        clean = np.concatenate(parts)
        powers = [self._powers(samples) for samples in (near, far, clean)]
        self._measure(*powers)
        for voice, heard, played, left in zip(speech, *powers, strict=True):
            self.blocks.append(CleanBlock(voice, heard, played, left, self._learnt))
            self._learnt += 0.01 if played > _PLAYED else 0.0
        return self._pass(near, powers[1], clean) if self._passes else clean

    def _pass(self, near: np.ndarray, played: np.ndarray, clean: np.ndarray) -> np.ndarray:
        """What was heard in place of what is ``clean``, from some time without sound on."""
        late = np.concatenate([self._late, near])
        self._late = late[len(near) :]
        for number, power in enumerate(played):
            self._silent = 0 if power > _PLAYED else self._silent + 1
            share = float(self._silent > _SILENT)
            block = slice(number * self._block, (number + 1) * self._block)
            mixed = np.linspace(self._share, share, self._block, dtype=np.float32)
            clean[block] += mixed * (late[: len(near)][block] - clean[block])
            self._share = share
        return clean

    @property
    def echo_db(self) -> float | None:
        """What was left of the microphone's sound while the speaker played, the median of 3 s.

        In dB: -40 is a hundredth of the amplitude. None: nothing of it was heard yet. While
        somebody speaks here as well, it is near 0.
        """
        return float(median(self._reductions)) if self._reductions else None

    def _powers(self, samples: np.ndarray) -> np.ndarray:
        """Of each block ``[n]``."""
        return np.mean(np.square(samples.reshape(-1, self._block)), axis=1)

    def _measure(self, near: np.ndarray, far: np.ndarray, clean: np.ndarray) -> None:
        counts = (far > _PLAYED) & (near > _HEARD)
        gain = self._processor.gain_db if self._gains else 0.0
        self._reductions.extend(10 * np.log10((clean[counts] + 1e-12) / near[counts]) - gain)
