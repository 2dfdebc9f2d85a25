"""The two ways that frames go: from the microphone to codes, and from codes to the speaker."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import numpy as np

from ..streaming.worker import MimiWorker
from .devices.microphone import Microphone
from .devices.speaker import Speaker
from .devices.stretch import rise
from .file_source import FileSource
from .frame_codec import CodedFrame, FrameCodec
from .meters import level
from .network.link import Link
from .recorder import Recorder
from .stats import LiveStats
from .trace import Trace

# How early a frame is fetched for the speaker, beyond the time that decoding takes: two turns of
# the loop. And how long a gain takes to rise, in seconds: a word's beginning shall not be lost.
_EARLY, _RISE = 0.005, 0.01


class Job:
    """One call at a time, in the worker's thread."""

    def __init__(self, worker: MimiWorker):
        self._worker = worker
        self.future: Future | None = None

    def start(self, call: Callable[..., CodedFrame], *args: Any) -> None:
        """Have it called. None may be running."""
        self.future = self._worker.submit(call, *args)

    def take(self) -> CodedFrame | None:
        """What it gave, once, when it is done."""
        if self.future is None or not self.future.done():
            return None
        result, self.future = self.future.result(), None
        return result


class RunLog:
    """Where it is written down what was done: the counts, the files, the trace."""

    def __init__(self, stats: LiveStats, recorder: Recorder, trace: Trace | None):
        self.stats, self.recorder, self.trace = stats, recorder, trace

    def encoded(self, coded: CodedFrame, samples: int) -> None:
        """A frame of so many samples was encoded."""
        self.stats.frames += 1
        self.stats.heard = coded.level
        self.stats.encode.add(coded.encoded - coded.start)
        if self.stats.echo:
            self.stats.cancel.add(self.stats.echo.take_spent())
        self.recorder.add_codes(coded.codes, samples)
        if self.trace:
            self.trace.span("encode", coded.start, coded.encoded)

    def decoded(self, coded: CodedFrame, pcm: np.ndarray) -> None:
        """A frame was decoded, and ``pcm [T]`` is what is heard of it."""
        self.stats.said = level(pcm)
        self.stats.decode.add(coded.end - coded.encoded)
        self.recorder.add_sound(pcm)
        if self.trace:
            self.trace.span("decode", coded.encoded, coded.end)


class Outgoing:
    """Frames of sound to codes: to a peer, or decoded again and to the speaker.

    Args:
        codec: Encodes; decodes too if there is no link.
        speaker: Where decoded frames go, or None.
        link: Where codes go, or None.
    """

    def __init__(
        self,
        source: Microphone | FileSource,
        worker: MimiWorker,
        codec: FrameCodec,
        log: RunLog,
        speaker: Speaker | None,
        link: Link | None,
    ):
        self._source, self._codec, self._log = source, codec, log
        self._speaker, self._link = speaker, link
        self._waiting: deque[np.ndarray] = deque()
        self._samples = 0  # of the frame that is being coded
        self.job = Job(worker)

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return self.job.future is None and not self._waiting

    def turn(self) -> None:
        """Finish a frame, if one is done, and start the next, if there is one."""
        if coded := self.job.take():
            self._finish(coded)
        if not self._waiting:
            self._waiting.extend(self._source.frames())
        if self._waiting and self.job.future is None:
            frame = self._waiting.popleft()
            self._samples = len(frame)
            self.job.start(self._codec.encode, frame, not self._link)

    def _finish(self, coded: CodedFrame) -> None:
        self._log.encoded(coded, self._samples)
        if self._link:
            self._link.send(coded.codes)
            return
        self._log.decoded(coded, coded.pcm)
        if self._speaker:
            self._speaker.feed(coded.pcm, self._source.jitter)
            said, heard = self._source.clock_offset, self._speaker.clock_offset
            if said is not None and heard is not None:
                self._log.stats.delayed(said - heard)


class Incoming:
    """Codes from a peer to the speaker: a frame is fetched when the speaker needs one.

    Args:
        speaker: Where decoded frames go; None: nowhere, one every 80 ms.
        records: Whether the codes are to be recorded: those of a call that go out are instead.
    """

    def __init__(
        self,
        link: Link,
        worker: MimiWorker,
        codec: FrameCodec,
        log: RunLog,
        speaker: Speaker | None,
        records: bool,
    ):
        self._link, self._codec, self._log, self._speaker = link, codec, log, speaker
        self._seconds, self._clock = codec.frame_seconds, codec.clock
        self._records = records
        self._due: float | None = None  # when the next frame is needed, if there is no speaker
        self._before, self._gain = 0.0, 0.0  # of the frame before, and of this one, at the end
        self.job = Job(worker)

    def turn(self) -> None:
        """Take in what has come, finish a frame, and fetch the next if it is needed."""
        self._link.poll()
        if coded := self.job.take():
            self._finish(coded)
        if self.job.future is None and self._needed():
            codes, gain = self._link.next_frame()
            if codes is not None:
                self._before, self._gain = self._gain, gain
                now = self._clock()
                before = now if self._due is None else max(self._due, now - self._seconds)
                self._due = before + self._seconds
                self.job.start(self._codec.decode, codes)

    def _needed(self) -> bool:
        if self._speaker is None:
            return self._due is None or self._clock() >= self._due
        return self._speaker.needs(self._log.stats.decode.p95 + _EARLY)

    def _finish(self, coded: CodedFrame) -> None:
        pcm = coded.pcm * _ramp(self._before, self._gain, len(coded.pcm), self._seconds)
        if self._records:
            self._log.stats.frames += 1
            self._log.recorder.add_codes(coded.codes, len(pcm))
        self._log.decoded(coded, pcm)
        if self._speaker:
            self._speaker.feed(pcm)


def _ramp(before: float, after: float, samples: int, seconds: float) -> np.ndarray:
    """Gains ``[samples]`` of a frame: falling all the way, or rising at its beginning."""
    if after < before:
        return before + (after - before) * rise(samples)
    gains = np.full(samples, after, np.float32)
    count = round(_RISE / seconds * samples)
    gains[:count] = before + (after - before) * rise(count)
    return gains
