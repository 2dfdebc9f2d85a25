"""Codes on a GPU that cuts float32 to 11 bits (matrix_units.py) are what they are elsewhere."""

import json

import matrix_units
import mlx.core as mx
import numpy as np
import pytest
import recording
import seeded
from models import unpacked_tiny
from safetensors.numpy import save_file
from streams import FRAME, cut, push_all

from mimi_mlx import Mimi, MimiConfig, cli
from mimi_mlx.checkpoint.load import load
from mimi_mlx.evaluation import kernel_count, numerics
from mimi_mlx.model.ops import device, tf32
from mimi_mlx.model.ops.matmul import convolve, matmul

TINY = recording.load("tiny")
GPUS = {
    "cut": ("cut", False),
    "rounded": ("rounded", False),
    "cut, conv too": ("cut", True),
    "CUDA's": ("rounded", True, True),
}
EVERYDAY = ("cut",)


@pytest.fixture
def gpu(monkeypatch) -> pytest.MonkeyPatch:
    matrix_units.pretend(monkeypatch)
    return monkeypatch


@pytest.fixture(
    params=[
        pytest.param(GPUS[name], id=name, marks=[pytest.mark.slow] * (name not in EVERYDAY))
        for name in GPUS
    ]
)
def any_gpu(request, monkeypatch) -> pytest.MonkeyPatch:
    matrix_units.pretend(monkeypatch, *request.param)
    return monkeypatch


