"""A step at full size stays within its budget of kernels."""

import kernels


def test_budget(capsys):
    assert kernels.main() == 0, capsys.readouterr().out


def test_a_kernel_more_is_seen(monkeypatch):
    half, codebooks, budget = kernels.BUDGET[0]
    monkeypatch.setattr(kernels, "BUDGET", [(half, codebooks, budget - 1)])
    assert kernels.main() == 1
