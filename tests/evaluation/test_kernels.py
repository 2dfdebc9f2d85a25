"""A step at full size stays within its budget of kernels."""

import kernels
import pytest

from mimi_mlx import MimiConfig
from mimi_mlx.evaluation import kernel_count
from mimi_mlx.model.codec import Codec
from mimi_mlx.model.ops import search


def test_budget(capsys):
    assert kernels.main() == 0, capsys.readouterr().out


@pytest.mark.parametrize("less", [(1, 0), (0, 1)], ids=["kernel", "copy"])
def test_one_more_is_seen(monkeypatch, less):
    half, codebooks, *most = kernels.BUDGET[0]
    tight = [limit - x for limit, x in zip(most, less, strict=True)]
    monkeypatch.setattr(kernels, "BUDGET", [(half, codebooks, *tight)])
    assert kernels.main() == 1


@pytest.mark.parametrize("codebooks", [1, 2, 3, 32])
def test_a_level_of_the_search_is_one_kernel(codebooks):
    kinds = kernel_count.count(Codec(MimiConfig()), "encoder", codebooks).kinds
    assert kinds["CustomKernel"] == max(2, codebooks) and "ArgReduce" not in kinds


def test_a_level_is_four_operations_without_kernels(monkeypatch):
    codec = Codec(MimiConfig())
    with_kernels = kernel_count.count(codec, "encoder", 32)
    monkeypatch.setenv(search.SWITCH, "0")
    without = kernel_count.count(codec, "encoder", 32)
    assert without.kinds["ArgReduce"] == 32 and "CustomKernel" not in without.kinds
    # The search, and the product before it, was 127 kernels; it is 33.
    assert without.total - with_kernels.total == 127 - 33
