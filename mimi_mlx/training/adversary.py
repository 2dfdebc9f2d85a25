"""The discriminator in training: it judges what is decoded, and learns from what it judged."""

from typing import Any

import mlx.core as mx
import mlx.optimizers as optim

from . import losses
from .balancer import BalancerState, balance, gradients, init_state
from .discriminator import (
    MultiScaleDiscriminator,
    adversarial_loss,
    discriminator_loss,
    feature_loss,
)
from .settings import Settings

# Shares of the gradient: of the reconstruction, of deceiving the discriminator, of its features.
_WEIGHTS = (1.0, 3.0, 3.0)

_LEARNING_RATE, _BETAS = 3e-4, [0.5, 0.9]


class Adversary:
    """A discriminator, its optimiser and the balance of losses.

    Args:
        settings: The seed of its weights is that of the run.

    Source: Défossez et al., EnCodec (arXiv 2210.13438), section 3.4: the weights, the learning
    rate. Differs from EnCodec: it learns at every step.
    """

    def __init__(self, settings: Settings):
        self._discriminator = MultiScaleDiscriminator(seed=settings.seed)
        self._optimiser = optim.AdamW(_LEARNING_RATE, _BETAS, bias_correction=True)
        self._optimiser.init(self._discriminator.trainable_parameters())
        self._balance: dict[str, mx.array] = init_state(len(_WEIGHTS))._asdict()
        self.state: list[Any] = [self._discriminator.state, self._optimiser.state, self._balance]
        """All that changes, as ``mx.compile`` takes it."""

    def tree(self) -> dict[str, Any]:
        """All that changes, by name."""
        return {
            "discriminator": self._discriminator.parameters(),
            "optimiser": self._optimiser.state,
            "balance": self._balance,
        }

    def restore(self, tree: dict[str, Any]) -> None:
        """Go on from what :meth:`tree` gave."""
        self._discriminator.update(tree["discriminator"])
        self._optimiser.state.update(tree["optimiser"])
        self._balance.update(tree["balance"])

    def balanced(self, target: mx.array, decoded: mx.array, sample_rate: int) -> mx.array:
        """A number whose gradient is the balanced one of all losses of ``decoded [B, T]``."""
        real = self._discriminator(target)
        parts = (
            lambda x: losses.total(losses.reconstruction(target, x, sample_rate)),
            lambda x: adversarial_loss(self._discriminator(x)),
            lambda x: feature_loss(real, self._discriminator(x)),
        )
        _, slopes = gradients(parts, mx.stop_gradient(decoded))
        slope, after = balance(slopes, _WEIGHTS, BalancerState(**self._balance))
        self._balance.update({k: mx.stop_gradient(x) for k, x in after._asdict().items()})
        return (decoded * mx.stop_gradient(slope)).sum()

    def learn(self, target: mx.array, decoded: mx.array) -> mx.array:
        """Take a step towards telling ``decoded`` from ``target``; the loss before it."""
        discriminator = self._discriminator

        def loss(parameters: Any) -> mx.array:
            discriminator.update(parameters)
            return discriminator_loss(discriminator(target), discriminator(decoded))

        weights = discriminator.parameters()
        found, slopes = mx.value_and_grad(loss)(weights)
        discriminator.update(self._optimiser.apply_gradients(slopes, weights))
        return found
