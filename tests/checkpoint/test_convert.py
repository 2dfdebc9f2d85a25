"""Converting: what is written loads unchanged and is as close as its recipe says, or fails."""

import hashlib
import json
import re
import shutil
from collections import namedtuple
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from kyutai import to_kyutai
from mlx.utils import tree_flatten
from models import parameters, unpacked_tiny
from paths import TINY
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from mimi_mlx import Mimi, cli
from mimi_mlx.checkpoint import destination, mlx_format, precision
from mimi_mlx.checkpoint.load import load
from mimi_mlx.evaluation import quality
from mimi_mlx.model.ops import device

FILE = "model.safetensors"

# Equal codes of the first codebook; SNR and log-mel distance of the waveform of the same codes, dB:
# what was measured, less 3 dB. tiny's last convolutions, of 16 channels and fewer, cost the most.
RECIPES = {
    ("bfloat16",): (0.95, 26, 3.5),
    ("float32", 8): (0.95, 44, 0.2),
    ("float32", 4, 32): (0.95, 28, 0.6),
}


@pytest.fixture
def run(run):
    """Run ``mimi-mlx convert --hf-path tiny --mlx-path out`` in an empty folder, with more."""

    def convert(*args: object, source: object = "tiny") -> tuple[int, str]:
        code, _, err = run("convert", "--hf-path", source, "--mlx-path", "out", *args)
        return code, err

    return convert


def test_float32_is_the_same_model_under_its_own_names(run, tiny, tmp_path):
    code, err = run("--verify")
    assert code == 0 and "equal codes 100.0 % in the first codebook" in err and "inf dB" in err
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        *("README.md", "config.json", "model.safetensors")
    ]
    stored = load_file(tmp_path / "out" / "model.safetensors")
    mimi = Mimi.from_pretrained("out")
    unpacked = mlx_format.named_tensors(load([TINY / FILE], tiny.config))
    assert stored.keys() == unpacked.keys()
    assert parameters(mimi).keys() == parameters(tiny).keys()
    for name, array in unpacked.items():
        np.testing.assert_array_equal(stored[name], array)
    for name, array in parameters(tiny).items():
        assert mx.array_equal(parameters(mimi)[name], array)
    assert mimi.fingerprint == tiny.fingerprint
    with safe_open("out/model.safetensors", "numpy") as file:
        assert file.metadata()["format"] == "mlx"
    assert Mimi.from_pretrained(tmp_path / "out" / "model.safetensors").config == tiny.config


def reduced(*recipe: object) -> Mimi:
    """The embedded model as a GPU runs it in a recipe."""
    codec = unpacked_tiny()
    precision.reduce(codec, precision.Recipe(*recipe))
    return Mimi(codec)


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_recipes_keep_what_they_promise(tiny, speech, recipe):
    first, snr, log_mel = RECIPES[recipe]
    found = quality.compare(tiny, reduced(*recipe), [speech("kathleen-1")[:24000]])
    assert found.first_codebook >= first and found.snr >= snr and found.log_mel < log_mel
    assert found.first_codebook >= found.first_8 >= found.all_codebooks


