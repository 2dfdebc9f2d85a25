"""What a run is to do: checked once, kept beside its model, and the same when it is resumed."""

import math
from dataclasses import dataclass
from pathlib import Path

from ..arrays import whole
from ..model.config import MimiConfig, shown
from .losses import LONGEST

DEFAULT_MINUTES = 60.0

_LEAST = {"codebooks": 1, "batch_size": 1, "steps": 1, "every": 1, "seed": 0}
_MOST = {"minutes": 1e6, "seconds": 600.0, "learning_rate": 1.0}


@dataclass(frozen=True)
class Settings:
    """What a run is to do.

    Raises:
        ValueError: A number is out of its range, or both ``steps`` and ``minutes`` are given.
    """

    data: str
    """The folder of sound to train on."""
    model: str = "kyutai/mimi"
    """The base: a Hub id, a folder, a file, or "tiny"."""
    held_out: str = "0.05"
    """What is never trained on: a share of the sound files, or a folder of others."""
    mono: bool = False
    """Mix sound of several channels down."""
    codebooks: int = 8
    """Codes a frame that it is trained to decode."""
    steps: int | None = None
    """Updates of the weights; None is as many as fit into ``minutes``."""
    minutes: float | None = None
    """That the steps take at the speed of the first ones; None is ``DEFAULT_MINUTES``."""
    batch_size: int = 4
    """Segments in a step."""
    seconds: float = 3.0
    """Of a segment."""
    learning_rate: float = 3e-5
    """How far a step moves a weight at most, relative to its tensor's RMS."""
    every: int | None = None
    """Steps from one look at what is held out to the next; None is a 20th of all."""
    seed: int = 0
    """Of what is drawn."""
    adversarial: bool = False
    """Whether a discriminator judges, too."""

    def __post_init__(self) -> None:
        if self.steps is not None and self.minutes is not None:
            raise ValueError("steps and minutes are two lengths of one run. Give one of them.")
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is None and name in ("steps", "every"):
                continue
            if (number := whole(value)) is None or number < least:
                raise ValueError(
                    f"{name} is {shown(value)}; it must be a whole number from {least} on. Give "
                    "one."
                )
        for name, most in _MOST.items():
            value = getattr(self, name)
            if value is None and name == "minutes":
                continue
            if not (isinstance(value, (int, float)) and 0 < value <= most):  # NaN fails too
                raise ValueError(
                    f"{name} is {shown(value)}; it must be above 0 and at most {most:g}. Give one."
                )

    @property
    def share(self) -> float | None:
        """What share of the files is held out; None if a folder is."""
        try:
            return float(self.held_out)
        except ValueError:
            return None

    @property
    def folders(self) -> list[Path]:
        """The folders of sound."""
        return [Path(self.data), *([] if self.share is not None else [Path(self.held_out)])]

    def frames(self, config: MimiConfig) -> int:
        """Frames of a segment: 38 for 3 s."""
        return math.ceil(self.seconds * config.frame_rate)

    def check_model(self, config: MimiConfig) -> None:
        """A model can be trained so.

        Raises:
            ValueError: It has fewer codebooks, or a segment is too short to have a spectrum.
        """
        if self.codebooks > config.num_quantizers:
            raise ValueError(
                f"codebooks is {self.codebooks}; {self.model} has {config.num_quantizers}. Give "
                "at most as many."
            )
        if self.frames(config) * config.frame_size < LONGEST:
            raise ValueError(
                f"seconds is {self.seconds:g}; a segment must have a window of {LONGEST} samples. "
                f"Give {LONGEST / config.sampling_rate:.2g} or more."
            )
