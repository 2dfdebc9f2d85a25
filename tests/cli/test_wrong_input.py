"""Wrong input through the command line: one line on stderr, exit code 2, nothing half-written."""

import json

import mlx.core as mx
import numpy as np
import pytest
import soundfile
from paths import SPEECH
from safetensors.numpy import save_file

from mimi_mlx.checkpoint import hub
from mimi_mlx.tiny import FOLDER as TINY

CLIP = SPEECH / "kathleen-1.flac"


@pytest.fixture
def refused(run, tmp_path):
    """Run what must be refused, in a folder that must stay as it is: the line on stderr."""

    def refused(*args: object) -> str:
        before = sorted(tmp_path.rglob("*"))
        code, out, err = run(*args)
        assert (code, out) == (2, ""), err
        assert err.startswith("mimi-mlx") and err.count("\n") == 1 and "Traceback" not in err
        assert sorted(tmp_path.rglob("*")) == before
        return err

    return refused


@pytest.mark.parametrize(
    ("args", "rule"),
    [
        ([], "required: COMMAND"),
        (["sing"], "invalid choice: 'sing'"),
        (["roundtrip"], "required: IN, -o/--output"),
        (["encode", "a.wav", "-o", "a.npy", "--num-codebooks", "x"], "invalid int value: 'x'"),
        (["encode", "a.wav", "-o", "a.npy", "--pineapple"], "unrecognized arguments: --pineapple"),
    ],
)
def test_bad_usage(refused, args, rule):
    line = refused(*args)
    assert rule in line and "--help says more" in line


def test_sound_files_that_are_none(refused, tmp_path):
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("hello " * 100)
    soundfile.write(tmp_path / "zero.wav", np.zeros(0), 24000)
    soundfile.write(tmp_path / "nan.wav", np.full(100, np.nan), 24000, "FLOAT")
    soundfile.write(tmp_path / "inf.wav", np.full(100, np.inf), 24000, "FLOAT")
    soundfile.write(tmp_path / "three.wav", np.zeros((100, 3)), 24000)
    for name, rule in {
        "missing.wav": "is no file",
        "empty.wav": "0 bytes",
        "text.wav": "cannot be read as sound",
        "zero.wav": "0 samples",
        "nan.wav": "NaN or infinite",
        "inf.wav": "NaN or infinite",
        "three.wav": "3 channels",
    }.items():
        assert f"{name} " in (line := refused("encode", name, "-o", "a.npy", "--model", "tiny"))
        assert rule in line


@pytest.mark.parametrize("count", [0, -1, 17])
def test_codebooks_that_the_model_has_not(refused, count):
    line = refused("encode", CLIP, "-o", "a.npy", "--model", "tiny", "--num-codebooks", count)
    assert f"num_codebooks is {count}; this model has 1 to 16. Choose one of these." in line


def test_outputs_that_cannot_be_are_refused_before_any_work(refused, tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "find", lambda *a: pytest.fail("went to work"))
    (tmp_path / "folder.wav").mkdir()
    for output, rule in {
        "no/such/a.wav": "no folder no/such",
        "a.m4a": "extension '.m4a'",
        "a": "extension ''",
    }.items():
        assert rule in refused("roundtrip", CLIP, "-o", output, "--model", "tiny")
    assert "extension '.wav'" in refused("encode", CLIP, "-o", "a.wav", "--model", "tiny")
    assert "extension '.wav'" in refused("decode", "a.wav", "-o", "a.wav", "--model", "tiny")
    assert "no folder no" in refused("demo", "-o", "no/demo.wav")


def test_codes_that_are_none(refused, tmp_path):
    def saved(name: str, array: np.ndarray) -> str:
        np.save(tmp_path / name, array)
        return name

    good = np.zeros((1, 8, 5), np.int32)
    for name, rule in {
        "missing.npy": "is no file",
        saved("high.npy", good + 2048): "2048; a code is from 0 to 2047",
        saved("low.npy", good - 5): "-5; a code is from 0 to 65535",
        saved("ended.npy", good - 1): "-1; here every code must be from 0",
        saved("deep.npy", np.zeros((1, 17, 5), int)): "K from 1 to 16",
        saved("flat.npy", good.ravel()): "integers [1, K, F] or [K, F]",
        saved("two.npy", np.zeros((2, 8, 5), int)): "integers [1, K, F] or [K, F]",
        saved("none.npy", good[..., :0]): "integers [1, K, F] or [K, F]",
        saved("float.npy", good.astype(np.float32)): "float32 [1, 8, 5]",
        saved("pickle.npy", np.array([{}], object)): "cannot be read as .npy",
    }.items():
        line = refused("decode", name, "-o", "a.wav", "--model", "tiny")
        assert rule in line, line
    np.save(tmp_path / "cut.npy", good)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:-9])
    assert "cannot be read as .npy" in refused(
        "decode", "cut.npy", "-o", "a.wav", "--model", "tiny"
    )


