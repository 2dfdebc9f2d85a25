"""``mimi-mlx stream`` from its arguments to its files, with made-up devices or none."""

import contextlib
import io
import json
import re
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import soundfile
from fake_audio import FakeAudio, FakeDevice, FakeWorker
from paths import SPEECH

from mimi_mlx import cli, codefile
from mimi_mlx.cli import echo_choice, stream
from mimi_mlx.live.devices.portaudio import PortAudio
from mimi_mlx.live.frame_codec import FrameCodec
from mimi_mlx.live.screen import Screen

CLIP = SPEECH / "kathleen-1.flac"  # 40134 samples: 21 frames, the last one ragged


def run(audio: FakeAudio, *args: object) -> None:
    parsed = cli.parse(["stream", "--model", "tiny", *map(str, args)])
    stream.check(parsed)
    stream.stream(parsed, audio, FakeWorker(audio))


def offline(tiny, pcm: np.ndarray) -> np.ndarray:
    return np.array(tiny.encode(pcm, num_codebooks=8))


def test_a_file_is_coded_as_offline(tiny, speech, tmp_path, capsys):
    files = "--record", tmp_path / "a.mimi", "--save-wav", tmp_path / "a.wav"
    code = cli.main(
        ["stream", "--model", "tiny", "--input", str(CLIP), "--fast", "--no-playback", "--json"]
        + [str(part) for part in files]
    )
    out = capsys.readouterr()
    assert code == 0, out.err
    found = codefile.read(tmp_path / "a.mimi")
    assert found.damage is None and found.samples == 40134 and found.header.source_rate == 24000
    assert found.header.metadata == {"model": "tiny"}
    np.testing.assert_array_equal(found.codes, offline(tiny, speech("kathleen-1")))
    sound, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    wanted = np.array(tiny.decode(found.codes, length=40134))[0, 0]
    np.testing.assert_allclose(sound, wanted, atol=1e-4)
    figures = json.loads(out.out)
    assert figures["frames"] == 21 and figures["speaker"] is None
    assert "21 frames, 1.1 kbps" in out.err
    fast = ["stream", "--model", "tiny", "--input", str(CLIP), "--fast", "--no-playback", "-q"]
    assert cli.main(fast) == 0 and capsys.readouterr() == ("", "")


def test_a_microphone_is_coded_as_offline(tiny, speech, tmp_path, monkeypatch, capsys):
    clip, frames = speech("kathleen-2"), []
    mic, speaker = FakeDevice("mic", inputs=1), FakeDevice("speaker", outputs=2)

    def sound(seconds: np.ndarray) -> np.ndarray:
        return clip[np.rint((seconds - 99) * 24000).astype(int) % len(clip)]

    inner = FrameCodec.encode
    monkeypatch.setattr(
        FrameCodec, "encode", lambda self, f, decode: frames.append(f) or inner(self, f, decode)
    )
    files = {name: tmp_path / name for name in ("a.mimi", "a.wav", "a.json")}
    options = zip(("--record", "--save-wav", "--trace"), files.values(), strict=True)
    args = [part for option in options for part in option]
    audio = FakeAudio(mic, speaker, sound=sound)
    run(audio, "--duration", 3, *args, "--json")
    pcm = np.concatenate(frames)
    whole = np.tile(clip, 3)
    start = next(i for i in range(len(clip) * 2) if (whole[i : i + 50] == pcm[:50]).all())
    np.testing.assert_array_equal(pcm, whole[start : start + len(pcm)])  # no sample is missing
    found = codefile.read(files["a.mimi"])
    wanted = offline(tiny, pcm)
    assert found.damage is None and wanted.shape[2] - found.codes.shape[2] in (0, 1)
    np.testing.assert_array_equal(found.codes, wanted[..., : found.codes.shape[2]])
    sound, rate = soundfile.read(files["a.wav"], dtype="float32")
    assert rate == 24000 and len(sound) == found.codes.shape[2] * 1920
    np.testing.assert_allclose(sound, np.array(tiny.decode(found.codes))[0, 0], atol=1e-4)
    # What the speaker played is that, but for its fade in and where it was stretched.
    _, heard = audio.ear()
    assert np.abs(heard).max() == pytest.approx(np.abs(sound).max(), rel=0.05)
    spans = [event["name"] for event in json.loads(files["a.json"].read_text())]
    assert spans.count("encode") == spans.count("decode") == found.codes.shape[2]
    assert not audio.ports  # all is closed
    out = capsys.readouterr()
    assert "input: 0 mic (fake), 24000 Hz" in out.err and "headphones" in out.err
    assert json.loads(out.out)["late_frames"] == 0


