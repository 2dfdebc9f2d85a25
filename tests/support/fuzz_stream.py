"""Attacks saved streams: changed bytes, and changed content under a right checksum."""

import json
import random
import resource
import struct
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors.numpy import load, save

from mimi_mlx import EncoderStream, Mimi
from mimi_mlx.streaming import saved

# isort: split
from mlx.utils import tree_flatten

FOUND: tuple[int, ...] = (12185,)

LARGEST = 512  # MiB that all attacks together may add to what the process takes at most

_WORDS = (
    *("", "0", "1", "2", "3", "16", "17", "-1", "+1", " 1", "1.0", "1e9", "nan", "True", "\u0661"),
    *("1000000000", "2147483648", "18446744073709551616", "9" * 5000, "encoder", "decoder", "\0"),
    *("mimi_mlx.stream", "0123456789abcdef", "\x1b[31m", "a\nb", "x" * 100000),
)
_NUMBERS = (0, 1, -1, 31, 32, 2**31 - 1, -(2**31), np.nan, np.inf, -np.inf, 1e38, 1e-45, -0.0)
_TYPES = (np.float16, np.float64, np.int32, np.uint32, np.int64, np.uint8, np.bool_)


class Base(NamedTuple):
    """A file as it was written."""

    data: bytes
    facts: dict[str, str]
    tensors: dict[str, np.ndarray]


def parts(data: bytes) -> tuple[dict, bytes]:
    """A .safetensors file's header and what follows it."""
    size = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def joined(header: dict, body: bytes) -> bytes:
    """The file of a header and what follows it."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def read(path: Path) -> Base:
    """A saved stream's parts."""
    data = path.read_bytes()
    return Base(data, parts(data)[0]["__metadata__"], load(data))


def sealed(facts: dict[str, str], tensors: dict[str, np.ndarray]) -> bytes:
    """The file of some content, under a right checksum if it has one."""
    if "crc32" in facts:
        facts = facts | {"crc32": saved.checksum(facts, tensors)}
    return save(tensors, facts)


class Fuzzer:
    """Loads changed saved streams of the embedded model.

    A change gives the one-line ValueError, or a stream that steps: the one that was saved, unless
    the checksum was made anew.
    """

    def __init__(self, folder: Path):
        self.mimi = Mimi.from_pretrained("tiny")
        self.path = folder / "attacked.safetensors"
        rng = np.random.default_rng(0)
        noise = rng.uniform(-0.1, 0.1, (2, 1, 20 * 1920 + 700)).astype(np.float32)
        codes = rng.integers(0, 2048, (2, 8, 20))
        heard, said, ended = (
            self.mimi.encoder_stream(2, 8),
            self.mimi.decoder_stream(2),
            self.mimi.encoder_stream(),
        )
        heard.push(noise)
        said.push(codes)
        ended.push(noise[:1])
        ended.flush()
        self.bases = []
        for stream in (heard, said, ended, self.mimi.decoder_stream()):
            stream.save(self.path)
            self.bases.append(read(self.path))
        self.frame, self.codes = noise[..., :1920], codes[..., :1]
        for row in (1, 2):  # compiled before memory is counted
            self.mimi.encoder_stream(row, 8).push(self.frame[:row])
            self.mimi.decoder_stream(row).push(self.codes[:row])
        self.most = _most_memory() + LARGEST

    def attack(self, seed: int) -> None:
        """Load one changed file."""
        rng = random.Random(seed)
        base = rng.choice(self.bases)
        change = rng.choice(_CHANGES)
        self.path.write_bytes(change(base, rng))
        try:
            stream = self.mimi.load_stream(self.path)
        except ValueError as error:
            line = str(error)
            assert line.isprintable() and len(line) < 800 and self.path.name in line, line
        else:
            if change not in _SEALED:
                self._check_same(stream, base)
            self._check_steps(stream)
        finally:
            self.path.unlink()
        assert _most_memory() < self.most, "too much memory"

    def _check_same(self, stream, base: Base) -> None:
        """It is the stream that was saved, to the last bit."""
        stream.save(self.path)
        again = read(self.path)
        assert again.facts == base.facts, "another stream"
        for name, tensor in base.tensors.items():
            assert np.array_equal(again.tensors[name], tensor), f"another {name}"

    def _check_steps(self, stream) -> None:
        """It takes a frame and gives one."""
        leaves = [leaf for _, leaf in tree_flatten(stream.state)]
        rows = leaves[0].shape[0]
        if not isinstance(stream, EncoderStream):
            count = stream._num_codebooks or 8
            frame = np.zeros((rows, count, 1), np.int32)
            assert np.array(stream.push(frame)).shape == (rows, 1, 1920)
        elif not stream._flushed:
            codes = np.array(stream.push(np.resize(self.frame, (rows, 1, 1920))))
            assert codes.shape == (rows, stream._num_codebooks, 1)
            assert codes.min() >= 0 and codes.max() < 2048


