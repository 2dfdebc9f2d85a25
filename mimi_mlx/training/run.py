"""A run from its beginning, or from where it stopped, to its end."""

import importlib.util
import statistics
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..atomic import replacing
from ..checkpoint import hub, mlx_format, precision
from ..checkpoint.load import load
from ..mimi import Mimi
from ..model.codec import Codec
from . import clips, sounds
from .clips import CodedClip
from .heldout import HeldOut
from .run_folder import RunFolder, Saved, base_facts
from .segments import Segments
from .settings import DEFAULT_MINUTES, Settings
from .sounds import SoundFile
from .trainer import Trainer

_LOOKS = 20  # at what is held out, in a run

_TIMED = 5  # steps, whose speed says how many fit into the minutes; the first one, which compiles,
# is not counted


class Watcher:
    """Who looks on while a run is at work. This one lets it run, and says nothing."""

    def is_stopped(self) -> bool:
        """Whether the run is to stop after this step, and be saved."""
        return False

    def coded(self, done: int, files: int) -> None:
        """So many of the sound files are coded."""

    def stepped(self, step: int, steps: int, losses: dict[str, float], speed: float) -> None:
        """A step is done; ``speed`` is in seconds of audio a second."""

    def looked(self, step: int, figures: dict[str, float], is_best: bool) -> None:
        """The figures of what is held out after a step."""


class TrainingResult(NamedTuple):
    """What came of a run."""

    step: int  # the last one
    steps: int  # of the whole run
    best_step: int  # 0 is the base
    base: dict[str, float]  # figures of what is held out, before
    best: dict[str, float]
    last: dict[str, float]


_NOBODY = Watcher()


def begin(
    settings: Settings, out: str | Path, watcher: Watcher = _NOBODY, force: bool = False
) -> TrainingResult:
    """Train into a new folder.

    Args:
        settings: What to do.
        out: The folder.
        watcher: Is told what happens.
        force: Replace a folder that an earlier run made.

    Raises:
        ValueError: The model, the sound or the folder is none for this.
    """
    folder = RunFolder(Path(out))
    folder.check_new(force, settings.folders)
    sources = _Sources(settings)
    folder.check_base(sources.checkpoint.files)
    folder.create(settings)
    return _Run(settings, folder, sources, watcher).finish()


def resume(out: str | Path, watcher: Watcher = _NOBODY) -> TrainingResult:
    """Go on with the run in a folder; its numbers are those that it would have had.

    Raises:
        ValueError: There is no run, or its sound or its model are no longer what they were.
    """
    folder = RunFolder(Path(out))
    settings = folder.settings()
    return _Run(settings, folder, _Sources(settings), watcher).finish()


class _Sources:
    """The base and the sound files of a run, looked at but not read yet."""

    def __init__(self, settings: Settings):
        for folder in settings.folders:
            sounds.check_folder(folder)  # before the model is looked for
        found = self.checkpoint = hub.find(settings.model)
        recipe = mlx_format.recipe(found.files) or precision.Recipe()
        if recipe.bits or recipe.dtype != "float32":
            raise ValueError(
                f"{settings.model} is {recipe}; training starts from float32. Give what it was "
                "converted from, and convert what comes out."
            )
        settings.check_model(found.config)
        self.codec = load(found.files, found.config)
        for half, other in (("encoder", "decoder"), ("decoder", "encoder")):
            if half not in self.codec:
                raise ValueError(
                    f"{settings.model} has no {half}; what makes codes and what is trained must "
                    f"both be there. Convert it without --{other}-only."
                )
        frames = settings.frames(found.config)
        about = found.config, frames, settings.mono
        self.trained = sounds.index(Path(settings.data), *about)
        if settings.share is None:
            self.held_out = sounds.index(Path(settings.held_out), *about)
            apart = {file.path.resolve() for file in self.held_out}
            self.trained = [file for file in self.trained if file.path.resolve() not in apart]
            if not self.trained:
                raise ValueError(
                    f"{settings.held_out} has all of {settings.data}, so that nothing is left to "
                    "train on. Hold out other sound."
                )
        else:
            halves = sounds.held_out(self.trained, settings.share, settings.seed)
            self.trained, self.held_out = halves


