"""The bench command runs and prints what it promises; no test looks at a time."""

import functools
import json

import mlx.core as mx
import numpy as np
import pytest

from mimi_mlx import cli
from mimi_mlx.checkpoint import hub
from mimi_mlx.checkpoint.load import load
from mimi_mlx.cli import bench as command
from mimi_mlx.evaluation import bench, kernel_count
from mimi_mlx.model.ops import search


@pytest.fixture
def quick(monkeypatch):
    """The same measurements, of fewer frames."""
    monkeypatch.setattr(command.bench, "offline", lambda m, k: offline(m, k, 0.4, 1))
    monkeypatch.setattr(
        command.bench, "frames", lambda m, k, count=8, rows=1: frames(m, k, count, rows)
    )
    monkeypatch.setattr(command.bench, "paced", lambda m, k: paced(m, k, 0.32))
    monkeypatch.setattr(command.bench, "read_rate", lambda m: 1e9)


offline, frames, paced = bench.offline, bench.frames, bench.paced


@pytest.fixture
def kernels(monkeypatch):
    """As if kernels of ours ran here."""
    by_operations = functools.partial(search.by_operations, num_semantic=1)
    monkeypatch.setattr(search, "has_kernels", lambda *given: True)
    monkeypatch.setattr(search, "by_kernels", by_operations)


def test_the_search_with_and_without_kernels(kernels, tiny):
    found = bench.searches(tiny, 2, runs=1)
    assert list(found) == ["kernels", "operations"] and min(found.values()) > 0


@pytest.mark.slow
def test_tables(quick, kernels, capsys):
    assert cli.main(["bench", "--model", "tiny"]) == 0
    out = capsys.readouterr().out
    for word in (
        "search by kernels",
        "search by operations",
        "one frame, p99",
        "late",
        "peak memory",
        "encoder seanet",
        "convolution",
        "floor",
    ):
        assert word in out


@pytest.mark.slow
def test_json(quick, capsys):
    arguments = ["bench", "--model", "tiny", "--json", "--num-codebooks", "2", "--device", "cpu"]
    assert cli.main(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["codebooks"] == 2
    assert found["device"] == "cpu"
    assert found["paced"]["frames"] == 4
    assert found["kernels"]["encoder"]["kinds"]["custom_kernel"] == 2
    assert found["search_ms"] == {}  # a CPU has no kernels of ours


@pytest.mark.slow
def test_reduced_weights(quick, capsys, tiny, monkeypatch):
    seen = []
    monkeypatch.setattr(
        command.bench, "stages", lambda mimi, count: seen.append(mimi) or {"all": 1}
    )
    assert cli.main(["bench", "--model", "tiny", "--dtype", "bfloat16"]) == 0
    weight, exact = (m.codec.encoder.layers[0].conv.weight for m in (seen[0], tiny))
    assert mx.array_equal(weight, exact.astype(mx.bfloat16))


def test_kernels_are_a_gpus(tiny):
    """Whatever this machine made of the weights."""
    config, files = hub.find("tiny")
    plain = load(files, config)
    found = bench.kernel_counts(tiny, 2)
    for half in ("encoder", "decoder"):
        assert found[half]["total"] == kernel_count.count(plain, half, 2).total


def test_weights_that_a_step_reads(tiny):
    """More codebooks are more bytes to an encoder and none to a decoder."""
    codebook = tiny.config.codebook_size * tiny.config.codebook_dim * 4
    two, three = (bench.bytes_read(tiny, "encoder", k) for k in (2, 3))
    assert three - two == codebook
    assert bench.bytes_read(tiny, "decoder", 2) == bench.bytes_read(tiny, "decoder", 3)


def test_noise_is_whole_frames(tiny):
    assert bench.noise(tiny, 0.5).shape == (6 * tiny.frame_size,)
    assert bench.noise(tiny, 0.5).dtype == np.float32
