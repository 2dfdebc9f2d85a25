"""Damaged .mimi files: every good block is given, and nothing that was not written."""

import io
import random
import struct
import zlib

import fuzz_codefile
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimi_mlx.codefile import CodeFile, Header, Writer, read, records
from mimi_mlx.codefile.checksums import Checksums
from mimi_mlx.codefile.header import sealed, with_counts

SIZE = 28


@pytest.fixture(scope="module")
def base() -> fuzz_codefile.Base:
    """Two full blocks of three frames of three bytes, and one of two: 64 + 1 + 37 * 2 + 34 + 28."""
    codes = np.random.default_rng(0).integers(0, 2048, (2, 8)).astype(np.int32)
    header = Header(2, fingerprint="0123456789abcdef", metadata={"a": [1]})
    return fuzz_codefile.Base(fuzz_codefile.write(header, codes, 15000, 3), codes, 15000)


# Where the parts of ``base`` begin.
_METADATA, _FIRST, _SECOND, _THIRD, _END = 64, 73, 110, 147, 181


def damaged(data: bytes) -> CodeFile:
    result = read(io.BytesIO(data))
    assert result.damage is not None
    return result


def test_where_the_parts_are(base):
    assert len(base.data) == _END + SIZE
    for start in (_FIRST, _SECOND, _THIRD):
        assert base.data[start : start + 4] == b"\xffBLK"


def test_cut_at_every_byte(base):
    for cut in range(len(base.data)):
        data = base.data[:cut]
        if cut < 64:
            with pytest.raises(ValueError, match=f"has {cut} bytes"):
                read(io.BytesIO(data))
            continue
        result = damaged(data)
        frames = 3 * (cut >= _SECOND) + 3 * (cut >= _THIRD) + 2 * (cut >= _END)
        np.testing.assert_array_equal(result.codes[0], base.codes[:, :frames])
        assert result.samples == frames * 1920
        assert "no end" in result.damage


@pytest.mark.parametrize("change", [1, 0x80, 0xFF])
def test_every_byte_changed(base, change):
    lost = {_FIRST: [0, 1, 2], _SECOND: [3, 4, 5], _THIRD: [6, 7], _END: []}
    for at in range(len(base.data)):
        data = bytearray(base.data)
        data[at] ^= change
        if at < 8:  # without the magic it could be anything
            with pytest.raises(ValueError, match="begins with"):
                read(io.BytesIO(bytes(data)))
            continue
        result = damaged(bytes(data))
        gone = next((lost[start] for start in reversed(lost) if at >= start), [])
        np.testing.assert_array_equal(result.codes[0], np.delete(base.codes, gone, axis=1))
        if at < _FIRST:
            assert f"its {'header' if at < _METADATA else 'metadata'} is damaged" in result.damage
            assert "joined" not in result.damage
        else:
            assert f"{SIZE + 3 * len(gone)} bytes are in no good block" in result.damage
        if gone:
            said = f"{len(gone)} frames are lost, the first is number {gone[0]}"
            assert said in result.damage


def test_every_byte_missing_or_doubled(base):
    for at in range(64, _END):
        for data in (
            base.data[:at] + base.data[at + 1 :],
            base.data[:at] + base.data[at : at + 1] + base.data[at:],
        ):
            result = damaged(data)
            assert result.codes.shape[2] >= 5  # at most one block is gone
            found = [codes.tolist() for codes in result.codes[0].T]
            assert all(codes in base.codes.T.tolist() for codes in found)


def test_samples_of_damaged_files(base):
    """The last frame is ragged wherever it is read, and no other frame is."""
    without_second = base.data[:_SECOND] + base.data[_THIRD:]
    result = damaged(without_second)
    assert result.codes.shape[2] == 5 and result.samples == 5 * 1920 - (8 * 1920 - 15000)
    assert "3 frames are lost, the first is number 3" in result.damage
    without_third = base.data[:_THIRD] + base.data[_END:]
    result = damaged(without_third)
    assert result.codes.shape[2] == 6 and result.samples == 6 * 1920
    assert "2 frames are lost, the first is number 6" in result.damage


def test_bytes_lost_from_the_last_but_one_block_do_not_hide_the_last(base):
    """The damaged block promises more bytes than the file still has."""
    result = damaged(base.data[: _SECOND + SIZE] + base.data[_THIRD:])
    np.testing.assert_array_equal(result.codes[0], np.delete(base.codes, [3, 4, 5], axis=1))
    end_only = damaged(base.data[: _THIRD + SIZE] + base.data[_END:])
    np.testing.assert_array_equal(end_only.codes[0], base.codes[:, :6])
    assert "no end" not in end_only.damage


