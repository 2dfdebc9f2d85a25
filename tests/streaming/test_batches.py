"""Rows of a batch are calls of their own: they begin, wait and end without the others noticing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlx.utils import tree_flatten
from streams import FRAME, assert_same_waveform, push_all

from mimi_mlx.streaming import runner

K = 8


@pytest.fixture(scope="module")
def clips(speech) -> np.ndarray:
    """Four stretches of speech, ``[4, 1, T]``."""
    return speech("dialogue")[: 4 * 40 * FRAME].reshape(4, 1, -1)


@pytest.fixture(scope="module")
def alone(tiny, clips) -> list[np.ndarray]:
    """Each clip's codes when it is encoded alone, ``[K, F]``."""
    return [np.array(tiny.encode(clip[0], K))[0] for clip in clips]


def test_rows_are_independent(tiny, clips, alone):
    encoder, decoder = tiny.encoder_stream(4, K), tiny.decoder_stream(4)
    codes = push_all(encoder, np.split(clips, [FRAME, 7 * FRAME, 15 * FRAME + 300], -1))
    pcm = push_all(decoder, np.split(codes, [1, 2, 20], -1))
    for row in range(4):
        np.testing.assert_array_equal(codes[row], alone[row])
        assert_same_waveform(pcm[row : row + 1], tiny.decode(alone[row]))


@settings(max_examples=2, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_rows_that_wait_and_begin_anew(tiny, clips, alone, seed):
    """A server's calls: at any frame some rows take part, and some have just begun again."""
    rng = np.random.default_rng(seed)
    encoder, decoder = tiny.encoder_stream(4, K), tiny.decoder_stream(4)
    waves = [np.array(tiny.decode(codes))[0, 0] for codes in alone]
    at = np.zeros(4, int)
    for _ in range(30):
        if begin := np.flatnonzero((rng.random(4) < 0.1) | (at >= 38)).tolist():
            encoder.reset(rows=begin)
            decoder.reset(rows=begin)
            at[begin] = 0
        mask, frames = rng.random(4) < 0.6, int(rng.integers(1, 3))
        pcm = np.full((4, 1, frames * FRAME), np.nan, np.float32)  # rows that wait are not read
        for row in np.flatnonzero(mask):
            pcm[row] = clips[row, :, at[row] * FRAME :][:, : frames * FRAME]
        codes = np.array(encoder.push(pcm, mask))
        samples = np.array(decoder.push(codes, mask))
        for row in range(4):
            if not mask[row]:
                assert (codes[row] == -1).all() and (samples[row] == 0).all()
                continue
            end = at[row] + frames
            np.testing.assert_array_equal(codes[row], alone[row][:, at[row] : end])
            expected = waves[row][at[row] * FRAME : end * FRAME]
            assert np.abs(samples[row, 0] - expected).max() <= 1e-5 * waves[row].std()
            at[row] = end


def test_a_mask_leaves_the_state_of_rows_that_wait(tiny, clips):
    encoder = tiny.encoder_stream(4, K)
    encoder.push(clips[..., : 3 * FRAME])
    before = encoder.clone().state
    encoder.push(clips[..., 3 * FRAME : 4 * FRAME], mask=[True, False, True, False])
    for (name, old), (_, new) in zip(leaves(before), leaves(encoder.state), strict=True):
        np.testing.assert_array_equal(new[1::2], old[1::2], name)
    kept = [np.array_equal(new[0], old[0]) for old, new in tensors(before, encoder.state)]
    assert not any(kept), "the rows that took part did not move on"


def leaves(state) -> list[tuple[str, np.ndarray]]:
    return [(name, np.array(leaf)) for name, leaf in tree_flatten(state)]


def tensors(before, after) -> list[tuple[np.ndarray, np.ndarray]]:
    """Leaves that every frame changes: the tails and the keys and values."""
    pairs = zip(leaves(before), leaves(after), strict=True)
    return [(old, new) for (_, old), (_, new) in pairs if old.ndim > 2 and old[0].size > 1]


def test_reset_of_rows_restarts_those_alone(tiny, clips, alone):
    encoder = tiny.encoder_stream(4, K)
    encoder.push(clips[..., : 10 * FRAME])
    encoder.reset(rows=[1, 3])
    rest = np.array(encoder.push(clips[..., 10 * FRAME : 20 * FRAME]))
    for row in (0, 2):
        np.testing.assert_array_equal(rest[row], alone[row][:, 10:20])
    for row in (1, 3):
        again = tiny.encode(clips[row, :, 10 * FRAME : 20 * FRAME], K)
        np.testing.assert_array_equal(rest[row], again[0])


@pytest.mark.parametrize("at_once", [1, 2, 99])
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_ragged_batches(at_once, tiny, clips, data):
    """Rows of different lengths: each one's codes as if alone, -1 past its end; and back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "clips_at_once", lambda frames: at_once)
        check_ragged(tiny, clips, data)


def check_ragged(tiny, clips, data) -> None:
    most = 8 * FRAME
    length = st.one_of(st.integers(1, most), st.sampled_from([FRAME, 4 * FRAME, most]))
    lengths = data.draw(st.lists(length, min_size=1, max_size=4))
    batch = clips[: len(lengths), :, :most]
    codes = np.array(tiny.encode(batch, K, lengths=lengths))
    assert codes.shape[2] == -(-max(lengths) // FRAME)
    pcm = np.array(tiny.decode(codes, length=lengths))
    assert pcm.shape[2] == max(lengths)
    for row, n in enumerate(lengths):
        expected = np.array(tiny.encode(batch[row, :, :n], K))[0]
        frames = expected.shape[1]
        np.testing.assert_array_equal(codes[row, :, :frames], expected)
        assert (codes[row, :, frames:] == -1).all()
        assert_same_waveform(pcm[row, :, :n], tiny.decode(expected, length=n)[0])
        assert (pcm[row, :, n:] == 0).all()
