"""Two processes over loopback: what one hears is what the other said."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from live_network import free_port

from mimi_mlx import Mimi, codefile

FADE_IN = 240  # samples, 10 ms, in which the first frame that was received rises
EQUAL = 2 / 32768  # sound is written with 16 bits


def start(*options: str | Path | int) -> subprocess.Popen:
    """``mimi-mlx stream`` without a microphone or a speaker."""
    command = [sys.executable, "-m", "mimi_mlx.stream", "--model", "tiny", "--json", "--force"]
    # Each end has little to do; more threads of the BLAS would only wait for each other.
    quiet = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*command, *map(str, options)], env=quiet, text=True, **pipes)


def write(path: Path, sound: np.ndarray) -> Path:
    """A sound file of ``[T]`` as it is."""
    soundfile.write(path, sound, 24000, subtype="FLOAT")
    return path


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


@pytest.fixture
def ends():
    """Processes that are ended whatever happens."""
    processes: list[subprocess.Popen] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def is_new(heard: np.ndarray, sent: np.ndarray) -> np.ndarray:
    """For each frame decoded, codes ``[K, F]``, whether it is the next of those sent: bool [F].

    The others are concealed ones: the frame before once more. Frames sent may be left out.
    """
    assert not (sent[:, 1:] == sent[:, :-1]).all(0).any(), "frames that tell themselves apart"
    new, after = [], 0
    for n, codes in enumerate(heard.T):
        matches = np.flatnonzero((sent[:, after:] == codes[:, None]).all(0))
        new.append(len(matches) > 0)
        if new[-1]:
            after += int(matches[0]) + 1
        else:
            np.testing.assert_array_equal(codes, heard[:, n - 1])
    return np.array(new)


@pytest.mark.slow
def test_one_process_speaks_and_the_other_hears(tiny, speech, tmp_path, ends):
    """Every frame decoded is the next one sent or a concealed one, and sounds as it must."""
    port, sound = free_port(), speech("dialogue")[-3 * 24000 :]
    files = ("--record", tmp_path / "ear.mimi", "--save-wav", tmp_path / "ear.wav")
    ends.append(ear := start("--listen", port, "--allow", "127.0.0.1", "--no-playback", *files))
    wait_for(port, ear)
    clip = write(tmp_path / "said.wav", sound)
    said = ("--input", clip, "--record", tmp_path / "mouth.mimi")
    ends.append(mouth := start("--send", f"127.0.0.1:{port}", *said))
    sent = end(mouth)
    time.sleep(0.5)  # what waits is played
    ear.send_signal(signal.SIGINT)
    received = end(ear)

    frames = -(-len(sound) // 1920)
    assert sent["sent"] == received["received"] == frames
    assert sent["kbps"] == received["kbps"] == 5.9
    assert received["lost"] == received["duplicate"] == received["late"] == 0
    assert received["foreign"] > 0, "those of wait_for"
    codes = codefile.read(tmp_path / "mouth.mimi").codes[0]
    offline = np.array(tiny.encode(sound, num_codebooks=8))[0]
    differ = (codes != offline).any(axis=0)
    assert differ.sum() <= 1, "two entries as near as each other may change places"

    heard = codefile.read(tmp_path / "ear.mimi").codes[0]
    new = is_new(heard, codes)
    assert frames - 3 <= new.sum() + received["dropped"] <= frames
    assert (~new).sum() >= received["concealed"]
    pcm = read(tmp_path / "ear.wav").reshape(-1, 1920)
    expected = np.array(tiny.decode(heard)).reshape(-1, 1920)
    plain = new & np.insert(new[:-1], 0, True)
    error = np.abs(pcm - expected)
    assert error[plain].ravel()[FADE_IN:].max() < EQUAL
    for n in range(3, len(new)):
        if not new[n - 3 : n + 1].any():
            assert not pcm[n].any(), "silence after three concealed frames"


def call(folder: Path, sounds: list[np.ndarray], ends: list) -> tuple[dict, dict]:
    """Both ends' counts of a call; the first end is there first and stays to the end."""
    ports = free_port(), free_port()
    for name, sound, own, other in zip("ab", sounds, ports, ports[::-1], strict=True):
        options = ("--send", f"127.0.0.1:{other}", "--listen", own, "--allow", "127.0.0.1")
        clip = write(folder / f"{name}.wav", sound)
        files = ("--record", folder / f"{name}.mimi", "--save-wav", folder / f"{name}-hears.wav")
        more = ("--duration", len(sound) / 24000 + 1)
        ends.append(start(*options, "--input", clip, "--no-playback", *files, *more))
        wait_for(own, ends[-1])
    second = end(ends.pop())
    ends[-1].send_signal(signal.SIGINT)
    return end(ends.pop()), second


def read(path: Path) -> np.ndarray:
    """A sound file's samples ``[T]``."""
    return soundfile.read(path, dtype="float32")[0]


def first_heard(tiny: Mimi, codes: np.ndarray, sound: np.ndarray) -> int:
    """The number of the frame, of codes ``[K, F]``, that a sound begins with."""
    starts = range(codes.shape[1] - 2)
    each = np.stack([codes[:, n : n + 3] for n in starts])
    errors = np.abs(np.array(tiny.decode(each))[:, 0] - sound[: 3 * 1920])[:, FADE_IN:].max(1)
    return int(errors.argmin())


def explained(tiny: Mimi, sound: np.ndarray, codes: np.ndarray) -> tuple[int, int]:
    """How many frames of a sound are those sent, codes ``[K, F]``, in order; and concealed ones.

    It is decoded once more beside it: each frame is the next one sent, or one soon after, or
    else the one before again.
    """
    number, stream = first_heard(tiny, codes, sound), tiny.decoder_stream()
    counts = [0, 0]
    for piece in sound.reshape(-1, 1920):
        for n in range(number, min(number + 16, codes.shape[1])):
            twin = stream.clone()
            pcm = np.array(twin.push(codes[:, n : n + 1]))[0, 0]
            if np.abs(pcm - piece)[FADE_IN:].max() < EQUAL:
                stream, number = twin, n + 1
                counts[0] += 1
                break
        else:
            stream.push(codes[:, number - 1 : number])
            counts[1] += 1
    return counts[0], counts[1]


@pytest.mark.slow
def test_a_call_between_two_processes(tiny, speech, tmp_path, ends):
    sounds = [speech("dialogue"), speech("dialogue")[-3 * 24000 :]]
    first, second = call(tmp_path, sounds, ends)
    assert first["received"] == second["sent"] > 24, "it was there before the second began"
    for listener, speaker, counts in (("a", "b", first), ("b", "a", second)):
        assert counts["kbps"] == 5.9 and counts["received"] > 24
        assert counts["lost"] == counts["duplicate"] == counts["errors"] == 0
        sound = read(tmp_path / f"{listener}-hears.wav")
        codes = codefile.read(tmp_path / f"{speaker}.mimi").codes[0]
        as_sent, concealed = explained(tiny, sound, codes)
        # The last frames may still wait, and the one that is being decoded is not written.
        assert 0 <= counts["received"] - counts["dropped"] - as_sent <= counts["depth"] + 1
        assert concealed >= counts["concealed"] - 1, "more in a long silence at the end"
