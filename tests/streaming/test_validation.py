"""Wrong use of a stream gets an error that names the value, the rule and the remedy."""

import re

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten
from streams import FRAME

from mimi_mlx import Mimi
from mimi_mlx.model.ops.device import memory
from mimi_mlx.streaming import runner, validation

NOISE = np.random.default_rng(0).uniform(-0.3, 0.3, (1, 1, 3 * FRAME)).astype(np.float32)
INT16 = (NOISE * 32767).astype(np.int16)


def with_nan(value: float) -> np.ndarray:
    samples = NOISE.copy()
    samples[0, 0, 77] = value
    return samples


@pytest.mark.parametrize(
    ("pcm", "message"),
    [
        (NOISE.astype(np.complex64), r"complex64; .* float32 in \[-1, 1\]\. .*astype"),
        (INT16, r"int16; .* float32 in \[-1, 1\]\. .*divide by 32768"),
        (mx.array(INT16), r"int16; .*divide by 32768"),
        (mx.array(NOISE).astype(mx.int32), r"int32; .* float32 .*astype"),
        ([["0.5"]], r"list; it must be float32"),
        (with_nan(np.nan), r"NaN or infinite .* must be finite\. Repair"),
        (with_nan(np.inf), r"NaN or infinite .* must be finite\. Repair"),
        (np.zeros((2, 1, 5), np.float32), r"pcm has 2 rows; this stream has 1\. .*batch_size=2"),
        (np.zeros((1, 2, 5), np.float32), r"shape \(1, 2, 5\); it must be .*one channel\. Mix"),
        (np.zeros((1, 1, 1, 5), np.float32), r"shape \(1, 1, 1, 5\); it must be"),
        (np.float32(0.5), r"shape \(\); it must be"),
    ],
)
def test_samples(tiny, pcm, message):
    stream = tiny.encoder_stream(num_codebooks=8)
    stream.push(NOISE[..., : FRAME + 100])
    with pytest.raises(ValueError, match=message):
        stream.push(pcm)
    # The stream is as it was: the clip can go on with the right samples.
    codes = [stream.push(NOISE[..., FRAME + 100 :]), stream.flush()]
    expected = np.array(tiny.encode(NOISE, 8))
    np.testing.assert_array_equal(
        np.concatenate([np.array(c) for c in codes], -1), expected[..., 1:]
    )


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.zeros((1, 4, 1), int), r"codes has 4 codebooks; this stream began with 8\. .*reset"),
        (np.zeros((2, 8, 1), int), r"codes has 2 rows; this stream has 1\. .*batch_size=2"),
        (np.zeros((1, 17, 1), int), r"shape \(1, 17, 1\); .*K from 1 to 16\. .*axes"),
        (np.zeros(8, int), r"shape \(8,\); it must be \[B, K, F\]"),
        (np.zeros((1, 8, 1)), r"codes is float64; codes are integers\. .*astype"),
        (np.full((1, 8, 1), 2048), r"codes has 2048; a code is from 0 to 2047.* this model"),
        (np.full((1, 8, 1), 2**32 + 5), r"codes has 4294967301; a code is from 0 to 2047"),
        (np.full((1, 8, 1), 2**63, np.uint64), r"codes has 9223372036854775808; a code is from 0"),
        (np.full((1, 8, 1), -1), r"codes has -1; .*from 0 to 2047\. Cut"),
        (np.full((1, 8, 1), -5), r"codes has -5; a code is from 0"),
    ],
)
def test_codes(tiny, codes, message):
    good = np.arange(8 * 3).reshape(1, 8, 3)
    stream = tiny.decoder_stream()
    first = stream.push(good[..., :1])
    with pytest.raises(ValueError, match=message):
        stream.push(codes)
    pcm = np.concatenate([np.array(first), np.array(stream.push(good[..., 1:]))], -1)
    np.testing.assert_allclose(pcm, tiny.decode(good), atol=1e-5 * pcm.std())


