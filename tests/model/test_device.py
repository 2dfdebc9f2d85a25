"""What follows from the device that a call runs on."""

import mlx.core as mx
import numpy as np
import pytest

from mimi_mlx import audio
from mimi_mlx.evaluation import bench
from mimi_mlx.model.ops import device

ON_A_CPU = (False, True, False, 16, 8, 1, 1, 4)
ON_A_GPU = (True, False, True, 128, 64, 1, 8, 1)


def answers() -> tuple:
    """All of them, where nothing is cut."""
    assert not device.cuts_matmul() and not device.cuts_conv()
    steps = device.long_step(1), device.long_step(2), device.long_step(500)
    at_once = device.batch_size(), device.most_threads()
    return device.is_gpu(), device.packs(), device.has_fast_exp(), *steps, *at_once


def test_they_are_of_the_device_that_the_call_runs_on():
    with device.on(mx.cpu):
        assert answers() == ON_A_CPU and device.name() == "cpu"
        with device.assume_gpu():
            assert answers() == ON_A_GPU
        assert answers() == ON_A_CPU


def test_an_error_ends_what_was_assumed():
    with device.on(mx.cpu):
        with pytest.raises(RuntimeError), device.assume_gpu():
            raise RuntimeError
        assert answers() == ON_A_CPU


def test_a_gpu_by_its_name(monkeypatch):
    assert device.named(None) is None and device.named("cpu") == mx.cpu
    monkeypatch.setattr(device, "has_gpu", lambda: False)
    with pytest.raises(ValueError, match="device is gpu; MLX has none on this machine"):
        device.named("gpu")
    monkeypatch.setattr(device, "has_gpu", lambda: True)
    assert device.named("gpu") == mx.gpu


@pytest.fixture
def nvidia(monkeypatch) -> None:
    """An NVIDIA GPU with little memory, as MLX describes it."""
    monkeypatch.setattr(device, "is_gpu", lambda: True)
    monkeypatch.setattr(device, "has_cuda", lambda: True)
    info = {"device_name": "NVIDIA H100", "architecture": "sm_90", "total_memory": 4000}
    monkeypatch.setattr(mx, "device_info", lambda: info)


def test_the_memory_of_a_card_is_not_the_machines(nvidia):
    assert device.memory() == 4000 < device.machine_memory()
    assert len(audio.resample(np.zeros(1000), 24000, 48000, length=2000)) == 2000


def test_figures_name_the_card(nvidia, tiny, monkeypatch):
    assert bench.machine(tiny)["chip"] == f"NVIDIA H100, {bench.chip()}"
    monkeypatch.setattr(device, "is_gpu", lambda: False)
    assert bench.machine(tiny)["chip"] == bench.chip()
