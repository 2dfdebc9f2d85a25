"""The .mimi file in use: through pipes, while it grows, appended to, and killed."""

import errno
import io
import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path

import mimi_file_from_spec as spec
import numpy as np
import pytest
from mimi_files import MARK, some_codes, written

from mimi_mlx import codefile
from mimi_mlx.codefile import Header, Reader, Writer, bitpack

EXAMPLE = Path(__file__).parents[2] / "examples" / "live_recorder.py"


# Reading from pipes and while a file grows


class OnlyRead:
    """A stream that can do nothing but read, in pieces of one size."""

    def __init__(self, data: bytes, size: int):
        self._file, self._size = io.BytesIO(data), size

    def read(self, size: int) -> bytes:
        return self._file.read(min(size, self._size))


@pytest.mark.parametrize("size", [1, 13, 1 << 20])
def test_reading_neither_seeks_nor_needs_whole_pieces(size):
    codes = some_codes(8, 40)
    data = written(codes, Header(8, metadata={"a": 1}), block_frames=7)
    read = codefile.read(OnlyRead(data, size))
    np.testing.assert_array_equal(read.codes[0], codes)
    assert read.damage is None


def test_several_files_in_one_stream_are_read_one_after_the_other():
    clips = [some_codes(8, n, seed=n) for n in (5, 0, 9)]
    stream = io.BytesIO(b"".join(written(codes, Header(8)) for codes in clips) + b"rest")
    for codes in clips:
        np.testing.assert_array_equal(codefile.read(stream).codes[0], codes)
    assert stream.read() == b"rest"


def test_a_pipe_gives_each_block_as_soon_as_it_is_written():
    ours, theirs = os.pipe()
    codes = some_codes(8, 3)
    with open(ours, "rb", buffering=0) as source, open(theirs, "wb") as sink:
        writer = Writer(sink, Header(8), block_frames=1)
        assert select.select([source], [], [], 5)[0]
        reader = Reader(source)
        blocks = iter(reader)
        for n in range(3):
            writer.write(codes[:, n : n + 1])
            assert select.select([source], [], [], 5)[0]
            np.testing.assert_array_equal(next(blocks), codes[:, n : n + 1])
            assert not select.select([source], [], [], 0)[0]
        writer.close()
        assert next(blocks, None) is None
        assert reader.damage is None


def test_a_pipe_carries_what_a_file_holds(tmp_path):
    ours, theirs = os.pipe()
    codes = some_codes(32, 4000)  # more than a pipe's buffer

    def write():
        with open(theirs, "wb", buffering=0) as sink:
            codefile.write(sink, codes, Header(32))

    thread = threading.Thread(target=write)
    thread.start()
    with open(ours, "rb", buffering=0) as source:
        read = codefile.read(source)
    thread.join()
    np.testing.assert_array_equal(read.codes[0], codes)
    assert read.damage is None


def test_a_closed_pipe_ends_writing_with_the_systems_error():
    ours, theirs = os.pipe()
    os.close(ours)
    with open(theirs, "wb", buffering=0) as sink, pytest.raises(BrokenPipeError):
        codefile.write(sink, some_codes(8, 3), Header(8))


@pytest.mark.parametrize("step", [1, 5, 28])
def test_a_growing_file_is_read_again_and_again(tmp_path, step):
    codes = some_codes(8, 11)
    data = written(codes, Header(8), 11 * 1920 - 3, block_frames=2)
    path = tmp_path / "a.mimi"
    path.write_bytes(data[:64])
    found = []
    with path.open("ab", buffering=0) as file, Reader(path) as reader:
        for start in range(64, len(data), step):
            assert not reader.ended and "no end" in reader.damage
            file.write(data[start : start + step])
            found += list(reader)
            assert sum(block.shape[1] for block in found) == reader.frames == reader.position
            whole = spec.records(data[: start + step])
            assert len(found) == len(whole) - ("end" in whole)
        assert reader.ended and reader.damage is None and reader.samples == 11 * 1920 - 3
    np.testing.assert_array_equal(np.concatenate(found, axis=1), codes)