def test_after_the_end(tiny):
    stream = tiny.encoder_stream()
    stream.push(NOISE[..., :100])
    stream.flush()
    with pytest.raises(ValueError, match=r"push after flush: .*Call reset\(\), or make a new"):
        stream.push(NOISE)
    with pytest.raises(ValueError, match=r"flush after flush: .*Call reset\(\)"):
        stream.flush()
    stream.reset()
    np.testing.assert_array_equal(stream.push(NOISE), tiny.encode(NOISE))


NO_NUMBERS = [True, 2.5, float("nan"), float("inf"), "2", [2]]


@pytest.mark.parametrize("batch_size", [0, -1, None, *NO_NUMBERS])
def test_a_batch_without_rows(tiny, batch_size):
    message = re.escape(f"batch_size is {batch_size!r}; a stream has at least one row. Give 1 or")
    for make in (
        *(tiny.encoder_stream, tiny.decoder_stream),
        *(tiny.init_encoder_state, tiny.init_decoder_state),
    ):
        with pytest.raises(ValueError, match=message):
            make(batch_size)


@pytest.fixture
def sixteen_gb(monkeypatch) -> None:
    """Of memory, wherever the tests run."""
    monkeypatch.setattr(validation, "memory", lambda: 16 * 10**9)


@pytest.mark.parametrize("rows", [10**6, 10**9, 2**31, 2**64, 10**30])
def test_a_batch_that_no_memory_holds(tiny, rows, sixteen_gb):
    message = (
        rf"{rows} rows; the state of one takes 7\d KB, .* there are 16 GB of memory\. Give fewer"
    )
    for make in (
        *(tiny.encoder_stream, tiny.decoder_stream),
        *(tiny.init_encoder_state, tiny.init_decoder_state),
    ):
        with pytest.raises(ValueError, match=message):
            make(rows)


def test_clips_that_are_short_and_too_many(tiny, sixteen_gb, monkeypatch):
    """They are small; the states that they take together are not."""
    monkeypatch.setattr(runner, "clips_at_once", lambda frames: 10**6)
    clips, codes = np.zeros((10**6, 1, 1), np.float32), np.zeros((10**6, 1, 1), np.int32)
    for call in (
        lambda: tiny.encode(clips, 1),
        lambda: tiny.encode(clips, 1, lengths=[1] * 10**6),
        lambda: tiny.encode_to_latent(clips),
        lambda: tiny.decode(codes),
    ):
        with pytest.raises(ValueError, match="1000000 rows; the state of one takes"):
            call()


def test_clips_that_are_not_all_taken_at_once_need_no_memory_for_all(tiny, monkeypatch):
    row = sum(leaf.nbytes for _, leaf in tree_flatten(tiny.init_encoder_state()))
    monkeypatch.setattr(validation, "memory", lambda: 5 * row)  # of two rows, old and new
    monkeypatch.setattr(runner, "clips_at_once", lambda frames: 2)
    clips = NOISE.reshape(3, 1, FRAME)
    codes = np.concatenate([tiny.encode(clip, 2) for clip in clips])
    np.testing.assert_array_equal(tiny.encode(clips, 2), codes)
    np.testing.assert_array_equal(tiny.encode(clips, 2, lengths=[FRAME] * 3), codes)
    assert tiny.decode(codes).shape == clips.shape


def test_a_batch_that_fits_is_made(tiny):
    row = sum(leaf.nbytes for _, leaf in tree_flatten(tiny.init_decoder_state()))
    fitting = memory() // row // 2
    validation.fits_memory(fitting, tiny.init_decoder_state())
    with pytest.raises(ValueError, match=f"{fitting + 1} rows"):
        validation.fits_memory(fitting + 1, tiny.init_decoder_state())


def test_what_is_no_number_where_one_is_wanted(tiny):
    stream = tiny.encoder_stream(2)
    for odd in NO_NUMBERS:
        with pytest.raises(ValueError, match=r"row .* does not exist|rows is a mask of 1 booleans"):
            stream.reset(rows=[odd])
        with pytest.raises(ValueError, match="the lengths are"):
            tiny.encode(NOISE, lengths=[odd])


