"""A whole sound system without hardware: PulseAudio with a virtual microphone and speaker."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

RATE = 24000


def _end(name: str = "") -> tuple[str, ...]:
    """A speaker, and a microphone and what it is fed with."""
    return (
        f"module-null-sink sink_name=speaker{name} rate={RATE} channels=1",
        f"module-null-sink sink_name=mic_feed{name} rate={RATE} channels=1",
        f"module-remap-source source_name=mic{name} master=mic_feed{name}.monitor",
    )


def _air(name: str) -> str:
    """The way from a speaker to its microphone: 40 ms."""
    ends = f"source=speaker{name}.monitor sink=mic_feed{name}"
    return f"module-loopback {ends} latency_msec=40 source_dont_move=true sink_dont_move=true"


# One end that does not hear itself, and two that do.
ALONE = _end()
LOUD = (*_end("_a"), *_end("_b"), _air("_a"), _air("_b"))


def missing() -> str | None:
    """What is not there, or None."""
    if sys.platform != "linux":
        return "virtual devices are PulseAudio's, on Linux"
    for program in ("pulseaudio", "pactl", "paplay", "parec"):
        if shutil.which(program) is None:
            return f"no {program}: apt install pulseaudio pulseaudio-utils"
    try:
        import sounddevice  # noqa: F401
    except (ImportError, OSError) as error:
        return f"no sounddevice: {error}"
    return None


def urgent(priority: int = 5, process: int = 0) -> None:
    """Go before what else the machine does, as sound servers do, if that is allowed.

    Args:
        process: Its number; 0: this one.
    """
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(process, os.SCHED_RR, os.sched_param(priority))


class Pulse:
    """A PulseAudio of our own that runs; ``environment`` leads to it."""

    def __init__(self, folder: Path, modules: Sequence[str]):
        self._modules = "module-native-protocol-unix", *modules
        self.environment = {
            **{name: value for name, value in os.environ.items() if "PULSE" not in name},
            **{"XDG_RUNTIME_DIR": str(folder), "HOME": str(folder)},
            "PULSE_SERVER": f"unix:{folder}/pulse/native",
            "OPENBLAS_NUM_THREADS": "1",  # several wait for each other, long if others run too
        }
        self._processes: list[subprocess.Popen] = []

    def start(self) -> None:
        """Start, and wait until it answers."""
        modules = [part for module in self._modules for part in ("-L", module)]
        self._run("pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", *modules)
        deadline = time.monotonic() + 20
        while not (sinks := self._ask("list", "short", "sinks")):
            assert time.monotonic() < deadline, "PulseAudio does not answer"
            time.sleep(0.05)
        urgent(20, self._processes[0].pid)  # it has given that up
        if self._modules[1:] == ALONE:
            self._ask("set-default-source", "mic")
        # Silence keeps a virtual speaker awake, as it does a real one.
        for name in re.findall(r"speaker\w*", sinks):
            self._run("pacat", "--raw", "--latency-msec=500", f"--device={name}", "/dev/zero")

    def crash(self) -> None:
        """Be gone, without a farewell."""
        for process in self._processes:
            process.kill()
            process.wait()
        self._processes.clear()
        shutil.rmtree(Path(self.environment["XDG_RUNTIME_DIR"]) / "pulse")

    def louder(self, decibels: int) -> None:
        """Change the level of what goes through the air."""
        for line in self._ask("list", "short", "sink-inputs").splitlines():
            if "loopback" in line:
                self._ask("set-sink-input-volume", line.split()[0], f"{decibels}dB")

    def _ask(self, *words: str) -> str:
        done = subprocess.run(
            ["pactl", *words], env=self.environment, capture_output=True, text=True
        )
        return done.stdout

    def _run(self, *command: str) -> None:
        process = subprocess.Popen(
            command,
            env=self.environment,
            stderr=subprocess.DEVNULL,
            preexec_fn=lambda: urgent(20),
        )
        self._processes.append(process)

    def speak(self, path: Path, microphone: str = "mic_feed") -> subprocess.Popen:
        """Play a sound file into a microphone."""
        command = ["paplay", f"--device={microphone}", str(path)]
        return subprocess.Popen(command, env=self.environment, preexec_fn=urgent)

    def close(self) -> None:
        """End well."""
        for process in reversed(self._processes):
            process.terminate()
            process.wait(timeout=20)


class Ear:
    """Records what a virtual device plays, and when, by the clock of this process."""

    def __init__(self, pulse: Pulse, device: str):
        command = ["parec", f"--device={device}.monitor", "--format=float32le", "--channels=1"]
        command += [f"--rate={RATE}", "--latency-msec=10", "--raw"]
        self._process = subprocess.Popen(
            command, env=pulse.environment, stdout=subprocess.PIPE, bufsize=0, preexec_fn=urgent
        )
        self._pieces: list[bytes] = []
        self._starts: list[float] = []
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        count = 0
        while piece := self._process.stdout.read(1 << 16):
            count += len(piece) // 4
            self._pieces.append(piece)
            self._starts.append(time.monotonic() - count / RATE)

    def close(self) -> tuple[float, np.ndarray]:
        """When the first sample was heard, and all of them ``[T]``."""
        self._process.terminate()
        self._process.wait(timeout=20)
        self._thread.join()
        self._process.stdout.close()
        # Some pieces came late; none came early.
        return min(self._starts), np.frombuffer(b"".join(self._pieces), "<f4")


class Hiccups:
    """Notes urgent sleeps of 5 ms that take ``least`` seconds longer: can the machine be timed?"""

    def __init__(self, least: float):
        self._least = least
        self._waits: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        urgent()
        before = time.monotonic()
        while not self._stop.wait(0.005):
            now = time.monotonic()
            self._waits.append(now - before - 0.005)
            before = now

    def close(self) -> list[float]:
        """How long each took, in seconds."""
        self._stop.set()
        self._thread.join()
        return [wait for wait in self._waits if wait > self._least]


class Stream(NamedTuple):
    """The command, between the virtual devices, and the file that has what it said."""

    process: subprocess.Popen
    said: Path

    def wait_for(self, word: str) -> None:
        """Return once it has said so."""
        deadline = time.monotonic() + 60
        while word not in self.said.read_text():
            alive = self.process.poll() is None and time.monotonic() < deadline
            assert alive, self.said.read_text()
            time.sleep(0.02)

    def end(self) -> dict:
        """Press Ctrl-C: the figures of the run."""
        self.process.send_signal(signal.SIGINT)
        out, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, self.said.read_text()
        return json.loads(out)


@contextlib.contextmanager
def stream(pulse: Pulse, said: Path, *options: object, **environment: str) -> Iterator[Stream]:
    """The command that runs; none is left of it, whatever happens.

    Args:
        said: The file for what it says.
        environment: What it has beside the sound system's.
    """
    command = [sys.executable, "-m", "mimi_mlx.stream", "--model", "tiny", "--json"]
    command += ["-i", "pulse", "-o", "pulse", *options]
    with (
        said.open("w") as errors,
        subprocess.Popen(
            command,
            env={**pulse.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            preexec_fn=urgent,
        ) as process,
    ):
        try:
            started = Stream(process, said)
            started.wait_for("running")
            yield started
        finally:
            process.kill()  # nothing, once it has ended


@contextlib.contextmanager
def running(modules: Sequence[str] = ALONE) -> Iterator[Pulse]:
    """A sound system, for a while."""
    with tempfile.TemporaryDirectory(prefix="mimi-pulse-", dir="/tmp") as folder:
        pulse = Pulse(Path(folder), modules)
        try:
            pulse.start()
            yield pulse
        finally:
            pulse.close()
