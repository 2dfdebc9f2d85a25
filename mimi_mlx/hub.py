"""From a name, a folder or a file to the files of a checkpoint on this disk."""

import json
from pathlib import Path
from typing import NamedTuple

from .config import MimiConfig


class Checkpoint(NamedTuple):
    """A configuration and the .safetensors files that go with it."""

    config: MimiConfig
    files: list[Path]


def find(name: str | Path) -> Checkpoint:
    """The checkpoint that ``name`` means: ``"tiny"``, a folder, a file or a Hub id."""
    folder = Path(__file__).parent / "tiny" if name == "tiny" else Path(name)
    config = MimiConfig.from_dict(json.loads((folder / "config.json").read_text()))
    return Checkpoint(config, [folder / "model.safetensors"])
