"""Exporting: what is written is a published checkpoint with the same effect, or it fails."""

import json

import mlx.core as mx
import numpy as np
import pytest
from kyutai import to_kyutai
from mlx.utils import tree_flatten
from models import unpacked_tiny
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from mimi_mlx import MimiConfig
from mimi_mlx.checkpoint import convert, hub, precision, published
from mimi_mlx.checkpoint.export import FILES, export
from mimi_mlx.checkpoint.load import load
from mimi_mlx.model.codec import Codec
from mimi_mlx.model.ops import device


def parameters(name: object) -> dict[str, mx.array]:
    config, files = hub.find(name)
    return dict(tree_flatten(load(files, config).parameters()))


@pytest.mark.parametrize("layout", FILES)
def test_the_way_there_and_back_changes_no_bit(tmp_path, layout):
    """Of any parameter: so none of a code or a sample either."""
    made = export("tiny", tmp_path / "out", layout)
    expected, found = parameters("tiny"), parameters(tmp_path / "out")
    assert expected.keys() == found.keys()
    assert not [name for name in expected if not mx.array_equal(expected[name], found[name])]
    assert hub.find(tmp_path / "out").config == hub.find("tiny").config
    assert made.file == tmp_path / "out" / FILES[layout] and not made.has_kyutais_sizes


def test_tensors_are_the_published_ones_but_for_what_was_folded(tiny_tensors):
    codec = unpacked_tiny()
    found = {name: np.array(x) for name, x in published.tensors(codec, "hub").items()}
    assert found.keys() == tiny_tensors.keys()
    for name, tensor in tiny_tensors.items():
        assert found[name].dtype == np.float32 and found[name].shape == tensor.shape, name
        base, _, last = name.rpartition(".")
        if last in ("scale", "cluster_usage", "initialized"):
            assert (found[name] == 1).all(), name
            continue
        if name.endswith(("o_proj.weight", "fc2.weight")):
            part = base.rpartition(".")[0]
            tensor = tiny_tensors[f"{part}_layer_scale.scale"][:, None] * tensor
        if last == "embed_sum":
            tensor = tensor / np.maximum(tiny_tensors[f"{base}.cluster_usage"], 1e-5)[:, None]
        np.testing.assert_array_equal(found[name], tensor, name)
    theirs, ours = to_kyutai(found, 4), published.tensors(codec, "kyutai")
    assert theirs.keys() == ours.keys()
    for name in theirs:
        np.testing.assert_array_equal(theirs[name], ours[name], name)


def test_halves_of_precision_keep_their_values(tmp_path):
    convert.convert(convert.Wanted("tiny", precision.Recipe("bfloat16")), tmp_path / "half")
    assert export(str(tmp_path / "half"), tmp_path / "out").dtype == "bfloat16"
    expected, found = parameters(tmp_path / "half"), parameters(tmp_path / "out")
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name].astype(mx.float32), name)
    codec = unpacked_tiny()
    precision.reduce(codec, precision.Recipe("bfloat16"))  # as a GPU has it
    assert {x.dtype for x in published.tensors(codec, "hub").values()} == {mx.float32}


def test_entries_as_wide_as_latents_have_no_projections():
    sizes = {"num_filters": 2, "hidden_size": 8, "codebook_dim": 8, "intermediate_size": 8}
    few = {"num_hidden_layers": 1, "num_attention_heads": 1, "codebook_size": 4}
    codec = Codec(MimiConfig(**sizes, **few, num_quantizers=2))
    eye = mx.eye(8)
    codec.quantizer.input_proj.weight = mx.concatenate([eye, eye])
    codec.quantizer.output_proj.weight = mx.concatenate([eye, eye], axis=1)
    assert not [name for name in published.tensors(codec, "hub") if "put_proj" in name]
    codec.quantizer.output_proj.weight *= 2
    with pytest.raises(ValueError, match="output_proj"):
        published.tensors(codec, "hub")


@pytest.mark.parametrize("layout", FILES)
def test_a_line_says_what_is_there_and_how_it_is_loaded(run, tmp_path, layout):
    code, out, err = run("export", "tiny", "-o", "out", "--layout", layout)
    assert (code, out) == (0, "") and "float32" in err
    loader = {"hub": "MimiModel.from_pretrained('out')", "kyutai": f"get_mimi('out/{FILES[layout]}"}
    assert loader[layout] in err.splitlines()[-1]
    assert ("mimi_config" in err) == (layout == "kyutai")  # tiny is not of kyutai/mimi's sizes
    more = {"hub": {"preprocessor_config.json"}, "kyutai": set()}[layout]
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"README.md", "config.json", FILES[layout], *more}
    with safe_open(tmp_path / "out" / FILES[layout], "numpy") as file:
        assert file.metadata() == {"format": "pt"}  # transformers asks for it
    card = (tmp_path / "out" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: ") and "exported from `tiny`" in card
    assert run("export", "tiny", "-o", "out", "-f")[0] == 0
    assert json.loads((tmp_path / "out" / "config.json").read_text())["model_type"] == "mimi"


def test_what_cannot_be_exported_is_refused(run, tmp_path):
    """In one line, and nothing is left."""
    convert.convert(convert.Wanted("tiny", precision.Recipe("float16", 8)), tmp_path / "quantised")
    convert.convert(convert.Wanted("tiny", only="decoder"), tmp_path / "half")
    save_file({"weight": np.zeros(3, np.float32)}, tmp_path / "other.safetensors")
    before = sorted(tmp_path.rglob("*"))
    for args, rule in [
        (("quantised", "-o", "out"), "is quantised (8 bit"),
        (("half", "-o", "out"), "is the decoder alone"),
        (("other.safetensors", "-o", "out"), "holds no Mimi"),
        (("no such model", "-o", "out"), "no Hub id"),
        (("tiny", "-o", "out", "--layout", "onnx"), "invalid choice: 'onnx'"),
        (("tiny", "-o", "half"), "half exists"),
        (("tiny", "-o", "other.safetensors", "-f"), "Give another -o"),
        (("half", "-o", "half", "-f"), "is the decoder alone"),
        (("tiny", "-o", "no/such/out"), "no folder no/such"),
        (("tiny",), "required: -o"),
        (("-o", "out"), "no model to export"),
        (("tiny", "--model", "tiny", "-o", "out"), "are two models"),
    ]:
        code, out, err = run("export", *args)
        assert (code, out) == (2, "") and err.startswith("mimi-mlx") and err.count("\n") == 1, err
        assert rule in err
        assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(ValueError, match="layout is 'onnx'; it must be hub or kyutai"):
        export("tiny", tmp_path / "out", "onnx")


def test_a_model_is_not_replaced_by_its_export(tmp_path):
    source = tmp_path / "model"
    export("tiny", source)
    before = load_file(source / FILES["hub"])
    with pytest.raises(ValueError, match="is what is converted"):
        export(str(source), source, force=True)
    assert load_file(source / FILES["hub"]).keys() == before.keys()


@pytest.mark.parametrize("recipe", [None, precision.Recipe("float32", 8)], ids=["packed", "8 bit"])
def test_packed_and_quantised_networks_are_refused(monkeypatch, recipe):
    monkeypatch.setattr(device, "is_gpu", lambda: False)
    codec = unpacked_tiny()
    precision.reduce(codec, recipe) if recipe else codec.pack()
    with pytest.raises(ValueError, match="is packed or quantised"):
        published.tensors(codec, "hub")
