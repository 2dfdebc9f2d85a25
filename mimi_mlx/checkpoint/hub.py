"""From a name, a folder or a file to the files of a checkpoint on this disk.

Only files that hold Mimi are fetched, and nothing at all when they are in the Hub's cache.
"""

import os
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NamedTuple

from .. import files, tiny
from ..model.config import MimiConfig, shown
from .layouts import SECTIONS, some
from .repository import Repository

HUB_ID = re.compile(r"(?!.*(--|\.\.))\w[\w.-]*/\w[\w.-]*(?<!\.safetensors)", re.ASCII)

_HUB_FILE = re.compile(r"hf://([^/]+/[^/]+)/(.+\.safetensors)")  # as MLX's tools write it

_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")

# Kyutai's language models bring their Mimi in a file of its own, of kyutai/mimi's sizes.
_KYUTAI = re.compile(r"(tokenizer-\w+-checkpoint\d+|mimi-pytorch-.+)\.safetensors")

# Any of these in the Hub's cache shows where the rest of a checkpoint would be.
_LANDMARKS = (
    "config.json",
    "tokenizer-e351c8d8-checkpoint125.safetensors",
    "mimi-pytorch-e351c8d8@125.safetensors",
)


class Checkpoint(NamedTuple):
    """A configuration and the .safetensors files that go with it."""

    config: MimiConfig
    files: list[Path]

    @property
    def commit(self) -> str | None:
        """The commit that the files are of, if they are in the Hub's cache: snapshots/COMMIT/."""
        folder = self.files[0].parent
        return folder.name if folder.parent.name == "snapshots" else None


def find(
    name: str | Path,
    revision: str | None = None,
    patience: float = 3.0,
    stall: float = 30.0,
    local_files_only: bool = False,
) -> Checkpoint:
    """The checkpoint that ``name`` means, downloaded if need be.

    Args:
        name: ``"tiny"`` (inside this package), a folder, a ``.safetensors`` file, a Hub id, or one
            file on the Hub, ``hf://OWNER/NAME/FILE``.
            What exists on this disk comes before the Hub; the Hub's cache before a download.
        revision: A branch, tag or commit of a Hub id; None means its main branch.
        patience: Seconds for the Hub's first answer. A name server that is away would take longer
            to say so.
        stall: Seconds without progress, after which a download is given up.
        local_files_only: Ask no Hub: what its cache lacks is missing.

    Raises:
        ValueError: There is nothing of that name, it cannot be reached, it comes damaged, or it
            holds no Mimi.
    """
    files.check_path("the model", name, "Give kyutai/mimi, a folder, or a .safetensors file.")
    if not (revision is None or isinstance(revision, str)):
        raise ValueError(
            f"revision is {shown(revision)}; it must be a branch, a tag or a commit. Leave it out "
            "for the main branch."
        )
    path = tiny.FOLDER if name == "tiny" else Path(os.path.expanduser(name))
    if revision is not None and os.path.exists(path):
        raise ValueError(
            f"revision is {revision!r}, but {name} is on this disk; only a Hub id has revisions. "
            "Leave the revision out."
        )
    if os.path.isdir(path):  # False for what cannot be a path, too
        return _in_folder(path)
    if os.path.isfile(path):
        return _beside(path)
    name = str(name)
    if one := _HUB_FILE.fullmatch(name):
        return _one_file(Repository(one[1], revision, patience, stall, local_files_only), one[2])
    if not HUB_ID.fullmatch(name):
        raise ValueError(
            f"{name!r} is no folder or file here, and no Hub id (OWNER/NAME). Give kyutai/mimi, a "
            "folder, a .safetensors file, or tiny, the small model inside this package."
        )
    repository = Repository(name, revision, patience, stall, local_files_only)
    return _cached(repository) or _choose(name, repository.names(), repository.fetch)


def on_disk(name: str, revision: str | None = None) -> Checkpoint | None:
    """The checkpoint that ``name`` means if it is on this disk; nothing is asked of the Hub.

    Raises:
        ValueError: What is here of that name holds no Mimi.
    """
    if name == "tiny" or os.path.exists(os.path.expanduser(name)):
        return find(name)
    if one := _HUB_FILE.fullmatch(name):
        return _cached_file(Repository(one[1], revision, 0, 0), one[2])
    return _cached(Repository(name, revision, 0, 0)) if HUB_ID.fullmatch(name) else None


def shared_name(name: str) -> str:
    """What a file for others calls a model: of a path, which is nobody else's, the last part."""
    if name == "tiny" or not os.path.exists(os.path.expanduser(name)):
        return name
    return os.path.basename(os.path.realpath(os.path.expanduser(name)))


# On this disk


def _in_folder(folder: Path) -> Checkpoint:
    try:
        names = [path.name for path in folder.iterdir()]
    except OSError as error:
        raise ValueError(f"{folder} cannot be read ({error.strerror}). Give another.") from error
    return _choose(str(folder), names, folder.joinpath)


