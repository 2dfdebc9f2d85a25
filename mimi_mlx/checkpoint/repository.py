"""A repository on the Hub: which of its files are in the Hub's cache, and how the others get there.

The Hub is waited for as long as something comes, and no answer of it is read without a bound.
"""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

from .. import files
from .patience import Traffic, patiently

T = TypeVar("T")


class Repository(NamedTuple):
    """A repository on the Hub, of which some files may be in the Hub's cache."""

    name: str
    revision: str | None = None
    patience: float = 3.0  # seconds for the Hub's first answer
    stall: float = 30.0  # seconds without progress after it
    is_local: bool = False  # ask no Hub: the cache is all

    def cached(self, file: str) -> Path | None:
        """Where a file is in the Hub's cache, if it is."""
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(self.name, file, revision=self.revision)
        return Path(found) if isinstance(found, str) else None

    def names(self) -> list[str]:
        """The names of all files, asked of the Hub."""
        return self._reach(lambda traffic: self._list(), self.patience)

    def fetch(self, file: str) -> Path:
        """A file in the Hub's cache; if need be it is downloaded, and its SHA-256 checked.

        Raises:
            ValueError: It cannot be fetched, or is not what the Hub has.
        """
        before = self.cached(file)
        path = self._reach(lambda traffic: self._download(file, traffic), self.stall)
        expected = checksum(path) if path != before else None
        if expected and (found := files.sha256(path)) != expected:
            path.resolve().unlink()
            path.unlink()
            raise ValueError(
                f"{path} came damaged: its SHA-256 is {found}, the Hub's is {expected}. "
                "It is deleted; load again."
            )
        return path

    def _download(self, file: str, traffic: Traffic) -> Path:
        from huggingface_hub import hf_hub_download

        has_bar = "tqdm_class" in inspect.signature(hf_hub_download).parameters  # not before 1
        more: Any = {"tqdm_class": traffic.bar()} if has_bar else {}
        return Path(hf_hub_download(self.name, file, revision=self.revision, **more))

    def _list(self) -> list[str]:
        """What ``HfApi.model_info`` asks; that would read an answer of any size."""
        from huggingface_hub import constants
        from huggingface_hub.utils import build_hf_headers, get_session

        url = f"{constants.ENDPOINT}/api/models/{self.name}"
        if self.revision:
            url += f"/revision/{quote(self.revision, safe='')}"
        given: Any = {"headers": build_hf_headers(), "timeout": self.patience}
        session: Any = get_session()
        text = bytearray()
        if hasattr(session, "event_hooks"):  # of httpx, as in version 1 of huggingface_hub
            opened = session.stream("GET", url, follow_redirects=True, **given)
        else:  # of requests
            opened = session.get(url, stream=True, **given)
        with opened as answer:
            _check_status(answer)
            is_httpx = hasattr(answer, "iter_bytes")
            for block in answer.iter_bytes() if is_httpx else answer.iter_content(1 << 13):
                text += block
                if len(text) > files.MAX_JSON:
                    raise ValueError(f"its list of files has more than {files.MAX_JSON} bytes")
        try:
            return [
                str(file["rfilename"])
                for file in files.parse_json(bytes(text)).get("siblings") or []
            ]
        except (KeyError, TypeError) as error:
            raise ValueError("its list of files is none") from error

    def _reach(self, call: Callable[[Traffic], T], first: float) -> T:
        """``call`` to the Hub; whatever goes wrong is one line that says what to do."""
        from huggingface_hub import constants, errors

        name = self.name
        if self.is_local:
            raise ValueError(
                f"{name} is no folder here and is not complete in the Hub's cache; with "
                f"local_files_only nothing is fetched. Leave that out, or run `{self._command()}`."
            )
        blobs = Path(constants.HF_HUB_CACHE, f"models--{name.replace('/', '--')}", "blobs")
        traffic = Traffic(blobs)
        try:
            return patiently(lambda: call(traffic), traffic, first, self.stall)
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
            reason = files.reason(error)
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


def checksum(path: Path) -> str | None:
    """The SHA-256 that the Hub gave a file that is in its cache; None if it gave none."""
    blob = path.resolve()  # a large file's is its name there
    is_known = blob.parent.name == "blobs" and re.fullmatch("[0-9a-f]{64}", blob.name)
    return blob.name if is_known else None


def _check_status(answer: Any) -> None:
    """Raise what huggingface_hub does, which would read all of the answer first."""
    from huggingface_hub import errors

    if answer.status_code < 400:
        return
    kinds = {
        "GatedRepo": errors.GatedRepoError,
        "RepoNotFound": errors.RepositoryNotFoundError,
        "RevisionNotFound": errors.RevisionNotFoundError,
    }
    usual = "RepoNotFound" if answer.status_code == 401 else ""
    kind = kinds.get(answer.headers.get("X-Error-Code", usual), errors.HfHubHTTPError)
    raise kind(f"the Hub answers {answer.status_code}", response=answer)
