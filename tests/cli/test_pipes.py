"""Pipes: what goes through ``-`` is what goes through files, as it comes, to its end."""

import functools
import io
import os
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from paths import SPEECH

from mimi_mlx import audio, codefile, files
from mimi_mlx.cli import code_io, sound_io
from mimi_mlx.codefile import writer

CLIP = SPEECH / "kathleen-1.flac"  # 40134 samples: 21 frames, the last one ragged
TINY = ("--model", "tiny")
RAW = ("--raw", "s16le", "--sample-rate", 24000)


def samples16() -> bytes:
    return soundfile.read(CLIP, dtype="int16")[0].astype("<i2").tobytes()


@pytest.fixture
def piped(run, tmp_path, monkeypatch):
    """Run the command line with bytes on stdin: exit code, bytes on stdout, stderr."""

    def piped(data: bytes, *args: object) -> tuple[int, bytes, str]:
        (tmp_path / "stdin").write_bytes(data)
        (tmp_path / "stdout").write_bytes(b"")
        for module, name, mode in (
            (files, "stdin", "rb"),
            (sound_io, "stdout", "wb"),
            (code_io, "stdout", "wb"),
        ):
            opened = functools.partial(open, tmp_path / name, mode, buffering=0)
            monkeypatch.setattr(module, name, opened)
        code, out, err = run(*args, *TINY) if args[0] not in ("info", "demo") else run(*args)
        got = (tmp_path / "stdout").read_bytes() or out.encode()
        (tmp_path / "stdin").unlink()
        (tmp_path / "stdout").unlink()
        return code, got, err

    return piped


def good(result: tuple[int, bytes, str]) -> bytes:
    assert result[0] == 0, result[2]
    return result[1]


@pytest.mark.slow
def test_the_pipe_gives_what_files_give(piped, tmp_path):
    good(piped(b"", "encode", CLIP, "-o", "file.mimi"))
    file = (tmp_path / "file.mimi").read_bytes()
    # In a pipe blocks are single frames, so that each goes out at once; the codes are the same.
    code = good(piped(samples16(), "encode", *RAW, "-", "-o", "-"))
    piped_file, filed = codefile.read(io.BytesIO(code)), codefile.read(tmp_path / "file.mimi")
    np.testing.assert_array_equal(piped_file.codes, filed.codes)
    assert piped_file.samples == filed.samples == 40134
    assert piped_file.damage is None
    # To a file all is known in the end, and the bytes are the same.
    good(piped(samples16(), "encode", *RAW, "-", "-o", "raw.mimi"))
    assert (tmp_path / "raw.mimi").read_bytes() == file
    good(piped(CLIP.read_bytes(), "encode", "-", "-o", "sound.mimi"))
    assert (tmp_path / "sound.mimi").read_bytes() == file
    for kind in ("s16le", "f32le"):
        a = good(piped(code, "decode", "-", "-o", "-", "--raw", kind))
        b = good(piped(b"", "decode", "file.mimi", "-o", "-", "--raw", kind))
        assert a == b and len(a) == 40134 * (2 if kind == "s16le" else 4)
    good(piped(b"", "decode", "file.mimi", "-o", "file.wav"))
    there = audio.load(tmp_path / "file.wav").samples
    np.testing.assert_allclose(np.frombuffer(b, "<f4"), there, atol=1e-4)


def test_wav_on_stdout_is_of_unknown_length_and_read_again(piped, tmp_path):
    good(piped(b"", "encode", CLIP, "-o", "a.mimi"))
    wav = good(piped(b"", "decode", "a.mimi", "-o", "-"))
    assert wav[4:8] == wav[40:44] == b"\xff\xff\xff\xff"
    raw = good(piped(b"", "decode", "a.mimi", "-o", "-", "--raw", "s16le"))
    assert wav[44:] == raw
    samples, rate = soundfile.read(io.BytesIO(wav))
    assert rate == 24000 and len(samples) == 40134
    assert b"40134 samples" in good(piped(wav, "info", "-"))
    assert b"[1, 8, 21]" in good(piped((tmp_path / "a.mimi").read_bytes(), "info", "-"))
    demo = good(piped(b"", "demo", "-o", "-"))
    assert demo.startswith(b"RIFF") and b"codebooks" not in demo


def test_a_ragged_frame_and_the_end_that_says_so_go_out_at_once(piped, monkeypatch):
    """What decodes at the other end gives a frame when nothing follows it: none may be cut then."""
    sizes = []

    def put(file: io.RawIOBase, data: bytes) -> None:
        sizes.append(len(data))
        file.write(data)

    monkeypatch.setattr(writer, "put", put)
    good(piped(samples16(), "encode", *RAW, "-", "-o", "-"))
    assert sizes == [64 + 16, *[28 + 11] * 20, 28 + 11 + 28]