def _beside(file: Path) -> Checkpoint:
    """A file of weights, with the config.json beside it when that is Mimi's."""
    if file.suffix != ".safetensors":
        raise ValueError(f"{file} is no .safetensors file; weights are. Give one, or its folder.")
    beside = file.with_name("config.json")
    values, _ = _section(_json(beside)) if os.path.lexists(beside) else (None, "")
    return Checkpoint(_config(values or {}, beside), [file])


# Which files


def _choose(where: str, names: Collection[str], fetch: Callable[[str], Path]) -> Checkpoint:
    """Of all files' ``names``, fetch the configuration and the weights of a Mimi, no others."""
    values = _json(fetch("config.json")) if "config.json" in names else {}
    section, prefix = _section(values)
    own = sorted(n for n in names if n == values.get("mimi_name") or _KYUTAI.fullmatch(n))
    if len(own) > 1:
        raise ValueError(
            f"{where} has {len(own)} Mimis ({some(own)}); one must be meant. "
            "Give the path of one of these files."
        )
    if own:
        return Checkpoint(_config(section or {}, where), [fetch(own[0])])
    if section is None:
        said = f"is for {shown(values.get('model_type'))}" if values else "does not exist"
        raise ValueError(
            f"{where} holds no Mimi that can be recognised: its config.json {said}, and there is "
            "no tokenizer-*-checkpoint*.safetensors. Give kyutai/mimi, or a .safetensors file."
        )
    config = _config(section, where)
    weights = values.get("transformers_weights") or next(
        (n for n in _WEIGHTS if n in names), _WEIGHTS[0]
    )
    if not isinstance(weights, str):
        raise ValueError(
            f"{where}: transformers_weights is {shown(weights)}; it must be a file's name. "
            "Correct config.json."
        )
    _present(where, [weights], names)
    shards = _shards(fetch(weights), prefix) if weights.endswith(".json") else [weights]
    _present(where, shards, names)
    return Checkpoint(config, [fetch(shard) for shard in shards])


def _section(values: dict[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """The part of a config.json that describes a Mimi, or None, and its tensors' prefix."""
    if values.get("model_type") == "mimi":
        return values, ""
    for key, prefix in SECTIONS.items():
        inner = values.get(key)
        if isinstance(inner, dict) and inner.get("model_type") == "mimi":
            return inner, prefix
    return None, ""


def _shards(index: Path, prefix: str) -> list[str]:
    """The files that hold tensors of a prefix, from a sharded checkpoint's index."""
    tensors = _json(index).get("weight_map")
    if not isinstance(tensors, dict) or not all(isinstance(x, str) for x in tensors.values()):
        raise ValueError(
            f"{index} has no weight_map of tensors' names to files'; an index has. "
            "Download it again."
        )
    return sorted({file for tensor, file in tensors.items() if tensor.startswith(prefix)})


def _present(where: str, wanted: list[str], names: Collection[str]) -> None:
    missing = [name for name in wanted if name not in names]
    if missing or not wanted:
        raise ValueError(
            f"{where} has no {some(missing) or 'tensors of a Mimi'}; its config.json asks "
            "for that. Download it again, or give the .safetensors file itself."
        )


def _json(path: Path) -> dict[str, Any]:
    return files.read_json(path, "Download it again.")


def _config(values: dict[str, Any], where: str | Path) -> MimiConfig:
    try:
        return MimiConfig.from_dict(values)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


# On the Hub


def _cached(repository: Repository) -> Checkpoint | None:
    """What the Hub's cache has of a repository, when that is all that is needed of it."""
    landmark = next(filter(None, map(repository.cached, _LANDMARKS)), None)
    try:
        return _in_folder(landmark.parent) if landmark else None
    except ValueError:
        return None  # incomplete: the Hub knows what else there is, and what is wrong


def _one_file(repository: Repository, file: str) -> Checkpoint:
    """One file of weights; its config.json too, unless it is known to be of kyutai/mimi's sizes."""
    if there := _cached_file(repository, file):
        return there
    # Asked first: a download without a network tries again, aloud, for half a minute.
    names, wanted = repository.names(), _with_config(file)
    if missing := [each for each in wanted if each not in names]:
        raise ValueError(f"{repository.name} has no {some(missing)} on the Hub. Correct the name.")
    return _beside([repository.fetch(each) for each in wanted][-1])


def _cached_file(repository: Repository, file: str) -> Checkpoint | None:
    """What :func:`_one_file` gives, if all of it is in the Hub's cache."""
    found = [repository.cached(each) for each in _with_config(file)]
    return _beside(found[-1]) if all(found) and found[-1] else None


def _with_config(file: str) -> list[str]:
    return [file] if _KYUTAI.fullmatch(file) else ["config.json", file]