class _Run:
    """A run at work."""

    def __init__(self, settings: Settings, folder: RunFolder, sources: _Sources, watcher: Watcher):
        self.settings, self._folder, self._watcher = settings, folder, watcher
        config, paths = sources.checkpoint.config, sources.checkpoint.files
        self._base = base_facts(settings.model, sources.checkpoint)
        mimi = Mimi.from_pretrained(settings.model, only="encoder")
        trained, held_out = self._coded(mimi, sources.trained, sources.held_out)
        del mimi
        self._sound = f"{len(trained)} sound files"
        self._clips = len(held_out)
        self._digest = clips.digest([*trained, *held_out])
        frames = settings.frames(config)
        about = frames, settings.batch_size, settings.seed, config.frame_size
        self._segments = Segments(trained, *about)
        self._audio = frames * settings.batch_size / config.frame_rate  # seconds a step
        self._held_out = HeldOut(held_out, sources.codec)
        if settings.steps is None:
            minutes = settings.minutes or DEFAULT_MINUTES
            steps = self._steps_in(load(paths, config), minutes)
            self.settings = replace(settings, steps=steps, minutes=None)
            folder.keep(self.settings)
        self._trainer = Trainer(sources.codec, self.settings)
        self._saved = Saved(0, 0.0)
        if found := folder.load(self._digest):
            state, self._saved = found
            self._trainer.restore(state)
        self._lines = folder.lines(self._saved.step)

    def _coded(self, mimi: Mimi, *kinds: list[SoundFile]) -> list[list[CodedClip]]:
        done, total = 0, sum(map(len, kinds))

        def note(_: SoundFile) -> None:
            nonlocal done
            done += 1
            self._watcher.coded(done, total)

        about = self.settings.codebooks, self.settings.mono, self._folder.sound
        return [clips.prepare(files, mimi, *about, note) for files in kinds]

    def _steps_in(self, codec: Codec, minutes: float) -> int:
        """How many steps take so many minutes at the speed of the first ones of a codec."""
        # A run so short has no steps in which a discriminator does not judge, which are quicker.
        trainer = Trainer(codec, replace(self.settings, steps=_TIMED, minutes=None))
        times = []
        for step in range(_TIMED):
            start = time.perf_counter()
            trainer.step(self._segments.batch(step))
            times.append(time.perf_counter() - start)
        return max(1, round(minutes * 60 / statistics.median(times[1:])))

    def finish(self) -> TrainingResult:
        """Train to the end, or until the watcher stops it; either way it is saved."""
        steps = self.settings.steps
        assert steps is not None
        every = self.settings.every or max(1, steps // _LOOKS)
        trainer, start = self._trainer, time.perf_counter() - 60 * self._saved.minutes
        if not self._lines:
            self._held_out.write_originals(self._folder.clips)
            self._held_out.write(trainer.average, self._folder.clips, "before")
            self._look({}, 0.0)
        sums: Counter[str] = Counter()
        since, first = time.perf_counter(), self._saved.step
        while self._saved.step < steps and not self._watcher.is_stopped():
            step = self._saved.step + 1
            found = trainer.step(self._segments.batch(step))
            self._check_finite(found["loss"], step)
            sums.update(found)
            minutes = (time.perf_counter() - start) / 60
            self._saved = Saved(step, minutes)
            speed = (step - first) * self._audio / (time.perf_counter() - since)
            means = {name: x / (step - first) for name, x in sums.items()}
            self._watcher.stepped(step, steps, means, speed)
            if step % every == 0 or step == steps:
                self._look(means, speed)
                sums, since, first = Counter(), time.perf_counter(), step
        self._save()
        return self._result(steps)

    def _look(self, losses: dict[str, float], speed: float) -> None:
        """Judge the weights on what is held out; keep them if they are the best so far."""
        trainer, saved = self._trainer, self._saved
        figures = self._held_out.figures(trainer.average)
        self._check_finite(figures.get("loss", float("nan")), saved.step)
        line = {
            "step": saved.step,
            "minutes": round(saved.minutes, 3),
            "learning_rate": trainer.optimiser.learning_rate.item(),
            "audio_seconds_a_second": round(speed, 2),
            "train": losses,
            "held_out": figures,
        }
        self._lines.append(line)
        is_best = self._best is line
        if is_best:
            self._write_best(figures)
        self._folder.log(line)
        self._save()
        if importlib.util.find_spec("matplotlib"):
            from . import picture

            with replacing(self._folder.picture) as file:
                picture.draw(file, self._lines, f"{self._folder.path.name}: {self._sound}")
        self._watcher.looked(saved.step, figures, is_best)

    @property
    def _best(self) -> dict[str, Any]:
        """The log's line of the least loss of what is held out, the first of equals."""
        return min(self._lines, key=lambda line: line["held_out"]["loss"])

    def _check_finite(self, loss: float, step: int) -> None:
        if not np.isfinite(loss):
            kept = f" of step {self._best['step']}" if self._lines else ""
            raise ValueError(
                f"the loss of step {step} is no number any more. {self._folder.path} has the model"
                f"{kept}; begin anew with a smaller --lr."
            )

    def _write_best(self, figures: dict[str, float]) -> None:
        trainer, settings = self._trainer, self.settings
        about = {
            **self._base,
            "sound": self._sound,
            "clips": self._clips,
            "step": self._saved.step,
            **{k: getattr(settings, k) for k in ("codebooks", "batch_size", "seconds")},
            **{k: getattr(settings, k) for k in ("learning_rate", "adversarial", "seed")},
            "figures_of_base": self._lines[0]["held_out"],
            "figures": figures,
        }
        weights = trainer.weights()
        trainer.codec.update(trainer.average)
        self._folder.write_model(trainer.codec, about)
        trainer.codec.update(weights)
        self._held_out.write(trainer.average, self._folder.clips, "after")

    def _save(self) -> None:
        self._folder.save(self._trainer.state(), self._saved, self._digest)

    def _result(self, steps: int) -> TrainingResult:
        best, lines = self._best, self._lines
        figures = [line["held_out"] for line in (lines[0], best, lines[-1])]
        return TrainingResult(self._saved.step, steps, best["step"], *figures)