def test_roundtrip_through_a_pipe_is_that_of_files(piped, speech, tmp_path):
    at8k = audio.resample(speech("kathleen-1"), 24000, 8000)[:-3]
    args = ("roundtrip", "-", "-o", "-", "--raw", "f32le", "--sample-rate", 8000)
    back = good(piped(at8k.astype("<f4").tobytes(), *args))
    soundfile.write(tmp_path / "in.wav", at8k, 8000, "FLOAT")
    good(piped(b"", "roundtrip", "in.wav", "-o", "out.wav"))
    there = audio.load(tmp_path / "out.wav")
    assert there.sample_rate == 8000 and len(there.samples) == len(at8k)
    np.testing.assert_allclose(np.frombuffer(back, "<f4"), there.samples, atol=1e-4)


def test_a_cut_pipe_gives_every_good_frame_and_exit_code_1(piped):
    code = good(piped(samples16(), "encode", *RAW, "-", "-o", "-"))
    whole = good(piped(code, "decode", "-", "-o", "-", "--raw", "f32le"))
    result, part, err = piped(code[:-40], "decode", "-", "-o", "-", "--raw", "f32le")
    assert result == 1 and "stdin is damaged" in err and "cut off" in err
    assert part == whole[: 20 * 1920 * 4]


def test_half_a_sample_at_the_end_is_named(piped):
    with pytest.warns(UserWarning, match="1 bytes short of a whole sample"):
        codes = good(piped(samples16() + b"x", "encode", *RAW, "-", "-o", "-"))
    assert codefile.read(io.BytesIO(codes)).samples == 40134


@pytest.mark.parametrize(
    ("data", "args", "rule"),
    [
        (b"", ("encode", *RAW, "-", "-o", "-"), "stdin has 0 samples"),
        (b"", ("encode", "-", "-o", "a.mimi"), "stdin has 0 bytes"),
        (b"no sound", ("roundtrip", "-", "-o", "-"), "stdin cannot be read as sound (Format not"),
        (b"no codes", ("decode", "-", "-o", "-"), "stdin has 8 bytes; a .mimi file begins"),
        (b"", ("decode", "-", "-o", "a.wav"), "stdin has 0 bytes; a .mimi file begins"),
        (b"", ("info", "-"), "stdin has 0 bytes"),
        (b"", ("encode", "-", "-o", "-", "--raw", "s16le"), "Give --sample-rate"),
        (b"", ("encode", "-", "-o", "-", "--sample-rate", 8000), "Leave it out"),
        (b"", ("encode", *RAW[:3], 7, "-", "-o", "-"), "from 1000 to 1000000"),
        (b"", ("encode", CLIP, "-o", "-", "--raw", "s16le"), "Give - for the pipe"),
        (b"", ("decode", "-", "-o", "a.wav", "--raw", "s16le"), "Give - for the pipe"),
        (b"", ("roundtrip", CLIP, "-o", "a.wav", "--raw", "s16le"), "Give - for the pipe"),
        (np.full(9, np.nan, "<f4").tobytes(),
         ("encode", "--raw", "f32le", "--sample-rate", 24000, "-", "-o", "a.mimi"), "NaN"),
    ],
)  # fmt: skip
def test_wrong_pipes_are_one_line(piped, tmp_path, data, args, rule):
    code, _, err = piped(data, *args)
    assert code == 2 and rule in err and err.count("\n") == 1, err
    assert not list(tmp_path.iterdir())


