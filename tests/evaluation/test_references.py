"""verify of weights: whatever they can be held against is, and what cannot be is said."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from paths import TINY
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from mimi_mlx import Mimi
from mimi_mlx.checkpoint import convert, mlx_format, precision
from mimi_mlx.evaluation import references

FILE = "model.safetensors"


def flip(path: Path, name: str) -> None:
    """Turn the sign of the greatest of a tensor's weights."""
    with safe_open(path, "numpy") as file:
        facts = file.metadata()
    tensors = load_file(path)
    flat = tensors[name].reshape(-1)
    flat[np.abs(flat).argmax()] *= -1
    save_file(tensors, path, facts)


def verdicts(folder: Path) -> dict[str, str]:
    """Those of a folder's weights, by name."""
    mimi, files = Mimi.from_pretrained(folder), [folder / FILE]
    checks = references.of_weights(mimi, files, mlx_format.recipe(files), None)
    return {check.name: check.verdict for check in checks}


@pytest.mark.slow
def test_a_copy_with_one_sign_flipped_fails(tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(TINY, copy)
    names = [f"{x} of tiny, which this copies" for x in ("latents", "codes", "waveform")]
    assert verdicts(copy) == dict.fromkeys(names, "pass")
    for half, found in (("decoder", names[2]), ("encoder", names[0])):
        flip(copy / FILE, f"{half}_transformer.layers.1.self_attn.q_proj.weight")
        assert verdicts(copy)[found] == "FAIL"


@pytest.mark.parametrize("half", ["encoder", pytest.param("decoder", marks=pytest.mark.slow)])
def test_a_converted_folder_is_held_against_its_source(tmp_path, half):
    out = tmp_path / "out"
    convert.convert(convert.Wanted("tiny", only=half, num_codebooks=8), out)
    what = {"encoder": ("latents", "codes"), "decoder": ("waveform",)}[half]
    names = [f"{each} of its source tiny" for each in what]
    assert verdicts(out) == dict.fromkeys(names, "pass")
    flip(out / FILE, f"{half}_transformer.layers.1.self_attn.qkv_proj.weight")
    assert verdicts(out)[names[0]] == "FAIL"


@pytest.mark.slow
def test_a_reduced_folder_is_held_against_its_source_within_its_recipes_limits(tmp_path):
    out = tmp_path / "out"
    convert.convert(convert.Wanted("tiny", precision.Recipe("float16", 8)), out)
    names = [f"{what} of its source tiny" for what in ("first codebook", "waveform")]
    assert verdicts(out) == dict.fromkeys(names, "pass")
    flip(out / FILE, "decoder.layers.14.conv.weight")
    assert verdicts(out) == dict(zip(names, ["pass", "FAIL"], strict=True))


def test_what_has_no_reference_is_said_in_one_line(run, tmp_path, not_paced):
    """It fails nothing, but is no pass."""
    shutil.copytree(TINY, tmp_path / "other")
    name = "quantizer.acoustic_residual_vector_quantizer.layers.14.codebook.embed_sum"
    flip(tmp_path / "other" / FILE, name)
    code, out, err = run("verify", "other", "--json")
    last = json.loads(out)["checks"][-1]
    assert code == 0 and (last["name"], last["verdict"]) == ("these weights", "not run")
    assert err.count("\n") == 1 and "not proven" in err
    assert "no reference for this checkpoint" in err


@pytest.fixture(scope="module")
def converted(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("converted") / "out"
    convert.convert(convert.Wanted("tiny", only="decoder"), folder)
    return folder


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"source": "kyutai/mimi", "revision": "abc"}, "kyutai/mimi is not on this disk"),
        ({"source": "nowhere/at/all"}, "nowhere/at/all is not on this disk"),
        ({"source": "hf://me/mine/a.safetensors"}, "is not on this disk"),
        ({"source": str(Path(__file__))}, "is not on this disk"),
        ({"source_sha256": {FILE: "0" * 64}}, "tiny is not what it was converted from"),
        ({"source": 7}, "does not say what it was converted from"),
    ],
    ids=str,
)
def test_a_source_that_is_not_here_proves_nothing(converted, tiny, tmp_path, change, why):
    about = json.loads((converted / "config.json").read_text())
    about["mimi_mlx"] |= change
    (tmp_path / "config.json").write_text(json.dumps(about))
    recipe = precision.Recipe()
    (check,) = references.of_weights(tiny, [tmp_path / FILE], recipe, None)
    assert check.verdict == "not run"
    assert why in check.figure and "no reference for this checkpoint" in check.figure


@pytest.mark.parametrize("source", ["kyutai/small", f"hf://kyutai/small/{FILE}"])
def test_a_source_in_the_hubs_cache_is_on_this_disk(converted, tmp_path, monkeypatch, source):
    def cached(name: str, file: str, revision: str) -> str | None:
        known = (name, revision) == ("kyutai/small", "abc") and (TINY / file).exists()
        return str(TINY / file) if known else None

    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", cached)
    about = json.loads((converted / "config.json").read_text())
    about["mimi_mlx"] |= {"source": source, "revision": "abc"}
    (tmp_path / "config.json").write_text(json.dumps(about))
    (tmp_path / FILE).symlink_to(converted / FILE)
    assert verdicts(tmp_path) == {f"waveform of its source {source}": "pass"}
