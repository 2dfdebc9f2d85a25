"""A saved stream: one .safetensors file with its state, and in its metadata what it belongs to.

A file may come from anywhere. Before a tensor is read, the metadata and every shape are compared
with what a stream of this model has; afterwards, values that no stream has are refused. A CRC-32
over metadata and tensors finds accidents. It guards against nobody, and neither would a longer
checksum that whoever changes the file can make anew; this one takes the least time to save.
"""

import json
import os
import re
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten, tree_map, tree_map_with_path
from safetensors import safe_open

from ..atomic import replacing
from ..files import check_path, open_safetensors
from ..model.codec import Codec
from . import validation

_FORMAT = "mimi_mlx.stream"
_VERSION = "2"
_BEFORE = "1"  # had no checksum

_REMEDY = "Give a file that a stream's save() wrote, whole."

# What safetensors calls the types of a state's leaves.
_TYPES = {mx.float32: "F32", mx.int32: "I32", mx.uint32: "U32", mx.bool_: "BOOL"}


class SavedStream(NamedTuple):
    """All that a stream is, as values.

    ``pending [B, 1, T]`` are the samples of an encoder's unfinished frame; ``num_codebooks`` is 0
    for a decoder that has not begun.
    """

    half: str
    fingerprint: str
    batch_size: int
    num_codebooks: int
    flushed: bool
    pending: mx.array
    state: Any


def write(path: str | os.PathLike, saved: SavedStream) -> None:
    """Write a file that is either there as a whole or, after a failure, as it was before."""
    check_path("path", path, "Give the file to write.")
    facts = {
        "format": _FORMAT,
        "version": _VERSION,
        "half": saved.half,
        "fingerprint": saved.fingerprint,
        "batch_size": str(saved.batch_size),
        "num_codebooks": str(saved.num_codebooks),
        "flushed": str(int(saved.flushed)),
    }
    tensors = {f"state.{name}": leaf for name, leaf in _leaves(saved.state).items()}
    tensors["pending"] = saved.pending
    facts["crc32"] = checksum(facts, {name: np.asarray(leaf) for name, leaf in tensors.items()})
    with replacing(path) as file:
        mx.save_safetensors(file, tensors, facts)


def read(path: str | os.PathLike, codec: Codec) -> SavedStream:
    """Read what :func:`write` wrote for a stream of this model.

    Raises:
        ValueError: There is no such file, it is damaged, it is not a saved stream, or it is
            another model's.
    """
    check_path("path", path, _REMEDY)
    if not os.path.isfile(path):
        raise ValueError(f"{path} cannot be read as a saved stream (it is no file). {_REMEDY}")
    with open_safetensors(path, _REMEDY, "a saved stream") as file:
        facts = file.metadata() or {}
        _check_facts(path, facts, codec)
        init = codec.init_encoder_state if facts["half"] == "encoder" else codec.init_decoder_state
        row, batch_size = init(1), int(facts["batch_size"])
        flushed = facts["flushed"] == "1"
        waits = facts["half"] == "encoder" and not flushed
        _check_shapes(path, file, row, batch_size, codec.config.frame_size if waits else 1)
        validation.fits_memory(batch_size, row)
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if "crc32" in facts and facts["crc32"] != checksum(facts, arrays):
        raise ValueError(f"{path} is damaged: its checksum is not that of its content. {_REMEDY}")
    state = tree_map_with_path(lambda name, _: arrays[f"state.{name}"], row)
    _check_values(path, arrays, state.transformer.filled, codec.config.sliding_window - 1)
    return SavedStream(
        facts["half"],
        facts["fingerprint"],
        batch_size,
        int(facts["num_codebooks"]),
        flushed,
        mx.array(arrays["pending"]),
        tree_map(mx.array, state),
    )


