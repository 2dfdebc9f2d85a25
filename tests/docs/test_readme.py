"""What the README says to type works."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from mimi_mlx import cli

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_python(monkeypatch):
    """The blocks run one after the other, as a reader would paste them."""
    monkeypatch.chdir(ROOT)
    names: dict = {}
    for block in blocks("python"):
        exec(block, names)
    assert names["decoded"].shape == (1, 1, len(names["pcm"]))
    assert names["audio_values"].shape == names["inputs"]["input_values"].shape
    assert np.isfinite(np.array(names["samples"])).all()


COMMANDS = [
    shlex.split(line, comments=True)[1:]
    for block in blocks("sh")
    for line in block.splitlines()
    if line.startswith("mimi-mlx ")
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_commands_are_understood(command):
    assert cli.parse(command).command == command[0]


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http|#)([^)]+)\)", README))
def test_links_lead_somewhere(link):
    path, _, anchor = link.partition("#")
    assert (ROOT / path).exists()
    headings = re.findall(r"^#+ (.*)$", (ROOT / path).read_text(), re.MULTILINE) if anchor else []
    assert not anchor or anchor in [title.lower().replace(" ", "-") for title in headings]
