"""Run mimi_mlx as the reference was run, and measure how far apart they are."""

from typing import Any, NamedTuple

from mimi_mlx import Mimi  # before MLX: on Linux it puts OpenBLAS in front of MLX's own BLAS

# isort: split
import mlx.core as mx
import numpy as np
from recording import Recording, thin
from seeded import codebook_name


def whole(module: Any, x: mx.array) -> mx.array:
    """What a layer makes of a whole input: one step from a fresh state."""
    return module.step(x, module.init_state(x.shape[0]))[0]


def stages(mimi: Mimi, pcm: np.ndarray, codes: np.ndarray) -> dict[str, np.ndarray]:
    """Each of recording.STAGES, ``[B, time, C]``: of encoding ``pcm`` and of decoding ``codes``."""
    outputs, codec = {}, mimi.codec
    x = mx.array(pcm).swapaxes(1, 2)  # [B, T, 1]
    outputs["seanet encoder"] = x = whole(codec.encoder, x)
    outputs["encoder transformer"] = x = whole(codec.encoder_transformer, x)
    outputs["downsample"] = whole(codec.downsample, x)
    outputs["dequantised"] = x = codec.quantizer.decode(mx.array(codes))
    outputs["upsample"] = x = whole(codec.upsample, x)
    outputs["decoder transformer"] = x = whole(codec.decoder_transformer, x)
    outputs["waveform"] = whole(codec.decoder, x)
    return {stage: np.array(x) for stage, x in outputs.items()}


def errors(mimi: Mimi, made: Recording, name: str, rows: int = 1) -> dict[str, float]:
    """The relative error of each stage on one clip of a recording, cut into ``rows``."""
    clip = made.clips[name]
    found = stages(mimi, clip.read().reshape(rows, 1, -1), made.codes(name))
    return {
        stage: relative_error(thin(x, clip.stride), made.arrays[f"{name}/{stage}"])
        for stage, x in found.items()
    }


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """RMS of the difference over RMS of what was expected."""
    assert found.shape == expected.shape, (found.shape, expected.shape)
    difference = found.astype(np.float64) - expected
    return float(np.sqrt(np.mean(difference**2) / np.mean(expected.astype(np.float64) ** 2)))


class Choice(NamedTuple):
    """Where found codes first leave the recorded ones: between two entries of a codebook.

    ``gap`` is how much further than the nearest entry the worse of the two is, relative to the
    nearest one's distance: 0 if they tie.
    """

    row: int
    level: int
    frame: int
    gap: float


def unequal_choices(
    tensors: dict[str, np.ndarray], latents: np.ndarray, found: np.ndarray, recorded: np.ndarray
) -> list[Choice]:
    """Every choice of ``found [B, K, F]`` that is not ``recorded``'s, from ``latents [B, C, F]``.

    After such a choice the residual is another one, so the later codes of that frame and half
    (semantic or acoustic) are left out. ``tensors`` are a checkpoint's, in the Hub's layout.
    """
    choices = []
    for half, start, end in (("semantic", 0, 1), ("acoustic", 1, found.shape[1])):
        name = f"quantizer.{half}_residual_vector_quantizer.input_proj.weight"
        projection = tensors[name][..., 0].astype(np.float64)
        differ = (found != recorded)[:, start:end]  # [B, levels, F]
        for row, frame in np.argwhere(differ.any(axis=1)):
            level = start + int(differ[row, :, frame].argmax())
            residual = projection @ latents[row, :, frame]
            for before in range(start, level):
                residual -= entries(tensors, before)[recorded[row, before, frame]]
            distances = np.linalg.norm(entries(tensors, level) - residual, axis=1)
            pair = [found[row, level, frame], recorded[row, level, frame]]
            gap = distances[pair].max() / distances.min() - 1
            choices.append(Choice(int(row), level, int(frame), float(gap)))
    return choices


def entries(tensors: dict[str, np.ndarray], level: int) -> np.ndarray:
    """A codebook's entries ``[codebook_size, codebook_dim]``, float64."""
    book = codebook_name(level)
    usage = np.maximum(tensors[f"{book}.cluster_usage"], 1e-5)
    return tensors[f"{book}.embed_sum"].astype(np.float64) / usage[:, None]
