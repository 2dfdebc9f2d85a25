"""The bar of long work."""

import io

import tqdm

from mimi_mlx.cli import progress
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


def test_a_shard_without_a_terminal_says_a_line_now_and_then(monkeypatch, capsys):
    for seconds, lines in ((0.0, 2), (60.0, 0)):
        monkeypatch.setattr(progress, "_PATIENCE", seconds)
        progress.name_shard("2/3")
        with Progress("encode", 60.0) as bar:
            bar.advance(10)
            bar.advance(20)
        err = capsys.readouterr().err
        assert err.count("\n") == err.count("[2/3] ") == lines
        assert "30 of 60 s of audio, " in err or not lines
    progress.name_shard("")