def test_blocks_of_another_recording_are_not_taken_silently(base):
    codes = 2047 - base.codes
    header = Header(2, fingerprint="0123456789abcdef", metadata={"a": [1]})
    other = fuzz_codefile.write(header, codes, 15000, 3)
    for start in (_SECOND, _THIRD, _END):
        assert "joined from several" in damaged(base.data[:start] + other[start:]).damage
    header = Header(2, fingerprint="f123456789abcdef", metadata={"a": [1]})
    other = fuzz_codefile.write(header, base.codes, 15000, 3)
    assert "joined from several" in damaged(base.data[:_FIRST] + other[_FIRST:]).damage


def test_blocks_out_of_order_and_doubled(base):
    a, b, c = base.data[:_SECOND], base.data[_SECOND:_THIRD], base.data[_THIRD:]
    doubled = damaged(a + b + b + c)
    np.testing.assert_array_equal(doubled.codes[0], base.codes)
    assert doubled.damage.endswith("37 bytes are in no good block")
    swapped = damaged(base.data[:_FIRST] + b + base.data[_FIRST:_SECOND] + c)
    np.testing.assert_array_equal(swapped.codes[0], base.codes[:, 3:])


def test_appending_after_damage_goes_on_with_the_numbers(base, tmp_path):
    path = tmp_path / "a.mimi"
    data = bytearray(base.data)
    data[_SECOND + SIZE] ^= 1
    path.write_bytes(bytes(data[:-5]))
    with Writer(path, Header(2, fingerprint="0123456789abcdef"), append=True) as writer:
        assert writer.frames == 8
        writer.write(base.codes[:, :1])
    result = damaged(path.read_bytes())
    expected = np.concatenate([base.codes[:, [0, 1, 2, 6, 7]], base.codes[:, :1]], axis=1)
    np.testing.assert_array_equal(result.codes[0], expected)
    assert "3 frames are lost, the first is number 3" in result.damage
    assert "no end" not in result.damage


def test_counts_that_contradict_each_other(base):
    head = with_counts(base.data[:64], 8, 15000)
    assert read(io.BytesIO(head + base.data[64:])).damage is None
    for frames, samples in [(8, 14999), (8, 15361), (8, 13440), (7, 13000), (9, 17000)]:
        head = with_counts(base.data[:64], frames, samples)
        result = damaged(head + base.data[64:])
        assert "counts contradict" in result.damage and result.samples == 15000
        result = damaged(head + base.data[64:_END])
        assert result.samples == (14999 if samples == 14999 else 8 * 1920)
    end = records.pack_end(8, 15361, records.unpack(base.data[_END:]).previous)
    result = damaged(base.data[:_END] + end)
    assert "counts contradict" in result.damage and result.samples == 8 * 1920


@pytest.mark.parametrize(
    "metadata", [b"[1]", b"{", b'"a"', b"\xff", b"[" * 60000, b"{" + b'"a":[' * 9999]
)
def test_metadata_that_is_no_json_object(base, metadata):
    head = bytearray(base.data[:60])
    head[44:48], head[56:60] = (struct.pack("<I", n) for n in (len(metadata), zlib.crc32(metadata)))
    result = damaged(sealed(bytes(head)) + metadata + base.data[_FIRST:])
    assert "metadata is damaged" in result.damage and result.header.metadata == {}
    np.testing.assert_array_equal(result.codes[0], base.codes)


def test_blocks_out_of_their_limits_are_not_read(base):
    """One larger than readers hold, one of more bits; their CRCs are right."""
    large = records.pack_block(bytes(65538), Header(2), 0, 0)
    result = damaged(base.data[:_FIRST] + large + base.data[_FIRST:])
    np.testing.assert_array_equal(result.codes[0], base.codes)
    assert f"{SIZE + 65538} bytes are in no good block" in result.damage
    wide = bytearray(records.pack_block(bytes(5), Header(2, 16), 0, 0)[:-5])
    wide[15], payload = 17, bytes(5)
    wide[20:24] = struct.pack("<I", zlib.crc32(payload))
    with pytest.raises(ValueError, match="no good block"):
        read(io.BytesIO(base.data[:8] + bytes(56) + sealed(bytes(wide[:24])) + payload))


