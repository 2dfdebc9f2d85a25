"""The bar of long work."""

import io

import tqdm

from mimi_mlx.cli.progress import Progress


def test_the_bar_shows_seconds_speed_and_time_left(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    real = tqdm.tqdm
    monkeypatch.setattr(
        tqdm,
        "tqdm",
        lambda **options: real(**options | {"file": terminal, "delay": 0, "mininterval": 0}),
    )
    with Progress("encode", 60.0) as bar:
        for _ in range(3):
            bar.advance(10)
    assert "encode  50%" in terminal.getvalue() and "30 of 60 s of audio, " in terminal.getvalue()
    assert "x real time, " in terminal.getvalue() and " left" in terminal.getvalue()
