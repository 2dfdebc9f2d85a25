"""What the pages in docs/ say to type works, and the others' calls there give what ours give."""

import importlib.util
import itertools
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import recording
import seeded
from kyutai import to_kyutai
from safetensors.numpy import save_file

from mimi_mlx import cli
from mimi_mlx.tiny import FOLDER as TINY

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
COMING = ROOT / "docs" / "coming-from.md"
FILE = "tokenizer-e351c8d8-checkpoint125.safetensors"
OPENING = re.compile(r"^```python( theirs=(?P<peer>\w+)(?P<differs> differs)?)?$", re.MULTILINE)


def blocks(text: str) -> list[tuple[re.Match, str]]:
    """Each block of Python, and what its fence says: whose it is, and whether its codes differ."""
    return [(m, text[m.end() :].partition("\n```")[0]) for m in OPENING.finditer(text)]


def run(code: str, names: dict) -> dict:
    exec(code, names)
    return names


def place(folder: Path, config: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
    """What the pages name: ``kyutai/mimi`` and Kyutai's file, of any size; and the speech."""
    (folder / "kyutai" / "mimi").mkdir(parents=True)
    save_file(tensors, folder / "kyutai" / "mimi" / "model.safetensors", {"format": "pt"})
    save_file(to_kyutai(tensors, config["num_attention_heads"]), folder / FILE)
    for where in folder, folder / "kyutai" / "mimi":
        (where / "config.json").write_text(json.dumps(config))
    (folder / "tests").symlink_to(ROOT / "tests")


@pytest.fixture
def small(tiny_tensors, tmp_path, monkeypatch):
    place(tmp_path, json.loads((TINY / "config.json").read_text()), tiny_tensors)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("page", [p for p in PAGES if p != COMING], ids=lambda path: path.stem)
def test_the_blocks_of_a_page_run_in_order(small, page):
    names: dict = {}
    for _, code in blocks(page.read_text()):
        run(code, names)


def test_our_side_gives_our_codes(tiny, small):
    """In all sections of the page for those who come from another Mimi."""
    (_, preamble), *others = blocks(COMING.read_text())
    ours = [code for match, code in others if not match["peer"]]
    assert len(ours) == 6
    pcm = run(preamble, {})["pcm"]
    for code in ours:
        names = run(code, run(preamble, {}))
        found = np.array(names["codes"])
        np.testing.assert_array_equal(found, tiny.encode(pcm, num_codebooks=found.shape[1]))
        np.testing.assert_allclose(names["decoded"], tiny.decode(found), atol=1e-5)


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """The sizes of kyutai/mimi, which are all that most others know."""
    folder = tmp_path_factory.mktemp("full")
    recorded = recording.load("full")
    drawn = seeded.tensors(seeded.FULL, recorded.about["seed"], seeded.SCALES)
    place(folder, seeded.FULL, drawn)
    yield folder
    shutil.rmtree(folder)  # 770 MB


def sections() -> dict[str, tuple[str, str, bool]]:
    """For each other Mimi its block, ours beside it, and whether the codes differ."""
    _, *found = blocks(COMING.read_text())
    pairs = itertools.pairwise(found)
    return {m["peer"]: (x, y, bool(m["differs"])) for (m, x), (_, y) in pairs if m["peer"]}


@pytest.mark.slow
@pytest.mark.parametrize("peer", sections())
def test_their_side_gives_what_ours_gives(full, monkeypatch, peer):
    if importlib.util.find_spec(peer) is None:
        pytest.skip(f"{peer} is not installed")
    monkeypatch.chdir(full)
    monkeypatch.setenv("NO_TORCH_COMPILE", "1")  # moshi's, for minutes
    _, preamble = blocks(COMING.read_text())[0]
    theirs, ours, differ = sections()[peer]
    found, expected = (run(code, run(preamble, {})) for code in (ours, theirs))
    codes, their_codes = np.array(found["codes"]), np.array(expected["codes"])
    assert codes.shape == their_codes.shape
    assert np.array_equal(codes, their_codes) != differ
    pcm, their_pcm = np.array(found["decoded"]), np.array(expected["decoded"])
    assert pcm.shape == their_pcm.shape
    if not differ:
        assert np.sqrt(np.mean((pcm - their_pcm) ** 2)) < 1e-4 * their_pcm.std()


COMMANDS = [
    shlex.split(line)[1:]
    for page in PAGES
    for line in re.findall(r"`(mimi-mlx [^`]+)`", page.read_text())
]


@pytest.mark.parametrize("command", [c for c in COMMANDS if len(c) > 1], ids=" ".join)
def test_commands_are_understood(command):
    assert cli.parse(command).command == command[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_links_and_tests_exist(page):
    text = page.read_text()
    for link in re.findall(r"\]\((?!http|#)([^)#]+)", text):
        assert (page.parent / link).exists(), link
    for name in re.findall(r"`pytest (\S+)`", text):
        assert (ROOT / name).exists(), name
