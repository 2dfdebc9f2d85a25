"""Files that are whole or not there at all, whoever else is at work in the same folder."""

import fcntl
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from paths import TINY

from mimi_mlx import atomic, files
from mimi_mlx.checkpoint import convert

UNFINISHED = ".0123456789abcdef.mimi_mlx"


@pytest.fixture(params=["unnamed", "named"])
def kind(request, monkeypatch) -> str:
    """New files have no name, as on Linux, or a secret one, as elsewhere."""
    if request.param == "named":
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    elif not hasattr(os, "O_TMPFILE"):
        pytest.skip("this system has no files without a name")
    return request.param


def test_a_file_is_there_when_it_is_whole(kind, tmp_path):
    path = tmp_path / "a.mimi"
    with atomic.replacing(path) as file:
        file.write(b"new")
        assert not path.exists()
        assert len(list(tmp_path.iterdir())) == (kind == "named")
    assert path.read_bytes() == b"new" and list(tmp_path.iterdir()) == [path]
    with pytest.raises(RuntimeError), atomic.replacing(path) as file:
        file.write(b"newer")
        raise RuntimeError
    assert path.read_bytes() == b"new" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_a_new_file_has_the_umasks_mode_and_another_one_that_of_the_old(kind, tmp_path, umask):
    before = os.umask(umask)
    try:
        for mode in (0o666 & ~umask, 0o604):
            with atomic.replacing(tmp_path / "a") as file:
                file.write(b"x")
            assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == mode
            (tmp_path / "a").chmod(0o604)
    finally:
        os.umask(before)


