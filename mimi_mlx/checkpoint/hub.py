"""From a name, a folder or a file to the files of a checkpoint on this disk.

Only files that hold Mimi are fetched, and nothing at all when they are in the Hub's cache.
"""

import json
import queue
import re
import textwrap
import threading
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from .. import tiny
from ..model.config import MimiConfig
from .layouts import SECTIONS

T = TypeVar("T")

HUB_ID = re.compile(r"(?!.*(--|\.\.))\w[\w.-]*/\w[\w.-]*(?<!\.safetensors)", re.ASCII)

# One file of a Hub repository, as MLX's tools write it.
_HUB_FILE = re.compile(r"hf://([^/]+/[^/]+)/(.+\.safetensors)")

_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")

# Kyutai's language models bring their Mimi in a file of its own, of kyutai/mimi's sizes.
_KYUTAI = re.compile(r"(tokenizer-\w+-checkpoint\d+|mimi-pytorch-.+)\.safetensors")

# Any of these in the Hub's cache shows where the rest of a checkpoint would be.
_LANDMARKS = (
    "config.json",
    "tokenizer-e351c8d8-checkpoint125.safetensors",
    "mimi-pytorch-e351c8d8@125.safetensors",
)

# Seconds for the Hub's first answer. A name server that is away would take longer to say so.
_PATIENCE = 3.0


class Checkpoint(NamedTuple):
    """A configuration and the .safetensors files that go with it."""

    config: MimiConfig
    files: list[Path]


def find(name: str | Path, revision: str | None = None) -> Checkpoint:
    """The checkpoint that ``name`` means, downloaded if need be.

    Args:
        name: ``"tiny"`` (inside this package), a folder, a ``.safetensors`` file, a Hub id, or one
            file on the Hub, ``hf://OWNER/NAME/FILE``.
            What exists on this disk comes before the Hub; the Hub's cache before a download.
        revision: A branch, tag or commit of a Hub id; None means its main branch.

    Raises:
        ValueError: There is nothing of that name, it cannot be reached, or it holds no Mimi.
    """
    path = tiny.FOLDER if name == "tiny" else Path(name).expanduser()
    if revision is not None and path.exists():
        raise ValueError(
            f"revision is {revision!r}, but {name} is on this disk; only a Hub id has revisions. "
            "Leave the revision out."
        )
    if path.is_dir():
        return _in_folder(path)
    if path.is_file():
        return _beside(path)
    name = str(name)
    if one := _HUB_FILE.fullmatch(name):
        return _one_file(*one.groups(), revision)
    if not HUB_ID.fullmatch(name):
        raise ValueError(
            f"{name!r} is no folder or file here, and no Hub id (OWNER/NAME). Give kyutai/mimi, a "
            "folder, a .safetensors file, or tiny, the small model inside this package."
        )
    return _cached(name, revision) or _download(name, revision)


# On this disk


def _in_folder(folder: Path) -> Checkpoint:
    return _choose(str(folder), [path.name for path in folder.iterdir()], folder.joinpath)


def _beside(file: Path) -> Checkpoint:
    """A file of weights, with the config.json beside it when that is Mimi's."""
    if file.suffix != ".safetensors":
        raise ValueError(f"{file} is no .safetensors file; weights are. Give one, or its folder.")
    beside = file.with_name("config.json")
    values, _ = _section(_json(beside)) if beside.is_file() else (None, "")
    return Checkpoint(_config(values or {}, beside), [file])


def _cached(name: str, revision: str | None) -> Checkpoint | None:
    """What the Hub's cache has of ``name``, when that is all that is needed of it."""
    from huggingface_hub import try_to_load_from_cache

    for landmark in _LANDMARKS:
        found = try_to_load_from_cache(name, landmark, revision=revision)
        if isinstance(found, str):
            try:
                return _in_folder(Path(found).parent)
            except ValueError:
                return None  # incomplete: the Hub knows what else there is, and what is wrong
    return None


# Which files


def _choose(where: str, names: Collection[str], fetch: Callable[[str], Path]) -> Checkpoint:
    """Of all files' ``names``, fetch the configuration and the weights of a Mimi, no others."""
    values = _json(fetch("config.json")) if "config.json" in names else {}
    section, prefix = _section(values)
    own = sorted(n for n in names if n == values.get("mimi_name") or _KYUTAI.fullmatch(n))
    if len(own) > 1:
        raise ValueError(
            f"{where} has {len(own)} Mimis ({', '.join(own)}); one must be meant. "
            "Give the path of one of these files."
        )
    if own:
        return Checkpoint(_config(section or {}, where), [fetch(own[0])])
    if section is None:
        said = f"is for {values.get('model_type')!r}" if values else "does not exist"
        raise ValueError(
            f"{where} holds no Mimi that can be recognised: its config.json {said}, and there is "
            "no tokenizer-*-checkpoint*.safetensors. Give kyutai/mimi, or a .safetensors file."
        )
    config = _config(section, where)
    weights = values.get("transformers_weights") or next(
        (n for n in _WEIGHTS if n in names), _WEIGHTS[0]
    )
    _present(where, [weights], names)
    files = _shards(fetch(weights), prefix) if weights.endswith(".json") else [weights]
    _present(where, files, names)
    return Checkpoint(config, [fetch(file) for file in files])


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
    if not isinstance(tensors, dict):
        raise ValueError(f"{index} has no weight_map; an index has. Download it again.")
    return sorted({file for tensor, file in tensors.items() if tensor.startswith(prefix)})


