"""Mutates what a checkpoint says of itself: config.json, an index of shards, a file's header."""

import json
import random
import resource
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import seeded
from safetensors.numpy import save_file

from mimi_mlx import Mimi  # before MLX: on Linux it puts OpenBLAS in front of its BLAS
from mimi_mlx.checkpoint import convert, hub, precision
from mimi_mlx.checkpoint.load import load

# isort: split
import mlx.core as mx

FOUND: tuple[int, ...] = ()

SLOWEST = 2.0  # seconds of one processor
LARGEST = 64 << 20  # bytes of arrays; the model itself has some 20 kB
_GROWTH = 1 << 29  # bytes of this process over all attacks

CONFIG: dict[str, Any] = seeded.FULL | {
    "sampling_rate": 24000,
    "num_filters": 2,
    "upsampling_ratios": [2, 3],
    "kernel_size": 3,
    "num_residual_layers": 1,
    "dilation_growth_rate": 2,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "intermediate_size": 8,
    "norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "sliding_window": 6,
    "upsample_groups": 8,
    "num_quantizers": 2,
    "num_semantic_quantizers": 1,
    "codebook_size": 8,
    "codebook_dim": 4,
    "vector_quantization_hidden_dimension": 4,
    "audio_channels": 1,
    "use_causal_conv": True,
    "pad_mode": "constant",
}
"""The smallest checkpoint: a frame of 12 samples."""

_NEW_KEYS = [
    *("rope_parameters", "rope_type", "mimi_name", "transformers_weights", "codec_config"),
    *("audio_encoder_config", "mimi_mlx", "quantization", "hidden_act", "", "a\nb", "\x1b[31m"),
]
_VALUES: list[Any] = [
    *(0, 1, 2, 3, 4, 7, 16, 64, 255, 1000, 65536, 10**9, 2**31, 2**32 + 8, 2**63, 10**300, -1),
    *(0.0, -0.0, 0.5, 1.0, 8.0, 1e-30, 1e30, 1e308, float("nan"), float("inf"), -float("inf")),
    *(None, True, False, "", "a", "8", "mimi", "model.safetensors", "../x", "a\nb", "\ud800"),
    *("x" * 5000, [], {}, [1], [[1]], {"a": 1}, [8] * 5000, {"rope_theta": None}, ["\n" * 100]),
    *("F32", "F16", "F8_E4M3", "I64", "BOOL", "X9", [0, 8], [2, 2], [2**40, 2**40]),
]


class Fuzzer:
    """config.json, an index or a header, mutated in values, structure or bytes.

    The outcome is a ValueError in one short line, or a model that loads and makes a step of one
    frame each way; in bounded time and memory.

    Args:
        folder: Where to write; every attack replaces what the one before it wrote.
    """

    def __init__(self, folder: Path):
        whole, shards, half = (folder / name for name in ("whole", "shards", "half"))
        whole.mkdir()
        (whole / "config.json").write_text(json.dumps(CONFIG))
        save_file(seeded.tensors(CONFIG, 1, [1.0, 0.5]), whole / "model.safetensors")
        convert.convert(convert.Wanted(str(whole), precision.Recipe("float16")), half)
        shutil.copytree(whole, shards)
        (shards / "model.safetensors").rename(shards / "a.safetensors")
        header, _ = _split((whole / "model.safetensors").read_bytes())
        index = {
            "metadata": {"total_size": 1},
            "weight_map": dict.fromkeys(header, "a.safetensors"),
        }
        (shards / "model.safetensors.index.json").write_text(json.dumps(index))
        self._files = {  # and how often each is attacked
            whole / "config.json": 12,
            half / "config.json": 3,
            shards / "config.json": 1,
            shards / "model.safetensors.index.json": 2,
            whole / "model.safetensors": 3,
            half / "model.safetensors": 3,
        }
        self._good = {path: path.read_bytes() for path in self._files}
        self._known = {path.parent: hub.find(path.parent) for path in self._files}
        for path in self._known:
            _step(Mimi.from_pretrained(path))
        self._start = _resident()

    def attack(self, seed: int) -> None:
        """One file with one to three mutations; afterwards it is as it was."""
        rng = random.Random(seed)
        path = rng.choices([*self._files], [*self._files.values()])[0]
        path.write_bytes(_mutated(self._good[path], path.suffix == ".json", rng))
        mx.reset_peak_memory()
        before = mx.get_active_memory()  # of what else this process holds
        start = time.process_time()
        try:
            found = hub.find(path.parent)
            if path.suffix == ".safetensors" or found != self._known[path.parent]:
                _step(Mimi(load(found.files, found.config)))
        except ValueError as error:
            said = str(error)
            assert said.isprintable() and len(said) < 1000, f"seed {seed}: {said!r}"
        finally:
            path.write_bytes(self._good[path])
        seconds = time.process_time() - start
        assert seconds < SLOWEST, f"seed {seed} took {seconds:.1f} s"
        taken = mx.get_peak_memory() - before
        assert taken < LARGEST, f"seed {seed} took {taken} bytes"
        assert _resident() - self._start < _GROWTH, f"at seed {seed} the process has grown"


