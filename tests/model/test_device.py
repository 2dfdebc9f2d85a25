"""What follows from the device that a call runs on."""

import mlx.core as mx
import pytest

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
