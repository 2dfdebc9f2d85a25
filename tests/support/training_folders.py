"""A model so small that a step of training takes no time, and sound for it."""

import json
from pathlib import Path

import numpy as np
import seeded
from safetensors.numpy import save_file

from mimi_mlx import audio

SMALL = {
    **seeded.FULL,
    **{"num_filters": 4, "upsampling_ratios": [8, 6, 5, 4], "hidden_size": 16},
    **{"num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8},
    **{"intermediate_size": 32, "sliding_window": 8, "upsample_groups": 16, "num_quantizers": 4},
    **{"codebook_size": 64, "codebook_dim": 8, "vector_quantization_hidden_dimension": 8},
}
"""Of kyutai/mimi's rates."""


def make_model(folder: Path) -> Path:
    """Write such a model's folder."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(SMALL))
    tensors = seeded.tensors(SMALL, 1, [0.5] * SMALL["num_quantizers"])
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


def make_sound(folder: Path, clip: np.ndarray, count: int = 5) -> Path:
    """Write so many files of 12 to 16 frames, at two rates."""
    folder.mkdir()
    for i in range(count):
        part = clip[i * 12000 : i * 12000 + (12 + i) * 1920 + 1500]
        rate = 24000 if i % 2 else 16000
        audio.write(folder / f"{i}.wav", audio.resample(part, 24000, rate), rate)
    return folder