def test_stdout_that_is_a_terminal_is_refused(piped, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    code, _, err = piped(b"", "encode", CLIP, "-o", "-")
    assert code == 2 and "a terminal" in err


def start(*args: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "mimi_mlx", *map(str, args), *TINY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    )


def read_exactly(file: io.RawIOBase, size: int) -> bytes:
    data = b""
    while len(data) < size and (piece := file.read(size - len(data))):
        data += piece
    return data


def test_frames_go_through_both_processes_as_they_come_and_end_cleanly():
    encode = start("encode", *RAW, "-", "-o", "-")
    decode = start("decode", "-", "-o", "-", "--raw", "s16le")
    watch = threading.Timer(60, lambda: (encode.kill(), decode.kill()))  # ends what waits for ever
    watch.start()
    data, got, waits = samples16(), b"", []
    for i in range(10):
        # The next frame comes only when this one is out: nothing may wait for what follows.
        encode.stdin.write(data[3840 * i : 3840 * (i + 1)])
        since = time.perf_counter()
        decode.stdin.write(read_exactly(encode.stdout, 39 if i else 64 + 16 + 39))
        waits.append(time.perf_counter() - since)
        got += read_exactly(decode.stdout, 3840)
    assert len(got) == 10 * 3840
    assert np.median(waits[3:]) < 0.2, "a frame of codes took longer"
    encode.stdin.write(data[38400:38402])  # a ragged frame, of one sample
    encode.stdin.close()
    decode.stdin.write(encode.stdout.read())
    decode.stdin.close()
    assert len(decode.stdout.read()) == 2
    for process in (encode, decode):
        assert process.wait(60) == 0
        assert process.stderr.read().count(b"\n") == 1
    watch.cancel()


def wav_of(samples: bytes, size: int) -> bytes:
    """A WAV file as it comes through a pipe, with what others put in front of the samples."""
    kind = struct.pack("<IHHIIHH", 16, 1, 1, 24000, 48000, 2, 16)
    chunks = b"fmt " + kind + b"LIST" + struct.pack("<I", 5) + b"hello\0"
    return b"RIFF\xff\xff\xff\xffWAVE" + chunks + b"data" + struct.pack("<I", size) + samples


@pytest.mark.parametrize("size", [0, 2**32 - 1, 2 * 40134])
def test_a_frame_of_a_wav_pipe_is_out_before_the_next_is_in(size):
    data = wav_of(samples16(), size)
    head = len(data) - 2 * 40134
    encode = start("encode", "-", "-o", "-")
    watch = threading.Timer(60, encode.kill)
    watch.start()
    encode.stdin.write(data[: head + 3840])
    got = read_exactly(encode.stdout, 64 + 16 + 39)
    for i in range(1, 4):
        assert len(got) == 64 + 16 + 39 * i
        encode.stdin.write(data[head + 3840 * i : head + 3840 * (i + 1)])
        got += read_exactly(encode.stdout, 39)
    encode.stdin.write(data[head + 3840 * 4 :] + b"LIST\0\0\0\0" * (0 < size < 2**31))
    out, err = encode.communicate(timeout=60)
    watch.cancel()
    assert encode.returncode == 0, err
    assert codefile.read(io.BytesIO(got + out)).samples == 40134


@pytest.mark.slow
def test_fifos_and_descriptors_are_pipes(tmp_path):
    """As the shell gives them: <(...), a FIFO, /dev/fd/3."""
    mimi = f"{sys.executable} -m mimi_mlx"
    script = f"""set -e
    export PYTHONPATH={Path(__file__).parents[2]}
    {mimi} encode {CLIP} -o a.mimi --model tiny
    mkfifo fifo
    cat {CLIP} > fifo & {mimi} encode fifo -o b.mimi --model tiny
    {mimi} decode <(cat a.mimi) -o a.wav --model tiny
    {mimi} roundtrip /dev/fd/3 -o b.wav --model tiny 3< {CLIP}
    {mimi} encode <(cat {CLIP}) -o b.mimi -f --raw s16le --model tiny && exit 9
    {mimi} info <(cat a.mimi)
    {mimi} info <(cat {CLIP})
    {mimi} info fifo.wav && exit 9 || test $? = 2
    """
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    a, b = (codefile.read(tmp_path / f"{name}.mimi") for name in "ab")
    np.testing.assert_array_equal(a.codes, b.codes)
    a, b = (audio.load(tmp_path / f"{name}.wav").samples for name in "ab")
    np.testing.assert_allclose(a, b, atol=1e-4)
    assert "[1, 8, 21]" in done.stdout and "40134 samples" in done.stdout
    assert done.stdout.count("/dev/fd/") == 2


def test_a_damaged_wav_pipe_is_one_line():
    data = wav_of(b"", 0).replace(struct.pack("<HH", 1, 1), struct.pack("<HH", 7, 1))  # mu-law
    for broken in (data[:30], data[:-8] + b"\xff" * 40, b"RIFF" + bytes(9), b"FORM" + data[4:]):
        process = start("encode", "-", "-o", "-")
        out, err = process.communicate(broken, timeout=60)
        assert process.returncode == 2 and out == b"" and err.count(b"\n") == 1, err
        assert b"stdin" in err and b"tempfile" not in err


def test_a_reader_that_leaves_ends_the_writer_quietly(tmp_path):
    processes = []
    for args in (("encode", CLIP, "-o", "-"), ("roundtrip", CLIP, "-o", "-", "--raw", "f32le")):
        process = start(*args)
        process.stdout.close()
        processes.append(process)
    for process in processes:
        assert process.wait(60) == 141 and process.stderr.read() == b""


@pytest.mark.slow
def test_the_shell_pipe_is_the_file_route_byte_for_byte(tmp_path):
    """As the README has it, with portions that have nothing to do with frames."""
    (tmp_path / "in.s16").write_bytes(samples16())
    mimi = f"{sys.executable} -m mimi_mlx"
    raw = "--raw s16le --sample-rate 24000"
    script = f"""set -e -o pipefail
    dd if=in.s16 bs=777 status=none | {mimi} encode {raw} - -o - --model tiny \\
        | {mimi} decode - -o - --raw f32le --model tiny > pipe.f32
    {mimi} encode {CLIP} -o a.mimi --model tiny
    {mimi} decode a.mimi -o - --raw f32le --model tiny > file.f32
    cmp pipe.f32 file.f32
    """
    root = str(Path(__file__).parents[2])
    env = os.environ | {"PYTHONPATH": root}
    subprocess.run(["bash", "-c", script], cwd=tmp_path, env=env, check=True)
    assert (tmp_path / "pipe.f32").stat().st_size == 4 * 40134
