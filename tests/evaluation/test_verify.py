"""verify: it passes here, and each check fails when what it checks is broken."""

import hashlib
import json

import mlx.core as mx
import numpy as np
import pytest
import recording
from models import parameters
from paths import SPEECH, TINY

from mimi_mlx import Mimi, cli
from mimi_mlx.checkpoint import convert, precision
from mimi_mlx.evaluation import quality, references, verify
from mimi_mlx.model import conv
from mimi_mlx.model.ops import search
from mimi_mlx.model.ops.codebooks import Codebooks

KERNEL = "quantiser's kernel against its operations"

pytestmark = pytest.mark.usefixtures("not_paced")


def failures(mimi: Mimi, recipe: precision.Recipe | None = None) -> list[str]:
    return [check.name for check in verify.run(mimi, recipe, None) if check.passed is False]


def test_everything_passes_here(capsys):
    assert cli.main(["verify", "tiny"]) == 0
    out = capsys.readouterr().out
    assert out.count(" pass") >= 9 and "FAIL" not in out and "100.00 % equal" in out


@pytest.mark.slow
def test_json_and_a_reduced_half(tmp_path, capsys):
    recipe = precision.Recipe("float32", 8)
    convert.convert(convert.Wanted("tiny", recipe, only="encoder"), tmp_path / "out")
    assert cli.main(["verify", str(tmp_path / "out"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["failed"] == 0 and found["precision"].startswith("8 bit")
    names = [check["name"] for check in found["checks"]]
    assert any("tiny in 8 bit" in name for name in names)
    assert not any("waveform, stream" in name for name in names)


@pytest.mark.parametrize("late", [3, 9])
def test_late_frames_fail_an_idle_machine_and_prove_nothing_on_a_loaded_one(
    tiny, monkeypatch, late
):
    slow = {"frames": 12, "late": late, "busy_percent": 40.0}
    monkeypatch.setattr(verify.bench, "paced", lambda *args, **named: slow)
    idle, loaded = (verify.paced(tiny, load) for load in (0.1, 1.8))
    assert idle.verdict == "FAIL" and f"{late} of 12 frames late, busy 40 %" in idle.figure
    assert loaded.verdict == "not run" and "load 1.8 a processor" in loaded.figure


def test_one_second_of_three_without_a_late_frame_is_a_pass(tiny, monkeypatch):
    late = iter([1, 1, 0])
    monkeypatch.setattr(
        *(verify.bench, "paced"),
        lambda *args, **named: {"frames": 12, "late": next(late), "busy_percent": 40.0},
    )
    assert verify.paced(tiny, 0.1).verdict == "pass"


@pytest.mark.slow
def test_what_was_not_run_is_no_pass_and_no_failure(run, monkeypatch):
    monkeypatch.setattr(verify.device_of, "has_gpu", lambda: False)
    code, out, _ = run("verify", "tiny")
    (line,) = (line for line in out.splitlines() if line.startswith("GPU against CPU"))
    assert code == 0 and line.endswith("not run")
    code, out, _ = run("verify", "tiny", "--json")
    found = json.loads(out)
    verdicts = {check["name"]: check["verdict"] for check in found["checks"]}
    assert code == 0 and verdicts["GPU against CPU"] == "not run"
    assert {n for n, v in verdicts.items() if v == "not run"} <= {"GPU against CPU", KERNEL}
    counts = [list(verdicts.values()).count(verdict) for verdict in ("pass", "FAIL", "not run")]
    assert [found["passed"], found["failed"], found["not_run"]] == counts


@pytest.mark.parametrize(
    ("has_kernels", "wrong", "verdict"),
    [(True, 0, "pass"), (True, 1, "FAIL"), (False, 0, "not run")],
)
def test_the_kernel_is_held_against_the_operations(tiny, monkeypatch, has_kernels, wrong, verdict):
    """Wrong for one frame alone."""

    def by_kernels(x: mx.array, books: Codebooks, count: int) -> mx.array:
        return search.by_operations(x, books, count, 1) + (wrong if x.shape[1] == 1 else 0)

    clip = np.random.default_rng(0).normal(0, 0.1, 5000).astype(np.float32)
    monkeypatch.setattr(verify.device_of, "is_gpu", lambda: False)
    assert verify.kernels(tiny, clip).verdict == "not run"
    monkeypatch.setattr(verify.device_of, "is_gpu", lambda: True)
    monkeypatch.setattr(search, "has_kernels", lambda *given: has_kernels)
    monkeypatch.setattr(search, "by_kernels", by_kernels)
    assert verify.kernels(tiny, clip).verdict == verdict


def test_a_converted_file_is_what_was_written(tmp_path, capsys):
    convert.convert(convert.Wanted("tiny"), tmp_path / "out")
    file = tmp_path / "out" / "model.safetensors"
    (check,) = references.checksum([file])
    assert check.passed and check.figure[:16] in (tmp_path / "out" / "config.json").read_text()
    with file.open("r+b") as opened:  # it still loads
        opened.seek(-100, 2)
        opened.write(b"\1")
    (check,) = references.checksum([file])
    assert not check.passed
    assert not list(references.checksum([TINY / "model.safetensors"]))


def test_a_file_of_the_hubs_cache_is_what_the_hub_has(tmp_path):
    weights = (TINY / "model.safetensors").read_bytes()
    blob = tmp_path / "blobs" / hashlib.sha256(weights).hexdigest()
    file = tmp_path / "snapshots" / "main" / "model.safetensors"
    for path in (blob, file):
        path.parent.mkdir(parents=True)
    file.symlink_to(blob)
    blob.write_bytes(weights)
    (check,) = references.checksum([file])
    assert check.passed and check.must.endswith("as the Hub says")
    blob.write_bytes(weights[:-1] + b"\1")
    (check,) = references.checksum([file])
    assert not check.passed


@pytest.mark.parametrize("command", [["verify", "tiny"], ["bench", "--model", "tiny"]])
def test_no_gpu_is_one_line(monkeypatch, capsys, command):
    monkeypatch.setattr(mx, "is_available", lambda device: False)
    assert cli.main([*command, "--device", "gpu"]) == 2
    err = capsys.readouterr().err
    assert "device is gpu; MLX has none" in err and err.count("\n") == 1


def test_a_failure_is_exit_code_1(monkeypatch, capsys):
    monkeypatch.setattr(verify, "_PRODUCT_ERROR", 0.0)
    assert cli.main(["verify", "tiny"]) == 1
    out, err = capsys.readouterr()
    assert "MLX_ENABLE_TF32=0" in out and err.startswith("mimi-mlx: 3 of ")


@pytest.mark.parametrize("recipe", [("float16",), ("float32", 4, 32)])
def test_a_recipe_reduces_all_that_convert_does(tiny, tmp_path, monkeypatch, recipe):
    recipe, compared = precision.Recipe(*recipe), []

    def compare(reference, other, clips):
        compared.append(other)
        return quality.Fidelity(1.0, 1.0, 1.0, 99.0, 0.0)

    monkeypatch.setattr(verify.quality, "compare", compare)
    assert len(list(verify.in_recipe(tiny, recipe, np.zeros(0), None))) == 2
    convert.convert(convert.Wanted("tiny", recipe), tmp_path / "out")
    wanted, found = parameters(Mimi.from_pretrained(tmp_path / "out")), parameters(*compared)
    assert wanted.keys() == found.keys()
    assert all(mx.array_equal(wanted[name], found[name]) for name in wanted)


@pytest.mark.slow
def test_a_wrong_tail_is_found(tiny, monkeypatch):
    step = conv.CausalTapConv1d.step

    def forgetful(self, x, state):
        y, after = step(self, x, state)
        return y, mx.zeros_like(after)

    monkeypatch.setattr(conv.CausalTapConv1d, "step", forgetful)
    assert "codes, stream against whole" in failures(Mimi.from_pretrained("tiny"))


@pytest.mark.slow
def test_wrong_weights_are_found_by_the_recording(monkeypatch):
    load = Mimi.from_pretrained

    def other(*args, **named):
        mimi = load(*args, **named)
        for half in (mimi.codec.encoder, mimi.codec.decoder):
            half.layers[0].conv.bias = half.layers[0].conv.bias + 0.1
        return mimi

    monkeypatch.setattr(Mimi, "from_pretrained", other)
    assert failures(load("tiny")) == ["codes of PyTorch, tiny", "waveform of PyTorch, tiny"]


def test_the_recording_is_of_the_embedded_clip():
    assert (TINY / "speech.flac").read_bytes() == (SPEECH / "kathleen-4.flac").read_bytes()


def test_the_recording_is_pytorchs():
    made = recording.load("tiny")
    with np.load(TINY / "recorded.npz") as kept:
        for what in ("codes", "waveform"):
            np.testing.assert_array_equal(kept[what], made.arrays[f"kathleen-4/{what}"])
        assert int(kept["stride"]) == made.clips["kathleen-4"].stride


def test_published_figures_are_sums_and_errors_of_the_clip(tiny, monkeypatch):
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *a, **k: TINY / "speech.flac")
    codes = recording.load("tiny").codes("kathleen-4")[:, :8]
    monkeypatch.setattr(references, "_PUBLISHED", ((8, int(codes.sum()), 0.5),))
    total, error = references.published(tiny)
    assert total.passed and total.figure == str(codes.sum())
    assert not error.passed and 0 < float(error.figure) < 0.01  # of unit norm, over 135360 samples
    monkeypatch.setattr(
        references, "_PUBLISHED", ((8, int(codes.sum()) * 1.01, float(error.figure)),)
    )
    assert [check.passed for check in references.published(tiny)] == [False, True]


def test_published_figures_that_are_asked_for_and_cannot_be_had_are_an_error(tiny, monkeypatch):
    def fetch(*args, **named):
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fetch)
    with pytest.raises(ValueError, match=r"cannot be fetched \(no network\).* leave out --hub"):
        list(references.published(tiny))