def _most_memory() -> int:
    """MiB that this process took at most; the system counts in KiB, macOS's in bytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most >> (20 if sys.platform == "darwin" else 10)


def _flip(base: Base, rng: random.Random) -> bytes:
    data = bytearray(base.data)
    most = rng.choice([8, 3000, len(data)])  # the header's size, the header, all
    for _ in range(rng.choice([1, 1, 1, 2, 8])):
        data[rng.randrange(most)] ^= 1 << rng.randrange(8)
    return bytes(data)


def _cut(base: Base, rng: random.Random) -> bytes:
    return base.data[: rng.randrange(len(base.data) + 1)]


def _overwrite(base: Base, rng: random.Random) -> bytes:
    start = rng.randrange(rng.choice([3000, len(base.data)]))
    size = rng.choice([1, 4, 64, 600])
    fill = rng.choice([bytes(size), b"\xff" * size, rng.randbytes(size), b"[" * size, b"9" * size])
    return (base.data[:start] + fill + base.data[start + size :])[: len(base.data)]


def _shift(base: Base, rng: random.Random) -> bytes:
    """Some bytes more or fewer."""
    start, size = rng.randrange(len(base.data)), rng.choice([1, 4, 100])
    more = base.data[:start] + rng.randbytes(size) + base.data[start:]
    return rng.choice([base.data[:start] + base.data[start + size :], more])


def _lie(base: Base, rng: random.Random) -> bytes:
    """A header that says something else of the same bytes."""
    header, body = parts(base.data)
    names = [name for name in header if name != "__metadata__"]
    a, b = rng.sample(names, 2)
    field = rng.choice(["dtype", "shape", "data_offsets", "name", "swap", "offsets"])
    if field == "dtype":
        header[a]["dtype"] = rng.choice(["F32", "I32", "U32", "BOOL", "BF16", "F8_E4M3", "F4", ""])
    elif field == "shape":
        shape = header[a]["shape"]
        odd = [-1, 0, 1, 2**31, 2**63, 2**64, 1e9, None, "1", [1]]
        shape[rng.randrange(len(shape))] = rng.choice(odd)
    elif field == "data_offsets":
        header[a]["data_offsets"] = [rng.randrange(-5, 10**9), rng.randrange(-5, 10**9)]
    elif field == "name":
        header[rng.choice([a + "x", "pending", "x" * 9999])] = header.pop(a)
    elif field == "swap":
        header[a], header[b] = header[b], header[a]
    else:
        header[a]["data_offsets"] = header[b]["data_offsets"]
    return joined(header, body)


def _say(base: Base, rng: random.Random) -> bytes:
    """Other metadata over the same tensors."""
    facts = dict(base.facts)
    for _ in range(rng.choice([1, 1, 2])):
        name = rng.choice([*facts, "more"])
        if name in facts and rng.randrange(4) == 0:
            del facts[name]
        else:
            facts[name] = rng.choice([*_WORDS, *base.facts.values()])
    return sealed(facts, base.tensors)


def _put(base: Base, rng: random.Random) -> bytes:
    """Other numbers in a tensor, or any bytes."""
    tensors = {name: tensor.copy() for name, tensor in base.tensors.items()}
    of_words = [name for name, tensor in tensors.items() if tensor.dtype.kind != "f"]
    full = [name for name, tensor in tensors.items() if tensor.size]
    tensor = tensors[rng.choice(rng.choice([of_words, full]))]
    if rng.randrange(2):
        with np.errstate(invalid="ignore"):  # NaN as an integer
            tensor.flat[rng.randrange(tensor.size)] = np.array(rng.choice(_NUMBERS)).astype(
                tensor.dtype
            )
    else:
        tensor[...] = np.frombuffer(rng.randbytes(tensor.nbytes), tensor.dtype).reshape(
            tensor.shape
        )
    return sealed(base.facts, tensors)


def _shape(base: Base, rng: random.Random) -> bytes:
    """Tensors of other shapes, types, names or number of rows; what is said may follow."""
    facts, tensors = dict(base.facts), dict(base.tensors)
    name = rng.choice(list(tensors))
    tensor = tensors[name]
    way = rng.randrange(6)
    if way == 0:
        tensors[name] = tensor.astype(rng.choice(_TYPES))
    elif way == 1:
        tensors[name] = rng.choice([tensor[None], tensor[..., :-1], tensor[:0], tensor.reshape(-1)])
    elif way == 2:
        del tensors[name]
    elif way == 3:
        tensors[name + rng.choice(["x", ".0", " "])] = tensor
    elif way == 4:
        samples = rng.choice([0, 1, 1919, 1920, 4000])
        tensors["pending"] = np.zeros((len(tensor), 1, samples), np.float32)
    else:
        rows = rng.choice([0, 1, 2, 3])
        tensors = {name: np.resize(old, (rows, *old.shape[1:])) for name, old in tensors.items()}
        facts["batch_size"] = rng.choice([str(rows), facts["batch_size"]])
    return sealed(facts, tensors)


_SEALED = (_say, _put, _shape)
_CHANGES = (_flip, _flip, _cut, _overwrite, _shift, _lie, *_SEALED, *_SEALED)
