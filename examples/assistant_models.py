"""Two models for assistant.py: ``step(codes) -> codes``, int32 ``[1, K, 1]``; None says nothing.

``echo`` says what it heard. ``moshi`` is moshi_mlx's own loop, ``LmGen``, over a small language
model of random weights, so it babbles: two MLX models in one process. For Moshi itself leave the
sizes as they are, and load its weights as moshi_mlx.local does. moshi_mlx asks for an old MLX:

    pip install --no-deps moshi_mlx && pip install mlx-lm sentencepiece sphn
"""

from collections import deque
from collections.abc import Callable
from dataclasses import replace

import mimi_mlx  # noqa: F401 (before mlx.core: on Linux it puts a fast BLAS in front of MLX's)

# isort: split
import mlx.core as mx
import numpy as np

Step = Callable[[np.ndarray], np.ndarray | None]

SMALL = {"d_model": 128, "num_heads": 4, "num_layers": 2, "dim_feedforward": 512}
MAX_STEPS = 4000  # LmGen keeps all of them: 5 min 20 s, and then it refuses the next


def echo(delay: int = 25) -> Step:
    """What was heard ``delay`` frames ago."""
    heard: deque[np.ndarray] = deque()

    def step(codes: np.ndarray) -> np.ndarray | None:
        heard.append(codes)
        return heard.popleft() if len(heard) > delay else None

    return step


def moshi() -> Step:
    """Of 8 codebooks, in the thread where this is called."""
    from moshi_mlx import models, utils

    config = models.config_v0_1()
    config.transformer = replace(config.transformer, **SMALL)
    depformer = replace(config.depformer.transformer, **SMALL)
    config.depformer = replace(config.depformer, transformer=depformer)
    lm = models.Lm(config)
    mx.eval(lm.parameters())
    generator = models.LmGen(lm, MAX_STEPS, utils.Sampler(), utils.Sampler())

    def step(codes: np.ndarray) -> np.ndarray | None:
        generator.step(mx.array(codes[:, :, 0]))
        said = generator.last_audio_tokens()  # [1, 8], once its codebooks' delays are over
        return None if said is None else np.array(said)[:, :, None]

    return step


MODELS = {"echo": echo, "moshi": moshi}