def check_codes(mimi: Mimi, pcm: np.ndarray, recorded: np.ndarray) -> tuple[float, float, float]:
    """Shares of codes that differ: whole from recorded, stream from recorded, both."""
    whole = np.array(mimi.encode(pcm))
    stream = push_all(mimi.encoder_stream(), cut(pcm, [FRAME] * (pcm.shape[-1] // FRAME)))
    return (whole != recorded).mean(), (stream != recorded).mean(), (whole != stream).mean()


def test_codes_are_pytorchs_whole_and_as_a_stream(any_gpu):
    pcm, recorded = TINY.clips["kerstin-2"].read(), TINY.codes("kerstin-2")
    assert check_codes(Mimi.from_pretrained("tiny"), pcm, recorded) == (0, 0, 0)
    matrix_units.unprotected(any_gpu)
    assert min(check_codes(Mimi.from_pretrained("tiny"), pcm, recorded)) > 0.02


def test_batches_and_waveforms(gpu, speech):
    """Three rows are more than few and less than many; waveforms are protected as well."""
    mimi, clip = Mimi.from_pretrained("tiny"), speech("kathleen-1")[: 8 * FRAME]
    rows = np.stack([clip, clip[::-1], -clip])[:, None]
    codes = np.array(mimi.encode(rows))
    stream = mimi.encoder_stream(batch_size=3)
    np.testing.assert_array_equal(push_all(stream, cut(rows, [FRAME] * 8)), codes)
    decoder = mimi.decoder_stream(batch_size=3)
    pcm = push_all(decoder, cut(codes, [1] * 8))
    np.testing.assert_allclose(pcm, mimi.decode(codes), atol=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY.clips)
def test_every_recorded_clip(monkeypatch, name):
    matrix_units.pretend(monkeypatch)
    clip = TINY.clips[name].read()
    assert check_codes(Mimi.from_pretrained("tiny"), clip, TINY.codes(name)) == (0, 0, 0)


@pytest.mark.slow
def test_the_full_size(monkeypatch, tmp_path):
    made = recording.load("full")
    pcm = made.clips["dialogue"].read().reshape(2, 1, -1)[:1, :, : 37 * FRAME]
    recorded = made.codes("dialogue")[:1, :, :37]
    drawn = seeded.tensors(seeded.FULL, made.about["seed"], seeded.SCALES)
    save_file(drawn, tmp_path / "model.safetensors")

    def loaded() -> Mimi:
        return Mimi(load([tmp_path / "model.safetensors"], MimiConfig.from_dict(seeded.FULL)))

    matrix_units.pretend(monkeypatch)
    assert check_codes(loaded(), pcm, recorded) == (0, 0, 0)
    matrix_units.unprotected(monkeypatch)
    assert min(check_codes(loaded(), pcm, recorded)) > 0.02


def test_products_have_the_digits_of_float32(any_gpu):
    reduced = 3 if device.cuts_conv() else 2
    errors = list(numerics.errors())
    assert sum(own > 1e-4 for _, own, _ in errors) == reduced
    assert all(codec < 2e-6 for _, _, codec in errors)


def test_parts_have_11_bits_and_lose_nothing():
    draw = np.random.default_rng(0)
    x = np.ldexp(draw.normal(size=9999), draw.integers(-100, 100, 9999)).astype(np.float32)
    high, low = (np.array(part) for part in tf32._split(mx.array(x)))
    np.testing.assert_array_equal(high.astype(np.float64) + low, x)
    assert not (high.view(np.uint32) & 0x1FFF).any()
    assert (abs(low) <= 2.0**-11 * abs(x)).all()


def test_a_few_rows_are_multiplied_one_by_one(gpu):
    """As matrix units do not do it: no digit is lost, and a live frame reads no weight twice."""
    draw = np.random.default_rng(0)
    x, weight = (mx.array(draw.normal(size=s).astype(np.float32)) for s in ((2, 2, 512), (96, 512)))
    found = matmul(x, weight)
    lines = [matmul(x[i : i + 1, j : j + 1], weight) for i in (0, 1) for j in (0, 1)]
    assert mx.array_equal(found.reshape(4, 1, 96), mx.concatenate([y[0] for y in lines])[:, None])


def test_halves_are_multiplied_as_they_are(gpu):
    x = mx.ones((64, 512), mx.float16)
    gpu.setattr(tf32, "matmul", None)
    assert matmul(x, mx.ones((8, 512), mx.float16)).dtype == mx.float16
    gpu.setattr(device, "_gpu_cuts_conv", bool)
    convolve(x[None], mx.ones((8, 8, 512), mx.float16), 4)


def test_gradients(monkeypatch, tiny, speech):
    pcm = mx.array(speech("kathleen-1")[6000 : 6000 + 6 * FRAME])[None, None]

    def gradient(mimi: Mimi) -> np.ndarray:
        return np.array(mx.grad(lambda x: mx.square(mimi.encode_to_latent(x)).sum())(pcm))

    right = gradient(tiny)
    matrix_units.pretend(monkeypatch)
    error = np.linalg.norm(gradient(Mimi.from_pretrained("tiny")) - right)
    assert error < 0.01 * np.linalg.norm(right)


def test_a_cpu_is_not_measured(monkeypatch):
    monkeypatch.setattr(device, "_gpu_cuts_matmul", None)
    monkeypatch.setattr(device, "_gpu_cuts_conv", None)
    mimi = Mimi.from_pretrained("tiny", device=mx.cpu)
    assert mimi.encode(np.zeros(5000, np.float32)).shape == (1, 16, 3)


def test_a_gpu_is_measured_once_at_load(monkeypatch):
    asked = []
    for measured in ("_gpu_cuts_matmul", "_gpu_cuts_conv"):
        measure = getattr(device, measured)
        with mx.stream(mx.cpu):
            assert measure.__wrapped__() is False
        hits = measure.cache_info().hits
        assert measure() == measure() and measure.cache_info().hits > hits
        measure.cache_clear()  # of this test's device
        monkeypatch.setattr(device, measured, lambda: asked.append(mx.default_device()))
    monkeypatch.setattr(device, "is_gpu", lambda: True)
    monkeypatch.setattr(device, "has_cuda", lambda: False)
    Mimi.from_pretrained("tiny", device=mx.cpu)
    assert asked == [mx.Device(mx.cpu)] * 2


def test_kernels_are_counted_of_the_plain_graph(monkeypatch):
    plain = kernel_count.count(unpacked_tiny(), "encoder", 8)
    monkeypatch.setattr(device, "_gpu_cuts_matmul", lambda: True)
    with device.assume_gpu():
        assert not device.cuts_matmul()
    assert kernel_count.count(unpacked_tiny(), "encoder", 8) == plain


@pytest.mark.slow
def test_verify_tells(gpu, not_paced, capsys):
    assert cli.main(["verify", "tiny", "--json"]) == 0
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    figure = checks["float32 matmul, 1 to 256 rows"]["figure"]
    assert "reduced, which the codec avoids" in figure and figure.count("e-0") == 2


@pytest.mark.slow
def test_verify_fails_without_protection(gpu, not_paced, capsys):
    matrix_units.unprotected(gpu)
    assert cli.main(["verify", "tiny", "--json"]) == 1
    checks = json.loads(capsys.readouterr().out)["checks"]
    failed = {check["name"]: check["must"] for check in checks if check["verdict"] == "FAIL"}
    assert {"codes of PyTorch, tiny", "codes, stream against whole"} < failed.keys()
    assert "MLX_ENABLE_TF32=0" in failed["float32 matmul, 1 to 256 rows"]
