"""Runs, from the command line: what they write, that they go on, and what they refuse."""

import functools
import importlib.util
import io
import json
import os
import re
import shutil
import signal
import sys
import types
from collections.abc import Callable
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten
from sounds import noise

from mimi_mlx import Mimi, audio, cli, files
from mimi_mlx.checkpoint import hub, mlx_format
from mimi_mlx.checkpoint.load import load
from mimi_mlx.evaluation import references
from mimi_mlx.training.discriminator import MultiScaleDiscriminator
from mimi_mlx.training.heldout import HeldOut
from mimi_mlx.training.run import resume
from mimi_mlx.training.run_folder import RunFolder
from mimi_mlx.training.trainer import Trainer

SHORT = ("--codebooks", 3, "--seconds", 0.3, "--batch-size", 1, "--held-out", 0.4)
SHORT += ("--steps", 4, "--every", 2, "--lr", 0.01)


FIGURES = "mimi_mlx.training.heldout.quality.row_of"


def hasten(patch: pytest.MonkeyPatch) -> None:
    """PESQ and pictures take long."""
    patch.setattr(FIGURES, lambda *_: {"log_mel_db": 1.0, "si_sdr_db": -np.inf})
    drawing = types.SimpleNamespace(draw=lambda file, *_: file.write(b"\x89PNG"))
    patch.setitem(sys.modules, "mimi_mlx.training.picture", drawing)


@pytest.fixture
def finetune(run, small, sound, monkeypatch) -> Callable[..., tuple[int, str]]:
    """Run ``mimi-mlx finetune SOUND -o out --model SMALL``, short, with more."""
    hasten(monkeypatch)

    def finetune(*args: object, data: object = sound, model: object = small) -> tuple[int, str]:
        code, _, err = run("finetune", data, "-o", "out", "--model", model, *SHORT, *args)
        return code, err

    return finetune


@pytest.fixture(scope="module")
def trained(small, sound, tmp_path_factory) -> Path:
    """The folder of such a run."""
    out = tmp_path_factory.mktemp("trained") / "out"
    with pytest.MonkeyPatch.context() as patch:
        hasten(patch)
        args = ("finetune", sound, "-o", out, "--model", small, *SHORT)
        assert cli.main([str(arg) for arg in args]) == 0
    return out


def refused(outcome: tuple[int, str]) -> str:
    """The one line of a wrong use, after which nothing is there."""
    code, err = outcome
    assert code == 2 and err.count("\n") == 1, err
    return err


def stop_after(step: int, monkeypatch: pytest.MonkeyPatch, number: int = signal.SIGINT) -> None:
    """A signal comes while this step is made."""
    done, plain = [], Trainer.step

    def stepped(self: Trainer, batch: object) -> object:
        done.append(batch)
        if len(done) == step:
            os.kill(os.getpid(), number)
        return plain(self, batch)

    monkeypatch.setattr(Trainer, "step", stepped)


def test_codes_of_a_trained_model_are_the_bases(trained, run, small, sound):
    base, mimi = Mimi.from_pretrained(small), Mimi.from_pretrained(trained)
    clip = audio.read(sound / "1.wav", 24000)
    assert np.array_equal(np.array(base.encode(clip)), np.array(mimi.encode(clip)))
    codes = base.encode(clip, 3)
    assert not np.array_equal(np.array(base.decode(codes)), np.array(mimi.decode(codes)))
    assert base.fingerprint == mimi.fingerprint
    latents = [np.array(each.decode_latent(codes)) for each in (base, mimi)]
    assert np.array_equal(*latents)
    coding = ("--model", small, "--codebooks", 3)
    assert run("encode", sound / "1.wav", "-o", "a.mimi", *coding)[0] == 0
    assert run("decode", "a.mimi", "-o", "a.wav", "--model", trained)[0] == 0


def test_a_trained_model_is_described_and_can_be_converted(trained, run, small, sound):
    card = (trained / "README.md").read_text()
    assert "those of `model`" in card and "3 codebooks" in card and "| base | trained |" in card
    assert str(small.parent) not in card and str(sound.parent) not in card
    assert run("convert", trained, "--mlx-path", "half", "--dtype", "float16")[0] == 0
    files = hub.find(trained).files
    mimi = Mimi.from_pretrained(trained)
    (check,) = references.of_weights(mimi, files, mlx_format.recipe(files), None)
    assert check.passed is None and "its decoder was trained here" in check.figure
    assert run("export", trained, "-o", "hub")[0] == 0
    card = Path("hub/README.md").read_text()
    assert "exported from `model`" in card and "Its decoder was trained on other sound" in card
    said = "from model: step [24] on 3 sound files, for 3 codebooks"
    assert re.search(f"^trained +{said}$", run("info", trained)[1], re.MULTILINE)
    assert re.fullmatch(said, json.loads(run("info", trained, "--json")[1])["trained"])
    assert json.loads(run("info", small, "--json")[1])["trained"] is None


