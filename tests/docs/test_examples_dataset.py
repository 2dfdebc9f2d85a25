"""examples/tokenize_dataset.py: a data set of sound becomes one of codes, and sound again."""

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mimi_mlx import audio, codefile

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def datasets(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    return pytest.importorskip("datasets")


@pytest.fixture
def sounds(tmp_path, speech) -> dict[str, np.ndarray]:
    """A folder of sound files, and the samples of each."""
    (tmp_path / "sounds").mkdir()
    clips = {f"{i}.wav": speech("kathleen-1")[:length] for i, length in enumerate((4000, 1, 9601))}
    for name, clip in clips.items():
        audio.write(tmp_path / "sounds" / name, clip, 24000)
    return {name: audio.read(tmp_path / "sounds" / name, 24000) for name in clips}


def test_there_and_back(datasets, sounds, tmp_path, tiny):
    def run(*args: str) -> None:
        command = [sys.executable, EXAMPLES / "tokenize_dataset.py", *args, "--model", "tiny"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    run("sounds", "codes.parquet")
    made = datasets.Dataset.from_parquet(str(tmp_path / "codes.parquet"))
    assert made.features["codes"] == datasets.Sequence(datasets.Sequence(datasets.Value("uint16")))
    run("codes.parquet", "back", "--back")
    for i, (row, pcm) in enumerate(zip(made, sounds.values(), strict=True)):
        codes = np.array(tiny.encode(pcm, num_codebooks=8))
        np.testing.assert_array_equal(row["codes"], codes[0])
        assert row["samples"] == len(pcm) and row["fingerprint"] == tiny.fingerprint
        audio.write(tmp_path / "alone.wav", tiny.decode(codes, length=len(pcm)), 24000)
        same = (tmp_path / "alone.wav").read_bytes()
        assert (tmp_path / f"back/{i}.wav").read_bytes() == same


def test_other_columns_stay_and_sound_may_be_inside(datasets, sounds, tmp_path, tiny, monkeypatch):
    """As data sets of the Hub have it: bytes of any rate, of several channels."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    example = importlib.import_module("tokenize_dataset")
    soundfile.write(tmp_path / "two.flac", np.zeros((8000, 2)), 8000)
    rows = {
        "text": ["one"],
        "audio": [{"bytes": (tmp_path / "two.flac").read_bytes(), "path": None}],
    }
    features = datasets.Features(text=datasets.Value("string"), **example.SOUND)
    made = example.tokenize(datasets.Dataset.from_dict(rows, features), "tiny", num_codebooks=4)
    assert made.column_names == ["text", "codes", "samples", "fingerprint"]
    assert made[0]["text"] == "one" and made[0]["samples"] == 24000
    header = codefile.Header.for_model(tiny, 4)
    assert np.array(made[0]["codes"]).shape == (header.num_codebooks, 13)
