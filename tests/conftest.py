"""What all tests share: the embedded model, the speech, and OpenBLAS before MLX."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from mimi_mlx import Mimi

SPEECH = Path(__file__).parent / "speech"


@pytest.fixture(scope="session")
def tiny() -> Mimi:
    return Mimi.from_pretrained("tiny")


@pytest.fixture(scope="session")
def speech():
    """A clip of the shipped speech by name: float32 samples ``[T]`` at 24 kHz."""

    def read(name: str) -> np.ndarray:
        samples, rate = soundfile.read(SPEECH / f"{name}.flac", dtype="float32")
        assert rate == 24000
        return samples

    return read
