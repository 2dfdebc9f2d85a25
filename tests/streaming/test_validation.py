"""Wrong use of a stream gets an error that names the value, the rule and the remedy."""

import mlx.core as mx
import numpy as np
import pytest
from streams import FRAME

from mimi_mlx import Mimi

NOISE = np.random.default_rng(0).uniform(-0.3, 0.3, (1, 1, 3 * FRAME)).astype(np.float32)
INT16 = (NOISE * 32767).astype(np.int16)


def with_nan(value: float) -> np.ndarray:
    samples = NOISE.copy()
    samples[0, 0, 77] = value
    return samples


@pytest.mark.parametrize(
    ("pcm", "message"),
    [
        (NOISE.astype(np.float64), r"float64; .* float32 in \[-1, 1\]\. .*astype"),
        (INT16, r"int16; .* float32 in \[-1, 1\]\. .*divide by 32768"),
        (mx.array(INT16), r"int16; .*divide by 32768"),
        (mx.array(NOISE).astype(mx.float16), r"float16; .* float32 .*astype"),
        (NOISE.tolist(), r"list; it must be float32"),
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


@pytest.mark.parametrize("batch_size", [0, -1, 1.5, True])
def test_a_batch_without_rows(tiny, batch_size):
    for make in (tiny.encoder_stream, tiny.decoder_stream):
        with pytest.raises(ValueError, match=rf"batch_size is {batch_size}; .* Give 1 or more"):
            make(batch_size)


@pytest.mark.parametrize("count", [0, 17, 2.5, True])
def test_codebooks_that_the_model_has_not(tiny, count):
    state = tiny.init_encoder_state()
    for call in (
        lambda: tiny.encoder_stream(num_codebooks=count),
        lambda: tiny.encode(NOISE, count),
        lambda: tiny.encode_step(mx.array(NOISE), state, count),
    ):
        with pytest.raises(ValueError, match=rf"num_codebooks is {count}; .* 1 to 16\. Choose"):
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
    with pytest.raises(ValueError, match=r"encoder_stream: .*only='decoder'.* Load it without"):
        Mimi.from_pretrained("tiny", only="decoder").encoder_stream()
    with pytest.raises(ValueError, match=r"decoder_stream: .*only='encoder'.* Load it without"):
        Mimi.from_pretrained("tiny", only="encoder").decoder_stream()
