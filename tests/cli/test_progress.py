"""The bar of long work."""

import io

from mimi_mlx.cli import progress


def test_the_bar_shows_seconds_speed_and_time_left(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    real = progress.tqdm
    monkeypatch.setattr(
        progress,
        "tqdm",
        lambda **options: real(**options | {"file": terminal, "delay": 0, "mininterval": 0}),
    )
    with progress.Progress("encode", 60.0) as bar:
        for _ in range(3):
            bar.advance(10)
    assert "encode  50%" in terminal.getvalue() and "30 of 60 s of audio, " in terminal.getvalue()
    assert "x real time, " in terminal.getvalue() and " left" in terminal.getvalue()
