"""Loading: shards, halves and other sizes; what is damaged, foreign or misfit ends in one line."""

import json
from dataclasses import replace
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from kyutai import to_kyutai
from models import model, parameters
from paths import TINY
from safetensors.numpy import save_file

from mimi_mlx import Mimi, MimiModel
from mimi_mlx.checkpoint import hub, precision
from mimi_mlx.checkpoint.convert import Wanted, convert
from mimi_mlx.checkpoint.load import load


def size(mimi: Mimi) -> int:
    return sum(value.nbytes for value in parameters(mimi).values())


def same(a: Mimi, b: Mimi) -> bool:
    left, right = parameters(a), parameters(b)
    return left.keys() == right.keys() and all(mx.array_equal(left[k], right[k]) for k in left)


def refused(tensors: dict[str, np.ndarray], folder: Path, config=None) -> str:
    """The one line that these tensors end in."""
    path = folder / "model.safetensors"
    save_file(tensors, path)
    with pytest.raises(ValueError) as caught:
        load([path], config or hub.find("tiny").config)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    return message


def test_shards_are_one_model(tiny, tiny_tensors, tmp_path):
    (tmp_path / "config.json").write_bytes((TINY / "config.json").read_bytes())
    names = sorted(tiny_tensors)
    files = {name: f"model-{i % 3}.safetensors" for i, name in enumerate(names)}
    for file in set(files.values()):
        save_file({n: tiny_tensors[n] for n in names if files[n] == file}, tmp_path / file)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": files}))
    assert same(Mimi.from_pretrained(tmp_path), tiny)


def test_halves_take_their_share_of_memory_and_do_their_half(tiny, speech):
    pcm = speech("kathleen-1")
    encoder = Mimi.from_pretrained("tiny", only="encoder")
    decoder = Mimi.from_pretrained("tiny", only="decoder")
    quantizer = sum(v.nbytes for k, v in parameters(tiny).items() if k.startswith("quantizer"))
    assert size(encoder) + size(decoder) - quantizer == size(tiny)
    codes = encoder.encode(pcm)
    assert mx.array_equal(codes, tiny.encode(pcm))
    assert mx.array_equal(decoder.decode(codes), tiny.decode(codes))
    assert encoder.fingerprint == decoder.fingerprint == tiny.fingerprint
    with pytest.raises(ValueError, match="only='encoder' and has no decoder"):
        encoder.decode(codes)
    with pytest.raises(ValueError, match="only='decoder' and has no encoder"):
        decoder.encode(pcm)


def test_other_sizes_are_what_config_json_says(tiny, tiny_tensors, speech, tmp_path):
    acoustic = "quantizer.acoustic_residual_vector_quantizer.layers"
    beyond = tuple(f"{acoustic}.{i}." for i in range(4, 15))
    save_file(
        {k: v for k, v in tiny_tensors.items() if not k.startswith(beyond)},
        tmp_path / "model.safetensors",
    )
    config = json.loads((TINY / "config.json").read_text()) | {"num_quantizers": 5}
    (tmp_path / "config.json").write_text(json.dumps(config))
    mimi = Mimi.from_pretrained(tmp_path)
    assert mimi.num_codebooks == 5
    assert mimi.fingerprint != tiny.fingerprint
    pcm = speech("kathleen-1")
    assert mx.array_equal(mimi.encode(pcm), tiny.encode(pcm, num_codebooks=5))


def test_the_initialized_flags_may_be_missing(tiny, tiny_tensors, tmp_path):
    tensors = {k: v for k, v in tiny_tensors.items() if not k.endswith("initialized")}
    assert len(tensors) == len(tiny_tensors) - 16
    assert same(model(tensors, tiny.config, tmp_path), tiny)


@pytest.mark.parametrize("layout", ["hub", "kyutai"])
def test_every_tensor_must_be_there_and_be_known(tiny_tensors, tmp_path, layout):
    tensors = tiny_tensors if layout == "hub" else to_kyutai(tiny_tensors, 4)
    counted = {k: v for k, v in tensors.items() if not k.endswith("initialized")}
    for name in sorted(counted)[::9]:
        rest = {k: v for k, v in tensors.items() if k != name}
        assert "missing" in refused(rest, tmp_path)
        message = refused({**rest, name + "_2": tensors[name]}, tmp_path)
        assert "missing" in message and "1 unknown" in message


