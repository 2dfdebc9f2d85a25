"""One step of training: the loss of a batch, its gradient, and new weights. The decoder alone."""

from typing import Any

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
from mlx.utils import tree_flatten, tree_map, tree_unflatten

from ..model.codec import Codec
from ..model.ops.activations import ELU, TrainedELU
from ..model.ops.device import is_gpu, memory
from ..model.seanet import ResnetBlock, Sequential
from ..streaming import rows
from . import losses
from .losses import Losses
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
        self.average: Any = tree_map(lambda x: x, weights)
        _take_slopes(codec.decoder.layers)
        if self._is_large():
            _compute_twice(codec)
        self._gradients = nn.value_and_grad(codec, self._loss)
        self._state: list[Any] = [codec.state, self.optimiser.state, self.average]
        # A CPU is as fast without, and MLX's C++ compiler would take minutes.
        self._step = (
            mx.compile(self._update, self._state, self._state) if is_gpu() else self._update
        )

    def step(self, batch: SegmentBatch) -> Losses:
        """Train on a batch; what its losses were before.

        Raises:
            ValueError: The memory does not hold it.
        """
        try:
            found = self._step(batch)
            mx.eval(found, self._state)
        except (RuntimeError, MemoryError) as error:
            if not isinstance(error, MemoryError) and not _is_about_memory(error):
                raise
            raise ValueError(
                f"the memory does not hold --batch-size {self.settings.batch_size} segments of "
                f"--seconds {self.settings.seconds:g}. Give a smaller --batch-size, then fewer "
                "--seconds."
            ) from error
        return Losses(*found)

    def weights(self) -> dict[str, Any]:
        """The parameters that are trained, a tree."""
        return {name: self.codec[name].parameters() for name in TRAINED}

    def state(self) -> dict[str, mx.array]:
        """All that a step changes, by name."""
        tree = {
            "weights": self.weights(),
            "average": self.average,
            "optimiser": self.optimiser.state,
        }
        return dict(tree_flatten(tree))

    def restore(self, state: dict[str, mx.array]) -> None:
        """Go on from what :meth:`state` gave."""
        tree: Any = tree_unflatten(list(state.items()))
        self.codec.update(tree["weights"])
        self.average.update(tree["average"])
        self.optimiser.state.update(tree["optimiser"])

    def _update(self, batch: SegmentBatch) -> Losses:
        _, found, gradients = self._forward_and_back(batch)
        gradients, _ = optim.clip_grad_norm(gradients, _MOST_NORM)
        self.optimiser.update(self.codec, gradients)
        average = averaged(self.average, self.weights(), self.optimiser.step)
        self.average.update(average)
        return found

    def _forward_and_back(self, batch: SegmentBatch) -> tuple[mx.array, Losses, Any]:
        (loss, found), gradients = self._gradients(batch)
        return loss, found, {name: gradients[name] for name in TRAINED}

    def _loss(self, batch: SegmentBatch) -> tuple[mx.array, Losses]:
        found = losses.reconstruction(
            batch.target, self.decode(batch), self.codec.config.sampling_rate
        )
        return losses.total(found), found

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
            layer.step = nn.utils.checkpoint(layer, layer.step)


def _is_about_memory(error: RuntimeError) -> bool:
    said = str(error).lower()
    return any(word in said for word in ("memory", "alloc"))
