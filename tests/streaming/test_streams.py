"""Any cutting gives the codes and the waveform of the whole clip, on any number of streams."""

import mlx.core as mx
import numpy as np
import pytest
import replay
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import (
    FRAME,
    TIES,
    assert_cutting_changes_nothing,
    assert_same_waveform,
    cut,
    cut_and_whole,
    push_all,
)

from mimi_mlx import Mimi
from mimi_mlx.model.codec import Codec

CLIPS = ["dialogue", *(f"{who}-{i}" for who in ("kathleen", "kerstin") for i in range(1, 7))]


def excerpt(speech, rng: np.random.Generator, longest: int) -> np.ndarray:
    """A random stretch of a random clip, at most so many samples and a ragged number of them."""
    clip = speech(CLIPS[rng.integers(len(CLIPS))])
    length = min(len(clip), longest) - int(rng.integers(FRAME))
    start = int(rng.integers(len(clip) - length + 1))
    return clip[start : start + length]


@pytest.mark.parametrize("seed", range(4))
def test_any_cutting(tiny, speech, seed):
    rng = np.random.default_rng(seed)
    pcm = excerpt(speech, rng, 4 * 24000)  # three times the window and more
    assert_cutting_changes_nothing(tiny, pcm, int(rng.integers(1, 17)), rng)


@pytest.mark.slow
def test_two_hundred_cuttings(tiny, tiny_tensors, speech):
    """Where rounding differs, a choice may too if two entries are equally near, and seldom."""
    choices = []
    for seed in range(100, 300):
        rng = np.random.default_rng(seed)
        pcm = excerpt(speech, rng, 2 * 24000)
        codes, pushed = cut_and_whole(tiny, pcm, int(rng.integers(1, 17)), rng)
        if (codes != pushed).any():
            latents = np.array(tiny.encode_to_latent(pcm))
            choices += replay.unequal_choices(tiny_tensors, latents, pushed, codes)
    print(f"{len(choices)} of 200 cuttings met a tie: {choices}")
    assert not [choice for choice in choices if not choice.gap < 1e-5]
    assert len(choices) <= TIES


