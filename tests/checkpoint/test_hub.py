"""From names to files: on disk, in the Hub's cache, on a Hub, and when there is no network."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_hub import serving
from paths import TINY

from mimi_mlx.checkpoint import hub
from mimi_mlx.model.config import MimiConfig

CONFIG = (TINY / "config.json").read_bytes()
MIMI = json.loads(CONFIG)
KYUTAI = "tokenizer-e351c8d8-checkpoint125.safetensors"
LANGUAGE_MODEL = "transformers-00001-of-00002.safetensors"
STT = "mimi-pytorch-e351c8d8@125.safetensors"


def as_bytes(value: object) -> bytes:
    return json.dumps(value).encode()


def fill(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


# What the published repositories look like, with other content.
CSM = {
    "config.json": as_bytes(
        {
            "model_type": "csm",
            "codec_config": MIMI,
            "transformers_weights": "transformers.safetensors.index.json",
        }
    ),
    "model.safetensors": b"another layout",
    "transformers.safetensors.index.json": as_bytes(
        {
            "weight_map": {
                "backbone_model.norm.weight": LANGUAGE_MODEL,
                "codec_model.upsample.conv.weight": "transformers-00002-of-00002.safetensors",
            }
        }
    ),
    LANGUAGE_MODEL: b"language model",
    "transformers-00002-of-00002.safetensors": b"weights",
}
MOSHI = {
    "config.json": as_bytes({"model_type": "moshi", "audio_encoder_config": MIMI}),
    "model.safetensors.index.json": as_bytes(
        {
            "weight_map": {
                "audio_encoder.upsample.conv.weight": "model-1.safetensors",
                "audio_encoder.downsample.conv.weight": "model-2.safetensors",
                "decoder.norm.weight": "model-3.safetensors",
            }
        }
    ),
    **{f"model-{i}.safetensors": bytes([i]) for i in (1, 2, 3)},
}
REPOSITORIES = {
    "kyutai/mimi": {
        "config.json": CONFIG,
        "model.safetensors": b"weights",
        "preprocessor_config.json": b"{}",
        "README.md": b"",
    },
    "kyutai/moshiko-mlx-q4": {
        "model.q4.safetensors": b"language model",
        KYUTAI: b"weights",
        "tokenizer_spm_32k_3.model": b"text",
    },
    "kyutai/stt-1b-en_fr": {
        "config.json": as_bytes({"model_type": "stt", "mimi_name": STT}),
        "model.safetensors": b"language model",
        STT: b"weights",
    },
    "sesame/csm-1b": CSM,
    "someone/moshi": MOSHI,
    "someone/gated": {"config.json": CONFIG, "model.safetensors": b"weights"},
    "someone/llama": {
        "config.json": as_bytes({"model_type": "llama"}),
        "model.safetensors": b"language model",
    },
}
# The weights that are chosen, and the codebooks of the configuration that goes with them.
GOOD = {
    "kyutai/mimi": [["model.safetensors"], 16],
    "kyutai/moshiko-mlx-q4": [[KYUTAI], 32],
    "kyutai/stt-1b-en_fr": [[STT], 32],
    "sesame/csm-1b": [["transformers-00002-of-00002.safetensors"], 16],
    "someone/moshi": [["model-1.safetensors", "model-2.safetensors"], 16],
}
FETCHED = {
    "kyutai/mimi": ["config.json", "model.safetensors"],
    "kyutai/moshiko-mlx-q4": [KYUTAI],
    "kyutai/stt-1b-en_fr": ["config.json", STT],
    "sesame/csm-1b": [name for name in CSM if name not in ("model.safetensors", LANGUAGE_MODEL)],
    "someone/moshi": [name for name in MOSHI if name != "model-3.safetensors"],
    "someone/llama": ["config.json"],
}
WRONG = {
    "someone/gated": "is gated: .* hf auth login",
    "someone/llama": "config.json is for 'llama'",
    "kyutai/mimmi": "not on the Hub, or it is private; .* Check the spelling",
}

_FIND = """
import json, os, sys, time
from mimi_mlx.checkpoint import hub
found = {}
for name in sys.argv[1:]:
    start = time.monotonic()
    try:
        config, files = hub.find(*name.split("@"), **json.loads(os.environ.get("PATIENCE", "{}")))
        assert all(file.is_file() for file in files)
        found[name] = [file.name for file in files], config.num_quantizers
    except ValueError as error:
        found[name] = str(error), time.monotonic() - start
