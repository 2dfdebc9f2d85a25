"""Type checkers see what the README says to type, and what other pages say can be given."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

README = "\n".join(
    re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
)

CALLS = """
import mlx.core as mx
import numpy as np
from mimi_mlx import Mimi, MimiFeatureExtractor, MimiModel, MimiWorker, audio

mimi = Mimi.from_pretrained("tiny", device="cpu")
pcm = np.zeros(100)
codes = mimi.encode([0.0, 1.0], np.int64(8).item(), lengths=np.array([1]))
mimi.encode(pcm, lengths=mx.array([5]))
audio.write("x.wav", mimi.decode(codes, length=np.int64(5)), 24000)
mimi.decode(codes, length=[5])
encoder, decoder = mimi.encoder_stream(2), mimi.decoder_stream()
for mask in (np.array([True, False]), [True, False]):
    encoder.push(pcm, mask)
    encoder.reset(mask)
encoder.reset(1)
decoder.push(codes, mask=mx.array([True]))
decoder.reset(rows=mx.array([0]))
worker = MimiWorker()
stream = worker.submit(mimi.encoder_stream, num_codebooks=8).result()
count: int = stream.num_codebooks
given: mx.array = worker.submit(stream.push, pcm).result()
model = MimiModel(mimi)
out: mx.array = model.encode(pcm).audio_codes
said: mx.array = model.decode(out, decoder_cache=None).audio_values
both: mx.array = model(pcm, return_dict=True).audio_values

def either(is_dict: bool | None) -> None:
    model.encode(pcm, return_dict=is_dict)

(audio_values,) = model.decode(codes, return_dict=False)
"""

WRONG = """
from mimi_mlx import Mimi, MimiModel, MimiWorker

mimi = Mimi.from_pretrained("tiny", device="cuda")
MimiWorker().submit(mimi.encoder_stream, rows=3)
MimiWorker().submit(mimi.encoder_stream, 2).result().nothing
MimiModel(mimi).encode([0.0]).audio_values
"""


def checked(checker: list[str], folder: Path) -> set[tuple[str, int]]:
    """The files and the lines that a type checker complains of."""
    for name, text in {"readme": README, "calls": CALLS, "wrong": WRONG}.items():
        (folder / f"{name}.py").write_text(text)
    (folder / "mimi_mlx").symlink_to(ROOT / "mimi_mlx")
    files = ["readme.py", "calls.py", "wrong.py"]
    done = subprocess.run([*checker, *files], cwd=folder, capture_output=True, text=True)
    lines = re.findall(r"(\w+)\.py:(\d+)(?::\d+)?(?: -)?:? error", done.stdout)
    assert lines, done.stdout + done.stderr
    return {(name, int(line)) for name, line in lines}


@pytest.mark.slow
def test_mypy(tmp_path):
    pytest.importorskip("mypy")
    mypy = [sys.executable, "-m", "mypy", "--ignore-missing-imports"]
    assert checked(mypy, tmp_path) == {("wrong", line) for line in (4, 5, 6, 7)}


@pytest.mark.slow
def test_pyright(tmp_path):
    if not shutil.which("pyright"):
        pytest.skip("pyright is not installed")
    pyright = ["pyright", "--pythonpath", sys.executable]
    assert checked(pyright, tmp_path) == {("wrong", line) for line in (4, 5, 6, 7)}