def _present(where: str, wanted: list[str], names: Collection[str]) -> None:
    missing = [name for name in wanted if name not in names]
    if missing or not wanted:
        raise ValueError(
            f"{where} has no {', '.join(missing) or 'tensors of a Mimi'}; its config.json asks "
            "for that. Download it again, or give the .safetensors file itself."
        )


def _json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}). Download it again.") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} is not a JSON object, as it must be. Download it again.")
    return values


def _config(values: dict[str, Any], where: str | Path) -> MimiConfig:
    try:
        return MimiConfig.from_dict(values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error


# On the Hub


def _download(name: str, revision: str | None) -> Checkpoint:
    return _choose(name, _names(name, revision), lambda file: _fetch(name, file, revision))


def _one_file(name: str, file: str, revision: str | None) -> Checkpoint:
    """One file of weights; its config.json too, unless it is known to be of kyutai/mimi's sizes."""
    from huggingface_hub import try_to_load_from_cache

    wanted = [file] if _KYUTAI.fullmatch(file) else ["config.json", file]
    found = [try_to_load_from_cache(name, each, revision=revision) for each in wanted]
    if not all(isinstance(path, str) for path in found):
        # Asked first: a download without a network tries again, aloud, for half a minute.
        names = _names(name, revision)
        if missing := [each for each in wanted if each not in names]:
            raise ValueError(f"{name} has no {', '.join(missing)} on the Hub. Correct the name.")
        found = [_fetch(name, each, revision) for each in wanted]
    return _beside(Path(found[-1]))


def _names(name: str, revision: str | None) -> list[str]:
    """The files of a repository."""
    from huggingface_hub import HfApi

    def ask() -> list[str]:
        info = HfApi().model_info(name, revision=revision, timeout=_PATIENCE)
        return [file.rfilename for file in info.siblings or []]

    return _reach(name, revision, lambda: _within(_PATIENCE, ask))


def _fetch(name: str, file: str, revision: str | None) -> Path:
    from huggingface_hub import hf_hub_download

    return Path(_reach(name, revision, lambda: hf_hub_download(name, file, revision=revision)))


def _within(seconds: float, call: Callable[[], T]) -> T:
    """``call()``, given up after ``seconds``: resolving a host's name heeds no other limit."""
    answer: queue.Queue = queue.Queue()

    def run() -> None:
        try:
            answer.put((call(), None))
        except Exception as error:
            answer.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        value, error = answer.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer in {seconds:g} s") from None
    if error is not None:
        raise error
    return value


def _reach(name: str, revision: str | None, call: Callable[[], T]) -> T:
    """``call()`` to the Hub; whatever goes wrong is one line that says what to do."""
    from huggingface_hub import errors

    try:
        return call()
    except errors.GatedRepoError as error:
        raise ValueError(
            f"{name} is gated: its terms must be accepted first. Do that at "
            f"https://huggingface.co/{name}, then run: hf auth login"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ValueError(
            f"{name} is no folder here and not on the Hub, or it is private; a Hub id is "
            "OWNER/NAME, such as kyutai/mimi. Check the spelling, or run: hf auth login"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ValueError(
            f"{name} has no revision {revision!r}; it must be a branch, a tag or a commit. "
            f"Choose one at https://huggingface.co/{name}/commits/main"
        ) from error
    except Exception as error:  # of whichever HTTP library huggingface_hub uses
        reason = textwrap.shorten(str(error) or type(error).__name__, 200)
        raise ValueError(
            f"{name} is no folder here, is not complete in the Hub's cache, and cannot be fetched "
            f"({reason}). With a network run `{_command(name, revision)}`, or give a folder that "
            "has it."
        ) from error


def _command(name: str, revision: str | None) -> str:
    """The command that downloads what this package needs of ``name``."""
    files = ""
    if name == "kyutai/mimi":
        files = " config.json model.safetensors"
    elif name.startswith("kyutai/"):
        files = ' --include "*e351c8d8*"'
    return f"hf download {name}{files}{f' --revision {revision}' if revision else ''}"
