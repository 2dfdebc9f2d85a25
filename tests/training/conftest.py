"""A small model and sound to train it on."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from training_folders import make_model, make_sound

from mimi_mlx import Mimi
from mimi_mlx.training import clips, sounds


@pytest.fixture(scope="session")
def small(tmp_path_factory) -> Path:
    """The folder of a model that is trained in no time."""
    return make_model(tmp_path_factory.mktemp("small") / "model")


@pytest.fixture(scope="session")
def sound(tmp_path_factory, speech) -> Path:
    """A folder of five files."""
    return make_sound(tmp_path_factory.mktemp("sound") / "sound", speech("kerstin-3"))


@pytest.fixture(scope="session", autouse=True)
def code_once() -> Iterator[None]:
    """The same sound is coded once for all runs of a session."""
    made, plain = {}, clips._write

    def write(target: Path, *args: object) -> None:
        if target.name in made:
            target.write_bytes(made[target.name])
        else:
            plain(target, *args)
            made[target.name] = target.read_bytes()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clips, "_write", write)
        yield


@pytest.fixture(scope="session")
def coded(tmp_path_factory, small, sound) -> list[clips.CodedClip]:
    """Its clips, with codes of the small model."""
    mimi, folder = Mimi.from_pretrained(small, only="encoder"), tmp_path_factory.mktemp("coded")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        files = sounds.index(sound, mimi.config, 4, False)
        return clips.prepare(files, mimi, 3, False, folder, lambda file: None)