def test_a_file_in_place_of_the_microphone_is_paced_and_heard_to_its_end(tiny, speech, capsys):
    audio = FakeAudio(FakeDevice("headphones", outputs=2, rate=48000))
    start = audio.now
    run(audio, "--input", CLIP)
    seconds = 40134 / 24000
    assert seconds + 0.4 < audio.now - start < seconds + 0.9  # the device settles first
    times, heard = audio.ear()
    loud = times[np.abs(heard) > 0.01]
    wanted = np.array(tiny.decode(offline(tiny, speech("kathleen-1")), length=40134))[0, 0]
    said = np.flatnonzero(np.abs(wanted) > 0.01) / 24000
    assert np.ptp(loud) == pytest.approx(np.ptp(said), abs=0.01)
    assert "underruns 0" in capsys.readouterr().err


def test_devices_are_listed(monkeypatch, capsys):
    fakes = FakeDevice("Mic", inputs=1, rate=44100), FakeDevice("Speaker", outputs=2)
    monkeypatch.setattr(stream, "PortAudio", lambda: FakeAudio(*fakes))
    assert cli.main(["stream", "--list-devices"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        ">    0 Mic (fake): 1 in, 0 out, 44100 Hz",
        " <   1 Speaker (fake): 0 in, 2 out, 24000 Hz",
    ]
    assert cli.main(["stream", "--list-devices", "--json"]) == 0
    mic, speaker = json.loads(capsys.readouterr().out)
    assert mic == {
        **{"number": 0, "name": "Mic", "system": "fake", "inputs": 1, "outputs": 0, "rate": 44100},
        **{"is_default_input": True, "is_default_output": False},
    }
    assert speaker["name"] == "Speaker" and speaker["is_default_output"]


@pytest.mark.parametrize(
    ("args", "speaker", "line"),
    [
        ("--send a:1 --listen 2", "speaker", "on, as this is a call"),
        ("--send a:1 --listen 2", "My AirPods", "off, as only you hear My AirPods"),
        ("", "speaker", "off, as this is no call"),
        ("--echo-cancel on", "My AirPods", "on, as asked"),
        ("--echo-cancel off --send a:1 --listen 2", "speaker", "off, as asked"),
    ],
)
def test_the_first_line_says_whether_the_echo_is_cancelled_and_why(args, speaker, line):
    audio, said = FakeAudio(FakeDevice(speaker, outputs=2)), io.StringIO()
    parsed = cli.parse(["stream", *args.split()])
    echo_choice.check(parsed, True)
    echo = echo_choice.choose(parsed, audio, Screen(said, audio.clock))
    lines = [f"echo cancellation: {line}"]
    if not echo and speaker == "speaker":
        lines.append("hint: use headphones, or the sound goes round in circles")
    assert said.getvalue().splitlines() == lines and bool(echo) == line.startswith("on")


def test_without_the_package_calls_go_on_and_who_asks_for_it_is_told(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pywebrtc_audio", None)
    audio, said = FakeAudio(FakeDevice("speaker", outputs=2)), io.StringIO()
    parsed = cli.parse(["stream", "--send", "a:1", "--listen", "2"])
    assert echo_choice.choose(parsed, audio, Screen(said, audio.clock)) is None
    assert "off, as pywebrtc-audio is missing (pip install '.[aec]')" in said.getvalue()
    assert cli.main(["stream", "--echo-cancel", "on"]) == 2
    err = capsys.readouterr().err
    assert "pip install '.[aec]'" in err and err.count("\n") == 1


def test_a_microphone_whose_rate_does_not_do_is_an_error_if_it_was_asked_for(capsys):
    audio = FakeAudio(FakeDevice("mic", inputs=1, rate=96000), FakeDevice("speaker", outputs=2))
    with pytest.raises(ValueError, match=r"does not take 96000 Hz.*another microphone") as error:
        run(audio, "--echo-cancel", "on")
    assert "\n" not in str(error.value) and not audio.ports


def test_without_devices_the_list_says_so(monkeypatch, capsys):
    monkeypatch.setattr(stream, "PortAudio", FakeAudio)
    assert cli.main(["stream", "--list-devices"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and "there are no audio devices" in err and err.count("\n") == 1
    assert cli.main(["stream", "--list-devices", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == []


def names(found: object) -> set[str]:
    """All keys of what was JSON."""
    if isinstance(found, list):
        return set().union(*map(names, found))
    if isinstance(found, dict):
        return set(found).union(*map(names, found.values()))
    return set()


def test_the_figures_have_plain_names(capsys):
    audio = FakeAudio(FakeDevice("mic", inputs=1), FakeDevice("headphones", outputs=2))
    run(audio, "--duration", 1, "--json")
    figures = json.loads(capsys.readouterr().out)
    assert figures["mouth_to_ear_parts_ms"]["frame"] == 80
    assert {name for name in names(figures) if not re.fullmatch("[a-z][a-z0-9_]*", name)} == set()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("--fast", "--fast is for a file"),
        ("--fast --input CLIP", "--fast is too fast to be heard"),
        ("--fast --input CLIP --no-playback --send localhost:7000", "flood the network"),
        ("--listen 7000 --input CLIP", "--listen alone sends nothing"),
        ("--input CLIP -i 0", "--input is in place of a microphone"),
        ("--mono", "--mono is for a file"),
        ("--allow localhost", "--allow is about who is heard"),
        ("--bind 127.0.0.1", "--bind is about who can send"),
        ("--listen 7000 --bind 192.0.2.1 --no-playback --model tiny", "port 7000 of 192.0.2.1"),
        ("--send localhost:7000 --save-wav a.wav", "--send alone decodes nothing"),
        ("--echo-cancel on --no-playback", "Leave --no-playback out"),
        ("--echo-cancel on --input CLIP", "Leave --input out"),
        ("--echo-cancel on --listen 7000", "Give --send and --listen, or none"),
        ("--noise-suppression --echo-cancel off", "Leave --echo-cancel off out"),
        ("--auto-gain --send localhost:7000", "--auto-gain needs a speaker and a microphone"),
        ("--latency 0", "--latency is 0"),
        ("--duration -1", "--duration is -1"),
        ("--save-wav a.txt", "'.txt'"),
        ("--record CLIP", "'.flac'"),
        ("--record a.wav", "'.wav'"),
        ("--trace a.wav", "'.wav'"),
        ("--trace -", "''"),
        ("--save-wav CLIP", "exists"),
        ("--record - --json", "both go to stdout"),
        ("--input nothing.wav --no-playback --model tiny", "nothing.wav is no file"),
        ("--input CLIP --no-playback --model tiny --num-codebooks 99", "99"),
    ],
)
def test_options_that_do_not_fit_are_told_in_a_line(args, message, capsys):
    args = [str(CLIP) if arg == "CLIP" else arg for arg in args.split()]
    assert cli.main(["stream", *args]) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1


@pytest.mark.parametrize("args", [("--send", "7000"), ("--send", "a:b"), ("--listen", "70000")])
def test_addresses_that_are_none(args, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["stream", *args])
    assert "is no" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ModuleNotFoundError("No module named 'sounddevice'"), "pip install '..mic.'"),
        (OSError("PortAudio library not found"), "PortAudio cannot be loaded"),
    ],
)
def test_what_is_not_installed_is_named(error, message, monkeypatch):
    class Missing:
        def find_spec(self, name, *_):
            if name == "sounddevice":
                raise error

    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
    with pytest.raises(ValueError, match=message):
        PortAudio().devices()


@pytest.mark.parametrize(
    "args",
    [
        ["-i", "nothing"],  # a device that is not there
        ["--input", "nothing.wav"],
        ["--input", CLIP, "--send", "a..b:7000"],  # no such host
        ["--num-codebooks", 99],
        ["--listen", 7000, "--no-playback", "--duration", 0.1],  # nobody sends
    ],
)
def test_what_is_there_stays_until_there_is_something_to_keep(args, tmp_path):
    files = {name: tmp_path / name for name in ("a.mimi", "a.wav", "a.json")}
    options = list(zip(("--record", "--save-wav", "--trace"), files.values(), strict=True))
    if "--send" in args or "--listen" in args:
        del options[1 if "--send" in args else 2]
    for path in files.values():
        path.write_bytes(b"old")
    audio = FakeAudio(FakeDevice("mic", inputs=1), FakeDevice("speaker", outputs=2))
    with contextlib.nullcontext() if "--listen" in args else pytest.raises(ValueError):
        run(audio, *args, "-f", *(part for option in options for part in option))
    assert sorted(tmp_path.iterdir()) == sorted(files.values())
    assert {path.read_bytes() for path in files.values()} == {b"old"}


def test_codes_are_recorded_into_a_pipe(tiny, speech, tmp_path):
    command = [sys.executable, "-m", "mimi_mlx.stream", "--model", "tiny", "--record", "-"]
    done = subprocess.run(
        [*command, "--input", str(CLIP), "--fast", "--no-playback"], capture_output=True
    )
    assert done.returncode == 0, done.stderr
    found = codefile.read(io.BytesIO(done.stdout))
    assert found.damage is None and found.samples == 40134
    np.testing.assert_array_equal(found.codes, offline(tiny, speech("kathleen-1")))


def started(tmp_path, *args: object) -> subprocess.Popen:
    """A process that codes a file in real time, once its first frames are written."""
    command = [sys.executable, "-m", "mimi_mlx.stream", "--model", "tiny", "--no-playback"]
    long = tmp_path / "long.wav"
    sound, rate = soundfile.read(CLIP)
    soundfile.write(long, np.tile(sound, 20), rate)
    command += ["--input", str(long), "--record", str(tmp_path / "a.mimi"), *map(str, args)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        path = tmp_path / "a.mimi"
        if path.exists() and path.stat().st_size > 300:
            return process
        time.sleep(0.02)
    raise AssertionError(process.communicate()[1])


@pytest.mark.slow
def test_what_was_recorded_is_whole_after_a_kill(tmp_path):
    process = started(tmp_path, "--trace", tmp_path / "a.json")
    process.kill()
    process.communicate()
    found = codefile.read(tmp_path / "a.mimi")
    assert found.codes.shape[2] >= 12
    assert np.array_equal(found.codes[..., :12], found.codes[..., :12].clip(0, 2047))
    text = (tmp_path / "a.json").read_text()
    assert {event["pid"] for event in json.loads(text + "]")} == {1}


@pytest.mark.slow  # every day on the virtual devices
def test_ctrl_c_ends_it_well(tmp_path):
    process = started(tmp_path)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "encode: " in err and "Traceback" not in err
    assert codefile.read(tmp_path / "a.mimi").damage is None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGHUP", "SIGTERM"])
def test_a_recording_is_whole_when_the_terminal_has_gone(tmp_path, name):
    """Nobody reads what is said any more, and a shell repeats the signal."""
    process = started(tmp_path, "--save-wav", tmp_path / "a.wav")
    process.stderr.close()
    for _ in range(3):
        process.send_signal(getattr(signal, name))
    assert process.wait(60) == 128 + getattr(signal, name)
    found = codefile.read(tmp_path / "a.mimi")
    assert found.damage is None and found.samples == soundfile.info(tmp_path / "a.wav").frames


@pytest.mark.slow
def test_in_the_background_ctrl_c_stays_ignored(tmp_path):
    """As the shell that started it wants it; a second one must not be taken for the first."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = started(tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        assert process.poll() is None
    process.terminate()
    assert process.wait(60) == 143
    assert codefile.read(tmp_path / "a.mimi").codes.shape[2] > 4


def test_without_a_device_no_thread_is_left(tmp_path):
    before = threading.active_count()
    args = ["--input", str(CLIP), "--fast", "--no-playback", "--model", "tiny"]
    assert cli.main(["stream", *args]) == 0
    assert threading.active_count() == before


@pytest.mark.parametrize("option", ["--save-wav", "--record"])
def test_a_disk_that_becomes_full_is_told_with_the_files_name(tmp_path, option):
    name = "a.wav" if option == "--save-wav" else "a.mimi"
    limit = "import resource as r; r.setrlimit(r.RLIMIT_FSIZE, (200, 200)); "
    code = limit + "from mimi_mlx import cli; raise SystemExit(cli.main())"
    rest = ["--input", str(CLIP), "--fast", "--no-playback", option, name, "--model", "tiny"]
    done = subprocess.run(
        [sys.executable, "-c", code, "stream", *rest], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    assert "File too large. Make room" in done.stderr and "Traceback" not in done.stderr
    assert name in done.stderr or option == "--record"
