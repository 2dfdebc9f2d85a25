"""What README.md and the pages in docs/ tell a reader to type, and where they send him."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").rglob("*.md"))

_FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block: its language, its title (``""`` if there is none) and its text."""

    language: str
    title: str
    text: str


def blocks(page: Path, language: str) -> list[Block]:
    found = [Block(*groups) for groups in _FENCE.findall(page.read_text())]
    return [block for block in found if block.language == language]


def commands(page: Path) -> list[list[str]]:
    """The arguments of each ``mimi-mlx`` of the page, in its blocks and in its prose.

    In prose, a command without arguments is only named.
    """
    shell = "\n".join(block.text for block in blocks(page, "sh"))
    typed = [part for line in shell.splitlines() for part in re.split(r" [|<] |&& ", line)]
    split = [shlex.split(part, comments=True) for part in typed]
    full = [words[1:] for words in split if words[:1] and words[0].endswith("mimi-mlx")]
    prose = re.findall(r"`(?:\w+=\w+ )?(mimi-mlx [^`\n]+)`", page.read_text())
    named = [shlex.split(command)[1:] for command in prose]
    return full + [arguments for arguments in named if len(arguments) > 1]


def links(page: Path) -> list[str]:
    return re.findall(r"\]\((?!http)([^)]+)\)", page.read_text())


def leads_somewhere(page: Path, link: str) -> bool:
    """Whether a link of the page is to a file that is there, and to a heading in it."""
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    return target.exists() and (not anchor or anchor in _anchors(target))


def _anchors(page: Path) -> list[str]:
    """As GitHub and MkDocs make them of headings."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]
