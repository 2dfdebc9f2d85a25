"""Models that tests make."""

from pathlib import Path

import numpy as np
import seeded
from safetensors.numpy import save_file

from mimi_mlx import Mimi, MimiConfig  # before MLX: on Linux it puts OpenBLAS in front of its BLAS
from mimi_mlx.checkpoint import hub
from mimi_mlx.checkpoint.load import load
from mimi_mlx.model.codec import Codec

# isort: split
import mlx.core as mx
from mlx.utils import tree_flatten

# A Mimi whose window is 8 positions: everything in it, small enough to run hundreds of steps.
SMALL = seeded.FULL | {
    "num_filters": 4,
    "upsampling_ratios": [4, 3, 2],
    "num_residual_layers": 1,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "intermediate_size": 48,
    "sliding_window": 8,
    "upsample_groups": 32,
    "num_quantizers": 4,
    "codebook_size": 64,
    "codebook_dim": 8,
    "vector_quantization_hidden_dimension": 8,
}


def unpacked_tiny() -> Codec:
    """The embedded model as it is before it is laid out to run: what recipes are for."""
    config, files = hub.find("tiny")
    return load(files, config)


def model(tensors: dict[str, np.ndarray], config: MimiConfig, folder: Path) -> Mimi:
    """The model of tensors, as from_pretrained gives it; their file is gone again."""
    path = folder / "model.safetensors"
    save_file(tensors, path)
    mimi = Mimi(load([path], config))
    path.unlink()  # 385 MB, of some
    return mimi


def parameters(mimi: Mimi) -> dict[str, mx.array]:
    """A model's parameters by name."""
    return dict(tree_flatten(mimi.codec.parameters()))
