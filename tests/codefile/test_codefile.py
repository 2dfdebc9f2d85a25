"""The .mimi file: what is written is read, by us and by a reader made from the specification."""

import io
import re
import tracemalloc
from pathlib import Path

import mimi_file_from_spec as spec
import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from mimi_files import MARK, some_codes, written

from mimi_mlx import codefile
from mimi_mlx.codefile import Header, Reader, Writer, bitpack

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "mimi-format.md").read_text()


@st.composite
def clips(draw):
    """A header and codes ``[K, F]`` that fit it."""
    count, bits = draw(st.integers(1, 32)), draw(st.integers(1, 16))
    shape = (count, draw(st.integers(0, 40)))
    numbers = st.integers(0, 2**bits - 1)
    codes = draw(arrays.arrays(np.int32, shape, elements=numbers, fill=numbers))
    known = st.none() | st.integers(1, 2**32 - 1)
    header = Header(
        count,
        bits,
        draw(st.integers(1, 2**32 - 1)),
        draw(st.integers(1, 2**20)),
        source_rate=draw(known),
        fingerprint=draw(st.none() | st.just(MARK)),
        metadata=draw(
            st.dictionaries(st.text(), st.none() | st.text() | st.integers(), max_size=3)
        ),
    )
    missing = draw(st.integers(0, header.frame_size - 1)) if codes.size else 0
    return header, codes, codes.shape[1] * header.frame_size - missing


# The specification


def test_the_test_vector_of_the_specification(tmp_path):
    dump = re.search(r"## Test vector.*?```\n(.*?)```", DOCS, re.S)[1]
    data = b"".join(bytes.fromhex(line[4:]) for line in dump.splitlines())
    codes = np.array([[1, 2047, 1024], [2, 0, 1365]])
    header = Header(2, source_rate=48000, fingerprint=MARK, metadata={"title": "Hi"})
    with Writer(tmp_path / "a.mimi", header, block_frames=2) as writer:
        writer.write(codes)
        writer.close(5000)
    assert (tmp_path / "a.mimi").read_bytes() == data
    read = codefile.read(io.BytesIO(data))
    np.testing.assert_array_equal(read.codes, codes[None])
    assert (read.samples, read.damage) == (5000, None)
    assert (read.header.frames, read.header.samples, read.header.source_rate) == (3, 5000, 48000)
    assert read.header.metadata == {"title": "Hi"} and read.header.fingerprint == MARK
    assert spec.records(data) == [(0, [[1, 2], [2047, 0]]), (2, [[1024, 1365]]), "end"]


def test_the_packing_example_of_the_specification():
    packed = re.search(r"are the 11 bytes\n\n```\n(.*?)\n```", DOCS)[1]
    codes = np.array([[1, 2, 3, 4, 5, 6, 7, 2047]]).T
    assert bitpack.pack(codes, 11) == bytes.fromhex(packed)


def test_a_frame_of_8_codebooks_takes_11_bytes_exactly_1100_bits_a_second():
    sizes = [len(written(some_codes(8, frames), Header(8))) for frames in (25, 125)]
    assert np.diff(sizes) == 100 * 11
    assert Header(8).frame_bytes * 8 * 12.5 == 1100


@settings(deadline=None)  # the machine may be busy
@given(clips(), st.lists(st.integers(0, 9), max_size=9), st.integers(1, 50))
def test_any_codes_in_any_pieces(clip, pieces, block_frames):
    header, codes, samples = clip
    file = io.BytesIO()
    with Writer(file, header, block_frames=block_frames) as writer:
        ends = np.cumsum([0, *pieces])
        for start, end in zip(ends, [*ends[1:], None], strict=True):
            writer.write(codes[:, start:end])
        writer.close(samples)
    read = codefile.read(io.BytesIO(file.getvalue()))
    np.testing.assert_array_equal(read.codes[0], codes)
    assert read.codes.dtype == np.int32 and read.codes.shape == (1, *codes.shape)
    assert read.samples == samples and read.damage is None
    assert read.header == header
    *blocks, end = spec.records(file.getvalue())
    assert [frame for _, frames in blocks for frame in frames] == codes.T.tolist() and end == "end"
    assert all(len(frames) == block_frames for _, frames in blocks[:-1])
    assert file.getvalue() == written(codes, header, samples, block_frames=block_frames)


@settings(deadline=None)  # the machine may be busy
@given(clips(), st.data())
def test_fewer_codebooks(clip, data):
    header, codes, samples = clip
    count = data.draw(st.integers(1, header.num_codebooks))
    read = codefile.read(io.BytesIO(written(codes, header, samples)), count)
    np.testing.assert_array_equal(read.codes[0], codes[:count])
    assert read.header.num_codebooks == header.num_codebooks


