"""What the tests of streams share: cutting, pushing and comparing."""

from collections.abc import Iterable, Sequence

import numpy as np

from mimi_mlx import Mimi
from mimi_mlx.model.ops.device import packs
from mimi_mlx.model.ops.linux import blas_in_use

FRAME = 1920

# Here a row of a product has the same bits beside any others, so streams equal whole clips exactly.
EXACT = packs() and any(core in blas_in_use() for core in ("SkylakeX", "Cooperlake"))
NOT_EXACT = "only OpenBLAS with AVX-512 rounds a row the same beside any others"

# Elsewhere they differ by rounding: samples, relative to the waveform's RMS. What tiny makes of a
# rounding is up to 2.5e-6 of the RMS, and the worst sample of a clip has six times that; here is
# three times as much. A stretch of near silence is measured as if it were at -40 dB, for it has
# the rounding of what surrounds it.
TOLERANCE = 0 if EXACT else 4e-5
SILENCE = 0.01

# Choices between two entries equally near that rounding may turn, in 200 cuttings of clips.
TIES = 0 if EXACT else 2


def cut(x: np.ndarray, sizes: Iterable[int]) -> list[np.ndarray]:
    """``x`` in pieces along its last axis, with whatever is left as the last."""
    return np.split(x, np.cumsum(list(sizes)).clip(max=x.shape[-1]), axis=-1)


def random_cut(x: np.ndarray, most: int, rng: np.random.Generator) -> list[np.ndarray]:
    """``x`` in pieces of 0 to ``most``."""
    sizes = []
    while sum(sizes) < x.shape[-1]:
        sizes.append(int(rng.integers(0, most + 1)))
    return cut(x, sizes)


def push_all(stream, pieces: Sequence[np.ndarray]) -> np.ndarray:
    """What a stream gives for all pieces and, if it is an encoder's, for the end of the clip."""
    outputs = [np.array(stream.push(piece)) for piece in pieces]
    if hasattr(stream, "flush"):
        outputs.append(np.array(stream.flush()))
    return np.concatenate(outputs, axis=-1)


def assert_same_waveform(found: np.ndarray, expected: np.ndarray) -> None:
    """As many samples, each within :data:`TOLERANCE`."""
    found, expected = np.array(found), np.array(expected)
    assert found.shape == expected.shape
    rms = np.sqrt(np.mean(np.square(expected, dtype=np.float64)))
    assert np.abs(found - expected).max() <= TOLERANCE * max(rms, SILENCE)


def assert_cutting_changes_nothing(
    mimi: Mimi, pcm: np.ndarray, num_codebooks: int, rng: np.random.Generator
) -> None:
    """One random cutting of a clip's samples, and one of its codes."""
    codes, pushed = cut_and_whole(mimi, pcm, num_codebooks, rng)
    np.testing.assert_array_equal(pushed, codes)


def cut_and_whole(
    mimi: Mimi, pcm: np.ndarray, num_codebooks: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The codes of a clip, and those of one random cutting; its waveform is that of any cutting."""
    codes = np.array(mimi.encode(pcm, num_codebooks))
    pieces = random_cut(pcm, 3 * mimi.sample_rate, rng)
    pushed = push_all(mimi.encoder_stream(num_codebooks=num_codebooks), pieces)
    pieces = random_cut(codes, 37, rng)
    assert_same_waveform(push_all(mimi.decoder_stream(), pieces), mimi.decode(codes))
    return codes, pushed