class Raw(io.BytesIO):
    """A file that takes a few bytes at a time, as raw ones may."""

    def write(self, data) -> int:
        return super().write(data[:5])


def test_a_raw_file_takes_everything_in_the_end():
    file, codes = Raw(), some_codes(8, 9)
    codefile.write(file, codes, Header(8))
    np.testing.assert_array_equal(codefile.read(io.BytesIO(file.getvalue())).codes[0], codes)


# Appending


@pytest.mark.parametrize("block_frames", [1, 4, 125])
def test_appending_goes_on_where_the_file_ended(tmp_path, block_frames):
    path, codes = tmp_path / "a.mimi", some_codes(8, 30)
    header = Header(8, fingerprint=MARK, source_rate=44100, metadata={"a": 1})
    for start, end in [(0, 10), (10, 10), (10, 17), (17, 30)]:
        with Writer(path, header, append=True, block_frames=block_frames) as writer:
            assert writer.frames == start
            assert codefile.read(path).header.frames is None
            writer.write(codes[:, start:end])
            writer.close(end * 1920 - 9)
        read = codefile.read(path)
        np.testing.assert_array_equal(read.codes[0], codes[:, :end])
        assert (read.samples, read.damage, read.header.frames) == (end * 1920 - 9, None, end)
        assert read.header.metadata == {"a": 1} and read.header.source_rate == 44100


def test_appending_to_a_file_cut_anywhere_keeps_its_good_blocks(tmp_path):
    path, codes = tmp_path / "a.mimi", some_codes(2, 8)
    codefile.write(path, codes, Header(2))
    with Writer(path, Header(2), block_frames=3) as writer:
        writer.write(codes)
    data = path.read_bytes()
    for cut in range(64, len(data) + 1):
        path.write_bytes(data[:cut])
        before = codefile.read(path).codes.shape[2]
        assert before == sum(cut >= end for end in (101, 138, 172)) * 3 - (cut >= 172)
        with Writer(path, Header(2), append=True) as writer:
            writer.write(codes[:, before:])
        read = codefile.read(path)
        np.testing.assert_array_equal(read.codes[0], codes)
        assert read.damage is None and read.header.frames == 8


def test_appending_begins_a_file_that_is_not_there_or_empty(tmp_path):
    codes = some_codes(8, 3)
    (tmp_path / "empty.mimi").touch()
    for name in ("empty.mimi", "new.mimi"):
        with Writer(tmp_path / name, Header(8), append=True) as writer:
            writer.write(codes)
        np.testing.assert_array_equal(codefile.read(tmp_path / name).codes[0], codes)


def test_appending_is_refused_to_other_codes_and_then_changes_nothing(tmp_path):
    path = tmp_path / "a.mimi"
    codefile.write(path, some_codes(8, 3), Header(8, fingerprint=MARK))
    data = path.read_bytes()
    for header, what in [
        (Header(4, fingerprint=MARK), "num_codebooks is 8; .* is 4"),
        (Header(8, 12, fingerprint=MARK), "bits_per_code is 11; .* is 12"),
        (Header(8, sample_rate=16000, fingerprint=MARK), "sample_rate is 24000"),
        (Header(8, frame_size=960, fingerprint=MARK), "frame_size is 1920"),
        (Header(8), f"fingerprint is {MARK}; .* is None"),
    ]:
        with pytest.raises(ValueError, match=what):
            Writer(path, header, append=True)
        assert path.read_bytes() == data
    damaged = bytearray(data)
    damaged[20] ^= 1
    for other, what in [(bytes(damaged), "damaged header"), (b"RIFF" + data, "begins with b'RIFF")]:
        path.write_bytes(other)
        with pytest.raises(ValueError, match=what):
            Writer(path, Header(8, fingerprint=MARK), append=True)
        assert path.read_bytes() == other
    with pytest.raises(ValueError, match="only a file at a path"):
        Writer(io.BytesIO(data), Header(8), append=True)


