"""The first three promises of streams, and their memory, at the size of kyutai/mimi."""

import gc

import mlx.core as mx
import numpy as np
import pytest
import seeded
from models import model
from soaking import FRAMES_AN_HOUR, assert_nothing_drifted
from streams import FRAME, assert_same_waveform, cut, push_all, random_cut

from mimi_mlx import Mimi, MimiConfig
from mimi_mlx.evaluation import soak

pytestmark = pytest.mark.slow

K = 8
WINDOW = 125  # frames that every position sees


def load(config: dict, folder) -> Mimi:
    drawn = seeded.tensors(config, seeded.SEED, seeded.SCALES)
    return model(drawn, MimiConfig.from_dict(config), folder)


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> Mimi:
    return load(seeded.FULL, tmp_path_factory.mktemp("full"))


@pytest.fixture(scope="module")
def pcm(speech) -> np.ndarray:
    """Two windows and a ragged end."""
    return speech("dialogue")[: 2 * WINDOW * FRAME + 700]


@pytest.fixture(scope="module")
def codes(full, pcm) -> np.ndarray:
    return np.array(full.encode(pcm, K))


def test_any_cutting_encodes_the_same(full, pcm, codes):
    """A long cut, then the last second cut anew from clones, and frame by frame."""
    rng = np.random.default_rng(0)
    last = pcm.shape[-1] - 13 * FRAME
    stream = full.encoder_stream(num_codebooks=K)
    first = [np.array(stream.push(piece)) for piece in random_cut(pcm[:last], 72000, rng)]
    first = np.concatenate(first, axis=-1)
    np.testing.assert_array_equal(first, codes[..., : first.shape[-1]])
    ways = [random_cut(pcm[last:], 3 * FRAME, rng) for _ in range(8)]
    for pieces in [*ways, cut(pcm[last:], [FRAME] * 13)]:
        rest = push_all(stream.clone(), pieces)
        np.testing.assert_array_equal(rest, codes[..., first.shape[-1] :])


def test_any_cutting_decodes_the_same(full, codes):
    rng = np.random.default_rng(1)
    whole = np.array(full.decode(codes))
    last = codes.shape[-1] - 13
    stream = full.decoder_stream()
    first = [np.array(stream.push(piece)) for piece in random_cut(codes[..., :last], 37, rng)]
    first = np.concatenate(first, axis=-1)
    ways = [random_cut(codes[..., last:], 3, rng) for _ in range(8)]
    for pieces in [*ways, cut(codes[..., last:], [1] * 13)]:
        rest = push_all(stream.clone(), pieces)
        assert_same_waveform(np.concatenate([first, rest], axis=-1), whole)


def test_interleaved_streams(full, pcm, codes):
    """Four streams in turns, each from another place of the clip on, and clips in between."""
    starts = [0, 10, 40, 90]
    alone = [np.array(full.encode(pcm[s * FRAME : (s + 12) * FRAME], K)) for s in starts]
    waves = [np.array(full.decode(a)) for a in alone]
    encoders = [full.encoder_stream(num_codebooks=K) for _ in starts]
    decoders = [full.decoder_stream() for _ in starts]
    heard, said = [[] for _ in starts], [[] for _ in starts]
    for at in range(0, 12, 3):
        for i, start in enumerate(starts):
            samples = pcm[(start + at) * FRAME :][: 3 * FRAME]
            for piece in (samples, samples[:0]) if i % 2 else cut(samples, [FRAME, FRAME]):
                heard[i].append(np.array(encoders[i].push(piece)))
            said[i].append(np.array(decoders[i].push(alone[i][..., at : at + 3])))
        np.testing.assert_array_equal(full.encode(pcm[:FRAME], K), codes[..., :1])
    for i in range(len(starts)):
        np.testing.assert_array_equal(np.concatenate(heard[i], axis=-1), alone[i])
        assert_same_waveform(np.concatenate(said[i], axis=-1), waves[i])


def test_frame_by_frame_nothing_drifts(tmp_path):
    """Every size but the window's, which is 10 positions here so that a run outlives it."""
    mimi = load(seeded.FULL | {"sliding_window": 10}, tmp_path)
    # In each half 8 layers x 9 positions are 36 frames; convolutions add a few.
    assert_nothing_drifted(soak.run(mimi, 200 / FRAMES_AN_HOUR, num_codebooks=K, warmup=90))


def test_one_streams_state_is_at_most_nine_megabytes(full, pcm, codes):
    """Of memory that is really kept: also after pushes whose outputs a view could keep alive."""
    for make, pushes in (
        (full.encoder_stream, [pcm[: n * FRAME] for n in (1, 1, 2, 12, 30)]),
        (full.decoder_stream, [codes[..., :n] for n in (1, 1, 2, 12, 30)]),
    ):
        kept_memory(make, pushes[:1])  # compiles
        sizes = kept_memory(make, pushes)
        assert max(sizes) <= 9e6, [f"{size / 1e6:.2f} MB" for size in sizes]
        assert min(sizes) > 8e6, "a stream's keys and values were not seen at all"


def kept_memory(make, pushes: list[np.ndarray]) -> list[int]:
    """Bytes that a new stream keeps, then after each push."""
    gc.collect()
    before = mx.get_active_memory()
    stream = make()
    sizes = [mx.get_active_memory() - before]
    for piece in pushes:
        stream.push(piece)
        sizes.append(mx.get_active_memory() - before)
    return sizes
