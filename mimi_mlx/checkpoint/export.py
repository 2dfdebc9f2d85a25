"""A model to a folder that PyTorch's Mimis load: transformers', moshi's, and rustymimi."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import mlx.core as mx

from .. import atomic
from ..model.config import MimiConfig, shown
from . import destination, hub, mlx_format, model_card, published
from .load import load

FILES = {"hub": "model.safetensors", "kyutai": "mimi-pytorch-export.safetensors"}
"""What the weights' file is called in each layout."""

_HOLDS = {*FILES.values(), "config.json", "preprocessor_config.json", "README.md"}

_FLAG = "-o"

# Source: transformers' EncodecFeatureExtractor.
_PREPROCESSOR = {
    "feature_extractor_type": "EncodecFeatureExtractor",
    "feature_size": 1,
    "padding_side": "right",
    "padding_value": 0.0,
    "return_attention_mask": True,
    "chunk_length_s": None,
    "overlap": None,
}


class Exported(NamedTuple):
    """What was written."""

    file: Path
    tensors: int
    bytes: int
    dtype: str  # that the convolutions and linears had; the file's values are these
    has_kyutais_sizes: bool  # which moshi and rustymimi take for granted


def export(
    source: str,
    folder: str | Path,
    layout: str = "hub",
    revision: str | None = None,
    force: bool = False,
) -> Exported:
    """Write the folder, whole or not at all. All weights are float32, of the values that they had.

    Args:
        source: What ``Mimi.from_pretrained`` takes.
        layout: ``"hub"``: transformers' ``MimiModel``; ``"kyutai"``: moshi and rustymimi.
        revision: A branch, tag or commit of a Hub id.
        force: Replace a folder that an earlier export or conversion wrote.

    Raises:
        ValueError: The source is no model, is quantised or one half alone, there is no such
            layout, the folder may not be written, or the disk is too full.
    """
    if layout not in FILES:
        raise ValueError(f"layout is {shown(layout)}; it must be {' or '.join(FILES)}.")
    folder, found = Path(folder), hub.find(source, revision)
    said = mlx_format.about_files(found.files)
    _check(source, said)
    destination.check(folder, found.files, force, _HOLDS, _FLAG)
    tensors = published.tensors(load(found.files, found.config), layout)
    size = sum(x.nbytes for x in tensors.values())
    destination.check_room(folder, size, _FLAG)
    origin = mlx_format.origin(found.files[0])
    name = hub.shared_name(source)
    base = (origin.name, origin.revision) if origin else (name, found.commit or revision)
    with atomic.replacing_folder(folder) as beside:
        mx.save_safetensors(str(beside / FILES[layout]), tensors, {"format": "pt"})
        for name, values in _described(found.config, layout).items():
            (beside / name).write_text(json.dumps(values, indent=1) + "\n")
        is_trained = mlx_format.trained(found.files[0]) is not None
        card = model_card.exported(*base, is_trained, found.config, folder / FILES[layout], layout)
        (beside / "README.md").write_text(card)
    dtype = said.recipe.dtype if said else "float32"
    has_kyutais_sizes = found.config == MimiConfig()
    return Exported(folder / FILES[layout], len(tensors), size, dtype, has_kyutais_sizes)


def _check(source: str, said: mlx_format.About | None) -> None:
    """What a converted file says of itself lets it be exported."""
    if said and said.recipe.bits:
        raise ValueError(
            f"{source} is quantised ({said.recipe}); PyTorch's Mimis take whole weights. Give what "
            "it was made from, such as kyutai/mimi."
        )
    if said and said.only:
        raise ValueError(
            f"{source} is the {said.only} alone; PyTorch's Mimis have both halves. Give what it "
            f"was made from, or convert that without --{said.only}-only."
        )


def _described(config: MimiConfig, layout: str) -> dict[str, dict[str, Any]]:
    """The files of JSON beside the weights. moshi and rustymimi read none."""
    values = config.to_dict()
    if layout == "kyutai":
        return {"config.json": values}
    return {
        "config.json": {"architectures": ["MimiModel"], **values},
        "preprocessor_config.json": {**_PREPROCESSOR, "sampling_rate": config.sampling_rate},
    }