@pytest.mark.parametrize("count", [0, 17, *NO_NUMBERS])
def test_codebooks_that_the_model_has_not(tiny, count):
    state = tiny.init_encoder_state()
    for call in (
        lambda: tiny.encoder_stream(num_codebooks=count),
        lambda: tiny.encode(NOISE, count),
        lambda: tiny.encode_step(mx.array(NOISE), state, count),
    ):
        message = re.escape(f"num_codebooks is {count!r}; this model has 1 to 16. Choose")
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("mask", [[True], [1, 0], [[True, False]], [True, False, True]])
def test_masks(tiny, mask):
    encoder, decoder = tiny.encoder_stream(2), tiny.decoder_stream(2)
    with pytest.raises(ValueError, match=r"mask is .* must be 2 booleans, one for each row. Give"):
        encoder.push(np.zeros((2, 1, FRAME), np.float32), mask)
    with pytest.raises(ValueError, match=r"mask is .* must be 2 booleans"):
        decoder.push(np.zeros((2, 8, 1), int), mask)


def test_rows_part_ways_only_between_frames(tiny):
    stream = tiny.encoder_stream(2)
    mask = [True, False]
    with pytest.raises(ValueError, match=r"with 1900 samples waiting; .* whole frames of 1920"):
        stream.push(np.zeros((2, 1, 1900), np.float32), mask)
    stream.push(np.zeros((2, 1, 5), np.float32))
    with pytest.raises(ValueError, match=r"with 1925 samples waiting; .* whole frames of 1920"):
        stream.push(np.zeros((2, 1, FRAME), np.float32), mask)
    with pytest.raises(ValueError, match=r"reset\(rows=...\) inside a frame .* or reset all rows"):
        stream.reset(rows=[0])
    stream.reset()
    for rows in ([2], [-1], [0, 5]):
        with pytest.raises(ValueError, match=r"row .* does not exist; .* rows 0 to 1\. Give"):
            stream.reset(rows=rows)


def test_masked_codes_are_no_batch_for_all_rows(tiny):
    """Codes without a batch axis are one row's, not every row's."""
    with pytest.raises(ValueError, match="codes has 1 rows; this stream has 2"):
        tiny.decoder_stream(2).push(np.zeros((8, 1), int), mask=[True, False])


def test_half_a_model():
    with pytest.raises(ValueError, match=r"init_encoder_state: .*only='decoder'"):
        Mimi.from_pretrained("tiny", only="decoder").init_encoder_state()
    with pytest.raises(ValueError, match=r"init_decoder_state: .*only='encoder'"):
        Mimi.from_pretrained("tiny", only="encoder").init_decoder_state()
    with pytest.raises(ValueError, match=r"encoder_stream: .*only='decoder'.* Load it without"):
        Mimi.from_pretrained("tiny", only="decoder").encoder_stream()
    with pytest.raises(ValueError, match=r"decoder_stream: .*only='encoder'.* Load it without"):
        Mimi.from_pretrained("tiny", only="encoder").decoder_stream()


@pytest.mark.parametrize("given", [np.full((1, 8, 1), 2**30), [[5000]] * 8])
def test_a_pure_step_refuses_what_is_no_code(tiny, given):
    with pytest.raises(ValueError, match="a code is from 0 to 2047"):
        tiny.decode_step(given, tiny.init_decoder_state())


def test_a_pure_step_reads_nothing_beside_the_codebooks(tiny):
    """Codes of an MLX array may not be there yet, so they are bounded and not read."""
    state, last = tiny.init_decoder_state(), np.full((1, 8, 1), 2047)
    wanted = tiny.decode_step(last, state)[0]
    for codes in (mx.full((1, 8, 1), 2**30), mx.array(last.astype(np.uint64))):
        assert mx.array_equal(tiny.decode_step(codes, state)[0], wanted)