print(json.dumps(found))
"""


def find(names, endpoint: str, home: Path, **more: str) -> dict[str, list]:
    """hub.find in a fresh process, where huggingface_hub reads its settings."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGINGFACE"))}
    env |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", **more}
    done = subprocess.run(
        [sys.executable, "-c", _FIND, *names], env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def closed_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def test_from_the_hub_and_then_from_the_cache(tmp_path):
    with serving(REPOSITORIES, gated="someone/gated") as (endpoint, fetched):
        revisions = ["kyutai/mimi@main", "kyutai/mimi@no-such-branch"]
        found = find([*GOOD, *WRONG, *revisions], endpoint, tmp_path)
    assert {name: found[name] for name in GOOD} == GOOD
    assert found["kyutai/mimi@main"][0] == ["model.safetensors"]
    assert "has no revision 'no-such-branch'" in found["kyutai/mimi@no-such-branch"][0]
    for name, rule in WRONG.items():
        assert re.search(f"{name}.*{rule}", found[name][0])
        assert "\n" not in found[name][0]
    needed = [f"{name}/{file}" for name, files in FETCHED.items() for file in files]
    assert sorted(fetched) == sorted(needed)
    again = find([*GOOD, *WRONG], closed_port(), tmp_path)
    assert {name: again[name] for name in GOOD} == GOOD
    for name in WRONG:
        assert "cannot be fetched" in again[name][0]


def test_local_files_are_the_cache_alone(tmp_path):
    """No question is asked; what the cache lacks is one line that says how to get it."""
    local = {"PATIENCE": '{"local_files_only": true}'}
    with serving(REPOSITORIES) as (endpoint, fetched):
        names = [*GOOD, "hf://kyutai/moshiko-mlx-q4/" + KYUTAI]
        for name, (message, seconds) in find(names, endpoint, tmp_path, **local).items():
            assert "with local_files_only nothing is fetched" in message and "\n" not in message
            assert (
                f"`hf download {name.removeprefix('hf://').removesuffix('/' + KYUTAI)}" in message
            )
            assert seconds < 3
        assert not fetched
        find(GOOD, endpoint, tmp_path)
        fetched.clear()
        assert find(GOOD, endpoint, tmp_path, **local) == GOOD
        assert not fetched


@pytest.mark.slow
def test_a_half_filled_cache_is_filled_up(tmp_path):
    with serving({"a/b": {"config.json": CONFIG}}) as (endpoint, _):
        assert "has no model.safetensors" in find(["a/b"], endpoint, tmp_path)["a/b"][0]
    whole = {"a/b": {"config.json": CONFIG, "model.safetensors": b"weights"}}
    with serving(whole) as (endpoint, _):
        assert find(["a/b"], endpoint, tmp_path)["a/b"] == [["model.safetensors"], 16]


def test_no_network_is_one_line_at_once_and_says_how_to_get_it(tmp_path):
    names = ["kyutai/mimi", "kyutai/moshiko-mlx-q4", "a/b", "a/b@v1"]
    found = find(names, closed_port(), tmp_path)
    for name, (message, seconds) in found.items():
        assert name.split("@")[0] in message and "\n" not in message
        assert "or give a folder" in message
        assert seconds < 5
    assert "`hf download kyutai/mimi config.json model.safetensors`" in found["kyutai/mimi"][0]
    assert '`hf download kyutai/moshiko-mlx-q4 --include "*e351c8d8*"`' in found[names[1]][0]
    assert "`hf download a/b`" in found["a/b"][0]
    assert "`hf download a/b --revision v1`" in found["a/b@v1"][0]
    offline = find(["kyutai/mimi"], closed_port(), tmp_path, HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE" in offline["kyutai/mimi"][0]


def test_a_silent_server_is_given_up(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as mute:
        endpoint = f"http://127.0.0.1:{mute.getsockname()[1]}"
        found = find(["kyutai/mimi"], endpoint, tmp_path, PATIENCE='{"patience": 0.5}')
    message, seconds = found["kyutai/mimi"]
    assert "cannot be fetched" in message and seconds < 5


def test_a_silent_name_server_is_given_up(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: time.sleep(60))
    start = time.monotonic()
    with pytest.raises(ValueError, match=r"cannot be fetched \(no answer in 0.2 s\)"):
        hub.find("nobody/nothing-at-all", patience=0.2)
    assert time.monotonic() - start < 3


WHOLE = {"a/b": {"config.json": CONFIG, "model.safetensors": b"weights" * 4000}}


@pytest.mark.slow
@pytest.mark.parametrize(
    "drips", ["api/models", pytest.param("config.json", marks=pytest.mark.slow)]
)
def test_a_hub_that_drips_is_given_up(tmp_path, drips):
    with serving(WHOLE, drips=drips) as (endpoint, _):
        found = find(["a/b"], endpoint, tmp_path, PATIENCE='{"stall": 0.6}')
    message, seconds = found["a/b"]
    assert re.search(r"cannot be fetched \(too little in 0.6 s\)", message) and "\n" not in message
    assert seconds < 10


@pytest.mark.slow
@pytest.mark.parametrize("drips", ["api/models", "model.safetensors"])
def test_a_slow_hub_is_waited_for(tmp_path, drips):
    """20 kB a second for longer than a silent one is waited for."""
    whole = {"a/b": WHOLE["a/b"] | {f"{i}" * 60: b"" for i in range(200)}}
    with serving(whole, drips=drips, drop=1000) as (endpoint, _):
        found = find(["a/b"], endpoint, tmp_path, PATIENCE='{"stall": 0.6}')
    assert found["a/b"] == [["model.safetensors"], 16]


def test_an_endless_list_of_files_is_not_read_to_its_end(tmp_path):
    sent = []

    def listing():
        yield b'{"siblings": [{"rfilename": "x"}'
        while len(sent) < 3000:
            sent.append(1)
            yield b', {"rfilename": "x"}' * 50_000  # 1 MB

    with serving(WHOLE, listing=listing) as (endpoint, _):
        message = find(["a/b"], endpoint, tmp_path)["a/b"][0]
    assert "its list of files has more than" in message and "\n" not in message
    assert len(sent) < 30


def test_a_list_of_files_that_is_none(tmp_path):
    with serving(WHOLE, listing=lambda: [b'{"siblings": [7]}']) as (endpoint, _):
        message = find(["a/b"], endpoint, tmp_path)["a/b"][0]
    assert "a/b" in message and "cannot be fetched" in message and "\n" not in message


def test_weights_that_a_download_corrupts_are_refused_and_not_kept(tmp_path):
    with serving(WHOLE, damaged="model.safetensors") as (endpoint, _):
        message = find(["a/b"], endpoint, tmp_path)["a/b"][0]
    assert "model.safetensors came damaged: its SHA-256 is" in message and "\n" not in message
    assert message.endswith("load again.")
    with serving(WHOLE) as (endpoint, _):
        assert find(["a/b"], endpoint, tmp_path)["a/b"] == [["model.safetensors"], 16]


def test_tiny_is_only_ever_tiny(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert hub.find("tiny").files == [TINY / "model.safetensors"]
    fill(tmp_path / "tiny", {"config.json": CONFIG, "model.safetensors": b""})
    assert hub.find("tiny").files == [TINY / "model.safetensors"]
    assert hub.find("./tiny").files == [Path("tiny/model.safetensors")]
    with pytest.raises(ValueError, match="only a Hub id has revisions"):
        hub.find("tiny", revision="main")


def test_folders_as_they_are_published(tmp_path):
    for name, (files, codebooks) in GOOD.items():
        folder = fill(tmp_path / name, REPOSITORIES[name])
        config, found = hub.find(folder)
        assert found == [folder / file for file in files]
        assert config.num_quantizers == codebooks


def test_what_is_on_disk_comes_before_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "kyutai/mimi", REPOSITORIES["kyutai/mimi"])
    assert hub.find("kyutai/mimi").files == [Path("kyutai/mimi/model.safetensors")]


def test_a_file_uses_mimis_config_beside_it_and_no_other(tmp_path):
    file = fill(tmp_path / "a", {"x.safetensors": b""}) / "x.safetensors"
    assert hub.find(file) == (MimiConfig(), [file])
    (tmp_path / "a/config.json").write_bytes(as_bytes({"model_type": "llama", "hidden_size": 7}))
    assert hub.find(str(file)).config == MimiConfig()
    (tmp_path / "a/config.json").write_bytes(CONFIG)
    assert hub.find(file).config.num_quantizers == 16
    (tmp_path / "a/config.json").write_bytes(CSM["config.json"])
    assert hub.find(file).config.num_quantizers == 16


def without(files: dict[str, bytes], name: str) -> dict[str, bytes]:
    return {key: value for key, value in files.items() if key != name}


@pytest.mark.parametrize(
    ("files", "rule"),
    [
        ({}, "config.json does not exist"),
        ({"model.safetensors": b""}, "config.json does not exist"),
        ({"config.json": CONFIG}, "has no model.safetensors"),
        ({"config.json": b"{", "model.safetensors": b""}, "is not JSON"),
        ({"config.json": b"\xff", "model.safetensors": b""}, "is not JSON"),
        ({"config.json": b"[]", "model.safetensors": b""}, "is not a JSON object"),
        ({"config.json": as_bytes({**MIMI, "num_filters": "a"})}, "num_filters"),
        ({"config.json": as_bytes({**MIMI, "upsampling_ratios": 3})}, "upsampling_ratios is 3"),
        ({"config.json": as_bytes({"model_type": "qwen3_tts_tokenizer_12hz"})}, "'qwen3_tts"),
        (without(MOSHI, "model-2.safetensors"), "has no model-2.safetensors"),
        ({**MOSHI, "model.safetensors.index.json": b"{}"}, "has no weight_map"),
        ({"config.json": as_bytes({**MIMI, "transformers_weights": [1]})}, "must be a file's name"),
        (MOSHI | {"model.safetensors.index.json": b'{"weight_map": {"a": []}}'}, "no weight_map"),
        ({KYUTAI: b"", STT: b""}, "has 2 Mimis"),
    ],
)
def test_folders_that_hold_no_mimi(tmp_path, files, rule):
    folder = fill(tmp_path / "a", files)
    with pytest.raises(ValueError, match=rule) as caught:
        hub.find(folder)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["no-such", "./no/such", "/no/such", "a/b/c", "a/b.safetensors", "a--b/c", "../a", "é/a"],
)
def test_paths_that_do_not_exist_are_not_sought_on_the_hub(name, monkeypatch):
    monkeypatch.setattr("huggingface_hub.utils.get_session", lambda: pytest.fail("asked the Hub"))
    with pytest.raises(ValueError, match="is no folder or file here, and no Hub id") as caught:
        hub.find(name)
    assert repr(name) in str(caught.value)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "model.bin").touch()
    with pytest.raises(ValueError, match=r"model\.bin is no \.safetensors file"):
        hub.find(tmp_path / "model.bin")
