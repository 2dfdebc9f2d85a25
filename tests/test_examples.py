"""The examples run as they stand, and are short."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("two_streams", r"first call: 5.68 s, .* off the whole clip"),
        ("batch_server", r"64 calls on 16 lines: .*; each as if alone"),
    ],
)
def test_an_example_runs_as_it_stands(name, says, tmp_path):
    script = EXAMPLES / f"{name}.py"
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert re.search(says, run.stdout), run.stdout
    assert not list(tmp_path.iterdir())
    assert len(script.read_text().splitlines()) < 120
