"""``mimi-mlx stream``: a live microphone codec, here or between two machines."""

import argparse
import gc
import json
import signal
import sys
from contextlib import ExitStack, closing

from .. import extras
from ..audio.writer import check_format
from ..checkpoint import hub
from ..files import PIPE, check_apart, check_extension, check_output
from ..live.devices.interface import Audio, Kind
from ..live.devices.portaudio import LATENCY, PortAudio
from ..live.devices.supervisor import DeviceSupervisor
from ..live.file_source import FileSource
from ..live.frame_codec import FrameCodec
from ..live.network.link import Link
from ..live.network.packet import PacketFormat
from ..live.pipeline import Incoming, Outgoing, RunLog
from ..live.recorder import Recorder
from ..live.screen import Screen, summary
from ..live.session import Session
from ..live.stats import LiveStats
from ..live.trace import Trace
from ..mimi import Mimi
from ..model.codec import Only
from ..streaming import validation
from ..streaming.worker import MimiWorker
from . import device_list, echo_choice, options, signals

MORE = (
    "Microphone to codes to speaker, until Ctrl-C. With --send the codes go to another machine "
    "over UDP, with --listen they come from one, with both it is a call. That is without any "
    "encryption, for this machine and trusted networks only. Needs sounddevice: "
    f"{extras.install('mic')}; without headphones a call needs an echo canceller as well: "
    f"{extras.install('aec')}."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``stream``."""
    add = parser.add_argument
    add("--list-devices", action="store_true", help="print the devices that there are, and stop")
    device = "number or part of its name (the system's default)"
    add("-i", "--input-device", metavar="DEVICE", help=f"the microphone: {device}")
    add("-o", "--output-device", metavar="DEVICE", help=f"the speaker: {device}")
    latency = "to ask of each device; more if the sound has gaps (20 on a Mac, else 40)"
    add("--latency", type=float, default=1e3 * LATENCY, metavar="MS", help=latency)
    add("--no-playback", action="store_true", help="no speaker")
    echo_choice.add_arguments(parser)
    add("--input", metavar="FILE", help="a sound file in place of the microphone")
    options.mono(parser, "several channels of FILE")
    add("--fast", action="store_true", help="FILE as fast as it can be coded; with --no-playback")
    add("--record", metavar="FILE", help="write the codes to a .mimi file (- is stdout)")
    add("--save-wav", metavar="FILE", help="write what is heard to a sound file, .wav or another")
    add("--trace", metavar="FILE", help="write a .json for chrome://tracing or ui.perfetto.dev")
    options.force(parser, "files that exist")
    add("--send", type=_address, metavar="HOST:PORT", help="send the codes there")
    add("--listen", type=_port, metavar="PORT", help="play codes that come to this UDP port")
    add("--allow", metavar="HOST", help="with --listen, take codes from this machine alone")
    add("--bind", metavar="ADDRESS", help="with --listen, at this address of ours alone")
    add("--duration", type=float, metavar="SECONDS", help="stop after so long")
    add("--json", action="store_true", help="print the figures at the end, or the list, as JSON")
    options.num_codebooks(parser)
    options.model(parser)


def run(args: argparse.Namespace) -> int:
    """Run until Ctrl-C, or until the time is over or the file has ended; the exit code."""
    check(args)
    if args.list_devices:
        return device_list.show(PortAudio(), args.json)
    with MimiWorker() as worker:
        stream(args, PortAudio(), worker)
    return 0


def check(args: argparse.Namespace) -> None:
    """The options fit together, and what is to be written can be.

    Raises:
        ValueError: They do not.
    """
    says, hears = _says(args), _hears(args)
    is_heard = hears and not args.no_playback
    no_time = args.duration is not None and args.duration <= 0
    wrong = (
        (args.fast and not args.input, "--fast is for a file. Give --input FILE."),
        (args.fast and is_heard, "--fast is too fast to be heard. Give --no-playback."),
        (args.fast and args.send, "--fast would flood the network. Leave it out with --send."),
        (args.input and not says, "--listen alone sends nothing. Leave --input out."),
        (args.input and args.input_device, "--input is in place of a microphone. Leave -i out."),
        (args.mono and not args.input, "--mono is for a file. Give --input FILE."),
        (args.allow and args.listen is None, "--allow is about who is heard. Give --listen PORT."),
        (args.bind and args.listen is None, "--bind is about who can send. Give --listen PORT."),
        (args.record == PIPE and args.json, "--record - and --json both go to stdout. Leave one."),
        (args.save_wav and not hears, "--send alone decodes nothing. Leave --save-wav out."),
        (not 1 <= args.latency <= 500, f"--latency is {args.latency:g}; it is 1 to 500 ms."),
        (no_time, f"--duration is {args.duration}; it is more than 0 seconds."),
    )
    for is_wrong, message in wrong:
        if is_wrong:
            raise ValueError(message)
    echo_choice.check(args, is_heard and says and not args.input)
    _check_outputs(args)


def _check_outputs(args: argparse.Namespace) -> None:
    outputs = args.record, args.save_wav, args.trace
    if args.record not in (None, PIPE):
        check_extension(args.record, (".mimi",), "codes are recorded in")
    if args.save_wav:
        check_format(args.save_wav)
    if args.trace:
        check_extension(args.trace, (".json",), "a trace is written to")
    for path in filter(None, outputs):
        check_output(path, args.force)
    check_apart((args.input, args.model), outputs)


def stream(args: argparse.Namespace, audio: Audio, worker: MimiWorker) -> None:
    """Run with any devices, clock and worker.

    Raises:
        ValueError: A device, file, host or model is not there.
    """
    with ExitStack() as opened:
        parts = _Parts(args, audio, worker, opened)
        _run_until_interrupted(parts.session(), args.duration)
        parts.screen.close()
    for line in summary(parts.stats):
        parts.screen.inform(line)
    if args.json:
        print(json.dumps(parts.stats.as_dict(), indent=1))


class _Parts:
    """Builds a live run from its options; ``opened`` closes what it opens.

    The model is loaded and has run before a microphone is opened.
    """

    def __init__(
        self, args: argparse.Namespace, audio: Audio, worker: MimiWorker, opened: ExitStack
    ):
        self._args, self._audio, self._worker, self._opened = args, audio, worker, opened
        self.screen = Screen(sys.stderr, audio.clock, args.quiet)
        self._says, self._hears = _says(args), _hears(args)
        half: Only = None if self._says and self._hears else "encoder" if self._says else "decoder"
        self._mimi: Mimi = worker.submit(Mimi.from_pretrained, args.model, half).result()
        count = validation.num_codebooks(args.num_codebooks, self._mimi.config)
        what = self._mimi, count, audio.clock, self._says, self._hears
        self._codec: FrameCodec = worker.submit(FrameCodec, *what).result()
        self._link = self._open_link()
        self._file = self._open_file()
        self._devices = self._open_devices()
        self._log = self._open_log()  # the files, when all else is there
        self.stats = self._log.stats
        self.stats.microphone, self.stats.speaker = self._devices.microphone, self._devices.speaker
        self.stats.echo = self._devices.echo

    def session(self) -> Session:
        """A session that is ready to run."""
        speaker, common = self._devices.speaker, (self._worker, self._codec, self._log)
        pipelines: list[Outgoing | Incoming] = []
        if self._says:
            source = self._file or self._devices.microphone
            assert source is not None
            ends = (None, self._link) if self._args.send else (speaker, None)
            pipelines.append(Outgoing(source, *common, *ends))
        if self._args.listen is not None:
            assert self._link is not None
            pipelines.append(Incoming(self._link, *common, speaker, records=not self._says))
        shown = self._log, self.screen
        return Session(self._audio, self._devices, pipelines, *shown, self._link, self._file)

    def _open_link(self) -> Link | None:
        args, mimi = self._args, self._mimi
        if args.send is None and args.listen is None:
            return None
        format = PacketFormat(args.num_codebooks, mimi.codebook_size, mimi.fingerprint)
        ends = args.send, args.listen, args.allow, args.bind
        link = Link(format, *ends, self._audio.clock, mimi.frame_rate)
        return self._opened.enter_context(closing(link))

    def _open_file(self) -> FileSource | None:
        args, sizes = self._args, (self._mimi.sample_rate, self._mimi.frame_size)
        if not args.input:
            return None
        file = FileSource(args.input, args.mono, *sizes, self._audio.clock, args.fast)
        return self._opened.enter_context(closing(file))

    def _open_log(self) -> RunLog:
        args, mimi = self._args, self._mimi
        rate = self._file.rate if self._file else None
        about = {"model": hub.shared_name(args.model)}
        recorder = Recorder(mimi, args.num_codebooks, args.record, args.save_wav, rate, about)
        self._opened.enter_context(closing(recorder))
        trace = None
        if args.trace:
            trace = self._opened.enter_context(closing(Trace(args.trace, self._audio.clock)))
        kbps = mimi.config.kbps(args.num_codebooks)
        return RunLog(LiveStats(mimi.frame_size / mimi.sample_rate, kbps), recorder, trace)

    def _open_devices(self) -> DeviceSupervisor:
        """The devices that this run needs, open."""
        args, sizes = self._args, (self._mimi.sample_rate, self._mimi.frame_size)
        wanted: dict[Kind, str | None] = {}
        if self._says and not args.input:
            wanted["input"] = args.input_device
        if self._hears and not args.no_playback:
            wanted["output"] = args.output_device
        latency, screen = args.latency / 1e3, self.screen
        echo = echo_choice.choose(args, self._audio, screen) if len(wanted) == 2 else None
        devices = DeviceSupervisor(self._audio, wanted, *sizes, latency, screen.say, echo)
        self._opened.enter_context(closing(devices))
        if echo:
            echo_choice.check_rate(args, echo, screen)
        return devices


def _run_until_interrupted(session: Session, duration: float | None) -> None:
    """Run; the first Ctrl-C ends it well, a second one at once.

    Raises:
        SystemExit: Another signal ended it, as well.
    """
    ended: list[int] = []

    def stop(number: int, *_: object) -> None:
        session.stop()
        ended.append(number)

    def interrupt(*_: object) -> None:
        session.stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:  # as in the background, where it is not for us
        signal.signal(signal.SIGINT, interrupt)
    # To look through all that is loaded for garbage takes longer than a device can wait.
    gc.collect()
    gc.freeze()
    try:
        with signals.ended_by(stop):
            session.run(duration)
    finally:
        gc.unfreeze()
        signal.signal(signal.SIGINT, before)
    if ended:
        sys.exit(signals.code(ended[0]))


def _says(args: argparse.Namespace) -> bool:
    """Whether anything is said here, and encoded."""
    return args.send is not None or args.listen is None


def _hears(args: argparse.Namespace) -> bool:
    """Whether anything is heard here, and decoded."""
    return args.listen is not None or args.send is None


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host:
        raise argparse.ArgumentTypeError(f"{text!r} is no HOST:PORT such as localhost:7000")
    return host.removeprefix("[").removesuffix("]"), _port(port)


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port, 1 to 65535")
    return int(text)
