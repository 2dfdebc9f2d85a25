"""Weights that are NaN or infinite do not load; the error names the tensors that have them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from kyutai import to_kyutai
from paths import TINY
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from mimi_mlx import Mimi
from mimi_mlx.checkpoint import convert, precision

LAYOUTS = ("hub", "kyutai", "float16", "bfloat16", "4 bit")
FILE = "model.safetensors"


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """The embedded model in every layout and precision."""
    home = tmp_path_factory.mktemp("layouts")
    found = {name: home / name for name in LAYOUTS}
    for name in ("hub", "kyutai"):
        found[name].mkdir()
        shutil.copy(TINY / "config.json", found[name])
    shutil.copy(TINY / FILE, found["hub"])
    save_file(to_kyutai(load_file(TINY / FILE), 4), found["kyutai"] / FILE)
    for name in LAYOUTS[2:]:
        recipe = precision.Recipe("float16", 4) if name == "4 bit" else precision.Recipe(name)
        convert.convert(convert.Wanted("tiny", recipe), found[name])
    return found


def poisoned(source: Path, folder: Path, bits: dict[str, str], index: int = -1) -> str:
    """The error of a checkpoint in which one number of each of some tensors is another."""
    data = bytearray((source / FILE).read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    for name, value in bits.items():
        at, end = header[name]["data_offsets"]
        number = {
            "F32": np.float32(value).tobytes(),
            "F16": np.float16(value).tobytes(),
            "BF16": np.float32(value).tobytes()[2:],
        }[header[name]["dtype"]]
        where = start + (at if index == 0 else end - len(number))
        data[where : where + len(number)] = number
    (folder / FILE).write_bytes(data)
    shutil.copy(source / "config.json", folder)
    with pytest.raises(ValueError) as caught:
        Mimi.from_pretrained(folder)
    message = str(caught.value)
    assert message.isprintable() and str(folder / FILE) in message
    return message


def floats(folder: Path) -> list[str]:
    """The tensors that have numbers that may be NaN, and that the model reads."""
    with safe_open(folder / FILE, "numpy") as file:
        types = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    return [n for n, t in types.items() if t[0] in "FB" and not n.endswith("initialized")]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_tensor_must_be_finite(folders, tmp_path, layout):
    names = sorted(floats(folders[layout]))
    for i, name in enumerate(names[::30]):
        value = ("nan", "inf", "-inf")[i % 3]
        message = poisoned(folders[layout], tmp_path, {name: value}, index=-(i % 2))
        assert "has NaN or infinity in 1 of its tensors" in message
        assert layout == "kyutai" or f"({name})" in message  # which is under the Hub's names


def test_the_error_names_the_first_tensors_and_how_many(folders, tmp_path):
    names = sorted(floats(folders["hub"]))[10:30]
    message = poisoned(folders["hub"], tmp_path, dict.fromkeys(names, "nan"))
    assert "in 20 of its tensors" in message and "and 17 more" in message
    assert sum(name in message for name in names) == 3


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_codebooks_usage_must_be_finite(folders, tmp_path, value):
    """Its maximum with a small number, or the division by it, would hide it."""
    name = "quantizer.acoustic_residual_vector_quantizer.layers.3.codebook.cluster_usage"
    assert name in poisoned(folders["hub"], tmp_path, {name: value})


def test_finite_weights_whose_product_is_not_are_refused(tiny_tensors, tmp_path):
    book = "quantizer.semantic_residual_vector_quantizer.layers.0.codebook"
    tiny_tensors[f"{book}.embed_sum"][0] = 3e38
    tiny_tensors[f"{book}.cluster_usage"][0] = 1e-5
    save_file(tiny_tensors, tmp_path / FILE)
    shutil.copy(TINY / "config.json", tmp_path)
    with pytest.raises(ValueError, match=r"NaN or infinity in .*quantizer\.codebooks"):
        Mimi.from_pretrained(tmp_path)


def test_what_the_model_does_not_read_may_be_anything(tiny, tiny_tensors, tmp_path):
    for name in tiny_tensors:
        if name.endswith("initialized") or name.startswith("decoder."):
            tiny_tensors[name] = np.full_like(tiny_tensors[name], np.nan)
    save_file(tiny_tensors, tmp_path / FILE)
    shutil.copy(TINY / "config.json", tmp_path)
    assert Mimi.from_pretrained(tmp_path, only="encoder").fingerprint == tiny.fingerprint
