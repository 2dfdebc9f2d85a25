"""Published weights to a folder for mimi_mlx: a dtype or bit width, a half, fewer codebooks."""

import contextlib
import json
import os
import shutil
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import mlx.core as mx
from mlx.utils import tree_flatten

from .. import files
from ..model.codec import Codec, Only
from . import hub, mlx_format, model_card, precision
from .load import load

# Bytes for config.json, README.md and the file's header.
_SPARE = 1_000_000


class Wanted(NamedTuple):
    """What to convert, and to what."""

    source: str
    """A Hub id, a folder, a .safetensors file, or ``hf://OWNER/NAME/FILE``."""
    recipe: precision.Recipe = precision.Recipe()
    revision: str | None = None
    only: Only = None
    num_codebooks: int | None = None
    """Keep this many, the first ones; None keeps all."""
    repository: str | None = None
    """The Hub id that the folder will have."""


class Result(NamedTuple):
    """What was written."""

    bytes: int
    unquantised: list[str]
    """Layers that a quantising recipe left in its dtype."""
    verdict: str | None
    """What the judge said, if there was one."""


Judge = Callable[[Wanted, hub.Checkpoint, Path], str]
"""Says how good a folder is that was made of a checkpoint, or raises an error."""


def convert(
    wanted: Wanted, folder: Path, force: bool = False, judge: Judge | None = None
) -> Result:
    """Write the folder, whole or not at all.

    Args:
        wanted: What to convert, and to what.
        folder: Where to.
        force: Replace a folder that an earlier conversion wrote.
        judge: Sees the folder complete, but under another name; if it raises an error, the folder
            goes, and what had its name stays.

    Raises:
        ValueError: The source is no published checkpoint, the folder may not be written, the disk
            is too full, or the judge says so.
    """
    precision.check(wanted.recipe)
    found = _source(wanted)
    _check_folder(folder, found.files, force)
    codec = _cut(load(found.files, found.config, wanted.only), wanted)
    layers = list(precision.layers(codec, wanted.recipe))
    left = [path for path, _, bits in layers if not bits] if wanted.recipe.bits else []
    if wanted.recipe.bits and len(left) == len(layers):
        raise ValueError(
            f"group size {wanted.recipe.group_size} divides no layer of {wanted.source}; nothing "
            "would be quantised. Give a smaller --q-group-size."
        )
    precision.reduce(codec, wanted.recipe)
    mx.eval(codec.parameters())
    size = sum(x.nbytes for x in dict(tree_flatten(codec.parameters())).values())
    _check_disk(folder, size)
    with _replacing_folder(folder) as beside:
        file = beside / "model.safetensors"
        mlx_format.save(file, codec, wanted.recipe, wanted.only)
        about = config(codec, wanted, found, file)
        (beside / "config.json").write_text(json.dumps(about, indent=1) + "\n")
        (beside / "README.md").write_text(model_card.text(about, wanted.repository or str(folder)))
        verdict = judge(wanted, found, beside) if judge else None
    return Result(size, left, verdict)


def config(codec: Codec, wanted: Wanted, found: hub.Checkpoint, file: Path) -> dict[str, Any]:
    """What config.json says: the sizes, the quantisation, where it all comes from, and sums."""
    about: dict[str, Any] = {"model_type": "mimi", **asdict(codec.config)}
    about["upsampling_ratios"] = list(codec.config.upsampling_ratios)
    about["torch_dtype"] = wanted.recipe.dtype
    if wanted.recipe.bits:
        about["quantization"] = {
            "group_size": wanted.recipe.group_size,
            "bits": wanted.recipe.bits,
            "convolution_bits": precision.CONVOLUTION_BITS[wanted.recipe.bits],
        }
    about["mimi_mlx"] = {
        "version": version("mimi_mlx"),
        "source": wanted.source,
        "revision": _commit(found.files[0]) or wanted.revision,
        "source_sha256": {source.name: files.sha256(source) for source in found.files},
        "sha256": {file.name: files.sha256(file)},
        "fingerprint": codec.fingerprint,
        "only": wanted.only,
    }
    return about


def _source(wanted: Wanted) -> hub.Checkpoint:
    """The published checkpoint, which is not itself converted."""
    found = hub.find(wanted.source, wanted.revision)
    if mlx_format.recipe(found.files) is None:
        return found
    raise ValueError(
        f"{wanted.source} is converted already; a conversion starts from published weights, or its "
        "losses would add up. Give what it was made from, such as kyutai/mimi."
    )


def _cut(codec: Codec, wanted: Wanted) -> Codec:
    """The model with the first codebooks alone."""
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
        reason = textwrap.shorten(str(error) or type(error).__name__, 200)
        raise ValueError(
            f"{folder} is complete, but its upload to {repository} failed ({reason}). Check "
            f"`hf auth whoami`, then run: hf upload {repository} {folder}"
        ) from error


# Files


def _check_folder(folder: Path, sources: list[Path], force: bool) -> None:
    if not folder.parent.is_dir():
        raise ValueError(
            f"{folder} cannot be written: there is no folder {folder.parent}. Create it first."
        )
    if any(folder.resolve() in file.resolve().parents for file in sources):
        raise ValueError(f"{folder} is what is converted. Give another --mlx-path.")
    if not folder.exists():
        return
    if not force:
        raise ValueError(f"{folder} exists; nothing is overwritten unasked. Give -f to replace it.")
    ours = {"config.json", "model.safetensors", "README.md"}
    if not folder.is_dir() or {path.name for path in folder.iterdir()} - ours:
        raise ValueError(
            f"{folder} holds other things than a converted model; -f would delete them. Give "
            "another --mlx-path."
        )


def _check_disk(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder.parent).free
    if free < size + _SPARE:
        raise ValueError(
            f"{folder} needs {size / 1e6:.0f} MB, and its disk has {free / 1e6:.0f} MB left. Make "
            "room, or give an --mlx-path on another disk."
        )


@contextlib.contextmanager
def _replacing_folder(folder: Path) -> Iterator[Path]:
    """A folder beside ``folder`` to write to: it takes that name at the end, or goes."""
    beside = folder.with_name(f".{folder.name}.{os.getpid()}")
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    beside.mkdir()
    try:
        yield beside
        if folder.exists():
            os.rename(folder, old)
        os.rename(beside, folder)
    finally:
        if not folder.exists() and old.exists():
            os.rename(old, folder)
        for path in (beside, old):
            shutil.rmtree(path, ignore_errors=True)


def _commit(file: Path) -> str | None:
    """The commit of a file in the Hub's cache, where it lies in snapshots/COMMIT/."""
    snapshot = file.parent
    return snapshot.name if snapshot.parent.name == "snapshots" else None