def test_a_link_to_a_file_stays_a_link(kind, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there/a")
    with atomic.replacing(tmp_path / "link") as file:
        file.write(b"x")
    assert (tmp_path / "there/a").read_bytes() == b"x" and (tmp_path / "link").is_symlink()


def test_what_is_no_file_is_not_replaced(kind, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path(os.devnull), tmp_path):
        with pytest.raises(ValueError, match="no regular file"), atomic.replacing(path):
            pass
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_planted_link_is_not_followed(tmp_path, monkeypatch):
    """Even if the name could be guessed."""
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    monkeypatch.setattr(atomic.secrets, "token_hex", lambda n: UNFINISHED[1:17])
    (tmp_path / "victim").write_text("mine")
    (tmp_path / UNFINISHED).symlink_to("victim")
    with pytest.raises(FileExistsError), atomic.replacing(tmp_path / "a"):
        pass
    assert (tmp_path / "victim").read_text() == "mine" and not (tmp_path / "a").exists()


def test_names_are_secret(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    names = set()
    for _ in range(3):
        with atomic.replacing(tmp_path / "a"):
            names |= {path.name for path in tmp_path.iterdir()} - {"a"}
    assert len(names) == 3 and not any(str(os.getpid()) in name for name in names)


WRITER = """
import os, sys
from mimi_mlx import atomic
if sys.argv[2] == "named" and hasattr(os, "O_TMPFILE"):
    del os.O_TMPFILE
letter = sys.argv[3].encode()
for size in range(1, 200):
    with atomic.replacing(sys.argv[1]) as file:
        for _ in range(size):
            file.write(500 * letter)
        file.write(b".")
"""


def test_of_several_writers_there_is_always_one_whole_file(kind, tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b".")
    code = [sys.executable, "-c", WRITER, path, kind]
    writers = [subprocess.Popen([*code, letter]) for letter in "xy"]
    own = [threading.Thread(target=write_some, args=(path, letter)) for letter in (b"u", b"v")]
    for thread in own:
        thread.start()
    seen = set()
    while any(writer.poll() is None for writer in writers):
        data = path.read_bytes()
        assert data.endswith(b".") and len(set(data)) <= 2, "the file of two writers, or a part"
        seen |= set(data)
    for thread in own:
        thread.join()
    assert [writer.returncode for writer in writers] == [0, 0]
    assert set(b"xy") <= seen and list(tmp_path.iterdir()) == [path]


def write_some(path: Path, letter: bytes) -> None:
    for size in range(1, 100):
        with atomic.replacing(path) as file:
            file.write(500 * size * letter + b".")


KILLED = """
import os, signal, sys
from mimi_mlx import atomic
if sys.argv[2] == "named" and hasattr(os, "O_TMPFILE"):
    del os.O_TMPFILE
with atomic.replacing(sys.argv[1]) as file:
    file.write(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_leaves_nothing_for_good(kind, tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "a", kind])
    assert done.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == (kind == "named")
    files.check_output(tmp_path / "b")
    assert not list(tmp_path.iterdir())


def test_only_what_is_unfinished_and_nobodys_work_is_removed(tmp_path):
    others = {
        *(".a.12345.mimi", ".manifest.12345.jsonl", ".a.mimi_mlx", ".0123.mimi_mlx"),
        *(UNFINISHED[1:], f"{UNFINISHED}.old", ".0123456789ABCDEF.mimi_mlx"),
    }
    for name in others:
        (tmp_path / name).write_text("mine")
    folder = tmp_path / UNFINISHED.replace("0123", "1111")
    folder.mkdir()
    (folder / "config.json").touch()
    (folder / "diary.txt").touch()
    locked = tmp_path / UNFINISHED.replace("0123", "2222")
    locked.touch()
    link = tmp_path / UNFINISHED.replace("0123", "3333")
    link.symlink_to(tmp_path / UNFINISHED[1:])
    (tmp_path / "sub").mkdir()
    for below in (tmp_path, tmp_path / "sub"):
        (below / UNFINISHED).write_text("half")
    with locked.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        atomic.remove_unfinished(tmp_path, holds={"config.json"})
        assert (tmp_path / "sub" / UNFINISHED).exists()
        atomic.remove_unfinished(tmp_path, recursive=True, holds={"config.json"})
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {*others, folder.name, locked.name, link.name, "sub"}
    assert not list((tmp_path / "sub").iterdir()) and len(list(folder.iterdir())) == 2


def test_what_others_may_be_writing_is_removed_when_it_is_old(tmp_path):
    """Of other machines, whose locks may not be seen here."""
    for name, age in ((UNFINISHED, 10), (UNFINISHED.replace("0123", "1111"), 1000)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    atomic.remove_unfinished(tmp_path, idle=100.0)
    assert [path.name for path in tmp_path.iterdir()] == [UNFINISHED]


def test_where_there_are_no_locks_files_are_written_nevertheless(kind, tmp_path, monkeypatch):
    def none(*args: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", none)
    with atomic.replacing(tmp_path / "a") as file:
        file.write(b"new")
    (tmp_path / UNFINISHED).touch()
    atomic.remove_unfinished(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"a", UNFINISHED}


CONVERTED = """
import os, signal, sys
from pathlib import Path
from mimi_mlx import atomic
from mimi_mlx.checkpoint import convert, precision

exchange = atomic._exchange
def killed(new, old):
    if sys.argv[3] == "after":
        exchange(new, old)
    os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[3] != "never":
    atomic._exchange = killed
wanted = convert.Wanted(sys.argv[1], precision.Recipe("float16"))
convert.convert(wanted, Path(sys.argv[2]), force=True)
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_while_a_folder_is_replaced_leaves_one_whole_folder(tmp_path, moment):
    folder = tmp_path / "model"
    convert.convert(convert.Wanted(str(TINY)), folder)
    old = (folder / "model.safetensors").stat().st_size
    code = [sys.executable, "-c", CONVERTED, TINY, folder]
    assert subprocess.run([*code, moment]).returncode == -signal.SIGKILL
    size = (folder / "model.safetensors").stat().st_size
    assert (size < old) == (moment == "after") and len(list(tmp_path.iterdir())) == 2
    subprocess.run([*code, "never"], check=True)
    assert (folder / "model.safetensors").stat().st_size < old
    assert list(tmp_path.iterdir()) == [folder] and len(list(folder.iterdir())) == 3


def test_folders_change_places_where_it_takes_several_steps(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic.ctypes, "CDLL", lambda *args, **named: object())
    monkeypatch.setattr(atomic.sys, "platform", "linux")
    for name in ("new", "old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    atomic._exchange(tmp_path / "new", tmp_path / "old")
    assert [path.name for path in (tmp_path / "old").iterdir()] == ["new"]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["old"]
    assert len(list(tmp_path.iterdir())) == 2
