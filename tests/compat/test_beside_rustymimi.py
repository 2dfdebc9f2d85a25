"""rustymimi's drop-in beside rustymimi itself, on one file of kyutai/mimi's sizes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import recording
import seeded
from kyutai import to_kyutai
from rusty import PIECES, noise, pieces, poll, some_codes
from safetensors.numpy import save_file

from mimi_mlx.compat.rustymimi import StreamTokenizer, Tokenizer

original = pytest.importorskip("rustymimi")

FULL = recording.load("full")  # PyTorch's codes, with weights that are drawn here again


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A tokenizer file of kyutai/mimi's sizes in Kyutai's layout, with the recorded weights."""
    drawn = seeded.tensors(seeded.FULL, FULL.about["seed"], seeded.SCALES)
    path = tmp_path_factory.mktemp("full") / "tokenizer.safetensors"
    save_file(to_kyutai(drawn, seeded.FULL["num_attention_heads"]), path)
    yield str(path)
    path.unlink()  # 385 MB


@pytest.fixture(scope="module")
def both(file) -> tuple[Any, Tokenizer]:
    return original.Tokenizer(file), Tokenizer(file)


def form(call: Callable, *args) -> Any:
    """What a call gives: None, the shape and dtype of an array, or that it refuses."""
    try:
        result = call(*args)
    except Exception:
        return "refused"
    return None if result is None else (type(result), result.shape, result.dtype)


CALLS = [
    *[("encode", noise(*s)) for s in ((1, 1, 1), (1, 1, 1920), (1, 1, 1921), (2, 1, 4000))],
    *[("encode_step", noise(*s)) for s in ((1, 1, 0), (1, 1, 1919), (1, 1, 1921), (1, 1, 5760))],
    *[("decode", some_codes(*s)) for s in ((1, 8, 1), (1, 8, 3), (2, 8, 2))],
    *[("decode_step", some_codes(*s)) for s in ((1, 8, 0), (1, 8, 1), (1, 8, 3))],
    *[(f"encode{step}", noise(1, 2, 1920)) for step in ("", "_step")],
    *[(f"encode{step}", noise(1, 1, 1920).astype(np.int16)) for step in ("", "_step")],
    *[(f"decode{step}", some_codes(1, k, 1)) for step in ("", "_step") for k in (1, 7, 9, 32)],
    *[(f"decode{step}", some_codes(1, 8, 1) + np.uint32(2048)) for step in ("", "_step")],
]


@pytest.mark.parametrize(("method", "x"), CALLS, ids=[f"{m}-{x.shape}" for m, x in CALLS])
def test_every_call_has_the_originals_form(both, method, x):
    for tokenizer in both:
        assert tokenizer.reset() is None
    theirs, ours = (form(getattr(tokenizer, method), x) for tokenizer in both)
    assert ours == theirs


def test_every_step_has_the_originals_form(file):
    """Of one row: with two, the original refuses the second step."""
    theirs, ours = original.Tokenizer(file), Tokenizer(file)
    for piece in pieces(noise(1, 1, sum(PIECES)), PIECES):
        expected = form(theirs.encode_step, piece)
        assert form(ours.encode_step, piece) == expected
    for frames in (1, 0, 2):
        codes = some_codes(1, 8, frames)
        expected = form(theirs.decode_step, codes)
        assert form(ours.decode_step, codes) == expected


def test_a_stream_gives_what_the_original_gives(file):
    """Codes too: none of these few is on a tie."""
    theirs, ours = original.StreamTokenizer(file), StreamTokenizer(file)
    speech = FULL.clips["dialogue"].read()[0, 0, 24000:][: sum(PIECES)]
    for piece, frames in zip(pieces(speech, PIECES), PIECES.values(), strict=True):
        for stream in theirs, ours:
            assert stream.encode(piece) is None
        if frames:
            expected, found = poll(theirs.get_encoded), poll(ours.get_encoded)
            assert found.shape == expected.shape == (8, frames)
            assert found.dtype == expected.dtype
            np.testing.assert_array_equal(found, expected)
    for frame in some_codes(3, 8):
        for stream in theirs, ours:
            assert stream.decode(frame[None]) is None
        expected, found = poll(theirs.get_decoded), poll(ours.get_decoded)
        assert found.shape == expected.shape and found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.std(expected))
    for stream in theirs, ours:
        assert stream.get_encoded() is None and stream.get_decoded() is None


def test_where_the_original_ends_ours_goes_on(file):
    """Its limit is max_seq_len positions, 8192 unless it is given; ours has none."""
    theirs = original.Tokenizer(file, max_seq_len=4)
    ours = Tokenizer(file, max_seq_len=4)
    frame = noise(1, 1, 1920)
    forms = [(form(theirs.encode_step, frame), form(ours.encode_step, frame)) for _ in range(4)]
    assert forms[0][0] == forms[1][0] != "refused"
    assert forms[2][0] == forms[3][0] == "refused"
    assert {found for _, found in forms} == {forms[0][0]}


@pytest.mark.slow
@pytest.mark.parametrize("way", ["whole", "steps"])
def test_codes_are_the_originals_except_where_pytorch_sides_with_us(file, way):
    """12 s of speech, past the window, by all 32 codebooks."""
    recorded = FULL.codes("dialogue")[:1]
    pcm = FULL.clips["dialogue"].read().reshape(2, 1, -1)[:1]
    theirs, ours = (
        encoded(kind(file, num_codebooks=32), pcm, way) for kind in (original.Tokenizer, Tokenizer)
    )
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
    differ = ours != theirs
    np.testing.assert_array_equal(ours[differ], recorded[..., : ours.shape[2]][differ])
    assert differ.mean() < 0.01


def encoded(tokenizer: Any, pcm: np.ndarray, way: str) -> np.ndarray:
    if way == "whole":
        return tokenizer.encode(pcm)
    frames = [np.ascontiguousarray(pcm[..., i : i + 1920]) for i in range(0, pcm.shape[2], 1920)]
    found = [tokenizer.encode_step(frame) for frame in frames]
    return np.concatenate([codes for codes in found if codes is not None], axis=-1)


def test_the_waveform_is_the_originals(both):
    codes = FULL.codes("dialogue")[:1, :8, :12].astype(np.uint32)
    theirs, ours = (tokenizer.decode(codes) for tokenizer in both)
    assert np.sqrt(np.mean((ours - theirs) ** 2) / np.mean(theirs**2)) < 1e-5
