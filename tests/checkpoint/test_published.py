"""The real checkpoint against the figures that transformers publishes: run with ``-m hub``.

Source: transformers' tests/models/mimi/test_modeling_mimi.py, ``MimiIntegrationTest``.
"""

import contextlib
import io
import socket
import threading
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import soundfile
import soxr
from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache

from mimi_mlx import Mimi

pytestmark = pytest.mark.hub

# The repository of each file, and whether it is one of datasets.
WEIGHTS = ("kyutai/mimi", "model.safetensors", "model")
LIBRISPEECH = (
    "hf-internal-testing/librispeech_asr_dummy",
    "clean/validation-00000-of-00001.parquet",
    "dataset",
)
OBAMA = ("hf-internal-testing/dummy-audio-samples", "obama_first_45_secs.mp3", "dataset")


def reachable() -> bool:
    """Whether the Hub answers within 2 s, the name server included."""
    answered = threading.Event()

    def connect() -> None:
        host = urlsplit(constants.ENDPOINT)
        with contextlib.suppress(OSError):
            socket.create_connection((host.hostname, host.port or 443), timeout=2).close()
            answered.set()

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(timeout=2)
    return answered.is_set()


@pytest.fixture(scope="module", autouse=True)
def asked_for_and_there(request):
    if "hub" not in request.config.option.markexpr:
        pytest.skip("needs the real checkpoint: run with -m hub")
    files = (WEIGHTS, LIBRISPEECH, OBAMA)
    cached = (isinstance(try_to_load_from_cache(r, f, repo_type=t), str) for r, f, t in files)
    if not all(cached) and not reachable():
        pytest.skip("needs a network, or the files in the Hub's cache")


@pytest.fixture(scope="module")
def mimi() -> Mimi:
    return Mimi.from_pretrained("kyutai/mimi")


def download(file: tuple[str, str, str]) -> Path:
    repository, name, kind = file
    return Path(hf_hub_download(repository, name, repo_type=kind))


def read(file) -> np.ndarray:
    """One channel of float32 samples ``[T]`` at 24 kHz."""
    samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
    return soxr.resample(samples.mean(axis=1), rate, 24000).astype(np.float32)


def librispeech() -> np.ndarray:
    """The last clip of the validation split."""
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(download(LIBRISPEECH), columns=["audio"])
    return read(io.BytesIO(table["audio"][-1].as_py()["bytes"]))


def obama() -> np.ndarray:
    """45 s, far past the window of 10 s."""
    return read(download(OBAMA))


def rmse(a: np.ndarray, b: np.ndarray) -> float:
    """As the figures were measured: between waveforms of norm one."""
    return float(np.sqrt(np.mean((a / np.linalg.norm(a) - b / np.linalg.norm(b)) ** 2)))


@pytest.mark.parametrize(
    ("clip", "count", "codes_sum", "error"),
    [
        (librispeech, 8, 426176, 0.0018785292),
        (librispeech, 32, 1795819, 0.0012330565),
        (obama, 8, 4621433, 0.00067151),
        (obama, 32, 18446927, 0.00049521),
    ],
)
def test_published_sums_and_errors(mimi, clip, count, codes_sum, error):
    pcm = clip()
    codes = mimi.encode(pcm, num_codebooks=count)
    assert int(np.array(codes, np.int64).sum()) == pytest.approx(codes_sum, rel=3e-3)
    decoded = np.array(mimi.decode(codes, length=len(pcm)))[0, 0]
    assert rmse(pcm, decoded) == pytest.approx(error, abs=1e-5)