def _step(mimi: Mimi) -> None:
    """One frame there and back, uncompiled: each model would be compiled anew, for seconds."""
    if "encoder" in mimi.codec:
        pcm = mx.zeros((1, 1, mimi.frame_size))
        codes, _ = mimi.encode_step(pcm, mimi.init_encoder_state())
        assert codes.shape == (1, mimi.num_codebooks, 1)
        assert np.array(codes).min() >= 0 and np.array(codes).max() < mimi.codebook_size
    if "decoder" in mimi.codec:
        codes = mx.zeros((1, mimi.num_codebooks, 1), mx.int32)
        pcm, _ = mimi.decode_step(codes, mimi.init_decoder_state())
        assert pcm.shape == (1, 1, mimi.frame_size)
        mx.eval(pcm)


def _mutated(data: bytes, is_json: bool, rng: random.Random) -> bytes:
    header, body = (data, b"") if is_json else _split_bytes(data)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        if rng.random() < 0.75:
            try:
                values = json.loads(header)
            except (ValueError, RecursionError):
                break
            header = json.dumps(_changed(values, rng)).encode()
        else:
            header = rng.choice(_BYTES)(header, rng)
    return header if is_json else len(header).to_bytes(8, "little") + header + body


def _changed(values: Any, rng: random.Random) -> Any:
    """Another value, one key less or more, at the top or further inside."""
    if not isinstance(values, dict) or len(values) < 2:
        return rng.choice(_VALUES)
    key = rng.choice([*values])
    kind = rng.randrange(8)
    if kind == 0:
        del values[key]
    elif kind == 1:
        values[rng.choice(_NEW_KEYS)] = rng.choice([*_VALUES, values[key]])
    elif kind == 2:
        return {rng.choice(["codec_config", "a", key]): values, "model_type": "csm"}
    elif kind == 3:
        values[rng.choice([*values])] = values.pop(key)
    elif kind == 4:
        values[key] = _near(values[key], rng)
    elif isinstance(values[key], (dict, list)) and kind < 7:
        values[key] = _changed(values[key], rng)
    elif isinstance(values[key], str) and values[key].startswith('{"'):  # JSON within JSON
        values[key] = json.dumps(_changed(json.loads(values[key]), rng))
    else:
        values[key] = rng.choice(_VALUES)
    return values


def _near(value: Any, rng: random.Random) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return rng.choice([str(value), [value], {"a": value}])
    return rng.choice([value + 1, value - 1, 2 * value, value // 2, -value, float(value), [value]])


def _flip(text: bytes, rng: random.Random) -> bytes:
    changed = bytearray(text)
    for _ in range(rng.choice([1, 1, 2, 8]) if text else 0):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(text: bytes, rng: random.Random) -> bytes:
    return text[: rng.randrange(len(text) + 1)]


def _drop(text: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(text) + 1)
    return text[:at] + text[at + rng.choice([1, 2, 10, 100]) :]


def _insert(text: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(text) + 1)
    what = rng.choice([b"NaN", b"-Infinity", b"1e999", b"9" * 5000, b"[" * 5000, b'{"a":' * 5000])
    return text[:at] + rng.choice([what, rng.randbytes(4)]) + text[at:]


def _digits(text: bytes, rng: random.Random) -> bytes:
    """One digit more, so that a number is far from what it was."""
    at = [i for i, c in enumerate(text) if c in b"0123456789"]
    i = rng.choice(at) if at else 0
    return text[:i] + rng.choice([b"9", b"000000", b"-", b".", b"e"]) + text[i:]


_BYTES: list[Callable[[bytes, random.Random], bytes]] = [_flip, _cut, _drop, _insert, _digits]


def _split_bytes(data: bytes) -> tuple[bytes, bytes]:
    size = 8 + int.from_bytes(data[:8], "little")
    return data[8:size], data[size:]


def _split(data: bytes) -> tuple[dict[str, Any], bytes]:
    """A .safetensors file's header and what follows it."""
    header, body = _split_bytes(data)
    return json.loads(header), body


def _resident() -> int:
    """The most memory that this process ever had, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
