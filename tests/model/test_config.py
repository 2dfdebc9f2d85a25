"""Every field of the configuration has a type and bounds, and what does not fit is one line."""

import json
from dataclasses import asdict, fields

import pytest
import seeded
from paths import TINY

from mimi_mlx import MimiConfig

NUMBERS = [field.name for field in fields(MimiConfig) if field.name != "upsampling_ratios"]
WHOLE = [name for name in NUMBERS if name not in ("norm_eps", "rope_theta")]


def refused(**values: object) -> str:
    with pytest.raises(ValueError) as caught:
        MimiConfig.from_dict(values)
    message = str(caught.value)
    assert message.isprintable() and len(message) < 1000
    return message


@pytest.mark.parametrize("name", NUMBERS)
def test_fields_are_finite_numbers_within_bounds(name):
    for value in (-1, 10**9 + 1, 10**4000, float("nan"), float("inf"), True, "8", [8], {}, "a\nb"):
        if (name, value) != ("rope_theta", 10**9 + 1):
            assert f"{name} is " in refused(**{name: value})
    if name != "head_dim":
        assert f"{name} is 0; it must be a" in refused(**{name: 0})


@pytest.mark.parametrize("name", WHOLE)
def test_whole_numbers_are_no_floats(name):
    assert f"{name} is 8.0; it must be a whole number" in refused(**{name: 8.0})


def test_null_is_as_if_the_key_were_not_there_but_for_fields():
    nulls = {"frame_rate": None, "num_key_value_heads": None, "rope_parameters": None}
    assert MimiConfig.from_dict({**nulls, "head_dim": None, "anything": None}) == MimiConfig()
    for name in {*NUMBERS, "upsampling_ratios"} - {"head_dim"}:
        assert f"{name} is None" in refused(**{name: None})


@pytest.mark.parametrize(
    "ratios", [[], [0], [8, 6, 5, -4], [2.0], [None], "8654", {"8": 1}, 3, [2] * 9, [64] * 8]
)
def test_upsampling_ratios_are_a_few_strides(ratios):
    assert "upsampling_ratios is " in refused(upsampling_ratios=ratios)


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"num_semantic_quantizers": 32}, "less than num_quantizers (32)"),
        ({"head_dim": 63}, "head_dim is 63; it must be even"),
        ({"num_attention_heads": 1024}, "head_dim is 0; it must be even"),
        ({"num_filters": 4, "compress": 8}, "compress is 8"),
        ({"num_residual_layers": 16, "dilation_growth_rate": 16}, "spans at most"),
        ({"sliding_window": 65536}, "1 GiB"),
        ({"hidden_size": 65536, "upsample_groups": 512}, "upsample_groups is 512"),
        ({"rope_parameters": [1]}, "rope_parameters is [1]"),
        ({"rope_parameters": {"rope_theta": "a"}}, "rope_theta is 'a'"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "rope_type is 'yarn'"),
        ({"rope_theta": 0.5}, "from 1 to 1e+12"),
        ({"audio_channels": [2]}, "audio_channels is [2]"),
        ({"model_type": {"a": "b" * 5000}}, "model_type is "),
    ],
)
def test_fields_fit_each_other_and_the_architecture(values, rule):
    assert rule in refused(**values)


def test_what_there_is_and_other_sizes_of_it_fit():
    for values in (seeded.FULL, json.loads((TINY / "config.json").read_text()), {}):
        config = MimiConfig.from_dict(values)
        assert MimiConfig.from_dict(asdict(config)) == config
    MimiConfig.from_dict({"sampling_rate": 48000, "upsampling_ratios": [8, 8, 6, 5]})
    MimiConfig.from_dict({"sliding_window": 3000, "num_hidden_layers": 24, "head_dim": 128})
    MimiConfig.from_dict({"num_quantizers": 64, "codebook_size": 65536, "num_filters": 256})
    assert MimiConfig(rope_theta=10000).head_dim == 64
