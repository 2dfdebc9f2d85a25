"""What the README says to type works."""

import re

import numpy as np
import pages
import pytest
import soundfile
from pages import README, ROOT

from mimi_mlx import cli


def test_python(tmp_path, monkeypatch):
    """The blocks run one after the other, as a reader would paste them."""
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in pages.blocks(README, "python"):
        exec(block.text, names)
    pcm = names["pcm"]
    assert names["decoded"].shape == (1, 1, len(pcm))
    assert names["clip"].samples == len(pcm) and names["clip"].damage is None
    np.testing.assert_array_equal(names["clip"].codes, names["mimi"].encode(pcm, 8))
    assert np.isfinite(np.array(names["samples"])).all()
    assert soundfile.info("decoded.wav").frames == len(pcm)


@pytest.mark.parametrize("command", pages.commands(README), ids=" ".join)
def test_commands_are_understood(command):
    assert cli.parse(command).command == command[0]


@pytest.mark.parametrize("link", pages.links(README))
def test_links_lead_somewhere(link):
    assert pages.leads_somewhere(README, link)


def test_what_a_clean_machine_runs_is_there():
    """.ci/run takes its commands from the README, word for word."""
    patterns = re.findall(r"'(\^[^']+)'", (ROOT / ".ci" / "run").read_text())
    assert len(patterns) >= 3
    for pattern in patterns:
        assert re.search(pattern, README.read_text(), re.MULTILINE), pattern