def test_at_a_path_all_at_once_and_piece_by_piece_give_the_same_bytes(tmp_path):
    codes, header = some_codes(8, 300), Header(8, fingerprint=MARK)
    codefile.write(tmp_path / "a.mimi", mx.array(codes)[None], header, 300 * 1920 - 5)
    with Writer(str(tmp_path / "b.mimi"), header) as writer:
        for start in range(0, 300, 7):
            writer.write(mx.array(codes[:, start : start + 7]))
        writer.close(300 * 1920 - 5)
    data = (tmp_path / "a.mimi").read_bytes()
    assert data == (tmp_path / "b.mimi").read_bytes()
    assert len(data) == 64 + 3 * 28 + 300 * 11 + 28
    stream = io.BytesIO()
    codefile.write(stream, codes, header, 300 * 1920 - 5)
    assert stream.getvalue() == data
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mimi", "b.mimi"]


def test_close_hands_the_last_frames_and_the_end_over_in_one_piece():
    """Who reads a pipe then never takes a frame that must be cut for a whole one."""

    class Pieces(io.BytesIO):
        def write(self, data: bytes) -> int:
            sizes.append(len(data))
            return super().write(data)

    sizes: list[int] = []
    codes, file = some_codes(8, 5), Pieces()
    writer = Writer(file, Header(8), block_frames=1)
    writer.write(codes[:, :3])
    writer.close(4 * 1920 + 1, last=codes[:, 3:])
    assert sizes == [64, *[28 + 11] * 3, 2 * (28 + 11) + 28]
    assert file.getvalue() == written(codes, Header(8), 4 * 1920 + 1, block_frames=1)
    with pytest.raises(ValueError, match="samples is 1"):
        Writer(io.BytesIO(), Header(8)).close(1, last=codes)


def test_flush_makes_a_block_at_once():
    file = io.BytesIO()
    with Writer(file, Header(8)) as writer:
        for _ in range(3):
            writer.write(some_codes(8, 2))
            writer.flush()
            writer.flush()  # nothing waits: no block
    assert [len(frames) for _, frames in spec.records(file.getvalue())[:-1]] == [2, 2, 2]


@pytest.mark.parametrize(("count", "bits"), [(1, 1), (1, 16), (32, 11), (255, 16)])
def test_the_largest_blocks(count, bits):
    most = min(65535, 65536 // bitpack.frame_bytes(count, bits))
    codes = some_codes(count, most + 3, bits)
    data = written(codes, Header(count, bits), block_frames=most)
    read = [block.shape[1] for block in Reader(io.BytesIO(data))]
    assert read == [most, 3]
    np.testing.assert_array_equal(codefile.read(io.BytesIO(data)).codes[0], codes)
    with pytest.raises(ValueError, match=f"block_frames is {most + 1}"):
        Writer(io.BytesIO(), Header(count, bits), block_frames=most + 1)


# What is refused


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.mimi"
    codefile.write(path, some_codes(8, 3), Header(8))
    before = path.read_bytes()
    with pytest.raises(ValueError, match="codes has 2048"):
        codefile.write(path, np.full((8, 3), 2048), Header(8))
    with pytest.raises(OSError):
        codefile.write(tmp_path / "none" / "a.mimi", some_codes(8, 3), Header(8))
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.full((8, 2), -1), r"codes has -1; 11 bits hold 0 to 2047"),
        (np.full((8, 2), 2048), r"codes has 2048"),
        (np.full((8, 2), 2**40), r"codes has 1099511627776"),
        (np.zeros((8, 2)), r"codes is float64 \[8, 2\]"),
        (np.zeros((7, 2), int), r"codes is int64 \[7, 2\]; here they are integers \[1, 8, F\]"),
        (np.zeros((2, 8, 2), int), r"Write each row of a batch to its own file"),
        (np.zeros(8, int), r"codes is int64 \[8\]"),
    ],
)
def test_wrong_codes(codes, message):
    with Writer(io.BytesIO(), Header(8)) as writer, pytest.raises(ValueError, match=message):
        writer.write(codes)
    with pytest.raises(ValueError, match=message):
        codefile.write(io.BytesIO(), codes, Header(8))


