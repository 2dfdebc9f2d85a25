"""What MLX compiled and keeps in a folder for temporary files: no danger, whatever is there."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from mimi_mlx.model.ops import kernel_cache

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere that folder is each user's own"),
    pytest.mark.skipif(mx.is_available(mx.gpu), reason="a GPU's kernels are not kept there"),
    pytest.mark.skipif(not shutil.which("g++"), reason="without a compiler nothing is kept"),
]

FRAMES = """
import sys
import warnings
import numpy as np
from mimi_mlx import Mimi

mimi = Mimi.from_pretrained("tiny")
pcm = np.random.default_rng(0).uniform(-0.3, 0.3, 3 * 1920).astype(np.float32)
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    for _ in range(2):
        stream = mimi.encoder_stream()
        codes = [np.array(stream.push(frame)) for frame in pcm.reshape(3, -1)]
assert np.array_equal(np.concatenate(codes, -1), mimi.encode(pcm))
print(*(str(warning.message) for warning in said), sep="\\n")
"""


def warnings_of_frames(folder: Path) -> list[str]:
    """What is said while some frames are encoded, correctly, with that folder for MLX's."""
    done = subprocess.run(
        [sys.executable, "-c", FRAMES],
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1] if done.stdout.strip() else []


@pytest.fixture
def folder(tiny, tmp_path) -> Path:
    """A folder for temporary files in which MLX has compiled before."""
    tiny.encoder_stream().push(np.zeros(1920, np.float32))
    there = Path(tempfile.gettempdir()) / "mlx"
    shutil.copytree(there, tmp_path / "mlx")
    assert list(tmp_path.rglob("*.so"))
    return tmp_path


def test_what_is_ones_own_is_used(folder):
    before = {path: path.stat().st_ino for path in folder.rglob("*")}
    assert warnings_of_frames(folder) == []
    assert {path: path.stat().st_ino for path in before} == before


SHUT = [pytest.param(path, marks=pytest.mark.slow) for path in ("mlx", "mlx/*/cpu")]


@pytest.mark.parametrize("open_to", ["mlx/*/cpu/*.so", ".", *SHUT])
def test_what_others_may_have_put_there_is_not_run(folder, open_to):
    ran = folder / "ran"
    source = f'#include <stdio.h>\n__attribute__((constructor)) void f() {{ fopen("{ran}", "w"); }}'
    (folder / "evil.c").write_text(source)
    evil = folder / "evil.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", evil, folder / "evil.c"], check=True)
    for library in (folder / "mlx").rglob("*.so"):
        shutil.copy(evil, library)
    for path in folder.glob(open_to) if open_to != "." else [folder]:
        path.chmod(0o777)
    (said,) = warnings_of_frames(folder)
    assert "others may write to" in said and "steps run uncompiled" in said
    assert not ran.exists()


def test_a_folder_of_another_users_or_behind_a_link_is_not_used(folder, monkeypatch):
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere/mlx").symlink_to(folder / "mlx")
    monkeypatch.setenv("TMPDIR", str(folder / "elsewhere"))
    assert "others may write to" in kernel_cache.problem()
    monkeypatch.setenv("TMPDIR", str(folder))
    assert kernel_cache.problem() is None
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert "others may write to" in kernel_cache.problem()


def test_a_new_folder_is_this_users_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    before = os.umask(0)
    try:
        assert kernel_cache.problem() is None
    finally:
        os.umask(before)
    assert (tmp_path / "mlx").stat().st_mode & 0o777 == 0o700


def test_libraries_that_a_kill_cut_off_are_compiled_again(folder):
    cut = {path: path.stat().st_size for path in sorted(folder.rglob("*.so"))[:3]}
    for path, size in zip(cut, (0, 40, 3000), strict=True):
        os.truncate(path, size)
        os.utime(path, (1, 1))
    assert warnings_of_frames(folder) == []
    assert all(path.stat().st_size == size for path, size in cut.items() if path.exists())


def test_a_library_that_another_process_is_writing_is_waited_for(folder, monkeypatch):
    library = next(folder.rglob("*.so"))
    data = library.read_bytes()
    library.write_bytes(data[:3000])
    writer = threading.Timer(0.2, library.write_bytes, [data])
    writer.start()
    monkeypatch.setenv("TMPDIR", str(folder))
    assert kernel_cache.problem() is None and library.read_bytes() == data
    writer.join()


@pytest.mark.parametrize("trouble", ["missing", "wrong"])
def test_where_nothing_can_be_compiled_steps_run_nevertheless_and_say_so_once(folder, trouble):
    if trouble == "missing":
        (said,) = warnings_of_frames(folder / "nothing")
        assert "No such file or directory" in said
    else:
        for library in folder.rglob("*.so"):
            with library.open("r+b") as file:  # another kind of machine's
                file.seek(4)
                file.write(b"\x01")
        (said,) = warnings_of_frames(folder)
        assert "MLX cannot compile here" in said
    assert said.endswith("steps run uncompiled and slower")


def test_what_nobody_else_can_enter_is_ones_own(folder):
    """With a umask of 002 MLX's own folders inside are open to a group, which cannot get there."""
    (folder / "mlx").chmod(0o700)
    for path in (folder / "mlx").rglob("*"):
        path.chmod(0o777)
    assert warnings_of_frames(folder) == []