def test_on_a_cpu_the_same_values_are_expanded(run, tiny, tmp_path):
    assert run("-q")[0] == 0
    assert (tmp_path / "out" / FILE).stat().st_size < 0.6 * (TINY / FILE).stat().st_size
    mimi = Mimi.from_pretrained("out", device=mx.cpu)
    assert parameters(mimi).keys() == parameters(tiny).keys()
    assert {x.dtype for x in parameters(mimi).values()} == {mx.float32}
    stored = load_file(tmp_path / "out" / FILE)
    name = "encoder.layers.3.conv.weight"
    np.testing.assert_array_equal(parameters(mimi)[name], stored[name].astype(np.float32))
    whole, close = (
        parameters(m)["decoder_transformer.layers.0.mlp.fc1.weight"] for m in (tiny, mimi)
    )
    assert 0 < mx.abs(whole - close).max() < 0.01 * mx.abs(whole).max()


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_states_and_streams_of_reduced_models_are_float32(speech, recipe):
    mimi = reduced(*recipe)
    clip = speech("kathleen-1")[: 3 * 1920 + 7]
    codes = np.array(mimi.encode(clip))
    encoder, decoder = mimi.encoder_stream(), mimi.decoder_stream()
    parts = [encoder.push(clip[:4000]), encoder.push(clip[4000:]), encoder.flush()]
    assert (np.concatenate(parts, axis=-1) == codes).mean() > 0.95
    pcm = np.concatenate([np.array(decoder.push(codes[..., i : i + 1])) for i in range(4)], -1)
    np.testing.assert_allclose(pcm, mimi.decode(codes), atol=2e-3)
    for stream in (encoder, decoder):
        for name, leaf in tree_flatten(stream.state):
            assert leaf.dtype in (mx.float32, mx.int32, mx.uint32, mx.bool_), name


def test_what_stays_float32():
    for name, array in parameters(reduced("float16", 8)).items():
        kept = ("quantizer", "layernorm", "upsample", ".bias", ".scales")
        if any(part in name for part in kept):
            assert array.dtype == mx.float32, name
        else:
            assert array.dtype in (mx.float16, mx.uint32), name


@pytest.mark.parametrize("half", ["encoder", "decoder"])
def test_halves_and_fewer_codebooks(run, tiny, speech, half):
    assert run(f"--{half}-only", "--num-codebooks", 4, "--verify")[0] == 0
    mimi, clip = Mimi.from_pretrained("out"), speech("kathleen-1")[:9000]
    assert mimi.num_codebooks == 4 and Mimi.from_pretrained("out", only=half).num_codebooks == 4
    codes = tiny.encode(clip, 4)
    other = "decoder" if half == "encoder" else "encoder"
    if half == "encoder":
        assert mx.array_equal(mimi.encode(clip), codes)
    else:
        assert mx.array_equal(mimi.decode(codes), tiny.decode(codes))
    assert other not in mimi.codec
    with pytest.raises(ValueError, match=f"has no {other}"):
        Mimi.from_pretrained("out", only=other)
    assert cli.main(["info", "out"]) == 0


def test_a_half_of_a_whole_conversion(run, tiny, speech):
    run("-q")
    encoder = Mimi.from_pretrained("out", only="encoder")
    assert "decoder" not in encoder.codec
    clip = speech("kathleen-1")[:9000]
    assert mx.array_equal(encoder.encode(clip), Mimi.from_pretrained("out").encode(clip))


def test_kyutais_layout_gives_the_same_folder(run, tiny_tensors, tmp_path):
    (tmp_path / "source").mkdir()
    save_file(to_kyutai(tiny_tensors, 4), tmp_path / "source" / "model.safetensors")
    shutil.copy(TINY / "config.json", tmp_path / "source")
    assert run("-q", source="source")[0] == 0
    theirs = load_file(tmp_path / "out" / "model.safetensors")
    assert run("-q", "-f")[0] == 0
    ours = load_file(tmp_path / "out" / "model.safetensors")
    assert theirs.keys() == ours.keys()
    assert all(np.array_equal(theirs[name], ours[name]) for name in ours)


def test_config_says_where_it_comes_from(run, tiny, tmp_path):
    run("-q", "--q-bits", 4)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["quantization"] == {"group_size": 64, "bits": 4, "convolution_bits": 8}
    about = config["mimi_mlx"]
    assert about["source"] == "tiny" and about["fingerprint"] == tiny.fingerprint
    assert re.fullmatch(r"[0-9a-f]{64}", about["source_sha256"]["model.safetensors"])
    made = (tmp_path / "out" / "model.safetensors").read_bytes()
    assert about["sha256"]["model.safetensors"] == hashlib.sha256(made).hexdigest()
    assert re.fullmatch(r"\d+\.\d+.*", about["version"])


