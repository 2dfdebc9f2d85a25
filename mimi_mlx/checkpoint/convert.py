"""Published weights to a folder for mimi_mlx: a dtype or bit width, a half, fewer codebooks."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import mlx.core as mx
from mlx.utils import tree_flatten

from .. import atomic, files
from ..model.codec import Codec, Only
from . import destination, hub, mlx_format, model_card, precision
from .load import load

_FILES = {"config.json", "model.safetensors", "README.md"}  # what is written

_FLAG = "--mlx-path"


class Wanted(NamedTuple):
    """What to convert, and to what."""

    source: str  # a Hub id, a folder, a .safetensors file, or ``hf://OWNER/NAME/FILE``
    recipe: precision.Recipe = precision.Recipe()
    revision: str | None = None
    only: Only = None
    num_codebooks: int | None = None  # keep this many, the first ones; None keeps all
    repository: str | None = None  # the Hub id that the folder will have


class Result(NamedTuple):
    """What was written."""

    bytes: int
    unquantised: list[str]  # layers that a quantising recipe left in its dtype
    verdict: str | None  # what the judge said, if there was one


Judge = Callable[[Wanted, hub.Checkpoint, Path], str]
"""Says how good a folder is that was made of a checkpoint, or raises an error."""


def convert(
    wanted: Wanted, folder: Path, force: bool = False, judge: Judge | None = None
) -> Result:
    """Write the folder, whole or not at all.

    Args:
        force: Replace a folder that an earlier conversion wrote.
        judge: Sees the folder complete, but under another name; if it raises an error, the folder
            goes, and what had its name stays.

    Raises:
        ValueError: The source is no published checkpoint, the folder may not be written, the disk
            is too full, or the judge says so.
    """
    recipe = wanted.recipe
    precision.check(recipe)
    found = hub.find(wanted.source, wanted.revision)
    if mlx_format.recipe(found.files) is not None and not mlx_format.trained(found.files[0]):
        raise ValueError(
            f"{wanted.source} is converted already; a conversion starts from published weights, or "
            "its losses would add up. Give what it was made from, such as kyutai/mimi."
        )
    destination.check(folder, found.files, force, _FILES, _FLAG)
    codec = _cut(load(found.files, found.config, wanted.only), wanted)
    layers = list(precision.layers(codec, recipe))
    left = [path for path, _, bits in layers if recipe.bits and not bits]
    if len(left) == len(layers):
        raise ValueError(
            f"group size {recipe.group_size} divides no layer of {wanted.source}; nothing would "
            "be quantised. Give a smaller --q-group-size."
        )
    precision.reduce(codec, recipe)
    mx.eval(codec.parameters())
    size = sum(x.nbytes for x in dict(tree_flatten(codec.parameters())).values())
    destination.check_room(folder, size, _FLAG)
    with atomic.replacing_folder(folder) as beside:
        file = beside / "model.safetensors"
        kept = codec.fingerprint if wanted.num_codebooks else None
        mlx_format.save(file, codec, mlx_format.About(recipe, wanted.only, kept))
        about = config(codec, wanted, found, file)
        (beside / "config.json").write_text(json.dumps(about, indent=1) + "\n")
        (beside / "README.md").write_text(model_card.text(about, wanted.repository or str(folder)))
        verdict = judge(wanted, found, beside) if judge else None
    return Result(size, left, verdict)


def config(codec: Codec, wanted: Wanted, found: hub.Checkpoint, file: Path) -> dict[str, Any]:
    """What config.json says of a converted file."""
    origin = {
        "source": wanted.source,
        "revision": found.commit or wanted.revision,
        "source_sha256": {source.name: files.sha256(source) for source in found.files},
    }
    return mlx_format.config(codec, wanted.recipe, wanted.only, file, origin)


def _cut(codec: Codec, wanted: Wanted) -> Codec:
    """The model with the first codebooks alone; it has the fingerprint of the whole."""
    count, all_of_them = wanted.num_codebooks, codec.config.num_quantizers
    least = codec.config.num_semantic_quantizers + 1
    if count is None:
        return codec
    if not least <= count <= all_of_them:
        raise ValueError(
            f"--num-codebooks is {count}; {wanted.source} has {all_of_them}, of which "
            f"{least} to all can be kept. Give a number in between."
        )
    cut = Codec(replace(codec.config, num_quantizers=count), wanted.only)
    levels = ("quantizer.codebooks.columns", "quantizer.codebooks.biases")
    whole = dict(tree_flatten(codec.parameters()))
    cut.load_weights([(k, x[:count] if k in levels else x) for k, x in whole.items()])
    cut.quantizer.fingerprint = codec.fingerprint
    return cut


def check_id(repository: str) -> None:
    """Raise a ValueError if a repository cannot be called this."""
    if not hub.HUB_ID.fullmatch(repository):
        raise ValueError(f"{repository!r} is no Hub id; it must be OWNER/NAME. Correct it.")


def upload(folder: Path, repository: str) -> None:
    """Upload a folder as a model's repository, which is made if need be.

    Raises:
        ValueError: It did not get there; the folder is as it was.
    """
    from huggingface_hub import HfApi

    try:
        HfApi().create_repo(repository, exist_ok=True)
        HfApi().upload_folder(repo_id=repository, folder_path=folder)
    except Exception as error:  # of whichever HTTP library huggingface_hub uses
        reason = files.reason(error)
        raise ValueError(
            f"{folder} is complete, but its upload to {repository} failed ({reason}). Check "
            f"`hf auth whoami`, then run: hf upload {repository} {folder}"
        ) from error