def test_safetensors_that_hold_no_codes(refused, tmp_path):
    good = {"codes": np.zeros((1, 8, 5), np.int32)}
    save_file(good, tmp_path / "cut.safetensors")
    whole = (tmp_path / "cut.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:-1])
    (tmp_path / "text.safetensors").write_text("hello " * 10)
    save_file({"weight": np.zeros(3)}, tmp_path / "other.safetensors")
    save_file(good, tmp_path / "much.safetensors", {"samples": "9601"})
    save_file(good, tmp_path / "little.safetensors", {"samples": "7680"})
    save_file(good, tmp_path / "word.safetensors", {"samples": "many"})
    for name, rule in {
        "cut": "cannot be read as .safetensors",
        "text": "cannot be read as .safetensors",
        "other": "no tensor named codes, but weight",
        "much": "says 9601 samples, but 5 frames hold more than 7680 and at most 9600",
        "little": "says 7680 samples",
        "word": "has 'many' for samples",
    }.items():
        line = refused("decode", f"{name}.safetensors", "-o", "a.wav", "--model", "tiny")
        assert f"{name}.safetensors" in line and rule in line


def test_models_that_are_none(refused, tmp_path):
    whole = (TINY / "model.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:-1000])
    (tmp_path / "whole.safetensors").write_bytes(whole)  # without its config.json
    ones = np.ones((2, 2), np.float32)
    save_file({"flow_lm.a": ones, "mimi.b": ones}, tmp_path / "pocket.safetensors")
    qwen = {"decoder.pre_transformer.a": ones, "encoder.encoder.layers.0.conv.weight": ones}
    save_file(qwen, tmp_path / "qwen.safetensors")
    save_file({"lm_head.weight": ones}, tmp_path / "llama.safetensors")
    (tmp_path / "folder").mkdir()
    (tmp_path / "qwen").mkdir()
    config = json.dumps({"model_type": "qwen3_tts_tokenizer_12hz"})
    (tmp_path / "qwen/config.json").write_text(config)
    for name, rule in {
        "cut.safetensors": "cannot be read as .safetensors",
        "whole.safetensors": "does not fit its configuration",
        "pocket.safetensors": "holds pocket-tts",
        "qwen.safetensors": "holds the Qwen3-TTS tokenizer",
        "llama.safetensors": "holds no Mimi",
        "folder": "config.json does not exist",
        "qwen": "config.json is for 'qwen3_tts_tokenizer_12hz'",
        "nowhere": "is no folder or file here",
    }.items():
        line = refused("encode", CLIP, "-o", "a.npy", "--model", name)
        assert name in line and rule in line
        assert refused("info", name)


@pytest.mark.parametrize(
    ("pcm", "rule"),
    [
        (np.zeros(0, np.float32), "at least one sample"),
        (np.zeros((1, 3, 100), np.float32), r"shape \(1, 3, 100\)"),
        (np.full(100, np.nan, np.float32), "NaN or infinite"),
        (np.full(100, np.inf, np.float32), "NaN or infinite"),
        (np.zeros(100, np.int16), "divide by 32768"),
        (np.zeros(100, complex), "complex128"),
    ],
)
def test_the_same_through_python(tiny, pcm, rule):
    for given in (pcm, mx.array(pcm)) if pcm.dtype == np.float32 else (pcm,):
        with pytest.raises(ValueError, match=rule) as caught:
            tiny.encode(given)
        assert "\n" not in str(caught.value)


def test_codes_through_python(tiny):
    good = np.zeros((1, 8, 5), np.int32)
    for codes, rule in [
        (good + 2048, "2048; a code is from 0 to 2047"),
        (good - 2, "-2; a code is from 0"),
        (good[..., :0], "no frames"),
        (good.astype(np.float32), "float32; codes are integers"),
        (np.zeros((1, 17, 5), np.int32), "K from 1 to 16"),
        (np.zeros(5, np.int32), "K from 1 to 16"),
    ]:
        with pytest.raises(ValueError, match=rule):
            tiny.decode(codes)
    for count in (0, 17, 1.5, True):
        with pytest.raises(ValueError, match="this model has 1 to 16"):
            tiny.encode(np.zeros(100, np.float32), num_codebooks=count)
