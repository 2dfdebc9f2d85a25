"""A checkpoint damaged in any way ends in one line that names it, or is the same model."""

import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kyutai import to_kyutai
from paths import TINY
from safetensors.numpy import load_file, save_file

from mimi_mlx import Mimi
from mimi_mlx.checkpoint import convert, precision

LAYOUTS = ("hub", "kyutai", "float16", "4 bit")


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """The embedded model in every layout that can be loaded."""
    home = tmp_path_factory.mktemp("layouts")
    found = {name: home / name for name in LAYOUTS}
    found["hub"].mkdir()
    shutil.copy(TINY / "model.safetensors", found["hub"])
    found["kyutai"].mkdir()
    save_file(to_kyutai(load_file(TINY / "model.safetensors"), 4), found["kyutai"] / FILE)
    for name in ("hub", "kyutai"):
        shutil.copy(TINY / "config.json", found[name])
    convert.convert(convert.Wanted("tiny", precision.Recipe("float16")), found["float16"])
    convert.convert(convert.Wanted("tiny", precision.Recipe("float16", 4)), found["4 bit"])
    return found


FILE = "model.safetensors"


def load(folder: Path, content: bytes) -> str:
    """The error's line, or nothing if it loads."""
    (folder / FILE).write_bytes(content)
    try:
        Mimi.from_pretrained(folder)
    except ValueError as error:
        assert "\n" not in str(error) and str(folder) in str(error), error
        return str(error)
    return ""


def split(content: bytes) -> tuple[dict, bytes]:
    """A .safetensors file's header and what follows it."""
    size = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def joined(header: dict, body: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def is_counted(name: str) -> bool:
    """Whether a tensor is one that the model needs."""
    return not name.endswith("initialized")


@st.composite
def damages(draw):
    """A change of a file's bytes, given its tensors' names."""
    return draw(st.sampled_from(sorted(DAMAGES))), draw(st.randoms(use_true_random=False))


def truncate(content, random):
    return content[: random.randrange(len(content))]


def lengthen(content, random):
    return content + bytes(random.randrange(1, 100))


def _with_header(change):
    def damage(content, random):
        header, body = split(content)
        names = [name for name in header if name != "__metadata__" and is_counted(name)]
        change(header, random.choice(names), random)
        return joined(header, body)

    return damage


def rename(header, name, random):
    header[name + random.choice([".x", "2", " "])] = header.pop(name)


def swap_case(header, name, random):
    header[name.upper()] = header.pop(name)


def reshape(header, name, random):
    shape = header[name]["shape"]
    header[name]["shape"] = random.choice([[1, *shape], [*shape, 1], [int(np.prod(shape)), 1, 1]])


def retype(header, name, random):
    header[name]["dtype"] = {"F32": "I32", "F16": "BF16", "U32": "F32"}[header[name]["dtype"]]


def shrink_type(header, name, random):
    header[name]["dtype"] = random.choice(["U8", "F64", "BOOL", "X99", ""])


def move(header, name, random):
    header[name]["data_offsets"] = [random.randrange(-5, 10**9), random.randrange(-5, 10**9)]


def twice(header, name, random):
    header[name + "_copy"] = dict(header[name])


def forget(header, name, random):
    del header[name]


DAMAGES = {
    "truncate": truncate,
    "lengthen": lengthen,
    **{
        change.__name__: _with_header(change)
        for change in (*(rename, swap_case, reshape, retype, shrink_type, move, twice, forget),)
    },
}


def some(count: int, **drawn):
    """So many examples, of any layout."""
    few = settings(
        max_examples=count,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    return lambda test: few(given(layout=st.sampled_from(LAYOUTS), **drawn)(test))


def check_damaged(folders, tmp_path, layout, damage):
    kind, random = damage
    content = (folders[layout] / FILE).read_bytes()
    shutil.copy(folders[layout] / "config.json", tmp_path)
    assert load(tmp_path, DAMAGES[kind](content, random)), kind


@some(8, damage=damages())
def test_damaged_files_never_load(folders, tmp_path, layout, damage):
    check_damaged(folders, tmp_path, layout, damage)


@pytest.mark.slow
@some(150, damage=damages())
def test_many_damaged_files_never_load(folders, tmp_path, layout, damage):
    check_damaged(folders, tmp_path, layout, damage)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_kind_of_damage_is_refused(folders, tmp_path, layout):
    import random

    content = (folders[layout] / FILE).read_bytes()
    shutil.copy(folders[layout] / "config.json", tmp_path)
    assert load(tmp_path, content) == ""
    for kind, damage in DAMAGES.items():
        assert load(tmp_path, damage(content, random.Random(kind))), kind


def drop(tensors, name, random):
    del tensors[name]


def duplicate(tensors, name, random):
    tensors[name + ".again"] = tensors[name]


def cut_off(tensors, name, random):
    tensors[name] = tensors[name][: len(tensors[name]) // 2]


def transpose(tensors, name, random):
    array = np.ascontiguousarray(tensors[name].T)
    tensors[name] = array if array.shape != tensors[name].shape else array[None]


def as_integers(tensors, name, random):
    array = tensors[name]
    tensors[name] = array.view(np.int32) if array.itemsize == 4 else array.view(np.int16)
    if array.dtype == np.uint32:
        tensors[name] = array.view(np.float32)


TENSORS = (drop, duplicate, cut_off, transpose, as_integers)


def check_changed(folders, tmp_path, layout, change, random):
    content = (folders[layout] / FILE).read_bytes()
    metadata = split(content)[0].get("__metadata__")
    tensors = load_file(folders[layout] / FILE)
    change(tensors, random.choice([name for name in tensors if is_counted(name)]), random)
    save_file(tensors, tmp_path / FILE, metadata)
    shutil.copy(folders[layout] / "config.json", tmp_path)
    assert load(tmp_path, (tmp_path / FILE).read_bytes()), change.__name__


CHANGES = {"change": st.sampled_from(TENSORS), "random": st.randoms(use_true_random=False)}


@some(8, **CHANGES)
def test_changed_tensors_never_load(folders, tmp_path, layout, change, random):
    """Well-formed files, of other tensors."""
    check_changed(folders, tmp_path, layout, change, random)


@pytest.mark.slow
@some(150, **CHANGES)
def test_many_changed_tensors_never_load(folders, tmp_path, layout, change, random):
    check_changed(folders, tmp_path, layout, change, random)


@pytest.mark.parametrize(
    "said",
    [
        *("", "[]", "null", "{}"),
        '{"dtype": "int3", "bits": 0, "group_size": 64, "only": null}',
        '{"dtype": "float16", "bits": 5, "group_size": 64, "only": null}',
        '{"dtype": "float16", "bits": 0, "group_size": 64, "only": "quantizer"}',
        '{"dtype": [], "bits": 0, "group_size": 64, "only": null, "more": 1}',
        '{"dtype": "float16", "bits": 8, "group_size": 64, "only": null}',
        '{"dtype": "float16", "bits": 4, "group_size": 32, "only": null}',
        '{"dtype": "float16", "bits": 4, "group_size": 64, "only": "encoder"}',
    ],
)
def test_what_a_file_says_of_itself_is_checked(folders, tmp_path, said):
    header, body = split((folders["4 bit"] / FILE).read_bytes())
    header["__metadata__"]["mimi_mlx"] = said
    shutil.copy(folders["4 bit"] / "config.json", tmp_path)
    assert load(tmp_path, joined(header, body))
