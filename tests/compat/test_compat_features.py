"""The feature extractor, against recordings of transformers' own."""

from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
import recording

import mimi_mlx
from mimi_mlx import MimiFeatureExtractor


@pytest.fixture(scope="module")
def reference() -> recording.Recording:
    return recording.load("compat_transformers")


@pytest.fixture(scope="module")
def clips(reference) -> list[np.ndarray]:
    """Two of unequal, ragged lengths."""
    return [reference.clips[name].read()[0, 0] for name in ("longer", "shorter")]


@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_and_truncation_equal_transformers(side, clips, reference):
    extract = MimiFeatureExtractor(padding_side=side)
    for name, how in reference.about["extractions"].items():
        out = extract(clips, sampling_rate=24000, **how)
        values = reference.arrays[f"{side}/{name}/input_values"]
        np.testing.assert_array_equal(
            out.input_values[..., :: reference.about["stride"]], values, name
        )
        np.testing.assert_array_equal(
            out.padding_mask, reference.arrays[f"{side}/{name}/padding_mask"]
        )
        assert out.input_values.dtype == np.float32 and out.padding_mask.dtype == np.int32


def test_features_by_name_and_key_in_each_kind_of_array(clips):
    extract = MimiFeatureExtractor()
    for kind, array in ((None, np.ndarray), ("np", np.ndarray), ("mlx", mx.array)):
        out = extract(clips[0].astype(np.float64), sampling_rate=24000, return_tensors=kind)
        assert list(out) == list(out.keys()) == ["input_values", "padding_mask"]
        assert isinstance(out["input_values"], array) and out.padding_mask is out["padding_mask"]
        np.testing.assert_array_equal(out.input_values, clips[0][None, None])
    for given in (clips[1].tolist(), mx.array(clips[1]), [mx.array(clips[1])]):
        out = extract(given, padding=False, sampling_rate=24000)
        np.testing.assert_array_equal(out.input_values, clips[1][None, None])


def test_a_missing_rate_is_warned_of(clips):
    with pytest.warns(UserWarning, match="Pass sampling_rate") as caught:
        MimiFeatureExtractor()(clips)
    assert caught[0].filename == __file__


def test_the_extractor_reads_what_lies_beside_the_model(tmp_path):
    tiny = Path(mimi_mlx.__file__).parent / "tiny"
    for file in ("config.json", "model.safetensors"):
        (tmp_path / file).symlink_to(tiny / file)
    assert MimiFeatureExtractor.from_pretrained(tmp_path) == MimiFeatureExtractor()
    beside = tmp_path / "preprocessor_config.json"
    beside.write_text('{"sampling_rate": 16000, "padding_side": "left", "overlap": null}')
    extract = MimiFeatureExtractor.from_pretrained(tmp_path)
    assert (extract.sampling_rate, extract.padding_side) == (16000, "left")
    for text, message in {
        '{"feature_size": 2}': "feature_size is 2",
        '{"chunk_length_s": 1.0, "overlap": 0.1}': "chunks of 1.0 s",
        '{"padding_side": "up"}': "padding_side is 'up'",
        "{": "is not JSON",
        "[]": "is not JSON .*not a JSON object",
        '{"a":' * 100_000: "nested too deeply",
        '{"sampling_rate": 0}': "sampling_rate is 0",
        '{"sampling_rate": "24000"}': "sampling_rate is '24000'",
        '{"sampling_rate": null}': "sampling_rate is None",
        '{"padding_value": "0"}': "padding_value is '0'",
        '{"padding_value": 1e999}': "padding_value is inf",
        '{"padding_side": [1]}': "padding_side is",
    }.items():
        beside.write_text(text)
        with pytest.raises(ValueError, match=message):
            MimiFeatureExtractor.from_pretrained(tmp_path)


def wrong_features():
    ok = np.zeros(10)
    return {
        "sampling_rate is 16000": dict(raw_audio=ok, sampling_rate=16000),
        r"return_tensors is 'pt'; .* of np or mlx\.": dict(raw_audio=ok, return_tensors="pt"),
        r"shape \(2, 10\)": dict(raw_audio=np.zeros((2, 10))),
        r"shape \(0,\)": dict(raw_audio=np.zeros(0)),
        "empty list": dict(raw_audio=[]),
        "is int16": dict(raw_audio=ok.astype(np.int16)),
        "both set": dict(raw_audio=ok, padding=True, truncation=True, max_length=5),
        "truncation=True needs": dict(raw_audio=ok, truncation=True),
        "padding='max_length' needs": dict(raw_audio=ok, padding="max_length", max_length=0),
        "padding is 'most'": dict(raw_audio=ok, padding="most"),
        "one length": dict(raw_audio=[ok, ok[:5]], padding=False),
    }


@pytest.mark.parametrize("message", wrong_features())
def test_wrong_clips_are_refused(message):
    how = {"sampling_rate": 24000, **wrong_features()[message]}
    with pytest.raises(ValueError, match=message) as error:
        MimiFeatureExtractor()(**how)
    assert "\n" not in str(error.value)
