"""A live run: one loop that moves frames between devices, codec and network."""

from collections.abc import Sequence

from .devices import hints
from .devices.interface import Audio
from .devices.supervisor import Keeper
from .file_source import FileSource
from .network.link import Link
from .pipeline import Incoming, Notes, Outgoing
from .screen import Screen

# Seconds between two turns of the loop; between two points of the trace's curves, and two flushes.
_PAUSE, _POINT, _FLUSH = 0.002, 0.02, 1.0


class Session:
    """Runs until it is stopped, its time is over, or its file has ended.

    The callbacks of the devices only copy and count; the worker's thread owns MLX; everything
    else happens here, in :meth:`run`, which never waits for more than a moment.

    Args:
        audio: The devices and the clock.
        keeper: Microphone, speaker, both or none of them.
        flows: What there is to do.
        notes: What is written down.
        screen: What the user sees.
        link: To the peer, or None.
        file: In place of the microphone, or None.
    """

    def __init__(
        self,
        audio: Audio,
        keeper: Keeper,
        flows: Sequence[Outgoing | Incoming],
        notes: Notes,
        screen: Screen,
        link: Link | None = None,
        file: FileSource | None = None,
    ):
        self._audio, self._keeper, self._flows = audio, keeper, flows
        self._notes, self._screen, self._link, self._file = notes, screen, link, file
        self._listens = any(isinstance(flow, Incoming) for flow in flows)
        self._peer = None  # who was told of
        self._stopped = False
        self._zeros = False  # whether exact zeros were told of
        self._drawn = self._flushed = 0.0  # when the trace was, last

    def stop(self) -> None:
        """End soon. May be called from anywhere, also from a signal's handler."""
        self._stopped = True

    def run(self, duration: float | None = None) -> None:
        """Go on until the end.

        Args:
            duration: Seconds; None means for ever.
        """
        figures = self._notes.figures
        self._keeper.start()
        if self._listens:
            self._screen.say(f"listening at UDP port {self._link.port}")
        self._screen.say("running; Ctrl-C ends it")
        start = self._audio.clock()
        while not self._stopped and (duration is None or figures.seconds < duration):
            now = self._audio.clock()
            figures.seconds = now - start
            self._turn(now)
            if self._ended():
                break
            jobs = (flow.job.future for flow in self._flows)
            self._audio.wait(_PAUSE, next((future for future in jobs if future), None))

    def _turn(self, now: float) -> None:
        keeper, figures = self._keeper, self._notes.figures
        before = keeper.reopened, figures.underruns, figures.late
        keeper.mind(now)
        silent = "input" in keeper.down or (self._file and self._file.ended)
        if keeper.speaker and silent and not self._listens:
            keeper.speaker.pause()
        for flow in self._flows:
            flow.turn()
        figures.reopened = keeper.reopened
        if self._link:
            self._ask(self._link)
        self._hint()
        self._screen.show(figures)
        if self._notes.trace:
            self._trace(now, *before)

    def _ended(self) -> bool:
        """Whether a file has ended, and all of it is done and was heard."""
        if not self._file or not self._file.ended:
            return False
        done = all(flow.idle for flow in self._flows if isinstance(flow, Outgoing))
        return done and not self._listens and (not self._keeper.speaker or self._keeper.speaker.dry)

    def _ask(self, link: Link) -> None:
        """Take over what a link has counted, and what it has to say."""
        self._notes.figures.link = link.stats
        for message in link.messages():
            self._screen.say(message)
        if link.peer != self._peer:
            self._peer = link.peer
            if link.peer:
                self._screen.say(f"hears {link.peer}")

    def _hint(self) -> None:
        microphone = self._keeper.microphone
        if microphone and not self._zeros and microphone.zeros > microphone.port.rate:
            self._zeros = True
            self._screen.say(hints.zeros())

    def _trace(self, now: float, reopened: int, underruns: int, late: int) -> None:
        trace, figures = self._notes.trace, self._notes.figures
        for name, count, before in (
            ("reopened", figures.reopened, reopened),
            ("underrun", figures.underruns, underruns),
            ("late frame", figures.late, late),
        ):
            if count > before:
                trace.instant(name)
        if figures.speaker and now - self._drawn > _POINT:
            self._drawn = now
            trace.counters("speaker's queue", {"ms": round(1e3 * figures.speaker.waiting, 1)})
        if now - self._flushed > _FLUSH:
            self._flushed = now
            trace.flush()