@pytest.mark.parametrize("flags", [(), ("--encoder-only",), ("--decoder-only",)])
def test_the_cards_snippet_runs(run, tmp_path, flags):
    run(*flags)
    card = (tmp_path / "out" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: mlx\n") and "license" not in card.split("---")[1]
    exec(re.search(r"```python\n(.*?)```", card, re.DOTALL)[1], {})


# Wrong input: one line, and nothing is left


def refused(run, tmp_path: Path, *args: object, source: object = "tiny") -> str:
    before = sorted(tmp_path.rglob("*"))
    code, err = run(*args, source=source)
    assert code == 2 and err.count("\n") == 1 and err.startswith("mimi-mlx"), err
    assert sorted(tmp_path.rglob("*")) == before
    return err


@pytest.mark.parametrize(
    ("flags", "rule"),
    [
        (("--q-bits", 4), "Add -q"),
        (("--q-group-size", 32), "Add -q"),
        (("-q", "--q-bits", 3), "invalid choice"),
        (("-q", "--q-group-size", 48), "invalid choice"),
        (("--dtype", "int8"), "invalid choice"),
        (("--encoder-only", "--decoder-only"), "not allowed with"),
        (("--num-codebooks", 0), "2 to all"),
        (("--num-codebooks", 17), "has 16"),
        (("--revision", "main"), "only a Hub id has revisions"),
        (("--upload-repo", "nobody"), "OWNER/NAME"),
        (("--mlx-path", "no/such/out"), "no folder no/such"),
    ],
)
def test_flags_that_cannot_be(run, tmp_path, flags, rule):
    assert rule in refused(run, tmp_path, *flags)


@pytest.mark.parametrize("source", ["no such folder", "hf://kyutai/small/model.bin"])
def test_names_that_cannot_be(run, tmp_path, source):
    assert "no Hub id" in refused(run, tmp_path, source=source)


def test_folders_are_not_overwritten_unasked(run, tmp_path):
    assert run()[0] == 0
    assert "Give -f" in refused(run, tmp_path)
    assert "converted already" in refused(run, tmp_path, "--mlx-path", "two", source="out")
    assert run("-q", "-f")[0] == 0
    assert not [path for path in tmp_path.iterdir() if path.name != "out"]
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    assert "other things" in refused(run, tmp_path, "-f")


def test_a_folder_is_not_replaced_by_itself(run, tmp_path):
    shutil.copytree(TINY, tmp_path / "out", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    assert "is what is converted" in refused(run, tmp_path, "-f", source="out")


def test_too_little_disk_is_found_before(run, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(destination.shutil, "disk_usage", lambda path: usage(0, 0, 10**6))
    assert "Make room" in refused(run, tmp_path)


def test_a_failure_leaves_what_was_there(run, tmp_path, monkeypatch):
    run()
    before = (tmp_path / "out" / "config.json").read_bytes()
    monkeypatch.setattr(precision, "WORST_SNR", 1000.0)
    assert "at least 1000 dB" in refused(run, tmp_path, "-q", "-f", "--verify")
    assert (tmp_path / "out" / "config.json").read_bytes() == before


def test_an_interrupted_upload_says_how_to_go_on(run, tmp_path, monkeypatch):
    class Api:
        def create_repo(self, name, exist_ok):
            pass

        def upload_folder(self, repo_id, folder_path):
            raise ConnectionError("connection reset\nby peer")

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    code, err = run("--upload-repo", "me/mimi-4bit", "-q")
    assert code == 2 and "hf upload me/mimi-4bit out" in err.splitlines()[-1]
    assert 'from_pretrained("me/mimi-4bit")' in (tmp_path / "out" / "README.md").read_text()
    assert Mimi.from_pretrained("out").num_codebooks == 16


def test_packed_weights_are_not_reduced(monkeypatch):
    """They have lost the rows that are quantised: nothing may pass over them without a word."""
    monkeypatch.setattr(device, "is_gpu", lambda: False)
    with pytest.raises(ValueError, match="weight is packed"):
        precision.reduce(Mimi.from_pretrained("tiny").codec, precision.Recipe("float16", 8, 64))
