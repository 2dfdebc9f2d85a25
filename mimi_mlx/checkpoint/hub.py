"""From a name, a folder or a file to the files of a checkpoint on this disk.

Only files that hold Mimi are fetched, and nothing at all when they are in the Hub's cache.
"""

import json
import re
import textwrap
import threading
from collections.abc import Callable, Collection
from concurrent import futures
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from .. import tiny
from ..model.config import MimiConfig
from .layouts import SECTIONS

T = TypeVar("T")

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


def find(name: str | Path, revision: str | None = None, patience: float = 3.0) -> Checkpoint:
    """The checkpoint that ``name`` means, downloaded if need be.

    Args:
        name: ``"tiny"`` (inside this package), a folder, a ``.safetensors`` file, a Hub id, or one
            file on the Hub, ``hf://OWNER/NAME/FILE``.
            What exists on this disk comes before the Hub; the Hub's cache before a download.
        revision: A branch, tag or commit of a Hub id; None means its main branch.
        patience: Seconds for the Hub's first answer. A name server that is away would take longer
            to say so.

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
        return _one_file(_Repository(one[1], revision, patience), one[2])
    if not HUB_ID.fullmatch(name):
        raise ValueError(
            f"{name!r} is no folder or file here, and no Hub id (OWNER/NAME). Give kyutai/mimi, a "
            "folder, a .safetensors file, or tiny, the small model inside this package."
        )
    repository = _Repository(name, revision, patience)
    return _cached(repository) or _choose(name, repository.files(), repository.fetch)


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


class _Repository(NamedTuple):
    """A repository on the Hub, of which some files may be in the Hub's cache."""

    name: str
    revision: str | None
    patience: float  # seconds for the Hub's first answer

    def cached(self, file: str) -> Path | None:
        """Where a file is in the Hub's cache, if it is."""
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(self.name, file, revision=self.revision)
        return Path(found) if isinstance(found, str) else None

    def files(self) -> list[str]:
        """The names of all files, asked of the Hub."""
        from huggingface_hub import HfApi

        answer: futures.Future[list[str]] = futures.Future()

        def ask() -> None:
            try:
                info = HfApi().model_info(self.name, revision=self.revision, timeout=self.patience)
                answer.set_result([file.rfilename for file in info.siblings or []])
            except Exception as error:
                answer.set_exception(error)

        def wait() -> list[str]:  # no longer: resolving a host's name heeds no other limit
            threading.Thread(target=ask, daemon=True).start()
            if not futures.wait([answer], self.patience).done:
                raise TimeoutError(f"no answer in {self.patience:g} s")
            return answer.result()

        return self._reach(wait)

    def fetch(self, file: str) -> Path:
        """A file in the Hub's cache, downloaded if need be."""
        from huggingface_hub import hf_hub_download

        return self._reach(lambda: Path(hf_hub_download(self.name, file, revision=self.revision)))

    def _reach(self, call: Callable[[], T]) -> T:
        """``call()`` to the Hub; whatever goes wrong is one line that says what to do."""
        from huggingface_hub import errors

        name = self.name
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
                f"{name} has no revision {self.revision!r}; it must be a branch, a tag or a "
                f"commit. Choose one at https://huggingface.co/{name}/commits/main"
            ) from error
        except Exception as error:  # of whichever HTTP library huggingface_hub uses
            reason = textwrap.shorten(str(error) or type(error).__name__, 200)
            raise ValueError(
                f"{name} is no folder here, is not complete in the Hub's cache, and cannot be "
                f"fetched ({reason}). With a network run `{self._command()}`, or give a folder "
                "that has it."
            ) from error

    def _command(self) -> str:
        """The command that downloads what this package needs of it."""
        files, revision = "", f" --revision {self.revision}" if self.revision else ""
        if self.name == "kyutai/mimi":
            files = " config.json model.safetensors"
        elif self.name.startswith("kyutai/"):
            files = ' --include "*e351c8d8*"'
        return f"hf download {self.name}{files}{revision}"


def _cached(repository: _Repository) -> Checkpoint | None:
    """What the Hub's cache has of a repository, when that is all that is needed of it."""
    landmark = next(filter(None, map(repository.cached, _LANDMARKS)), None)
    try:
        return _in_folder(landmark.parent) if landmark else None
    except ValueError:
        return None  # incomplete: the Hub knows what else there is, and what is wrong


def _one_file(repository: _Repository, file: str) -> Checkpoint:
    """One file of weights; its config.json too, unless it is known to be of kyutai/mimi's sizes."""
    wanted = [file] if _KYUTAI.fullmatch(file) else ["config.json", file]
    found = [path for path in map(repository.cached, wanted) if path]
    if len(found) < len(wanted):
        # Asked first: a download without a network tries again, aloud, for half a minute.
        names = repository.files()
        if missing := [each for each in wanted if each not in names]:
            raise ValueError(
                f"{repository.name} has no {', '.join(missing)} on the Hub. Correct the name."
            )
        found = [repository.fetch(each) for each in wanted]
    return _beside(found[-1])
