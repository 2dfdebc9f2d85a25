"""How the package is built, released and installed, as far as that can be read."""

import importlib.util
import re
import subprocess
import sys

import pytest
import yaml
from paths import ROOT

from mimi_mlx import extras

NOTES = ROOT / ".github" / "release_notes.py"
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()


@pytest.fixture(scope="module")
def notes():
    spec = importlib.util.spec_from_file_location("release_notes", NOTES)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def workflow(name: str) -> dict:
    return yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text())


def test_a_tag_is_built_checked_and_published_by_whom_pypi_trusts():
    release = workflow("release")
    assert release[True] == {"push": {"tags": ["v*"]}}  # YAML's "on" is a truth value
    jobs = release["jobs"]
    build = "\n".join(step.get("run", "") for step in jobs["build"]["steps"])
    for command in ("release_notes.py", "python -m build", "twine check --strict", "mimi-mlx demo"):
        assert command in build
    assert jobs["pypi"]["permissions"] == {"id-token": "write"}
    assert jobs["pypi"]["steps"][-1]["uses"].startswith("pypa/gh-action-pypi-publish@")
    assert {"build", "pypi"} == set(jobs["github"]["needs"])
    assert "secrets." not in (ROOT / ".github" / "workflows" / "release.yml").read_text()


def test_the_wheel_is_built_and_tried_in_ci():
    for text in (
        (ROOT / ".github" / "workflows" / "ci.yml").read_text(),
        (ROOT / "README.md").read_text(),
    ):
        assert re.search(r"python -m build.*twine check --strict dist/\*", text, re.DOTALL)
    patterns = re.findall(r"'(\^[^']*)'", (ROOT / ".ci" / "run").read_text())
    assert len(patterns) >= 4
    for pattern in patterns:
        assert re.search(pattern, (ROOT / "README.md").read_text(), re.MULTILINE), pattern


def test_the_notes_of_a_release_are_its_part_of_the_changelog(notes):
    project = (ROOT / "pyproject.toml").read_text()
    version = re.search(r'^version = "(.*)"', project, re.MULTILINE)[1]
    _, found = notes.section(CHANGELOG, version)
    assert found.startswith("- ") and "\n## " not in found and found.strip() in CHANGELOG
    text = "# Changelog\n\n## 1.1.0, 2027-02-03\n\n- New\n\n## 1.0.0, 2027-01-02\n\n- Old\n  one\n"
    assert notes.section(text, "1.1.0") == ("2027-02-03", "- New\n")
    assert notes.section(text, "1.0.0") == ("2027-01-02", "- Old\n  one\n")
    for none in ("1.0", "1.1", "2.0.0", ".*"):
        with pytest.raises(ValueError, match="has no notes of"):
            notes.section(text, none)


def test_what_has_no_date_is_not_released(notes, tmp_path, monkeypatch):
    monkeypatch.setattr(notes, "CHANGELOG", tmp_path / "CHANGELOG.md")
    notes.CHANGELOG.write_text("## 2.0.0, unreleased\n\n- New\n\n## 1.0.0, 2027-01-02\n\n- Old\n")
    assert notes.main("v1.0.0") == "- Old\n"
    with pytest.raises(ValueError, match="a release has a date"):
        notes.main("v2.0.0")
    done = subprocess.run([sys.executable, NOTES, "v9"], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and not done.stdout


def test_one_line_says_how_an_extra_is_installed():
    assert extras.install("plot") == "pip install '.[plot]'"
    own = ROOT / "mimi_mlx" / "extras.py"
    for file in sorted((ROOT / "mimi_mlx").rglob("*.py")):
        found = re.search(r"pip install [^\n]*(mimi.?mlx|\.\[)", file.read_text())
        assert file == own or not found, (file, found)
    for folder, pattern in ((".", "*.md"), ("docs", "**/*.md"), ("examples", "*.py")):
        for file in (ROOT / folder).glob(pattern):
            assert not re.search(r"pip install (-\S+ )*['\"]?mimi.?mlx", file.read_text()), file
    declared = (ROOT / "pyproject.toml").read_text()
    sources = "".join(file.read_text() for file in (ROOT / "mimi_mlx").rglob("*.py"))
    named = set(re.findall(r"extras\.install\(['\"](\w+)", sources))
    assert named == {"aec", "mic", "plot", "metrics", "serve"}
    for file in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")):
        for extra in re.findall(r"['\"]\.\[([\w,]+)\]", file.read_text()):
            named |= set(extra.split(","))
    assert "cuda" in named
    assert all(re.search(rf"^{extra} = \[", declared, re.MULTILINE) for extra in named)
