"""What a run shows."""

import io

from mimi_mlx.live.screen import Screen, live_line
from mimi_mlx.live.stats import LiveStats


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_screen_draws_over_its_line_only_on_a_terminal():
    now = [0.0]
    for file, live in ((Terminal(), True), (io.StringIO(), False)):
        screen = Screen(file, lambda: now[0])
        stats = LiveStats(0.08, 1.1)
        for step in range(5):
            now[0] += 0.05
            screen.show(stats)
            if step == 3:
                screen.say("something happened")
        screen.close()
        lines = file.getvalue().split("\n")
        assert any(line.endswith("something happened") for line in lines)
        assert ("\r" in file.getvalue()) == live
        assert ("kbps" in file.getvalue()) == live


def test_the_live_line_says_it_all():
    stats = LiveStats(0.08, 1.1)
    stats.heard, stats.said = -20.0, -100.0
    for times in (stats.encode, stats.decode):
        times.add(0.004)
    stats.delayed(0.131)
    line = live_line(stats)
    assert "▕████  ▏ -20" in line and "▕      ▏-100" in line
    assert "enc 4.0/4.0/4.0 dec 4.0/4.0/4.0 queue 43 ear 131 ms | 1.1 kbps" in line
    assert "late 0 drop 0 ms over 0" in line
