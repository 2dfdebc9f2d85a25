"""Attacks .mimi files: one to three mutations of files that were written, spliced and forged."""

import io
import itertools
import random
import re
import struct
import time
import tracemalloc
import zlib
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import mimi_file_from_spec as spec
import numpy as np

from mimi_mlx.codefile import Header, Reader, Writer, read

SLOWEST = 2.0  # seconds for one file of a few kilobytes, on a busy machine
LARGEST = 4 << 20  # bytes that reading one may allocate


FOUND: tuple[int, ...] = ()


class Base(NamedTuple):
    """A file as it was written."""

    data: bytes
    codes: np.ndarray
    samples: int


class Fuzzer:
    """Mutates .mimi files and reads them.

    For each file: no error but ValueError, no frame that was not written there, damage reported
    unless the file reads as one that was written, the same frames as the reader made from the
    specification, whole or as it grows, in bounded time and memory.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.bases = bases()
        self.outcomes: Counter = Counter()

    def attack(self, seed: int) -> None:
        """Mutate and read one file."""
        rng = random.Random(seed)
        first = rng.randrange(len(self.bases))
        made = self.bases[first:] + self.bases[:first]
        data, kinds = mutate(made[0].data, made, rng)
        traced = seed % 100 == 0
        if traced:
            tracemalloc.start()
        try:
            outcome = check(data, made, rng, kinds, self.folder)
            if traced:
                assert tracemalloc.get_traced_memory()[1] < LARGEST, "too much memory"
        finally:
            tracemalloc.stop()
        self.outcomes[outcome + (", with a forged CRC" if _forge in kinds else "")] += 1


def bases(seed: int = 0) -> list[Base]:
    """Small files of several kinds; two that differ in their codes alone, and one with no frame."""
    rng = np.random.default_rng(seed)
    kinds = [(8, 11, 20, 7), (8, 11, 20, 7), (1, 1, 9, 4), (3, 16, 6, 1), (32, 11, 5, 2)]
    made = []
    for count, bits, frames, block_frames in [*kinds, (2, 11, 0, 1), (255, 16, 3, 2)]:
        header = Header(count, bits, fingerprint="0123456789abcdef", metadata={"n": count})
        codes = rng.integers(0, 2**bits, (count, frames)).astype(np.int32)
        samples = max(0, frames * 1920 - 7)
        made.append(Base(write(header, codes, samples, block_frames), codes, samples))
    return made


def write(header: Header, codes: np.ndarray, samples: int, block_frames: int) -> bytes:
    """The bytes of a file."""
    file = io.BytesIO()
    with Writer(file, header, block_frames=block_frames) as writer:
        writer.write(codes)
        writer.close(samples)
    return file.getvalue()


def mutate(data: bytes, others: list[Base], rng: random.Random) -> tuple[bytes, set]:
    """A file with one to three mutations, and what they were."""
    kinds = rng.choices(_KINDS, k=rng.choice([1, 1, 1, 2, 3]))
    for kind in kinds:
        data = kind(data, others, rng)
    return data, set(kinds)


def _span(data: bytes, rng: random.Random) -> tuple[int, int]:
    """A part of the data, often short."""
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + rng.choice([1, 2, 4, 28, 64, rng.randrange(600)]))


def _flip(data: bytes, others: list[Base], rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 8]) if data else 0):
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _overwrite(data: bytes, others: list[Base], rng: random.Random) -> bytes:
    a, b = _span(data, rng)
    fill = rng.choice([b"\0", b"\xff", b"\xffBLK", b"\xffEND", rng.randbytes(600)])
    return data[:a] + (fill * 600)[: b - a] + data[b:]


def _delete(data: bytes, others: list[Base], rng: random.Random) -> bytes:
    a, b = _span(data, rng)
    return data[:a] + data[b:]


def _insert(data: bytes, others: list[Base], rng: random.Random) -> bytes:
    a, b = _span(data, rng)
    at = rng.choice([a, rng.randrange(len(data) + 1)])
    return data[:at] + rng.choice([data[a:b], rng.randbytes(b - a)]) + data[at:]


def _swap(data: bytes, others: list[Base], rng: random.Random) -> bytes:
    a, b, c, d = sorted([*_span(data, rng), *_span(data, rng)])
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def _cut(data: bytes, others: list[Base], rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _splice(data: bytes, others: list[Base], rng: random.Random) -> bytes:
    """The beginning of one file and the end of another, often at a record of both."""
    other = rng.choice(others).data
    at = rng.choice([rng.randrange(len(data) + 1), rng.choice([-1, *_syncs(data)])])
    back = rng.choice([at, rng.randrange(len(other) + 1), rng.choice([-1, *_syncs(other)])])
    return data[:at] + other[back:]


def _forge(data: bytes, others: list[Base], rng: random.Random) -> bytes:
    """A number of the header or a record set to what it never is, under a right CRC."""
    at = rng.choice([0, *_syncs(data)])
    size = 60 if at == 0 else 24
    if len(data) < at + size + 4:
        return data
    part = bytearray(data[at : at + size])
    place = rng.randrange(8 if at == 0 else 4, size)
    value = rng.choice([b"\0", b"\1", b"\xff", b"\x10", rng.randbytes(8), struct.pack("<Q", 2**60)])
    value = (value * 8)[: rng.choice([1, 1, 2, 4, 8])]
    part[place : place + len(value)] = value
    part = bytes(part[:size])
    return data[:at] + part + struct.pack("<I", zlib.crc32(part)) + data[at + size + 4 :]


_KINDS = [_flip, _overwrite, _delete, _insert, _swap, _cut, _splice, _forge]


def _syncs(data: bytes) -> list[int]:
    return [n for n in range(len(data)) if data[n : n + 4] in (b"\xffBLK", b"\xffEND")]


def check(data: bytes, made: list[Base], rng: random.Random, kinds: set, folder: Path) -> str:
    """Read a mutated file in every way; what came of it: refused, damaged or whole.

    Args:
        data: A file that was made of the first of ``made``, and by a splice of others too.
        made: The files as they were written.
        rng: Chooses how to read it.
        kinds: What was done to it.
        folder: For a file to append to.
    """
    start = time.perf_counter()
    try:
        reader = Reader(io.BytesIO(data))
    except ValueError:
        try:
            spec.records(data)
        except ValueError:
            return "refused"
        raise AssertionError("refused, though the specification's reader takes it") from None
    given = [(reader.position - codes.shape[1], codes) for codes in reader]
    assert time.perf_counter() - start < SLOWEST, "too slow"
    expected = spec.records(data)
    blocks = expected[:-1] if reader.ended else expected
    assert reader.ended == ("end" in expected)
    assert [(first, codes.T.tolist()) for first, codes in given] == blocks
    _check_growing(data, given, reader, rng)
    if _forge not in kinds:
        _check_frames(given, reader, made)
        if _splice not in kinds:
            _check_intact(data, given, made[0])
    if rng.randrange(20) == 0:
        _check_appending(data, given, reader, folder)
    return "damaged" if reader.damage else "whole"


def _check_frames(given: list, reader: Reader, made: list[Base]) -> None:
    """Every frame was written at its place; without damage, all of one file were."""
    for first, codes in given:
        last = first + codes.shape[1]
        assert any(np.array_equal(base.codes[:, first:last], codes) for base in made)
    if reader.damage is None:
        codes = np.concatenate([np.zeros((reader.num_codebooks, 0)), *(c for _, c in given)], 1)
        assert any(
            np.array_equal(base.codes, codes) and base.samples == reader.samples for base in made
        ), "silently wrong"


def _check_intact(data: bytes, given: list, base: Base) -> None:
    """Every block whose bytes are still there, in order and before an end, was given."""
    starts = _syncs(base.data)
    blocks = [base.data[a:b] for a, b in itertools.pairwise(starts)]
    stop = data.find(base.data[starts[-1] :])
    there = sorted((at, n) for n, block in enumerate(blocks) for at in _places(data, block))
    order = [n for at, n in there if stop < 0 or at < stop]
    if order == sorted(order):
        firsts = {int.from_bytes(blocks[n][4:12], "little") for n in order}
        assert firsts <= {first for first, _ in given}, "a good block is missing"


def _places(data: bytes, part: bytes) -> list[int]:
    return [found.start() for found in re.finditer(re.escape(part), data)]


def _check_appending(data: bytes, given: list, reader: Reader, folder: Path) -> None:
    """A frame can be appended unless the header is damaged, and all good frames stay."""
    one = np.zeros((reader.header.num_codebooks, 1), np.int32)
    path = folder / "appended.mimi"
    path.write_bytes(data)
    try:
        with Writer(path, reader.header, append=True) as writer:
            writer.write(one)
        result = read(path)
    except ValueError:
        assert reader.header_damaged or reader.position == 2**40
        return
    finally:
        path.unlink()
    expected = np.concatenate([*(codes for _, codes in given), one], axis=1)
    assert np.array_equal(result.codes[0], expected)
    assert not result.damage or reader.damage


class _Growing:
    """A file that ends now and then, and goes on; after its header was read."""

    def __init__(self, data: bytes, rng: random.Random):
        self._file, self._rng = io.BytesIO(data), rng
        self.whole = True

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes."""
        return self._file.read(size if self.whole else self._rng.choice([0, 1, size // 2, size]))


def _check_growing(data: bytes, given: list, reader: Reader, rng: random.Random) -> None:
    """A part of the codebooks, as the file grows, is that part of the whole."""
    file = _Growing(data, rng)
    count = rng.randint(1, reader.num_codebooks)
    growing = Reader(file, count)
    file.whole = False
    found = [codes for _ in range(4) for codes in growing]
    file.whole = True
    found += list(growing)
    assert len(found) == len(given)
    assert all(np.array_equal(a, b[:count]) for a, (_, b) in zip(found, given, strict=True))
    assert growing.damage == reader.damage