def test_appending_drops_what_is_behind_the_end(tmp_path):
    path, codes = tmp_path / "a.mimi", some_codes(8, 3)
    codefile.write(path, codes, Header(8))
    data = path.read_bytes()
    path.write_bytes(data + bytes(100))
    Writer(path, Header(8), append=True).close()
    assert path.read_bytes() == data


def test_a_file_holds_2_to_the_40_frames(tmp_path):
    path, header = tmp_path / "a.mimi", Header(8)
    block = codefile.records.pack_block(bytes(33), header, 2**40 - 4, 0)
    path.write_bytes(codefile.header.pack(header) + block)
    with Writer(path, header, append=True) as writer:
        writer.write(some_codes(8, 1))
        with pytest.raises(ValueError, match="1099511627777 frames; a file holds 1099511627776"):
            writer.write(some_codes(8, 1))
    assert codefile.read(path).codes.shape == (1, 8, 4)


def test_flags_of_later_writers_are_kept(tmp_path):
    path, codes, header = tmp_path / "a.mimi", some_codes(8, 6), Header(8)
    flags = b"\0\0\x01\x80"  # the upper 16, which may be ignored
    head = codefile.header.pack(header)
    head = codefile.header.sealed(head[:12] + flags + head[16:60])
    packed = bitpack.pack(codes[:, :3], 11)
    previous = codefile.header.identity(head)
    path.write_bytes(head + codefile.records.pack_block(packed, header, 0, previous))
    with Writer(path, header, append=True) as writer:
        writer.write(codes[:, 3:])
    assert path.read_bytes()[12:16] == flags
    read = codefile.read(path)
    assert read.damage is None
    np.testing.assert_array_equal(read.codes[0], codes)


# Kills and errors while writing

_KILLED = """
import sys, numpy as np
from mimi_mlx.codefile import Header, Writer
codes = np.arange(8 * 1000).reshape(8, 1000) % 2048
with Writer(sys.argv[1], Header(8), block_frames=5) as writer:
    for n in range(1000):
        writer.write(codes[:, n : n + 1])
        print(n + 1, flush=True)
        if n == 42:
            sys.stdin.read()
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="a kill is what is tested")
def test_a_kill_loses_less_than_a_block(tmp_path):
    path = tmp_path / "a.mimi"
    command = [sys.executable, "-c", _KILLED, str(path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        for line in process.stdout:
            if int(line) == 43:
                break
        process.kill()
    read = codefile.read(path)
    np.testing.assert_array_equal(read.codes[0], (np.arange(8000).reshape(8, 1000) % 2048)[:, :40])
    assert "no end" in read.damage


class Disk(io.BytesIO):
    """A file that has room for some bytes more, if any number is given."""

    room: int | None = None

    def write(self, data) -> int:
        if self.room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = super().write(data[: self.room])
        if self.room is not None:
            self.room -= taken
        return taken


def test_frames_that_a_full_disk_refused_are_written_once_there_is_room():
    file, codes = Disk(), some_codes(8, 9)
    with Writer(file, Header(8), block_frames=2) as writer:
        writer.write(codes[:, :3])
        file.room = 20
        with pytest.raises(OSError, match="No space left"):
            writer.write(codes[:, 3:8])
        file.room = None
        writer.write(codes[:, 8:])
    read = codefile.read(io.BytesIO(file.getvalue()))
    np.testing.assert_array_equal(read.codes[0], codes)
    assert read.damage.endswith("20 bytes are in no good block")


def test_an_error_keeps_the_frames_and_leaves_the_file_open_ended(tmp_path):
    path, codes = tmp_path / "a.mimi", some_codes(8, 7)
    with pytest.raises(KeyboardInterrupt), Writer(path, Header(8)) as writer:
        writer.write(codes)
        raise KeyboardInterrupt
    read = codefile.read(path)
    np.testing.assert_array_equal(read.codes[0], codes)
    assert "no end" in read.damage and read.samples == 7 * 1920
    with pytest.raises(ValueError, match="write after close"):
        writer.write(codes)


# The example


def test_the_live_recorder_runs():
    done = subprocess.run([sys.executable, EXAMPLE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "live equals offline" in done.stdout
