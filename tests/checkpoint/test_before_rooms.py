"""A folder that convert wrote, and streams that were saved, before the package had rooms."""

from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from mimi_mlx import DecoderStream, EncoderStream, Mimi

SAVED = Path(__file__).parent / "before_rooms"
PUSHED = 12 * 48 + 5  # samples, before the encoder's stream was saved


@pytest.fixture(scope="module")
def mimi() -> Mimi:
    return Mimi.from_pretrained(SAVED / "model", device=mx.cpu)


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    with np.load(SAVED / "expected.npz") as file:
        return dict(file)


def test_a_converted_folder_gives_the_same_codes(mimi, expected):
    assert mimi.frame_size == 48
    np.testing.assert_array_equal(mimi.encode(expected["pcm"]), expected["whole"])


def test_saved_streams_go_on(mimi, expected):
    encoder = mimi.load_stream(SAVED / "encoder.safetensors")
    assert isinstance(encoder, EncoderStream)
    parts = [encoder.push(expected["pcm"][..., PUSHED:]), encoder.flush()]
    codes = np.concatenate(parts, axis=-1)
    np.testing.assert_array_equal(codes, expected["rest"])
    decoder = mimi.load_stream(SAVED / "decoder.safetensors")
    assert isinstance(decoder, DecoderStream)
    wave = expected["wave"]
    limit = 1e-5 * np.sqrt(np.mean(np.square(wave)))
    np.testing.assert_allclose(decoder.push(codes), wave, rtol=0, atol=limit)