@pytest.mark.parametrize("layout", ["hub", "kyutai"])
def test_every_tensor_must_have_its_shape_and_type(tiny_tensors, tmp_path, layout):
    tensors = tiny_tensors if layout == "hub" else to_kyutai(tiny_tensors, 4)
    chosen = [k for k in sorted(tensors) if not k.endswith("initialized")][::17]
    chosen += [k for k in tensors if k.endswith("in_proj_weight")][:1]
    for name in chosen:
        value = tensors[name]
        refused({**tensors, name: value[:-1]}, tmp_path)
        refused({**tensors, name: value[None]}, tmp_path)
        refused({**tensors, name: np.zeros((), np.float32)}, tmp_path)
        refused({**tensors, name: value.reshape(-1)[:0]}, tmp_path)
        integers = {**tensors, name: value.astype(np.int32)}
        assert "int32 instead of floating" in refused(integers, tmp_path)


def test_errors_name_the_tensors(tiny_tensors, tmp_path):
    bias = "decoder.layers.0.conv.bias"
    message = refused({**tiny_tensors, bias: np.zeros(3, np.float32)}, tmp_path)
    assert f"1 misshapen ({bias} [3] instead of [256])" in message
    deeper = replace(hub.find("tiny").config, num_hidden_layers=3)
    message = refused(tiny_tensors, tmp_path, deeper)
    assert "num_hidden_layers is 3, and its tensors are of 2 layers" in message
    assert "config.json" in message


def ones(*names: str) -> dict[str, np.ndarray]:
    return {name: np.ones((2, 2), np.float32) for name in names}


@pytest.mark.parametrize(
    ("names", "rule"),
    [
        (["flow_lm.transformer.layers.0.norm1.weight"], "pocket-tts"),
        (["mimi.encoder.model.0.conv.weight", "mimi.quantizer.output_proj.weight"], "pocket-tts"),
        (
            [
                "decoder.pre_transformer.layers.0.self_attn.q_proj.weight",
                "decoder.quantizer.rvq_first.vq.layers.0._codebook.embedding_sum",
                "encoder.encoder.layers.0.conv.weight",
                "encoder.quantizer.semantic_residual_vector_quantizer.layers.0.codebook.embed_sum",
            ],
            "the Qwen3-TTS tokenizer",
        ),
        (["model.layers.0.self_attn.q_proj.weight"], "none of its 1 tensors is a codebook"),
        ([], "none of its 0 tensors is a codebook"),
    ],
)
def test_other_models_are_refused_by_name(tmp_path, names, rule):
    message = refused(ones(*names), tmp_path)
    assert rule in message and "kyutai/mimi" in message


def test_damaged_files_are_one_line(tmp_path):
    path = tmp_path / "model.safetensors"
    whole = (TINY / "model.safetensors").read_bytes()
    config = hub.find("tiny").config
    for content in (b"", whole[:4], whole[:1000], whole[:-1], whole + b"x", b"\xff" * 64):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="cannot be read as") as caught:
            load([path], config)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="cannot be read as"):
        load([tmp_path / "gone.safetensors"], config)


def test_a_model_says_what_one_wants_to_know(tiny, tmp_path):
    device = tiny.runner.device
    assert repr(tiny) == f"Mimi('tiny', float32, 16 codebooks, {device})"
    assert repr(MimiModel(tiny)) == f"MimiModel({tiny!r})"
    half = Mimi.from_pretrained("tiny", only="encoder")
    assert repr(half) == f"Mimi('tiny', float32, 16 codebooks, no decoder, {device})"
    assert repr(Mimi(half.codec)) == f"Mimi(16 codebooks, no decoder, {device})"
    wanted = Wanted("tiny", precision.Recipe(bits=8), num_codebooks=8)
    convert(wanted, tmp_path / "small")
    small = Mimi.from_pretrained(tmp_path / "small")
    said = "8 bit in groups of 64, the rest float32"
    assert repr(small) == f"Mimi({str(tmp_path / 'small')!r}, {said}, 8 codebooks, {device})"