def checksum(facts: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> str:
    """The CRC-32 of all metadata but ``crc32``, and of all tensors in the order of their names."""
    covered = {name: fact for name, fact in facts.items() if name != "crc32"}
    crc = zlib.crc32(json.dumps(covered, sort_keys=True).encode())
    for _, array in sorted(arrays.items()):
        crc = zlib.crc32(array.tobytes(), crc)
    return f"{crc:08x}"


def _leaves(state: Any) -> dict[str, mx.array]:
    return dict(tree_flatten(state))


def _check_facts(path: str | os.PathLike, facts: Mapping[str, str], codec: Codec) -> None:
    """Every field is there, and what a stream of this model has."""
    kind, version = facts.get("format", "")[:40], facts.get("version", "")[:40]
    if kind != _FORMAT or version not in (_BEFORE, _VERSION):
        raise ValueError(
            f"{path} says {kind!r} {version!r}; a saved stream says {_FORMAT!r} {_VERSION!r}. "
            "Give a file that a stream's save() of this version wrote."
        )
    is_encoder, most = facts.get("half") == "encoder", codec.config.num_quantizers
    numbers = [str(count) for count in range(1 if is_encoder else 0, most + 1)]
    rules = {
        "half": ("encoder|decoder", "'encoder' or 'decoder'"),
        "fingerprint": ("[0-9a-f]{16}", "16 hexadecimal digits"),
        "batch_size": ("[1-9][0-9]{0,9}", "a whole number from 1 on"),
        "num_codebooks": ("|".join(numbers), f"a number from {numbers[0]} to {most}"),
        "flushed": ("0|1" if is_encoder else "0", "1 for an encoder that was flushed, else 0"),
    }
    if version == _VERSION:
        rules["crc32"] = ("[0-9a-f]{8}", "8 hexadecimal digits")
    for name, (pattern, rule) in rules.items():
        if not re.fullmatch(pattern, facts.get(name, "")):
            found = facts.get(name, "")[:40]
            raise ValueError(f"{path} has {found!r} for {name}; it must be {rule}. {_REMEDY}")
    if more := facts.keys() - rules.keys() - {"format", "version"}:
        raise ValueError(f"{path} has a field {min(more)[:40]!r} that no stream has. {_REMEDY}")
    if facts["fingerprint"] != codec.fingerprint:
        raise ValueError(
            f"{path} holds a stream of the model with fingerprint {facts['fingerprint']}; this "
            f"model's is {codec.fingerprint}. Load it with the model that it was saved with."
        )
    if facts["half"] not in codec:
        raise ValueError(
            f"{path} holds a stream of the {facts['half']}, which this model was loaded without. "
            "Load all of it."
        )


def _check_shapes(
    path: str | os.PathLike, file: safe_open, row: Any, batch_size: int, past_pending: int
) -> None:
    """The file's tensors are a state's of so many rows, and fewer than ``past_pending`` samples."""
    slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
    found = {name: (one.get_dtype(), list(one.get_shape())) for name, one in slices.items()}
    fits = {
        f"state.{name}": (_TYPES[leaf.dtype], [batch_size, *leaf.shape[1:]])
        for name, leaf in _leaves(row).items()
    }
    pending = found.get("pending", ("", []))
    samples = pending[1][-1] if len(pending[1]) == 3 else 0
    fits["pending"] = ("F32", [batch_size, 1, min(samples, past_pending - 1)])
    odd = sorted(name for name in found | fits if found.get(name) != fits.get(name))
    if odd:
        other, ours = str(found.get(odd[0]))[:80], fits.get(odd[0])
        raise ValueError(
            f"{path} holds a state of other arrays ({odd[0][:40]!r}: {other}; here {ours}). "
            "Load it with the model that it was saved with."
        )


def _check_values(
    path: str | os.PathLike, arrays: Mapping[str, np.ndarray], filled: np.ndarray, window: int
) -> None:
    """All numbers are finite, and as many keys are real as a window has at most."""
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{path} has NaN or infinite numbers in {name!r}. {_REMEDY}")
    if filled.min() < 0 or filled.max() > window:
        raise ValueError(
            f"{path} has {filled.tolist()[:9]} positions in its windows; they hold 0 to {window}. "
            f"{_REMEDY}"
        )