@pytest.mark.parametrize(("frames", "samples"), [(3, 3840), (3, 5761), (0, -1), (0, 1), (1, 0.5)])
def test_samples_that_the_frames_do_not_hold(frames, samples):
    writer = Writer(io.BytesIO(), Header(8))
    writer.write(some_codes(8, frames))
    with pytest.raises(ValueError, match=f"samples is {samples}; {frames} frames hold"):
        writer.close(samples)
    with pytest.raises(ValueError, match=f"samples is {samples}; {frames} frames hold"):
        codefile.write(io.BytesIO(), some_codes(8, frames), Header(8), samples)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_codebooks", 0),
        ("num_codebooks", 256),
        ("bits_per_code", 17),
        ("sample_rate", 24000.0),
        ("frame_size", 2**20 + 1),
        ("source_rate", 0),
        ("frames", -1),
        ("fingerprint", "0123"),
        ("fingerprint", "0" * 16),
        ("fingerprint", MARK.upper()),
    ],
)
def test_wrong_headers(field, value):
    with pytest.raises(ValueError, match=f"{field} is {value!r}"):
        Header(**{"num_codebooks": 8, field: value})


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"a": object()}, "not JSON"),
        ({"a": float("nan")}, "not JSON"),
        ({"a": "x" * 65536}, "metadata takes 65544 bytes"),
    ],
)
def test_wrong_metadata_leaves_no_file(tmp_path, metadata, message):
    with pytest.raises(ValueError, match=message):
        Writer(tmp_path / "a.mimi", Header(8, metadata=metadata))
    assert not list(tmp_path.iterdir())


def test_what_is_no_mimi_file(tmp_path):
    path = tmp_path / "a.mimi"
    for path, message in [
        (tmp_path / "none.mimi", "cannot be opened .No such file"),
        (tmp_path, "cannot be opened"),
    ]:
        with pytest.raises(ValueError, match=message):
            codefile.read(path)
    good = written(some_codes(8, 3), Header(8))
    for data in (b"", b"MIMI", good[:63], b"RIFF" * 30, b"MIMI\n\x1a\n" + good[8:]):
        with pytest.raises(ValueError, match=r"the stream (begins|has) .* a \.mimi file begins"):
            codefile.read(io.BytesIO(data))


@pytest.mark.parametrize(
    ("at", "new", "message"),
    [
        (8, b"\2\0", "version 2 with flags 0x0; this mimi_mlx reads version 1"),
        (12, b"\0\x80\0\0", "version 1 with flags 0x8000"),
        (10, b"\0", "num_codebooks is 0"),
        (44, b"\1\0\1\0", "65537 bytes of metadata"),
    ],
)
def test_headers_of_later_versions_and_out_of_range(at, new, message):
    data = written(some_codes(8, 3), Header(8))
    head = codefile.header.sealed((data[:at] + new + data[at + len(new) :])[:60])
    with pytest.raises(ValueError, match=message):
        codefile.read(io.BytesIO(head + data[64:]))


@pytest.mark.parametrize("count", [0, 9, -1])
def test_more_codebooks_than_there_are(count):
    with pytest.raises(ValueError, match=f"num_codebooks is {count}; the stream holds 8"):
        Reader(io.BytesIO(written(some_codes(8, 3), Header(8))), count)


def test_a_header_that_promises_2_to_the_60_frames_allocates_nothing():
    data = written(some_codes(8, 3), Header(8))
    head = codefile.header.with_counts(data[:64], 2**60, 2**60 * 1920 % 2**64)
    tracemalloc.start()
    read = codefile.read(io.BytesIO(head + data[64:]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert read.codes.shape == (1, 8, 3) and "contradict" in read.damage
    assert peak < 200_000


# With a model


def test_the_header_of_a_model(tiny):
    header = Header.for_model(tiny, 8, 44100, {"model": "tiny"})
    assert header == Header(
        8, source_rate=44100, fingerprint=tiny.fingerprint, metadata={"model": "tiny"}
    )
    assert Header.for_model(tiny).num_codebooks == tiny.num_codebooks
    header.check_model(tiny)
    Header(8).check_model(tiny)
    other = Header(8, fingerprint=MARK)
    with pytest.raises(ValueError, match=f"fingerprint {MARK}; this model's is {tiny.fingerprint}"):
        other.check_model(tiny)
    other.check_model(tiny, force=True)
    for odd in (Header(8, sample_rate=16000), Header(8, frame_size=960)):
        with pytest.raises(ValueError, match=r"this model's have 1920 at 24000 Hz"):
            odd.check_model(tiny, force=True)


def test_a_clip_comes_back_at_its_exact_length(tiny, speech, tmp_path):
    pcm = speech("kathleen-1")
    codes = tiny.encode(pcm, 8)
    codefile.write(tmp_path / "a.mimi", codes, Header.for_model(tiny, 8), len(pcm))
    read = codefile.read(tmp_path / "a.mimi")
    np.testing.assert_array_equal(read.codes, codes)
    assert tiny.decode(read.codes, length=read.samples).shape == (1, 1, len(pcm))
