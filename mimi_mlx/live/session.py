"""A live run: one loop that moves frames between devices, codec and network."""

from collections.abc import Sequence
from concurrent.futures import Future

from .devices import hints
from .devices.interface import Audio
from .devices.supervisor import DeviceSupervisor
from .file_source import FileSource
from .network.link import Link
from .network.udp import Address
from .pipeline import Incoming, Outgoing, RunLog
from .screen import Screen
from .trace import Trace

# Seconds between two points of the trace's curves, and two flushes.
_POINT, _FLUSH = 0.02, 1.0

# Seconds after which somebody who hears nobody is told what may be wrong.
_LONELY = 3.0

_FAULTS = "reopened", "underrun", "late frame"  # as a trace names them


class Session:
    """Runs until it is stopped, its time is over, or its file has ended.

    The callbacks of the devices only copy and count; the worker's thread owns MLX; everything
    else happens here, in :meth:`run`, which never waits for more than a moment.

    A ``link`` is to the peer, and a ``file`` is in place of the microphone.
    """

    def __init__(
        self,
        audio: Audio,
        supervisor: DeviceSupervisor,
        pipelines: Sequence[Outgoing | Incoming],
        log: RunLog,
        screen: Screen,
        link: Link | None = None,
        file: FileSource | None = None,
    ):
        self._audio, self._supervisor, self._pipelines = audio, supervisor, pipelines
        self._log, self._screen, self._link, self._file = log, screen, link, file
        self._listens = any(isinstance(each, Incoming) for each in pipelines)
        self._peer: Address | None = None  # who was told of
        self._hinted = False  # whether it was told that nobody is heard
        self._stopped = False
        self._faults = (0, 0, 0)  # of each kind, as many as the trace has
        self._drawn = self._flushed = 0.0  # when the trace was, last

    def stop(self) -> None:
        """End soon. May be called from anywhere, also from a signal's handler."""
        self._stopped = True

    def run(self, duration: float | None = None) -> None:
        """Go on until the end, or for so many seconds."""
        stats = self._log.stats
        self._supervisor.start()
        if self._link and self._listens:
            where = f" of {self._link.bind}" if self._link.bind else ""
            self._screen.inform(f"listening at UDP port {self._link.port}{where}")
        self._screen.inform("running; Ctrl-C ends it")
        start = self._audio.clock()
        for now in self._supervisor.turns(self._job):
            stats.seconds = now - start
            self._turn(now)
            over = duration is not None and stats.seconds >= duration
            if self._stopped or over or self._ended():
                break

    def _job(self) -> Future | None:
        """What the worker is at, if anything."""
        jobs = (each.job.future for each in self._pipelines)
        return next((future for future in jobs if future), None)

    def _turn(self, now: float) -> None:
        supervisor, stats = self._supervisor, self._log.stats
        silent = "input" in supervisor.down or (self._file and self._file.ended)
        if supervisor.speaker and silent and not self._listens:
            supervisor.speaker.playout.expecting = False  # nothing can come: no fault if it is dry
        for each in self._pipelines:
            each.turn()
        stats.reopened = supervisor.reopened
        if self._link:
            self._ask(self._link)
        self._screen.show(stats)
        if self._log.trace:
            self._draw(self._log.trace, now)

    def _ended(self) -> bool:
        """Whether a file has ended, and all of it is done and was heard."""
        if not self._file or not self._file.ended:
            return False
        done = all(each.idle for each in self._pipelines if isinstance(each, Outgoing))
        speaker = self._supervisor.speaker
        return done and not self._listens and (not speaker or speaker.playout.dry)

    def _ask(self, link: Link) -> None:
        """Take over what a link has counted, and what it has to say."""
        stats, say, silent = self._log.stats, self._screen.say, self._listens and link.silent
        stats.link = link.stats
        for message in link.messages():
            say(message)
        if link.peer != self._peer:
            self._peer = link.peer
            say(f"hears {link.peer}")
        elif link.peer and silent != stats.alone:
            say(f"{link.peer} is {'silent' if silent else 'heard again'}")
        elif silent and not link.peer and not self._hinted and stats.seconds > _LONELY:
            self._hinted = True
            say(hints.unheard(link.port))
        stats.alone = silent

    def _draw(self, trace: Trace, now: float) -> None:
        stats = self._log.stats
        counts = stats.reopened, stats.underruns, stats.late
        for name, count, was in zip(_FAULTS, counts, self._faults, strict=True):
            if count > was:
                trace.instant(name)
        self._faults = counts
        if stats.speaker and now - self._drawn > _POINT:
            self._drawn = now
            trace.counters("speaker's queue", {"ms": round(1e3 * stats.speaker.waiting, 1)})
        if now - self._flushed > _FLUSH:
            self._flushed = now
            trace.flush()