@settings(max_examples=25, deadline=None)
@given(
    length=st.integers(1, 6 * FRAME),
    sizes=st.lists(st.sampled_from([0, 1, 959, 960, 1919, 1920, 1921, 5000]), max_size=12),
)
def test_short_clips_and_awkward_pieces(tiny, length, sizes):
    pcm = np.random.default_rng(length).uniform(-0.3, 0.3, (1, 1, length)).astype(np.float32)
    codes = np.array(tiny.encode(pcm, 4))
    assert codes.shape == (1, 4, -(-length // FRAME))
    stream = tiny.encoder_stream(num_codebooks=4)
    np.testing.assert_array_equal(push_all(stream, cut(pcm, sizes)), codes)


def test_frame_by_frame_past_the_window(tiny, speech):
    pcm = speech("dialogue")[: 90 * FRAME + 1000]  # five and a half windows
    codes = np.array(tiny.encode(pcm))
    stream = tiny.encoder_stream()
    pieces = cut(pcm, [FRAME] * 90)
    for i, piece in enumerate(pieces[:90]):
        np.testing.assert_array_equal(stream.push(piece), codes[..., i : i + 1])
    assert stream.push(pieces[90]).shape == (1, 16, 0)
    np.testing.assert_array_equal(stream.flush(), codes[..., 90:])
    frames = push_all(tiny.decoder_stream(), cut(codes, [1] * codes.shape[-1]))
    assert_same_waveform(frames, tiny.decode(codes))


def test_a_push_gives_every_frame_that_is_complete(tiny, speech):
    pcm = speech("kathleen-1")
    stream = tiny.encoder_stream(num_codebooks=8)
    assert stream.push(pcm[:0]).shape == (1, 8, 0)
    assert stream.push(pcm[:1919]).shape == (1, 8, 0)
    assert stream.push(pcm[1919:1920]).shape == (1, 8, 1)
    assert stream.push(pcm[1920 : 4 * 1920 + 5]).shape == (1, 8, 3)
    assert stream.flush().shape == (1, 8, 1)
    stream.reset()
    assert stream.push(pcm[:1920]).shape == (1, 8, 1)
    assert stream.flush().shape == (1, 8, 0)


def test_a_second_clip_is_not_distorted_by_the_first(tiny, speech):
    first, second = speech("kathleen-2")[:60000], speech("kerstin-3")[:60000]
    encoder, decoder = tiny.encoder_stream(), tiny.decoder_stream()
    push_all(decoder, [push_all(encoder, [first])])
    encoder.reset()
    decoder.reset()
    codes = push_all(encoder, [second])
    np.testing.assert_array_equal(codes, tiny.encode(second))
    assert_same_waveform(push_all(decoder, [codes]), tiny.decode(codes))


def interleave(mimi: Mimi, clips: list[np.ndarray], streams: int, seed: int) -> None:
    """Streams in turns, each with its own clip, K and pieces, and whole clips in between."""
    rng = np.random.default_rng(seed)
    codes = [np.array(mimi.encode(clip)) for clip in clips]
    waves = [np.array(mimi.decode(c)) for c in codes]
    kinds = [(rng.integers(len(clips)), int(rng.integers(1, 17))) for _ in range(streams)]
    encoders = [mimi.encoder_stream(num_codebooks=k) for _, k in kinds]
    decoders = [mimi.decoder_stream() for _ in kinds]
    heard, said = [[] for _ in kinds], [[] for _ in kinds]
    at, frame = np.zeros(streams, int), np.zeros(streams, int)
    while (at < [len(clips[c]) for c, _ in kinds]).any():
        i = int(rng.integers(streams))
        clip, k = kinds[i]
        size, frames = int(rng.integers(0, 30000)), int(rng.integers(0, 16))
        heard[i].append(np.array(encoders[i].push(clips[clip][at[i] : at[i] + size])))
        said[i].append(np.array(decoders[i].push(codes[clip][..., frame[i] : frame[i] + frames])))
        at[i], frame[i] = at[i] + size, frame[i] + frames
        if rng.random() < 0.02:
            np.testing.assert_array_equal(mimi.encode(clips[0]), codes[0])
    for i, (clip, k) in enumerate(kinds):
        heard[i].append(np.array(encoders[i].flush()))
        np.testing.assert_array_equal(np.concatenate(heard[i], -1), codes[clip][:, :k])
        pcm = np.concatenate(said[i], -1)
        assert_same_waveform(pcm, waves[clip][..., : pcm.shape[-1]])


def test_interleaved_streams(tiny, speech):
    clips = [speech(name)[:n] for name, n in [("kathleen-1", 40000), ("kerstin-1", 33333)]]
    interleave(tiny, clips, streams=8, seed=1)


@pytest.mark.slow
def test_two_hundred_interleaved_streams(tiny, speech):
    clips = [speech(name)[i * 3000 :][:25000] for i, name in enumerate(CLIPS)]
    interleave(tiny, clips, streams=200, seed=2)


def test_one_trace_for_all_streams_of_a_shape(speech, monkeypatch):
    tiny = Mimi.from_pretrained("tiny")
    traces = []
    for name in ("encode_step", "decode_step"):
        monkeypatch.setattr(Codec, name, counted(getattr(Codec, name), traces))
    pcm = speech("dialogue")
    for _ in range(2):
        encoder, decoder = tiny.encoder_stream(num_codebooks=8), tiny.decoder_stream()
        for i in range(60):
            decoder.push(encoder.push(pcm[i * FRAME : (i + 1) * FRAME]))
        encoder.reset()
        encoder.clone().push(pcm[:FRAME])
    assert traces == ["encode_step", "decode_step"]


def test_lengths_that_come_again_are_compiled_and_ragged_ones_are_not(speech, monkeypatch):
    tiny = Mimi.from_pretrained("tiny")
    calls = []
    monkeypatch.setattr(Codec, "encode_step", counted(Codec.encode_step, calls))
    pcm = speech("kathleen-1")
    whole = [np.array(tiny.encode(pcm[: 5 * FRAME])) for _ in range(20)]
    assert len(calls) == 6, "five as they are, then one trace"
    for codes in whole:
        np.testing.assert_array_equal(codes, whole[0])
    for _ in range(20):
        tiny.encode(pcm[: 5 * FRAME + 7])
    assert len(calls) == 26


def counted(function, calls: list[str]):
    def call(*args, **kwargs):
        calls.append(function.__name__)
        return function(*args, **kwargs)

    return call


def test_the_compiled_step_equals_the_eager_one(tiny, speech):
    pcm = speech("dialogue")[: 50 * FRAME]
    stream, state = tiny.encoder_stream(), tiny.init_encoder_state()
    decoder, heard = tiny.decoder_stream(), tiny.init_decoder_state()
    for piece in cut(pcm[None, None], [FRAME] * 49):
        codes, state = tiny.encode_step(mx.array(piece), state)
        np.testing.assert_array_equal(stream.push(piece), codes)
        wave, heard = tiny.decode_step(codes, heard)
        assert_same_waveform(decoder.push(codes), wave)


def test_the_state_is_a_value(tiny, speech):
    """A state taken from a stream feeds the pure step, and the stream does not notice."""
    pcm = speech("kathleen-4")[None, None, : 20 * FRAME]
    stream = tiny.encoder_stream(num_codebooks=8)
    codes = np.array(tiny.encode(pcm, 8))
    stream.push(pcm[..., : 19 * FRAME])
    last = mx.array(pcm[..., 19 * FRAME :])
    for _ in range(2):
        y, _ = tiny.encode_step(last, stream.state, 8)
        np.testing.assert_array_equal(y, codes[..., 19:])
    np.testing.assert_array_equal(stream.push(last), codes[..., 19:])


@pytest.mark.parametrize("position", [2**31 - 40, 2**32 - 40])
def test_years_into_a_stream_nothing_has_drifted(tiny, speech, position):
    """Positions are whole numbers that wrap, here in mid-clip; that moment is as any other."""
    pcm = speech("kerstin-4")[None, None, : 40 * FRAME]
    state = tiny.init_encoder_state()
    transformer = state.transformer._replace(position=mx.array([position], mx.uint32))
    codes, _ = tiny.encode_step(mx.array(pcm), state._replace(transformer=transformer))
    np.testing.assert_array_equal(codes, tiny.encode(pcm))
