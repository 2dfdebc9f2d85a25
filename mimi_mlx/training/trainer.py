"""One step of training: the loss of a batch, its gradient, and new weights. The decoder alone."""

import functools
from collections.abc import Callable
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
from mlx.nn.utils import checkpoint
from mlx.utils import tree_flatten, tree_map, tree_unflatten

from ..model.codec import Codec
from ..model.ops.activations import ELU, TrainedELU
from ..model.ops.device import is_gpu, memory
from ..model.seanet import ResnetBlock, Sequential
from ..streaming import rows
from . import losses
from .adversary import Adversary
from .optimiser import RelativeAdamW, averaged
from .segments import SegmentBatch
from .settings import Settings

TRAINED = ("upsample", "decoder_transformer", "decoder")
"""The modules of a codec that change. All that makes codes, or makes latents of them, stays."""

_MOST_NORM = 1.0  # of the gradient of all weights

# Bytes that a step keeps for each sample and filter of the first convolution, as measured; and the
# share of the memory that they may take before layers are computed twice instead.
_KEPT = 130
_SHARE = 0.4


# Steps in which the discriminator learns before it judges, or a tenth of a short run's.
_MOST_ALONE = 1000


class Trainer:
    """A codec, whose decoder is trained, and all that a run changes.

    Args:
        codec: With both halves, float32, not laid out for a device yet.
        settings: What to do.
    """

    def __init__(self, codec: Codec, settings: Settings):
        self.codec = codec
        self.settings = settings
        for name in TRAINED:
            codec[name].unfreeze()
        weights = self.weights()
        assert settings.steps is not None
        self.optimiser = RelativeAdamW(settings.learning_rate, settings.steps)
        self.optimiser.init(weights)
        self._alone = min(_MOST_ALONE, settings.steps // 10)
        self.average: Any = tree_map(lambda x: x, weights)
        _take_slopes(codec.decoder.layers)
        if self._is_large():
            _compute_twice(codec)
        self._adversary = Adversary(settings) if settings.adversarial else None
        self._state: list[Any] = [codec.state, self.optimiser.state, self.average]
        if self._adversary:
            self._state += self._adversary.state
        self._steps = {judged: self._compiled(judged) for judged in (False, True)}

    def step(self, batch: SegmentBatch) -> dict[str, float]:
        """Train on a batch; what its losses were before, and the parts of them, by name.

        Raises:
            ValueError: The memory does not hold it.
        """
        judged = self._adversary is not None and bool(self.optimiser.step >= self._alone)
        try:
            found = self._steps[judged](batch)
            mx.eval(found, self._state)
        except (RuntimeError, MemoryError) as error:
            if not isinstance(error, MemoryError) and not _is_about_memory(error):
                raise
            raise ValueError(
                f"the memory does not hold --batch-size {self.settings.batch_size} segments of "
                f"--seconds {self.settings.seconds:g}. Give a smaller --batch-size, then fewer "
                "--seconds."
            ) from error
        return {name: float(np.array(x)) for name, x in found.items()}

    def weights(self) -> dict[str, Any]:
        """The parameters that are trained, a tree."""
        return {name: self.codec[name].parameters() for name in TRAINED}

    def state(self) -> dict[str, mx.array]:
        """All that a step changes, by name."""
        return dict(tree_flatten(self._tree()))

    def restore(self, state: dict[str, mx.array]) -> None:
        """Go on from what :meth:`state` gave."""
        tree: Any = tree_unflatten(list(state.items()))
        self.codec.update(tree["weights"])
        self.average.update(tree["average"])
        self.optimiser.state.update(tree["optimiser"])
        if self._adversary:
            self._adversary.restore(tree["adversary"])

    def _tree(self) -> dict[str, Any]:
        tree = {"weights": self.weights(), "average": self.average}
        tree["optimiser"] = self.optimiser.state
        return tree | ({"adversary": self._adversary.tree()} if self._adversary else {})

    def _compiled(self, judged: bool) -> Callable[[SegmentBatch], dict[str, mx.array]]:
        """The step, which changes the state; ``judged`` by the discriminator too."""
        gradients = nn.value_and_grad(self.codec, functools.partial(self._loss, judged=judged))

        def step(batch: SegmentBatch) -> dict[str, mx.array]:
            (_, (found, decoded)), slopes = gradients(batch)
            slopes, _ = optim.clip_grad_norm({name: slopes[name] for name in TRAINED}, _MOST_NORM)
            self.optimiser.update(self.codec, slopes)
            average = averaged(self.average, self.weights(), self.optimiser.step)
            self.average.update(average)
            if self._adversary:
                found["discriminator"] = self._adversary.learn(batch.target, decoded)
            return found

        # A CPU is as fast without, and MLX's C++ compiler would take minutes.
        return mx.compile(step, self._state, self._state) if is_gpu() else step

    def _loss(self, batch: SegmentBatch, judged: bool) -> tuple[mx.array, Any]:
        """What is differentiated; and losses by name, and what was decoded."""
        decoded, rate = self.decode(batch), self.codec.config.sampling_rate
        parts = losses.reconstruction(batch.target, decoded, rate)
        loss = losses.total(parts)
        found = {"loss": loss, **parts._asdict()}
        if judged:
            assert self._adversary
            loss = self._adversary.balanced(batch.target, decoded, rate)
        return loss, (found, mx.stop_gradient(decoded))

    def decode(self, batch: SegmentBatch) -> mx.array:
        """The samples ``[B, 1920 S]`` of segments, each from the state that its context left."""
        codec = self.codec
        fresh = codec.init_decoder_state(len(batch.codes))
        _, past = codec.decode_step(batch.context, fresh)
        past = tree_map(mx.stop_gradient, rows.select(batch.begins, fresh, past))
        return codec.decode_step(batch.codes, past)[0][:, 0]

    def _is_large(self) -> bool:
        config = self.codec.config
        samples = self.settings.batch_size * self.settings.frames(config) * config.frame_size
        return _KEPT * samples * config.num_filters > _SHARE * memory()


def _take_slopes(layers: Sequential) -> None:
    """Give ELUs the gradient that is cheap."""
    for i, layer in enumerate(layers):
        if isinstance(layer, ELU):
            layers[i] = TrainedELU()
        elif isinstance(layer, ResnetBlock):
            _take_slopes(layer.block)


def _compute_twice(codec: Codec) -> None:
    """Have the convolutions' layers keep only what enters them, and compute the rest again.

    Source: Chen et al., Training deep nets with sublinear memory cost (arXiv 1604.06174).
    """
    for layer in codec.decoder.layers:
        if hasattr(layer, "step"):
            layer.step = checkpoint(layer, layer.step)


def _is_about_memory(error: RuntimeError) -> bool:
    said = str(error).lower()
    return any(word in said for word in ("memory", "alloc"))
