"""One frame in one packet: as docs/live-protocol.md has it, and nothing else passes."""

import re
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimi_mlx.codefile.header import sealed
from mimi_mlx.live.network.packet import Packet, PacketFormat, Refusal

FORMAT = PacketFormat(8, 2048, "0123456789abcdef")
CODES = np.array([1, 2, 3, 4, 5, 6, 7, 2047], np.int32)
PAGE = Path(__file__).parents[2] / "docs" / "live-protocol.md"


def test_the_example_of_the_page():
    block = re.search(r"## Example.*?```\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]
    data = bytes.fromhex("".join(line[4:] for line in block.splitlines()))
    assert data == FORMAT.pack(0xDEADBEEF, 300, CODES)
    assert len(data) == FORMAT.size == 31


@settings(deadline=None)  # the machine may be busy
@given(
    st.integers(1, 32),
    st.integers(2, 65536),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
)
def test_round_trip(count, size, stream, sequence, seed):
    codes = np.random.default_rng(seed).integers(0, size, count, np.int32)
    form = PacketFormat(count, size, "00000000deadbeef")
    data = form.pack(stream, sequence, codes)
    packet = form.unpack(data)
    assert len(data) == form.size
    assert packet[:2] == (stream, sequence)
    assert packet.codes.dtype == np.int32
    np.testing.assert_array_equal(packet.codes, codes)


@settings(deadline=None)
@given(st.binary(max_size=100))
def test_any_bytes_are_no_packet(data):
    assert FORMAT.unpack(data) is None
    assert FORMAT.unpack(b"\xffM\x01\x08" + data) is None


def test_every_byte_changed_missing_or_doubled():
    data = FORMAT.pack(1, 2, CODES)
    for at in range(len(data)):
        for change in range(1, 256):
            assert FORMAT.unpack(data[:at] + bytes([data[at] ^ change]) + data[at + 1 :]) is None
        assert FORMAT.unpack(data[:at]) is None
        assert FORMAT.unpack(data[:at] + data[at + 1 :]) is None
        assert FORMAT.unpack(data[:at] + data[at : at + 1] + data[at:]) is None


@pytest.mark.parametrize(
    ("at", "value", "kind", "reason"),
    [
        (2, 2, "version", "version 2 .* this is version 1.* same mimi_mlx"),
        (3, 16, "codebooks", "16 codebooks, here it is 8.* same --num-codebooks"),
        (4, 0x99, "model", "fingerprint 99234567.*, here 0123456789abcdef.* same --model"),
    ],
)
def test_packets_of_another_kind_say_so(at, value, kind, reason):
    data = bytearray(FORMAT.pack(1, 2, CODES)[:-4])
    data[at] = value
    refusal = FORMAT.unpack(sealed(bytes(data)))
    assert isinstance(refusal, Refusal) and refusal.kind == kind
    assert re.search(reason, refusal.reason)


@pytest.mark.parametrize("extra", [-12, -11, -1, 1, 100])
def test_a_sealed_packet_of_another_length_is_none(extra):
    data = FORMAT.pack(1, 2, CODES)[:-4]
    data = data[:extra] if extra < 0 else data + bytes(extra)
    assert FORMAT.unpack(sealed(data)) is None


def test_codes_that_the_model_does_not_have_are_refused():
    form = PacketFormat(8, 1500, "0123456789abcdef")
    codes = np.full(8, 1499, np.int32)
    assert isinstance(form.unpack(form.pack(0, 0, codes)), Packet)
    codes[3] = 1500
    assert form.unpack(form.pack(0, 0, codes)) is None


def test_the_head_is_as_the_page_has_it():
    data = FORMAT.pack(5, 2**32 - 1, CODES)
    assert struct.unpack("<2sBB4sII", data[:16]) == (
        b"\xffM",
        1,
        8,
        bytes.fromhex("01234567"),
        5,
        2**32 - 1,
    )