def test_what_a_run_leaves_beside_its_model(trained):
    assert {path.name for path in trained.iterdir()} == {
        *("config.json", "model.safetensors", "README.md", "training")
    }
    if importlib.util.find_spec("matplotlib"):
        assert (trained / "training/progress.png").read_bytes().startswith(b"\x89PNG")
    assert resume(str(trained)).step == 4  # there is nothing left to do, and nobody looks on
    lines = [json.loads(x) for x in (trained / "training/log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 2, 4]
    assert all(line["held_out"]["loss"] > 0 for line in lines) and lines[1]["train"]["loss"] > 0
    names = sorted(path.name.split("-")[-1] for path in (trained / "training/clips").iterdir())
    assert names == ["after.wav"] * 2 + ["before.wav"] * 2 + ["original.wav"] * 2


@pytest.mark.slow
def test_a_picture_is_drawn_of_a_log(trained):
    picture = pytest.importorskip("mimi_mlx.training.picture")
    lines = [json.loads(x) for x in (trained / "training/log.jsonl").read_text().splitlines()]
    file = io.BytesIO()
    picture.draw(file, lines, "out")
    assert file.getvalue().startswith(b"\x89PNG") and len(file.getvalue()) > 20000


def weights(folder: Path) -> dict[str, np.ndarray]:
    return {
        k: np.array(x) for k, x in tree_flatten(Mimi.from_pretrained(folder).codec.parameters())
    }


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_a_run_that_is_stopped_goes_on_with_the_same_numbers(
    trained, finetune, run, tmp_path, monkeypatch, number
):
    with monkeypatch.context() as patch:
        stop_after(3, patch, number)
        code, err = finetune()
    assert code == 128 + number
    assert "stopped after step 3 of 4, and saved; go on with: mimi-mlx finetune -o out" in err
    assert "--lr is 0.5, and the run in out has 0.01" in refused(
        run("finetune", "-o", "out", "--resume", "--lr", 0.5)[::2]
    )
    code, _, err = run("finetune", "-o", "out", "--resume")
    assert code == 0, err
    whole, again = weights(trained), weights(tmp_path / "out")
    assert all(np.array_equal(whole[name], again[name]) for name in whole)
    held_out = [
        [json.loads(line)["held_out"] for line in text.splitlines()]
        for text in ((f / "training/log.jsonl").read_text() for f in (trained, tmp_path / "out"))
    ]
    assert held_out[0] == held_out[1]
    assert run("finetune", "-o", "out", "--resume")[0] == 0  # there is nothing left to do


def test_the_best_is_kept_of_a_run_that_gets_worse(finetune, small, tmp_path, monkeypatch):
    losses = iter([3.0, 2.0, 5.0])
    monkeypatch.setattr(HeldOut, "figures", lambda *_: {"loss": next(losses)})
    assert "step 2 is kept; what came after it is worse" in finetune()[1]
    lines = [json.loads(x) for x in (tmp_path / "out/training/log.jsonl").read_text().splitlines()]
    assert [line["held_out"]["loss"] for line in lines] == [3, 2, 5]
    losses = iter([3.0, 4.0])
    code, err = finetune("-f", "--steps", 2)
    assert code == 0 and "no step was better than the base on what is held out" in err
    base, kept = weights(small), weights(tmp_path / "out")
    assert all(np.array_equal(base[name], kept[name]) for name in base)


def test_minutes_become_steps(finetune, run, sound, small, tmp_path, monkeypatch):
    monkeypatch.setattr("mimi_mlx.training.run._TIMED", 2)
    assert "not allowed with" in refused(finetune("--minutes", 1))
    length = SHORT.index("--steps")
    rest = SHORT[:length] + SHORT[length + 2 :]
    code, _, err = run("finetune", sound, "-o", "out", "--model", small, *rest, "--minutes", 1e-6)
    assert code == 0, err
    settings = json.loads((tmp_path / "out/training/run.json").read_text())
    assert (settings["steps"], settings["minutes"]) == (1, None)


def test_minutes_are_those_of_steps_that_a_discriminator_judges(
    finetune, run, sound, small, monkeypatch
):
    """Those before are quicker by far."""
    found = []

    def compiled(_: Trainer, judged: bool) -> Callable[[object], dict[str, mx.array]]:
        return lambda _: found.append(judged) or {"loss": mx.array(1.0)}

    few = functools.partial(MultiScaleDiscriminator, channels=2, windows=(256,))
    monkeypatch.setattr("mimi_mlx.training.adversary.MultiScaleDiscriminator", few)
    monkeypatch.setattr(Trainer, "_compiled", compiled)
    rest = [arg for arg in SHORT if arg not in ("--steps", 4)]
    args = ("--model", small, *rest, "--minutes", 1e-9, "--adversarial", "-q")
    assert run("finetune", sound, "-o", "out", *args)[::2] == (0, "")
    assert len(found) > 2 and all(found)


@pytest.mark.slow
def test_a_discriminator_learns_in_a_run(finetune, tmp_path):
    """Its sizes are those of any run, and it judges from the first step on."""
    assert finetune("--adversarial", "--every", 1)[0] == 0
    lines = [json.loads(x) for x in (tmp_path / "out/training/log.jsonl").read_text().splitlines()]
    found = [line["train"] for line in lines[1:]]
    assert len(found) == 4 and np.isfinite([list(each.values()) for each in found]).all()
    assert found[3]["discriminator"] < found[0]["discriminator"] - 0.2
    assert (tmp_path / "out" / "model.safetensors").exists()


def test_a_kill_leaves_no_half_of_a_model(trained, small, tmp_path, run, monkeypatch):
    """What it kept from its place is put there when the run goes on."""
    out, (config, paths) = shutil.copytree(trained, tmp_path / "out"), hub.find(small)
    model, plain = out / "model.safetensors", Path.replace

    def killed(path: Path, target: Path) -> Path:
        if Path(target) == model:
            raise KeyboardInterrupt
        return plain(path, target)

    about = json.loads((out / "config.json").read_text())["mimi_mlx"]["finetuned"]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "replace", killed)
        RunFolder(out).write_model(load(paths, config), about)
    assert run("finetune", "-o", "out", "--resume")[0] == 0
    assert mlx_format.checksum(model) == files.sha256(model)
    base, found = weights(small), weights(out)
    assert all(np.array_equal(base[name], found[name]) for name in base)
    assert not (out / "training" / "next").exists()


def test_a_full_disk_is_told_in_one_line(finetune, monkeypatch):
    def full(*_: object) -> None:
        raise RuntimeError("[write] Unable to write 9 bytes to file.")

    monkeypatch.setattr(mx, "save_safetensors", full)
    assert "out/model.safetensors cannot be written" in refused(finetune())


def test_a_loss_that_is_no_number_ends_a_run(finetune, monkeypatch):
    monkeypatch.setattr(Trainer, "step", lambda *_: {"loss": float("nan")})
    code, err = finetune()
    assert code == 2 and "out has the model of step 0; begin anew with a smaller --lr" in err


def test_wrong_uses_are_told_in_one_line(finetune, run, small, sound, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "has no sound files" in refused(finetune(data="empty"))
    assert "is no folder" in refused(finetune(data="gone"))
    (tmp_path / "short").mkdir()
    audio.write(tmp_path / "short" / "a.wav", noise(5000), 24000)
    assert "shorter than a segment" in refused(finetune(data="short"))
    assert "has 4. Give at most as many" in refused(finetune("--codebooks", 5))
    assert "leaves nothing on one side" in refused(finetune("--held-out", 0.95))
    assert "seconds is 0.05" in refused(finetune("--seconds", 0.05))
    assert "steps is 0" in refused(finetune("--steps", 0))
    assert "no folder of sound is given" in refused(run("finetune", "-o", "out")[::2])
    assert "holds no run to resume" in refused(run("finetune", "-o", "out", "--resume")[::2])
    assert "nothing is left to train on" in refused(finetune("--held-out", sound))
    inside = shutil.copytree(sound, tmp_path / "inside")
    assert "is inside" in refused(run("finetune", inside, "-o", inside / "out")[::2])
    held_out = ("--held-out", inside)
    assert "is inside" in refused(run("finetune", sound, "-o", inside / "out", *held_out)[::2])
    for flag, said in (
        ("--decoder-only", "has no encoder"),
        ("--encoder-only", "has no decoder"),
        ("--dtype=float16", "is float16"),
    ):
        assert run("convert", small, "--mlx-path", "half", "-f", flag)[0] == 0
        assert said in refused(finetune(model="half"))
        assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    assert "exists; nothing is overwritten unasked" in refused(finetune())
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    assert "other things than a trained model" in refused(finetune("-f"))
