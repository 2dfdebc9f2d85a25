"""A call between two processes over loopback: what each hears is what the other said."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import soundfile
from live_network import free_port

from mimi_mlx import Mimi, codefile

FADE_IN = 240  # samples, 10 ms, in which the first frame that was received rises
TRIES = 3  # a machine that stalls for more than 80 ms makes the call conceal a frame


def start(folder: Path, name: str, own: int, other: int, sound: np.ndarray, *more: str):
    """One end of a call that says ``sound [T]``."""
    said = folder / f"{name}.wav"
    soundfile.write(said, sound, 24000, subtype="FLOAT")
    command = [
        *(sys.executable, "-m", "mimi_mlx.stream", "--model", "tiny", "--json", "--force"),
        *("--send", f"127.0.0.1:{other}", "--listen", str(own), "--allow", "127.0.0.1"),
        *("--input", str(said), "--no-playback", "--record", str(folder / f"{name}.mimi")),
        *("--save-wav", str(folder / f"{name}-hears.wav"), *more),
    ]
    # Each end has little to do; more threads of the BLAS would only wait for each other.
    quiet = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=quiet, text=True, **pipes)


def wait_for(port: int, process: subprocess.Popen) -> None:
    """Until somebody has the port: before, the system refuses what is sent there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("127.0.0.1", port))
        probe.settimeout(0.05)
        while process.poll() is None:
            try:
                probe.send(b"?")
                probe.recv(1)
            except ConnectionRefusedError:
                time.sleep(0.02)
            except TimeoutError:
                return
    raise AssertionError(process.communicate())


def end(process: subprocess.Popen) -> dict:
    """The figures of a run that went well."""
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return json.loads(out)["link"]


def call(folder: Path, sounds: list[np.ndarray]) -> tuple[dict, dict]:
    """Both ends' counts of a call; the first end is there first and stays to the end."""
    ports = free_port(), free_port()
    processes = [start(folder, "first", *ports, sounds[0])]
    try:
        wait_for(ports[0], processes[0])
        seconds = str(len(sounds[1]) / 24000 + 0.3)
        processes.append(start(folder, "second", *ports[::-1], sounds[1], "--duration", seconds))
        second = end(processes[1])
        processes[0].send_signal(signal.SIGINT)
        return end(processes[0]), second
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def heard(folder: Path, name: str) -> np.ndarray:
    """What an end wrote of what it heard, ``[T]``."""
    return soundfile.read(folder / f"{name}-hears.wav", dtype="float32")[0]


def first_heard(tiny: Mimi, codes: np.ndarray, sound: np.ndarray) -> int:
    """The number of the frame, of codes ``[K, F]``, that a sound begins with."""
    starts = range(codes.shape[1] - 2)
    each = np.stack([codes[:, n : n + 3] for n in starts])
    errors = np.abs(np.array(tiny.decode(each))[:, 0] - sound[: 3 * 1920])[:, FADE_IN:].max(1)
    return int(errors.argmin())


def is_heard(tiny: Mimi, folder: Path, listener: str, speaker: str, frames: int) -> bool:
    """Whether so many frames were heard as they were sent, from the first that was.

    But for the fade in, and 16 bits.
    """
    sound = heard(folder, listener)
    assert len(sound) >= frames * 1920
    codes = codefile.read(folder / f"{speaker}.mimi").codes[0]
    first = first_heard(tiny, codes, sound)
    expected = np.array(tiny.decode(codes[:, first : first + frames]))[0, 0]
    return np.abs(sound[FADE_IN : len(expected)] - expected[FADE_IN:]).max() < 2 / 32768


def test_a_call_between_two_processes(tiny, speech, tmp_path):
    sounds = [speech("dialogue"), speech("dialogue")[-3 * 24000 :]]
    for _ in range(TRIES):
        first, second = call(tmp_path, sounds)
        for counts in (first, second):
            assert counts["received"] > 24 and counts["kbps"] == 5.9
            assert counts["lost"] == counts["duplicate"] == counts["errors"] == 0
        assert second["sent"] == 38 and first["received"] == 38
        assert first["foreign"] > 0 and second["foreign"] == 0, "those of wait_for"
        codes = codefile.read(tmp_path / "second.mimi").codes
        differ = (codes != np.array(tiny.encode(sounds[1], num_codebooks=8))).any(axis=1)
        assert differ.sum() <= 1, "two entries as near as each other may change places"
        if is_heard(tiny, tmp_path, "first", "second", 38) and is_heard(
            tiny, tmp_path, "second", "first", 24
        ):
            return
        stalls = first["concealed"] + second["concealed"] + first["dropped"] + second["dropped"]
        assert stalls > 0
    raise AssertionError(f"not once without a stall in {TRIES} tries")
