"""What the pages in docs/ say to type works, and the others' calls there give what ours give."""

import importlib.util
import itertools
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pages
import pytest
import recording
import seeded
from kyutai import to_kyutai
from pages import PAGES, ROOT
from safetensors.numpy import save_file

import mimi_mlx
from mimi_mlx import cli
from mimi_mlx.tiny import FOLDER as TINY

COMING = ROOT / "docs" / "coming-from.md"
FILE = "tokenizer-e351c8d8-checkpoint125.safetensors"
OURS = "mimi_mlx"  # the title of our side's blocks there; a page's other blocks have none
DIFFERS = ", whose codes differ"


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


def preamble() -> str:
    """What all sections of the page for those who come from another Mimi begin with."""
    return pages.blocks(COMING, "python")[0].text


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_the_blocks_of_a_page_run_in_order(small, page):
    names: dict = {}
    for block in pages.blocks(page, "python"):
        if not block.title:
            run(block.text, names)
    if page == COMING:
        assert names["audio_values"].shape == names["inputs"]["input_values"].shape


def test_our_side_gives_our_codes(tiny, small):
    ours = [block.text for block in pages.blocks(COMING, "python") if block.title == OURS]
    assert len(ours) == 6
    pcm = run(preamble(), {})["pcm"]
    for code in ours:
        names = run(code, run(preamble(), {}))
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
    """For each other Mimi's package its block, ours beside it, and whether the codes differ."""
    titled = [block for block in pages.blocks(COMING, "python") if block.title]
    return {
        x.title.removesuffix(DIFFERS).replace("-", "_"): (x.text, y.text, DIFFERS in x.title)
        for x, y in itertools.pairwise(titled)
        if x.title != OURS
    }


def test_all_five_are_there():
    assert set(sections()) == {"transformers", "moshi", "rustymimi", "moshi_mlx", "mlx_audio"}
    assert [name for name, (_, _, differ) in sections().items() if differ] == ["moshi_mlx"]


@pytest.mark.slow
@pytest.mark.parametrize("peer", sections())
def test_their_side_gives_what_ours_gives(full, monkeypatch, peer):
    if importlib.util.find_spec(peer) is None:
        pytest.skip(f"{peer} is not installed")
    monkeypatch.chdir(full)
    monkeypatch.setenv("NO_TORCH_COMPILE", "1")  # moshi's, for minutes
    theirs, ours, differ = sections()[peer]
    found, expected = (run(code, run(preamble(), {})) for code in (ours, theirs))
    codes, their_codes = np.array(found["codes"]), np.array(expected["codes"])
    assert codes.shape == their_codes.shape
    assert np.array_equal(codes, their_codes) != differ
    pcm, their_pcm = np.array(found["decoded"]), np.array(expected["decoded"])
    assert pcm.shape == their_pcm.shape
    if not differ:
        assert np.sqrt(np.mean((pcm - their_pcm) ** 2)) < 1e-4 * their_pcm.std()


COMMANDS = [command for page in PAGES for command in pages.commands(page)]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_commands_are_understood(command):
    assert cli.parse(command).command == command[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_links_and_files_exist(page):
    for link in pages.links(page):
        assert pages.leads_somewhere(page, link), link
    text = page.read_text()
    named = r"`(?:pytest (?:-s )?|python )?((?:tests|examples|mimi_mlx)/[^`* ]+)[^`]*`"
    included = r'--8<-- "([^":]+)'
    for name in re.findall(named, text) + re.findall(included, text):
        assert (ROOT / name).exists(), name


@pytest.fixture(scope="module")
def hooks():
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_command_has_its_help_in_its_section(hooks, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    text = (ROOT / "docs" / "command-line.md").read_text()
    found = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    for command in cli.COMMANDS:
        shown = hooks.on_page_markdown(found[command])
        assert f"\nusage: mimi-mlx {command} [-h]" in shown and "  --debug " in shown
        assert max(map(len, hooks.help_of(command).splitlines())) <= 80


def test_every_public_name_is_in_the_reference():
    text = "\n".join(page.read_text() for page in PAGES if page.parent.name == "api")
    shown = set(re.findall(r"^::: ([\w.]+)$", text, re.MULTILINE))
    assert {f"mimi_mlx.{name}" for name in mimi_mlx.__all__} <= shown
    assert {"mimi_mlx.audio", "mimi_mlx.codefile"} <= shown


def test_names_in_docstrings_lose_their_roles(hooks):
    html = "See :meth:<code>Mimi.encode</code>."
    assert hooks.on_page_content(html) == "See <code>Mimi.encode</code>."