@settings(deadline=None)  # the machine may be busy
@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_after_a_header(base, data, keep_metadata):
    head = base.data[: _FIRST if keep_metadata else _METADATA]
    result = damaged(head + data)
    assert result.codes.shape == (1, 2, 0) and result.samples == 0


@settings(deadline=None)  # the machine may be busy
@given(st.binary(max_size=300))
def test_any_bytes(base, data):
    with pytest.raises(ValueError, match=r"begins with|has \d+ bytes|no good block"):
        read(io.BytesIO(data))
    with pytest.raises(ValueError, match=r"begins with|has \d+ bytes|no good block"):
        read(io.BytesIO(base.data[:8] + data))


def test_a_payload_full_of_records_that_promise_much_is_scanned_in_time(tmp_path):
    rng = random.Random(0)
    header = Header(8)
    codes = np.zeros((8, 125), np.int32)
    record = fuzz_codefile.write(header, codes, 240000, 125)[64:92]
    made = fuzz_codefile.Base(fuzz_codefile.write(header, codes, 240000, 125), codes, 240000)
    crowded = made.data[:64] + record * 2000 + made.data[64:]
    assert fuzz_codefile.check(crowded, [made], rng, set(), tmp_path) == "damaged"


def forged(frames: int, rng: random.Random) -> bytes:
    """The record of a block of 8 codes of 11 bits, whose CRC is right and its payload's wrong."""
    numbers = (rng.choice([0, 1, 7, 2**39]), frames, 8, 11, 0, rng.getrandbits(32))
    return sealed(struct.pack("<4sQHBBII", b"\xffBLK", *numbers))


def crowds(rng: random.Random) -> dict[str, bytes]:
    """Files of 200 KB, full of records that promise up to 64 KiB each."""
    header, most = Header(8), 65536 // 11
    codes = rng.choices(range(2048), k=8 * 125)
    made = fuzz_codefile.write(header, np.array(codes, np.int32).reshape(8, 125), 240000, 125)
    one = fuzz_codefile.write(header, np.zeros((8, 1), np.int32), 1920, 1)[64:103]
    head, good, times = made[:64], made[64:], 200_000 // 28
    between = [one, forged(most, rng), good[: 28 + 11 * 125], forged(most - 9, rng)]
    return {
        "all promise the most": head + forged(most, rng) * times + good,
        "each promises something": head
        + b"".join(forged(rng.randrange(1, most + 1), rng) for _ in range(times))
        + good,
        "good ones between": head + b"".join(rng.choices(between, k=times // 12)) + good,
        "small good ones between": head + b"".join(rng.choices(between[:2], k=times)) + good,
    }


def test_records_that_promise_much_are_scanned_in_the_work_of_good_ones(monkeypatch):
    """Bytes that go into a CRC, for each byte of the file."""
    work, crc32 = [0], zlib.crc32

    def counting(data, value=0):
        work[0] += len(data)
        return crc32(data, value)

    for name, data in crowds(random.Random(0)).items():
        expected = fuzz_codefile.spec.records(data)
        monkeypatch.setattr(zlib, "crc32", counting)
        work[0] = 0
        found = read(io.BytesIO(data))
        assert work[0] < 4 * len(data), name
        monkeypatch.undo()
        blocks = [np.array(block[1]) for block in expected if block != "end"]
        np.testing.assert_array_equal(found.codes[0].T, np.concatenate(blocks))


def test_the_crc_of_a_stretch_is_the_one_that_zlib_gives():
    rng, checksums = random.Random(0), Checksums()
    data = bytearray(rng.randbytes(150_000))
    while len(data) > 66_000:
        start = rng.randrange(28, 200)
        for size in (0, 1, 255, 256, 65535, rng.randrange(65536)):
            end = min(start + size, len(data))
            assert checksums.crc(data, start, end) == zlib.crc32(data[start:end])
        gone = rng.choice([1, 23, 24, 28, 100, 9000])
        del data[:gone]
        checksums.drop(gone)


def test_some_attacks(tmp_path):
    fuzzer = fuzz_codefile.Fuzzer(tmp_path)
    for seed in (*fuzz_codefile.FOUND, *range(2000)):
        fuzzer.attack(seed)
    assert {"refused", "damaged", "whole"} <= set(fuzzer.outcomes)
