"""A saved stream: one .safetensors file with its state, and in its metadata what it belongs to."""

import os
from typing import Any, NamedTuple

import mlx.core as mx
from mlx.utils import tree_flatten, tree_map_with_path

from ..files import open_safetensors, replacing

_FORMAT = "mimi_mlx.stream"
_VERSION = "1"


class SavedStream(NamedTuple):
    """All that a stream is, as values.

    ``pending [B, 1, T]`` are the samples of an encoder's unfinished frame; ``state`` are the
    state's leaves by their place in it; ``num_codebooks`` is 0 for a decoder that has not begun.
    """

    half: str
    fingerprint: str
    batch_size: int
    num_codebooks: int
    flushed: bool
    pending: mx.array
    state: dict[str, mx.array]


def check_model(path: str | os.PathLike, saved: SavedStream, fingerprint: str) -> None:
    """A file's stream is one of the model with this fingerprint.

    Raises:
        ValueError: It is another's.
    """
    if saved.fingerprint != fingerprint:
        raise ValueError(
            f"{path} holds a stream of the model with fingerprint {saved.fingerprint}; this "
            f"model's is {fingerprint}. Load it with the model that it was saved with."
        )


def state_like(path: str | os.PathLike, saved: SavedStream, fresh: Any) -> Any:
    """The file's leaves in the structure of a fresh state.

    Raises:
        ValueError: They are not of its names, shapes and types.
    """
    found = {name: (leaf.shape, leaf.dtype) for name, leaf in saved.state.items()}
    fits = {name: (leaf.shape, leaf.dtype) for name, leaf in dict(tree_flatten(fresh)).items()}
    odd = sorted(name for name in found | fits if found.get(name) != fits.get(name))
    if odd:
        raise ValueError(
            f"{path} holds a state of other arrays ({odd[0]}: {found.get(odd[0])}; here "
            f"{fits.get(odd[0])}). Load it with the model that it was saved with."
        )
    return tree_map_with_path(lambda name, _: saved.state[name], fresh)


def write(path: str | os.PathLike, saved: SavedStream) -> None:
    """Write a file that is either there as a whole or, after a failure, as it was before."""
    facts = {
        "format": _FORMAT,
        "version": _VERSION,
        "half": saved.half,
        "fingerprint": saved.fingerprint,
        "batch_size": str(saved.batch_size),
        "num_codebooks": str(saved.num_codebooks),
        "flushed": str(int(saved.flushed)),
    }
    tensors = {f"state.{name}": leaf for name, leaf in saved.state.items()}
    with replacing(path) as file:
        mx.save_safetensors(file, {"pending": saved.pending, **tensors}, facts)


def read(path: str | os.PathLike) -> SavedStream:
    """Read what :func:`write` wrote; the tensors are lazy.

    Raises:
        ValueError: There is no such file, it is damaged, or it is not a saved stream.
    """
    remedy = "Give a file that a stream's save() wrote, whole."
    with open_safetensors(path, remedy, "a saved stream") as file:
        facts = file.metadata() or {}
        if facts.get("format") != _FORMAT or facts.get("version") != _VERSION:
            found = f"{facts.get('format', 'no format')!r} {facts.get('version', '')}".strip()
            raise ValueError(
                f"{path} says {found}; a saved stream says {_FORMAT!r} {_VERSION}. "
                "Give a file that a stream's save() of this version wrote."
            )
        tensors = mx.load(str(path), format="safetensors")
        assert isinstance(tensors, dict)
    return SavedStream(
        facts["half"],
        facts["fingerprint"],
        int(facts["batch_size"]),
        int(facts["num_codebooks"]),
        facts["flushed"] == "1",
        tensors.pop("pending"),
        {name.removeprefix("state."): leaf for name, leaf in tensors.items()},
    )
