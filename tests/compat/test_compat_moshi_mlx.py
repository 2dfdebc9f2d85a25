"""moshi_mlx's call shapes: ours on the embedded model; and beside the original, where it is."""

import shutil
from types import SimpleNamespace
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
import recording
import seeded
from kyutai import to_kyutai
from safetensors.numpy import save_file

from mimi_mlx.compat.moshi_mlx import Mimi, mimi_202407
from mimi_mlx.tiny import FOLDER as TINY

FULL = recording.load("full")  # PyTorch's codes, with weights that are drawn here again
K = 8


def noise(*shape: int) -> mx.array:
    return mx.array(np.random.default_rng(0).normal(0, 0.1, shape).astype(np.float32))


def some_codes(*shape: int) -> mx.array:
    return mx.array(np.random.default_rng(0).integers(0, 2048, shape).astype(np.uint32))


def steps(step: Any, x: mx.array, size: int) -> np.ndarray:
    found = [np.array(step(x[..., i : i + size])) for i in range(0, x.shape[-1], size)]
    return np.concatenate(found, axis=-1)


@pytest.fixture
def mimi() -> Mimi:
    return Mimi(mimi_202407(K)).load_pytorch_weights("tiny", strict=False)


# Ours


@pytest.mark.parametrize("rows", [1, 2])
def test_whole_clips_are_those_of_mimi(tiny, mimi, rows):
    pcm = noise(rows, 1, 5000)
    codes = mimi.encode(pcm)
    assert codes.shape == (rows, K, 3) and codes.dtype == mx.uint32
    assert mx.array_equal(codes, tiny.encode(pcm, K))
    decoded = mimi.decode(codes)
    assert decoded.shape == (rows, 1, 5760) and decoded.dtype == mx.float32
    assert mx.array_equal(decoded, tiny.decode(codes))


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("size", [1920, 3840, 700])
def test_steps_are_the_clip_in_pieces(mimi, rows, size):
    pcm = noise(rows, 1, 6 * 1920)
    codes = mimi.encode(pcm)
    assert mimi.encode_step(pcm[..., :0]).shape == (rows, K, 0)
    np.testing.assert_array_equal(steps(mimi.encode_step, pcm, size), codes)
    assert mimi.decode_step(codes[..., :0]).shape == (rows, 1, 0)
    found = steps(mimi.decode_step, codes, size // 1920 or 1)
    np.testing.assert_allclose(found, mimi.decode(codes), atol=2e-5 * np.std(found))
    assert mimi.encode_step(pcm[..., :1920]).dtype == mx.uint32


def test_clips_and_warmup_leave_the_steps_alone(mimi):
    pcm = noise(1, 1, 4 * 1920)
    codes = mimi.encode(pcm)
    decoded = np.array(mimi.decode(codes))
    assert mimi.warmup() is None
    for i in range(4):
        assert mx.array_equal(
            mimi.encode_step(pcm[..., 1920 * i :][..., :1920]), codes[..., i : i + 1]
        )
        found = np.array(mimi.decode_step(codes[..., i : i + 1]))
        np.testing.assert_allclose(found, decoded[..., 1920 * i :][..., :1920], atol=1e-5)
        mimi.decode(mimi.encode(noise(1, 1, 3000)))
        mimi.warmup()


@pytest.mark.parametrize("reset", ["reset_state", "reset_all"])
def test_reset_forgets_everything(mimi, reset):
    pcm = noise(2, 1, 1920)
    codes = mimi.encode(pcm)
    decoded = np.array(mimi.decode(codes))
    for _ in range(2):
        mimi.encode_step(noise(1, 1, 2500))
        mimi.decode_step(some_codes(1, K, 2))
        assert getattr(mimi, reset)() is None
        assert mx.array_equal(mimi.encode_step(pcm), codes)
        np.testing.assert_allclose(mimi.decode_step(codes), decoded, atol=1e-5)
        getattr(mimi, reset)()


def test_any_number_of_codebooks_is_decoded(tiny, mimi):
    for count in 1, 4, 16:
        codes = some_codes(1, count, 2)
        assert mx.array_equal(mimi.decode(codes), tiny.decode(codes))


def test_rates_and_configuration(mimi):
    assert mimi.sample_rate == 24000 and isinstance(mimi.sample_rate, int)
    assert mimi.frame_rate == 12.5
    assert mimi.cfg == mimi_202407(K) != mimi_202407(16)


def test_the_tokenizer_file_is_loaded(tiny, tiny_tensors, tmp_path):
    """Kyutai's layout, as moshi_mlx takes it; the sizes are those of the config.json beside."""
    file = tmp_path / "tokenizer-e351c8d8-checkpoint125.safetensors"
    save_file(to_kyutai(tiny_tensors, tiny.config.num_attention_heads), file)
    shutil.copy(TINY / "config.json", tmp_path)
    for cfg in mimi_202407(16), SimpleNamespace(quantizer_nq=16):  # the latter as moshi_mlx's own
        mimi = Mimi(cfg)
        assert mimi.load_pytorch_weights(str(file), strict=True) is mimi
        assert mimi.mimi.fingerprint == tiny.fingerprint
    with pytest.raises(ValueError, match=r"16 codebooks, 8 are used; .* mimi_202407\(16\)"):
        Mimi(mimi_202407(8)).load_pytorch_weights(str(file))
    for strict in True, False:
        with pytest.raises(ValueError, match="num_codebooks is 17; this model has 1 to 16"):
            Mimi(mimi_202407(17)).load_pytorch_weights(str(file), strict=strict)


def test_without_weights_there_is_no_codec():
    mimi = Mimi(mimi_202407(K))
    for use in (
        lambda: mimi.encode(noise(1, 1, 1920)),
        lambda: mimi.decode_step(some_codes(1, K, 1)),
        lambda: mimi.sample_rate,
        mimi.reset_all,
        mimi.warmup,
    ):
        with pytest.raises(ValueError, match=r"no weights yet; .* Call load_pytorch_weights"):
            use()


def test_wrong_input_is_refused(mimi):
    for encode in mimi.encode, mimi.encode_step:
        with pytest.raises(ValueError, match="one channel"):
            encode(noise(1, 2, 1920))
        with pytest.raises(ValueError, match="pcm is int16"):
            encode(noise(1, 1, 1920).astype(mx.int16))
    for decode in mimi.decode, mimi.decode_step:
        with pytest.raises(ValueError, match="from 0 to 2047"):
            decode(some_codes(1, K, 1) + 2048)


# Beside the original, on the same file


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> tuple[Any, Mimi]:
    """Both with kyutai/mimi's sizes and the recorded weights, from a file in Kyutai's layout."""
    models = pytest.importorskip("moshi_mlx.models")
    theirs = pytest.importorskip("moshi_mlx.models.mimi").Mimi
    drawn = seeded.tensors(seeded.FULL, FULL.about["seed"], seeded.SCALES)
    path = tmp_path_factory.mktemp("full") / "tokenizer.safetensors"
    save_file(to_kyutai(drawn, seeded.FULL["num_attention_heads"]), path)
    pair = tuple(kind(models.mimi_202407(32)) for kind in (theirs, Mimi))
    for mimi in pair:
        assert mimi.load_pytorch_weights(str(path), strict=True) is mimi
        mx.eval(mimi.decode_step(some_codes(1, 32, 1)))
    path.unlink()  # 385 MB
    return pair


CALLS = [
    *[("encode", noise(*s)) for s in ((1, 1, 1), (1, 1, 1920), (1, 1, 1921), (2, 1, 4000))],
    *[("encode_step", noise(*s)) for s in ((1, 1, 1920), (1, 1, 1921), (1, 1, 3840), (2, 1, 1920))],
    *[("decode", some_codes(*s)) for s in ((1, 8, 1), (2, 32, 2))],
    *[("decode_step", some_codes(*s)) for s in ((1, 8, 1), (1, 32, 2), (2, 8, 1))],
]


@pytest.mark.parametrize(("method", "x"), CALLS, ids=[f"{m}-{x.shape}" for m, x in CALLS])
def test_every_call_has_the_originals_form(both, method, x):
    forms = []
    for mimi in both:
        assert mimi.reset_all() is None
        result = getattr(mimi, method)(x)
        forms.append((type(result), result.shape, result.dtype))
    assert forms[0] == forms[1]


def test_properties_have_the_originals_values(both):
    theirs, ours = both
    for name in "sample_rate", "frame_rate":
        expected, found = getattr(theirs, name), getattr(ours, name)
        assert (found, type(found)) == (expected, type(expected))
    assert ours.cfg.quantizer_nq == theirs.cfg.quantizer_nq


def test_codes_are_pytorchs_and_mean_to_the_original_what_they_mean_to_us(both):
    """Its own codes are others where it is wrong: the first frame, and from its GELU on."""
    theirs, ours = both
    for mimi in both:
        mimi.reset_all()
    recorded = FULL.codes("dialogue")[:1, :, :6]
    pcm = mx.array(FULL.clips["dialogue"].read()[..., : 6 * 1920])
    found, expected = (steps(mimi.encode_step, pcm, 1920) for mimi in (ours, theirs))
    np.testing.assert_array_equal(found, recorded)
    assert (found == expected)[:, :K, 1:].mean() > 0.5  # by chance 0.0005
    codes = mx.array(recorded[..., :3].astype(np.uint32))
    found, expected = (steps(mimi.decode_step, codes, 1) for mimi in (ours, theirs))
    assert np.sqrt(np.mean((found - expected) ** 2) / np.mean(found**2)) < 0.1
