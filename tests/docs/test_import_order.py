"""What the README, the pages and the examples show imports mimi_mlx before MLX: see Limits."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def programs() -> dict[str, str]:
    """Each page's blocks in a row, each block of the page that has them side by side, each file."""
    found = {str(path.relative_to(ROOT)): path.read_text() for path in ROOT.glob("examples/*.py")}
    for page in [ROOT / "README.md", *ROOT.glob("docs/*.md")]:
        blocks = BLOCK.findall(page.read_text())
        if page.stem == "coming-from":
            found |= {f"{page.name}:{i}": block for i, block in enumerate(blocks)}
        else:
            found[page.name] = "\n".join(blocks)
    return found


def imported(program: str) -> list[str]:
    """The packages in the order in which they are imported."""
    modules = []
    for node in ast.walk(ast.parse(program)):
        if isinstance(node, ast.Import):
            modules += [(node.lineno, name.name) for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules.append((node.lineno, node.module or ""))
    return [name.partition(".")[0] for _, name in sorted(modules)]


@pytest.mark.parametrize("name", programs())
def test_mimi_mlx_comes_first(name):
    packages = imported(programs()[name])
    if "mlx" in packages:
        assert "mimi_mlx" in packages[: packages.index("mlx")]
