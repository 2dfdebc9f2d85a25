"""A service in a process of its own, and all kinds of clients; times are not looked at."""

import load
import pytest


@pytest.mark.slow
def test_everybody_gets_what_is_his_and_memory_stays():
    """load.py itself holds every answer against what its session would get alone."""
    found = load.main(["--sessions", "25", "--seconds", "4", "--short", "500"])
    assert found["frames"] == 25 * 50
    assert found["refused"] == 10
    first, *_, last = found["memory_mb"]
    assert last - first < 20
