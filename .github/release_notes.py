"""Print what CHANGELOG.md says of a version, for its release: python release_notes.py v0.1.0"""

import re
import sys
from pathlib import Path

CHANGELOG = Path(__file__).parents[1] / "CHANGELOG.md"


def section(text: str, version: str) -> tuple[str, str]:
    """The date of a version and what is said below its heading, ``## VERSION, DATE``.

    Raises:
        ValueError: There is no such heading, or nothing below it.
    """
    heading = rf"^## {re.escape(version)}, (.+)\n((?:(?!## ).*\n?)*)"
    found = re.search(heading, text, re.MULTILINE)
    if not found or not found[2].strip():
        raise ValueError(f"CHANGELOG.md has no notes of {version}; add '## {version}, DATE'.")
    return found[1], found[2].strip() + "\n"


def main(tag: str) -> str:
    """The notes of a tag.

    Raises:
        ValueError: There are none, or the version is called unreleased.
    """
    version = tag.removeprefix("v")
    date, notes = section(CHANGELOG.read_text(), version)
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", date):
        raise ValueError(f"CHANGELOG.md calls {version} {date!r}; a release has a date. Write it.")
    return notes


if __name__ == "__main__":
    try:
        print(main(sys.argv[1]), end="")
    except ValueError as error:
        sys.exit(str(error))
