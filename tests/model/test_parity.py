"""Parity with PyTorch, stage by stage, against the recordings in tests/reference."""

from typing import NamedTuple

import numpy as np
import pytest
import recording
import replay
import seeded
from models import model
from recording import thin

from mimi_mlx import Mimi, MimiConfig

TINY = recording.load("tiny")
FULL = recording.load("full")

# RMS of the difference over RMS of the reference
LATENT_ERROR = 5e-5
WAVEFORM_ERROR = 1e-4


CLIPS = [  # the longest takes seconds
    pytest.param(name, marks=[pytest.mark.slow] * (name == "dialogue")) for name in TINY.clips
]


@pytest.mark.parametrize("name", CLIPS)
def test_every_stage_gives_what_pytorch_gives(tiny, name):
    found = replay.errors(tiny, TINY, name)
    assert tuple(found) == recording.STAGES
    allowed = {stage: LATENT_ERROR for stage in found} | {"waveform": WAVEFORM_ERROR}
    assert not {stage: e for stage, e in found.items() if not e <= allowed[stage]}


@pytest.mark.parametrize("name", CLIPS)
def test_codes_are_equal_with_any_number_of_codebooks(tiny, name):
    pcm, recorded = TINY.clips[name].read(), TINY.codes(name)
    assert recorded.shape == (1, 16, -(-pcm.shape[2] // 1920))
    for count in (1, 2, 8, 16):
        np.testing.assert_array_equal(tiny.encode(pcm, count), recorded[:, :count])


@pytest.mark.parametrize("count", [1, 2, 8, 16])
@pytest.mark.parametrize("name", ["kathleen-1", "cut-5761"])
def test_waveform_of_any_number_of_codebooks(tiny, name, count):
    stage = "waveform" if count == 16 else f"waveform of {count}"
    pcm = np.array(tiny.decode(TINY.codes(name)[:, :count]))  # [B, 1, T]
    found = thin(pcm.swapaxes(1, 2), TINY.clips[name].stride)
    assert replay.relative_error(found, TINY.arrays[f"{name}/{stage}"]) <= WAVEFORM_ERROR


def test_clips_are_ragged_unequal_and_past_the_window():
    lengths = [clip.read().shape[2] for clip in TINY.clips.values()]
    assert len(lengths) >= 10 and len(set(lengths)) == len(lengths)
    assert sum(length % 1920 != 0 for length in lengths) >= len(lengths) - 2
    assert max(lengths) > 10 * 24000


# kyutai/mimi's sizes, with seeded weights


class FullSize(NamedTuple):
    mimi: Mimi
    quantizer: dict[str, np.ndarray]  # its tensors


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> FullSize:
    drawn = seeded.tensors(seeded.FULL, FULL.about["seed"], seeded.SCALES)
    assert seeded.checksum(drawn) == FULL.about["checksum"], "other weights than the recorder's"
    mimi = model(drawn, MimiConfig.from_dict(seeded.FULL), tmp_path_factory.mktemp("full"))
    return FullSize(mimi, {k: v for k, v in drawn.items() if k.startswith("quantizer.")})


@pytest.mark.slow
def test_codes_of_the_full_size(full):
    """Two rows of 12 s. A choice may differ where two entries are equally near, and seldom."""
    recorded = FULL.codes("dialogue")
    pcm = FULL.clips["dialogue"].read().reshape(2, 1, -1)
    found = np.array(full.mimi.encode(pcm))
    assert found.shape == recorded.shape == (2, 32, 151)
    if (found != recorded).any():
        latents = np.array(full.mimi.encode_to_latent(pcm))
        choices = replay.unequal_choices(full.quantizer, latents, found, recorded)
        assert not [choice for choice in choices if not choice.gap < 1e-5]
        assert len(choices) <= recorded.size / 5000


@pytest.mark.slow
def test_waveform_of_the_full_size(full):
    pcm = np.array(full.mimi.decode(FULL.codes("dialogue")[:1]))
    found = thin(pcm.swapaxes(1, 2), FULL.clips["dialogue"].stride)
    assert replay.relative_error(found, FULL.arrays["dialogue/waveform"][:1]) <= WAVEFORM_ERROR


# What judges an unequal code is itself judged.


def test_an_unequal_choice_is_found_and_measured(tiny, tiny_tensors):
    clip = TINY.clips["cut-23773"]
    recorded = TINY.codes("cut-23773")
    latents = np.array(tiny.encode_to_latent(clip.read()))
    assert replay.unequal_choices(tiny_tensors, latents, recorded, recorded) == []

    found = recorded.copy()
    found[0, 5, 7] = (found[0, 5, 7] + 1) % 2048
    found[0, 9, 7] = (found[0, 9, 7] + 1) % 2048  # another residual's: not counted
    found[0, 0, 7] = (found[0, 0, 7] + 1) % 2048  # the other half's: counted
    choices = replay.unequal_choices(tiny_tensors, latents, found, recorded)
    assert [choice[:3] for choice in choices] == [(0, 0, 7), (0, 5, 7)]
    assert all(choice.gap > 1e-3 for choice in choices)


def test_a_tie_has_no_gap(tiny, tiny_tensors):
    """With an entry of a codebook there twice, either choice is right."""
    clip, recorded = TINY.clips["cut-4800"], TINY.codes("cut-4800")
    book, code = seeded.codebook_name(3), recorded[0, 3, 1]
    twin = (code + 1) % 2048
    for part in ("embed_sum", "cluster_usage"):
        tiny_tensors[f"{book}.{part}"][twin] = tiny_tensors[f"{book}.{part}"][code]
    found = recorded.copy()
    found[0, 3, 1] = twin
    latents = np.array(tiny.encode_to_latent(clip.read()))
    (choice,) = replay.unequal_choices(tiny_tensors, latents, found, recorded)
    assert choice == (0, 3, 1, 0.0)
