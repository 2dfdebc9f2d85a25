"""What convert writes: tensors under the names of Mimi's parameters, as they are in memory.

The file itself says how it was made, under one key of its metadata, so that a lone file loads too.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import mlx.core as mx
from mlx.utils import tree_flatten

from .. import files
from ..model.codec import Codec, Only
from ..model.config import MimiConfig, shown
from . import finite, precision
from .layouts import Source, check_layers, listed

KEY = "mimi_mlx"
"""Of the metadata: JSON with ``dtype``, ``bits``, ``group_size`` and ``only``.

Of a model of fewer codebooks also ``fingerprint``: that of the whole one, whose codes these are.
"""

_FINGERPRINT = re.compile("(?!0{16})[0-9a-f]{16}")

# Parameters whose names in the file are those that they had when the format was made.
_NAMES = {
    "quantizer.codebooks.columns": "quantizer.codebooks",
    "quantizer.codebooks.biases": "quantizer.biases",
}


class Origin(NamedTuple):
    """What a folder was converted or trained from, as its config.json says."""

    name: str
    revision: str | None
    sha256: dict[str, str]  # of its files, by name


class About(NamedTuple):
    """What a file says of itself."""

    recipe: precision.Recipe
    only: Only
    fingerprint: str | None  # None: that of its own codebooks


def save(path: Path, codec: Codec, about: About) -> None:
    """Write a network that has a recipe's precision, and perhaps only one half."""
    said = {**about.recipe._asdict(), "only": about.only}
    if about.fingerprint:
        said["fingerprint"] = about.fingerprint
    facts = {"format": "mlx", KEY: json.dumps(said)}
    mx.save_safetensors(str(path), named_tensors(codec), facts)


def config(
    codec: Codec, recipe: precision.Recipe, only: Only, file: Path, origin: dict[str, Any]
) -> dict[str, Any]:
    """What the config.json beside a file says: sizes, precision, where it is from, and its sum."""
    from importlib.metadata import version  # slow to import, and loading needs none

    said: dict[str, Any] = {"model_type": "mimi", **asdict(codec.config)}
    said["torch_dtype"] = recipe.dtype
    if recipe.bits:
        bits = {"bits": recipe.bits, "convolution_bits": precision.CONVOLUTION_BITS[recipe.bits]}
        said["quantization"] = {"group_size": recipe.group_size, **bits}
    said[KEY] = {
        "version": version("mimi_mlx"),
        **origin,
        "sha256": {file.name: files.sha256(file)},
        "fingerprint": codec.fingerprint,
        "only": only,
    }
    return said


def recipe(paths: Iterable[Path]) -> precision.Recipe | None:
    """The recipe of files that :func:`save` wrote; None for all others.

    Raises:
        ValueError: Such a file names no recipe that there is.
    """
    said = about_files(paths)
    return said.recipe if said else None


def about_files(paths: Iterable[Path]) -> About | None:
    """What files that :func:`save` wrote say of themselves; None for all others.

    Raises:
        ValueError: Such a file says what cannot be.
    """
    for path in paths:
        try:
            with files.open_safetensors(path, "Download it again.") as file:
                said = (file.metadata() or {}).get(KEY)
        except ValueError:
            continue  # loading it says what is wrong
        if said is not None:
            return about(said, str(path))
    return None


def checksum(path: Path) -> str | None:
    """The SHA-256 that the config.json beside a converted file says it has; None if none does."""
    try:
        return str(files.read_json(path.with_name("config.json"), "")[KEY]["sha256"][path.name])
    except (ValueError, KeyError, TypeError):
        return None


def origin(path: Path) -> Origin | None:
    """What a file was made from; None if the config.json beside it does not say."""
    base = trained(path)
    try:
        said = base or files.read_json(path.with_name("config.json"), "")[KEY]
        name, sums = ("base", "base_sha256") if base else ("source", "source_sha256")
        found = Origin(said[name], said["revision"], dict(said[sums]))
    except (ValueError, KeyError, TypeError):
        return None
    is_whole = isinstance(found.name, str) and isinstance(found.revision, (str, type(None)))
    return found if is_whole else None


def trained(path: Path) -> dict[str, Any] | None:
    """What the config.json beside a file says of its training; None if it was not trained here."""
    try:
        return dict(files.read_json(path.with_name("config.json"), "")[KEY]["finetuned"])
    except (ValueError, KeyError, TypeError):
        return None


def load(
    tensors: dict[str, mx.array], said: str, paths: Sequence[Path], config: MimiConfig, only: Only
) -> Codec:
    """The network that :func:`save` wrote, or one half of it; on a CPU, expanded to float32.

    Raises:
        ValueError: A tensor is missing, unknown, or of another shape or type than it must be, or
            not finite; or the half that is asked for is not there.
    """
    where = listed(paths)
    recipe, half, fingerprint = about(said, where)
    if half and only not in (None, half):
        raise ValueError(
            f"{where} was converted with --{half}-only; it has no {only}. Convert without that."
        )
    check_layers(tensors, config, paths)
    source = Source(tensors, None)
    for name, x in named_tensors(_blank(config, half, recipe)).items():
        source.take(name, *x.shape, dtype=x.dtype)
    source.finish(paths)
    codec = _blank(config, only or half, recipe)
    names = dict(tree_flatten(codec.parameters()))
    codec.load_weights([(name, tensors[_NAMES.get(name, name)]) for name in names])
    mx.eval(codec.parameters())
    finite.check(codec, tensors, paths)
    precision.expand_on_cpu(codec)
    mx.eval(codec.parameters())
    if fingerprint:
        codec.quantizer.fingerprint = fingerprint
    return codec


def _blank(config: MimiConfig, only: Only, recipe: precision.Recipe) -> Codec:
    codec = Codec(config, only)
    precision.reduce(codec, recipe)
    return codec


def named_tensors(codec: Codec) -> dict[str, mx.array]:
    """A network's parameters by their names in the file."""
    parameters = dict(tree_flatten(codec.parameters()))
    return {_NAMES.get(name, name): x for name, x in parameters.items()}


def about(text: str, where: str) -> About:
    """What a file's metadata says under :data:`KEY`.

    Raises:
        ValueError: It names none that there are.
    """
    try:
        values = files.parse_json(text)
        half = values.pop("only")
        fingerprint = values.pop("fingerprint", None)
        recipe = precision.Recipe(**values)
        precision.check(recipe)
        if half not in (None, "encoder", "decoder"):
            raise ValueError(f"only is {shown(half)}")
        is_text = isinstance(fingerprint, str)
        if fingerprint is not None and not (is_text and _FINGERPRINT.fullmatch(fingerprint)):
            raise ValueError(f"fingerprint is {shown(fingerprint)}; it is 16 hexadecimal digits")
    except (KeyError, TypeError, ValueError) as error:
        reason = files.reason(error)
        raise ValueError(
            f"{where} says of itself what mimi_mlx cannot read ({reason}). Convert it again."
        ) from error
    return About(recipe, half, fingerprint)
