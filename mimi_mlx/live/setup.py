"""From the options of a live run to all its parts, put together."""

import argparse
import contextlib
import gc
import signal
from collections.abc import Iterator

from ..mimi import Mimi
from ..streaming import validation as check
from ..streaming.worker import MimiWorker
from .devices import hints
from .devices.interface import Audio
from .devices.supervisor import DeviceSupervisor
from .file_source import FileSource
from .frame_codec import FrameCodec
from .network.link import Link
from .pipeline import Incoming, Outgoing, RunLog
from .recorder import Recorder
from .screen import Screen
from .session import Session
from .stats import LiveStats
from .trace import Trace


def only_sends(args: argparse.Namespace) -> bool:
    """Whether nothing is to be heard here."""
    return args.send is not None and args.listen is None


def only_listens(args: argparse.Namespace) -> bool:
    """Whether nothing is to be said here."""
    return args.listen is not None and args.send is None


@contextlib.contextmanager
def session(
    args: argparse.Namespace, audio: Audio, worker: MimiWorker, screen: Screen
) -> Iterator[tuple[Session, LiveStats]]:
    """A session that is ready to run, and its stats; afterwards everything is closed.

    The model is loaded and has run before a microphone is opened.

    Raises:
        ValueError: A device, file, host or model is not there.
    """
    with contextlib.ExitStack() as stack:
        mimi, codec = _load(args, audio, worker)
        link = _link(args, audio, mimi)
        if link:
            stack.callback(link.close)
        file = None
        if args.input:
            sizes = mimi.sample_rate, mimi.frame_size
            file = FileSource(args.input, args.mono, *sizes, audio.clock, args.fast)
            stack.callback(file.close)
        log = _log(args, audio, mimi, file, stack)
        supervisor = _supervisor(args, audio, mimi, screen)
        stack.callback(supervisor.close)
        log.stats.microphone, log.stats.speaker = supervisor.microphone, supervisor.speaker
        flows = _flows(args, audio, worker, mimi, codec, log, supervisor, link, file)
        yield Session(audio, supervisor, flows, log, screen, link, file), log.stats


def run_until_interrupted(session: Session, duration: float | None) -> None:
    """Run; the first Ctrl-C ends it well, a second one at once."""

    def stop(*_: object) -> None:
        session.stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, stop)
    # To look through all that is loaded for garbage takes longer than a device can wait.
    gc.collect()
    gc.freeze()
    try:
        session.run(duration)
    finally:
        gc.unfreeze()
        signal.signal(signal.SIGINT, before)


def _load(args: argparse.Namespace, audio: Audio, worker: MimiWorker) -> tuple[Mimi, FrameCodec]:
    """The model, or the half that is needed, and the codec after its first frame."""
    half = "encoder" if only_sends(args) else "decoder" if only_listens(args) else None
    mimi = worker.submit(Mimi.from_pretrained, args.model, half).result()
    count = check.num_codebooks(args.num_codebooks, mimi.config)
    encodes, decodes = not only_listens(args), not only_sends(args)
    return mimi, worker.submit(FrameCodec, mimi, count, audio.clock, encodes, decodes).result()


def _link(args: argparse.Namespace, audio: Audio, mimi: Mimi) -> Link | None:
    if args.send is None and args.listen is None:
        return None
    return Link(
        args.num_codebooks,
        args.send,
        args.listen,
        args.allow,
        audio.clock,
        fingerprint=mimi.fingerprint,
        codebook_size=mimi.codebook_size,
        frame_rate=mimi.frame_rate,
    )


def _log(
    args: argparse.Namespace,
    audio: Audio,
    mimi: Mimi,
    file: FileSource | None,
    stack: contextlib.ExitStack,
) -> RunLog:
    rate = file.rate if file else None
    recorder = Recorder(mimi, args.num_codebooks, args.record, args.save_wav, rate)
    stack.callback(recorder.close)
    trace = Trace(args.trace, audio.clock) if args.trace else None
    if trace:
        stack.callback(trace.close)
    kbps = mimi.config.kbps(args.num_codebooks)
    return RunLog(LiveStats(mimi.frame_size / mimi.sample_rate, kbps), recorder, trace)


def _supervisor(
    args: argparse.Namespace, audio: Audio, mimi: Mimi, screen: Screen
) -> DeviceSupervisor:
    """The devices that this run needs, open."""
    wanted = {}
    if not args.input and not only_listens(args):
        wanted["input"] = args.input_device
    if not args.no_playback and not only_sends(args):
        wanted["output"] = args.output_device
    sizes = mimi.sample_rate, mimi.frame_size
    supervisor = DeviceSupervisor(audio, wanted, *sizes, args.latency / 1e3, screen.say)
    if len(wanted) == 2 and (hint := hints.echo(supervisor.speaker.device)):
        screen.say(hint)
    return supervisor


def _flows(
    args: argparse.Namespace,
    audio: Audio,
    worker: MimiWorker,
    mimi: Mimi,
    codec: FrameCodec,
    log: RunLog,
    supervisor: DeviceSupervisor,
    link: Link | None,
    file: FileSource | None,
) -> list[Outgoing | Incoming]:
    flows: list[Outgoing | Incoming] = []
    if not only_listens(args):
        source = file or supervisor.microphone
        peer = link if args.send else None
        flows.append(
            Outgoing(source, worker, codec, log, None if peer else supervisor.speaker, peer)
        )
    if args.listen is not None:
        seconds = mimi.frame_size / mimi.sample_rate
        ends = log, supervisor.speaker, seconds, audio.clock
        flows.append(Incoming(link, worker, codec, *ends, records=only_listens(args)))
    return flows
