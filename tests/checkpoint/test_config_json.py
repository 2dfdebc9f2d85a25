"""A config.json of a stranger costs nothing: it fits its tensors, or is refused before them."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from paths import TINY

from mimi_mlx import Mimi
from mimi_mlx.checkpoint import convert, hub, precision
from mimi_mlx.checkpoint.load import load

# isort: split
import mlx.core as mx

CONFIG = json.loads((TINY / "config.json").read_text())


@pytest.fixture
def folder(tmp_path) -> Path:
    """The embedded model, in a folder to change at will."""
    for name in ("config.json", "model.safetensors"):
        shutil.copy(TINY / name, tmp_path)
    return tmp_path


def refused(folder: Path, text: str | bytes, name: str = "config.json") -> str:
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError) as caught:
        Mimi.from_pretrained(folder)
    message = str(caught.value)
    assert message.isprintable() and len(message) < 1000 and str(folder) in message
    return message


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ('{"model_type": "mimi", "a": ' + "[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        (json.dumps(CONFIG) + " " * (9 << 20), "more than 8388608 bytes"),
        (json.dumps(CONFIG | {"norm_eps": float("nan")}), "NaN is no number of JSON"),
        (json.dumps(CONFIG | {"unknown": -float("inf")}), "-Infinity is no number of JSON"),
        (json.dumps(CONFIG).replace("1e-05", "1e999"), "norm_eps is inf"),
        (json.dumps(CONFIG).replace("1e-05", "9" * 5000), "is not JSON"),
        (json.dumps(CONFIG | {"num_hidden_layers": 10**9}), "num_hidden_layers is 1000000000"),
        (json.dumps(CONFIG | {"num_quantizers": 10**9}), "num_quantizers is 1000000000"),
        (json.dumps(CONFIG | {"sliding_window": 10**9}), "sliding_window is 1000000000"),
    ],
)
def test_what_is_no_sensible_json_is_refused(folder, text, rule):
    start = time.process_time()
    assert rule in refused(folder, text)
    assert time.process_time() - start < 1


def test_an_index_is_bounded_as_well(folder):
    (folder / "model.safetensors").unlink()
    index = "model.safetensors.index.json"
    for text in ("[" * 100_000, " " * (9 << 20), "[]", '{"weight_map": {"a": NaN}}'):
        assert index in refused(folder, text, index)
    names = {f"encoder.{i}": f"{i}\nx" * 99 for i in range(10_000)}
    assert "and 9997 more" in refused(folder, json.dumps({"weight_map": names}), index)


# The largest numbers that a configuration may have, in the embedded model's.
LARGEST = {
    "num_filters": 4096,
    "upsampling_ratios": (8, 6, 5, 64),
    "kernel_size": 64,
    "last_kernel_size": 64,
    "residual_kernel_size": 64,
    "num_residual_layers": 15,
    "compress": 16,
    "hidden_size": 65536,
    "num_hidden_layers": 256,
    "head_dim": 1024,
    "intermediate_size": 262144,
    "num_quantizers": 255,
    "codebook_size": 65536,
    "codebook_dim": 65536,
}


@pytest.fixture(scope="module")
def halves(tmp_path_factory) -> Path:
    """The embedded model, converted to float16."""
    folder = tmp_path_factory.mktemp("halves") / "float16"
    convert.convert(convert.Wanted("tiny", precision.Recipe("float16")), folder)
    return folder


@pytest.mark.parametrize("name", LARGEST)
@pytest.mark.parametrize("layout", ["hub", "float16"])
def test_sizes_are_compared_with_the_tensors_before_memory_is_taken(halves, layout, name):
    config, files = hub.find("tiny" if layout == "hub" else halves)
    other = replace(config, **{name: LARGEST[name]})
    before, start = mx.get_active_memory(), time.process_time()
    mx.reset_peak_memory()
    with pytest.raises(ValueError, match="does not fit its configuration"):
        load(files, other)
    assert mx.get_peak_memory() - before < 1 << 20
    assert time.process_time() - start < 1


@pytest.mark.parametrize("layout", ["hub", "float16"])
def test_more_layers_than_the_tensors_have_are_no_network(halves, layout, monkeypatch):
    config, files = hub.find("tiny" if layout == "hub" else halves)
    for module in ("load", "mlx_format"):
        monkeypatch.setattr(f"mimi_mlx.checkpoint.{module}.Codec", lambda *a: pytest.fail("built"))
    with pytest.raises(ValueError, match="num_hidden_layers is 64, and its tensors are of 2"):
        load(files, replace(config, num_hidden_layers=64))


_FIND = """
import sys
from mimi_mlx import Mimi
for folder in sys.argv[1:]:
    try:
        Mimi.from_pretrained(folder)
        print("loaded", folder)
    except ValueError as error:
        print(error)
"""


def test_special_files_are_refused_at_once(tmp_path, monkeypatch):
    """In a child: to open a pipe that nobody writes would take for ever."""

    def bind(path: Path) -> None:
        monkeypatch.chdir(path.parent)  # the name of a socket is a short one
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)

    makes = {
        "folder": Path.mkdir,
        "pipe": os.mkfifo,
        "device": lambda path: path.symlink_to("/dev/zero"),
        "loop": lambda path: path.symlink_to(path),
        "socket": bind,
    }
    wanted, folders = ("config.json", "model.safetensors", "model.safetensors.index.json"), []
    for kind, make in makes.items():
        for name in wanted:
            folder = tmp_path / f"{kind}{len(folders)}"
            folder.mkdir()
            for other in {"config.json", "model.safetensors"} - {name}:
                shutil.copy(TINY / other, folder)
            if name == "model.safetensors.index.json":
                (folder / "model.safetensors").unlink()
            make(folder / name)
            folders.append(folder)
            if name == "config.json":
                folders.append(folder / "model.safetensors")
    done = subprocess.run(
        [sys.executable, "-c", _FIND, *folders], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr[-300:]
    lines = done.stdout.splitlines()
    assert len(lines) == len(folders)
    for line, folder in zip(lines, folders, strict=True):
        assert str(folder.parent) in line and not line.startswith("loaded")
        assert "cannot be read" in line or "can be read" in line


def test_what_names_no_folder_is_one_line():
    for name in ("a" * 5000, "a\0b", "~" + "a" * 300):
        with pytest.raises(ValueError, match=r"no folder or file here|must be a name or a path"):
            hub.find(name)
