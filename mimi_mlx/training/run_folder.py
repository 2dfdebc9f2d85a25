"""The folder of a run: a model that everything here loads, and in ``training/`` all else.

``config.json``, ``model.safetensors`` and ``README.md`` are the best model so far. ``training/``
has ``run.json`` (the settings), ``state.safetensors`` (what goes on), ``log.jsonl``,
``progress.png``, ``clips/`` (what is held out, before and after) and ``sound/`` (samples and codes
of what is trained on).
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NamedTuple

import mlx.core as mx

from .. import atomic, files
from ..checkpoint import destination, hub, mlx_format, precision
from ..model.codec import Codec
from . import card
from .settings import Settings

_MODEL = {"config.json", "model.safetensors", "README.md"}
_TRAINING = "training"

_COPIES = 4  # of the base's size: the model, its weights in training, and what the optimiser keeps


class Saved(NamedTuple):
    """Where a run is."""

    step: int
    minutes: float  # that it took to come here


class RunFolder:
    """The folder of a run, at ``path``."""

    def __init__(self, path: Path):
        self.path = path
        self._training = path / _TRAINING
        self.clips, self.sound = self._training / "clips", self._training / "sound"
        self.picture = self._training / "progress.png"
        self._run, self._log = self._training / "run.json", self._training / "log.jsonl"
        self._state = self._training / "state.safetensors"
        self._next = self._training / "next"  # a whole model that is to take the place of the last

    def check_new(self, force: bool, sound: list[Path]) -> None:
        """A run on the sound in folders may begin here.

        Raises:
            ValueError: It is there, without ``force``; it holds other things than a run; or it is
                inside a folder of sound, where the clips that are written would be sound, too.
        """
        for each in sound:
            if each.resolve() in (self.path.resolve(), *self.path.resolve().parents):
                raise ValueError(
                    f"{self.path} is inside {each}, whose sound files are used; what is written "
                    "would be among them. Give another -o."
                )
        files.check_parent(self.path)
        if not self.path.exists():
            return
        if not force:
            hint = "--resume to go on with it, or " if self._run.exists() else ""
            raise ValueError(
                f"{self.path} exists; nothing is overwritten unasked. Give {hint}-f to replace it."
            )
        found = {each.name for each in self.path.iterdir()} if self.path.is_dir() else {""}
        if found - _MODEL - {_TRAINING}:
            raise ValueError(
                f"{self.path} holds other things than a trained model; -f would delete them. Give "
                "another -o."
            )

    def check_base(self, paths: list[Path]) -> None:
        """The base is elsewhere, and there is room for it, and for what is trained.

        Raises:
            ValueError: It is not, or there is none.
        """
        if any(self.path.resolve() in path.resolve().parents for path in paths):
            raise ValueError(f"{self.path} is what training starts from. Give another -o.")
        destination.check_room(self.path, _COPIES * sum(p.stat().st_size for p in paths), "-o")

    def create(self, settings: Settings) -> None:
        """Make the folder anew, with its settings alone."""
        with atomic.replacing_folder(self.path) as beside:
            for name in ("clips", "sound"):
                (beside / _TRAINING / name).mkdir(parents=True)
            _write_json(beside / _TRAINING / self._run.name, asdict(settings))

    def settings(self) -> Settings:
        """The settings of the run that is here.

        Raises:
            ValueError: There is none.
        """
        if not self._run.exists():
            raise ValueError(f"{self.path} holds no run to resume. Leave out --resume.")
        said = files.read_json(self._run, "Begin anew with -f.")
        try:
            if said.keys() != {field.name for field in fields(Settings)}:
                raise ValueError("it has other settings than this version")
            return Settings(**said)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{self._run}: {error}. Begin anew with -f.") from error

    def keep(self, settings: Settings) -> None:
        """Keep other settings from now on."""
        _write_json(self._run, asdict(settings))

    def save(self, state: dict[str, mx.array], saved: Saved, digest: str) -> None:
        """Keep where a run is; ``digest`` is that of its clips."""
        facts = {"saved": json.dumps(saved._asdict()), "clips": digest}
        with atomic.replacing(self._state) as file, _writing(self._state):
            mx.save_safetensors(file, state, facts)

    def load(self, digest: str) -> tuple[dict[str, mx.array], Saved] | None:
        """Where the run was when it was saved; None if it never was.

        Raises:
            ValueError: The file is damaged, or the clips are no longer the same.
        """
        self._take_next()  # that a kill kept from it
        if not self._state.exists():
            return None
        with files.open_safetensors(self._state, "Begin anew with -f.") as file:
            facts = file.metadata() or {}
        state = mx.load(str(self._state), format="safetensors")
        assert isinstance(state, dict)
        if facts.get("clips") != digest:
            raise ValueError(
                f"the sound that the run in {self.path} is trained on has changed since it began; "
                "it cannot go on with the same numbers. Put it back, or begin anew with -f."
            )
        return state, Saved(**json.loads(facts["saved"]))

    def log(self, line: dict[str, Any]) -> None:
        """Add a line to the log."""
        with self._log.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def lines(self, step: int | None = None) -> list[dict[str, Any]]:
        """The log's lines; with ``step``, those after it go: a run that goes on writes them."""
        if not self._log.exists():
            return []
        found = []
        for text in self._log.read_text().splitlines():
            try:
                found.append(json.loads(text))
            except ValueError:  # a kill cut it off
                continue
        if step is not None:
            found = [line for line in found if line["step"] <= step]
            with atomic.replacing(self._log) as file:
                file.write("".join(json.dumps(line) + "\n" for line in found).encode())
        return found

    def write_model(self, codec: Codec, about: dict[str, Any]) -> None:
        """Write the model; ``about`` is what it was trained from and how good it is."""
        path, beside = self.path / "model.safetensors", self._training / "model"
        beside.mkdir(exist_ok=True)
        recipe, file = precision.Recipe(), beside / path.name
        with _writing(path):
            mlx_format.save(file, codec, mlx_format.About(recipe, None, codec.fingerprint))
        config = mlx_format.config(codec, recipe, None, file, {"finetuned": about})
        _write_json(beside / "config.json", config)
        (beside / "README.md").write_text(card.text(config, str(self.path)))
        beside.rename(self._next)
        self._take_next()

    def _take_next(self) -> None:
        """Have the files of the next model, if there is any, be the model's."""
        if self._next.exists():
            for file in self._next.iterdir():
                file.replace(self.path / file.name)
            self._next.rmdir()


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Inside, tensors are written: MLX does not say why they could not be.

    Raises:
        ValueError: They could not be.
    """
    try:
        yield
    except RuntimeError as error:
        raise ValueError(
            f"{path} cannot be written ({files.reason(error)}). Make room on its disk, and go on "
            "with --resume."
        ) from error


def _write_json(path: Path, values: dict[str, Any]) -> None:
    with atomic.replacing(path) as file:
        file.write((json.dumps(values, indent=1) + "\n").encode())


def base_facts(name: str, found: hub.Checkpoint) -> dict[str, Any]:
    """What a trained model says of its base."""
    return {
        "base": hub.shared_name(name),
        "revision": found.commit,
        "base_sha256": {path.name: files.sha256(path) for path in found.files},
    }
