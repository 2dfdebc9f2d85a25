"""convert from and to the Hub, in fresh processes: huggingface_hub reads its settings once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fake_hub import COMMIT, serving
from paths import ROOT, TINY

from mimi_mlx import Mimi


def run(folder: Path, endpoint: str, source: str, *more: str) -> subprocess.CompletedProcess:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGINGFACE"))}
    env |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "home"), "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, ROOT / "convert.py", "--hf-path", source, *more]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)


@pytest.fixture(scope="module")
def hub():
    files = {name: (TINY / name).read_bytes() for name in ("config.json", "model.safetensors")}
    with serving({"kyutai/small": files, "a/gated": files}, gated="a/gated") as (endpoint, _):
        yield endpoint


@pytest.mark.slow
@pytest.mark.parametrize("source", ["kyutai/small", "hf://kyutai/small/model.safetensors"])
def test_a_hub_id_and_a_file_on_the_hub(hub, tmp_path, source, tiny):
    done = run(tmp_path, hub, source, "--mlx-path", "out")
    assert done.returncode == 0, done.stderr
    assert Mimi.from_pretrained(tmp_path / "out").fingerprint == tiny.fingerprint
    about = json.loads((tmp_path / "out" / "config.json").read_text())["mimi_mlx"]
    assert (about["source"], about["revision"]) == (source, COMMIT)
    front = (tmp_path / "out" / "README.md").read_text().split("---")[1]
    assert "license: cc-by-4.0\n" in front and "base_model: kyutai/small\n" in front


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ("a/gated", "its terms must be accepted"),
        ("kyutai/smal", "Check the spelling"),
        ("hf://kyutai/smal/model.safetensors", "Check the spelling"),
        ("hf://kyutai/small/weights.safetensors", "has no weights.safetensors"),
    ],
)
def test_what_cannot_be_had_is_one_line(hub, tmp_path, source, rule):
    done = run(tmp_path, hub, source)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and rule in done.stderr
    assert not (tmp_path / "mlx_model").exists()


def test_a_file_on_the_hub_without_a_network_is_one_line(tmp_path):
    done = run(tmp_path, "http://127.0.0.1:9", "hf://kyutai/mimi/model.safetensors")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "With a network" in done.stderr


@pytest.mark.slow
def test_an_upload_without_a_network_keeps_the_folder(tmp_path):
    done = run(tmp_path, "http://127.0.0.1:9", "tiny", "--upload-repo", "me/mimi")
    assert done.returncode == 2
    assert "hf upload me/mimi mlx_model" in done.stderr.splitlines()[-1]
    assert Mimi.from_pretrained(tmp_path / "mlx_model").num_codebooks == 16
