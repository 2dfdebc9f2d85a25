"""What a run shows."""

import contextlib
import fcntl
import io
import os
import pty
import struct
import termios
from types import SimpleNamespace

import pytest

from mimi_mlx.live.devices import hints
from mimi_mlx.live.network.jitter_buffer import LinkStats
from mimi_mlx.live.screen import Screen, live_line, summary
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


@pytest.fixture
def busy() -> LiveStats:
    """Of a run in which everything happens."""
    stats = LiveStats(0.08, 1.1)
    stats.heard, stats.said = -20.0, -100.0
    for times in (stats.encode, stats.decode):
        times.add(0.004)
    stats.delayed(0.131)
    return stats


def test_the_live_line_has_whole_parts_the_most_important_first(busy):
    levels = "in ▕████  ▏ -20 out ▕      ▏-100"
    whole = (
        f"{levels} | ear 131 ms | late 0 | 1.1 kbps | drop 0 ms | enc 4.0/4.0/4.0 ms | "
        "dec 4.0/4.0/4.0 ms | queue 43 ms | over 0"
    )
    assert live_line(busy, 500) == whole
    assert live_line(busy, 80) == f"{levels} | ear 131 ms | late 0 | 1.1 kbps | drop 0 ms"
    assert live_line(busy, 60) == f"{levels} | ear 131 ms | late 0"
    for columns in range(len(whole)):
        line = live_line(busy, columns)
        assert len(line) <= columns and whole.startswith(line)
        assert whole[len(line) :].startswith(" | ") or not line


def test_what_is_left_of_the_echo_is_among_the_most_important(busy):
    busy.echo = SimpleNamespace(echo_db=-37.8, delay=0.009)
    busy.cancel.add(0.001)
    levels = "in ▕████  ▏ -20 out ▕      ▏-100"
    assert live_line(busy, 60) == f"{levels} | echo -38 dB | ear 131 ms"
    said = "\n".join(summary(busy))
    assert "echo canceller: 1.0/1.0/1.0 ms" in said and "echo: -38 dB" in said and "echo 9" in said


@pytest.mark.parametrize("columns", [60, 80])
def test_it_fits_the_terminal_that_it_is_on(busy, columns, monkeypatch):
    """That is not always the one of stdout, nor what the environment says."""
    monkeypatch.setenv("COLUMNS", "300")
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with open(slave, "w") as terminal:
        Screen(terminal, lambda: 0.0).show(busy)
        drawn = os.read(master, 4096).decode()
    os.close(master)
    assert drawn == "\r" + live_line(busy, columns - 1)


@pytest.mark.parametrize("columns", [60, 80])
def test_what_is_said_breaks_between_words(busy, columns, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(Screen, "_columns", lambda self: columns)
    said = [hints.unheard(65535), hints.zeros(), *summary(busy)]
    for line in said:
        Screen(terminal, lambda: 0.0).say(line)
    lines = terminal.getvalue().splitlines()
    assert max(map(len, lines)) < columns and " ".join(lines).split() == " ".join(said).split()


def test_a_terminal_that_has_gone_ends_nothing(busy):
    master, slave = pty.openpty()
    with contextlib.suppress(OSError), open(slave, "w") as terminal:  # closing it writes too
        screen = Screen(terminal, lambda: 0.0)
        os.close(master)
        screen.show(busy)
        screen.say("something happened")
        screen.close()
        ended = True
    assert ended


def test_nothing_that_is_shown_is_negative(busy):
    """What devices say of their delays may be more than what it all takes."""
    busy.speaker = SimpleNamespace(
        opened=SimpleNamespace(delay=0.2), late=0, cut=0.0, underruns=0, waiting=0.0
    )
    assert busy.parts["queues"] == busy.queue == 0
    assert "-" not in "".join(summary(busy))
    none = LiveStats(0.08, 1.1)
    none.delayed(-0.01)
    assert none.mouth_to_ear_now == 0


def test_who_hears_nobody_sees_it():
    stats = LiveStats(0.08, 1.1)
    stats.link, stats.alone = LinkStats(), True
    assert live_line(stats, 50) == "nobody is heard | queue 0 ms | late 0 | 0 kbps"
