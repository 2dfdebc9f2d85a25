"""A folder's work in several processes: together they make what one does, whoever dies."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from folders import contents, fill, launched

from mimi_mlx import audio
from mimi_mlx.cli import folder as command
from mimi_mlx.cli import shards
from mimi_mlx.cli.manifest import Manifest, read_part
from mimi_mlx.cli.shards import Shard

ENCODE = ("encode", "in", "--recursive", "--model", "tiny", "--batch-size", 2)


@pytest.fixture
def folder(tmp_path, speech, run) -> Path:
    """Seven clips, and what one process makes of them."""
    fill(tmp_path / "in", speech("kathleen-1"), 7, 9000)
    assert run(*ENCODE, "-o", "alone")[0] == 0
    return tmp_path


@pytest.mark.parametrize("total", [1, 2, 3, 7])
def test_each_item_has_one_shard_and_the_loads_are_about_the_same(total):
    chance = random.Random(total)
    items = sorted((chance.randrange(1, 1000) for _ in range(60)), reverse=True)
    shares = [Shard(number, total).share(items, int) for number in range(1, total + 1)]
    assert sorted(chain(*shares), reverse=True) == items
    loads = [sum(share) for share in shares]
    assert max(loads) - min(loads) <= max(min(share) for share in shares)


@pytest.mark.parametrize("order", [(3, 1, 2), pytest.param((1, 2, 3), marks=pytest.mark.slow)])
@pytest.mark.parametrize("what", ["encode", "decode"])
def test_shards_one_after_another_make_what_one_process_does(folder, run, order, what):
    command, alone = ENCODE, folder / "alone"
    if what == "decode":
        command, alone = ("decode", "alone", *ENCODE[2:]), folder / "sound"
        assert run(*command, "-o", "sound")[0] == 0
    for i, number in enumerate(order):
        assert not (folder / "out/manifest.jsonl").exists()
        code, _, err = run(*command, "-o", "out", "--shard", f"{number}/3")
        assert code == 0 and all(line.startswith(f"[{number}/3] ") for line in err.splitlines())
        assert ("not listed yet" in err) == (i < 2)
    assert contents(folder / "out") == contents(alone)


def test_what_is_done_changes_no_share(folder, run):
    """A shard that begins when some are done leaves to the others what is theirs."""
    run(*ENCODE, "-o", "one", "--shard", "1/2")
    theirs = contents(folder / "alone").keys() - contents(folder / "one").keys()
    for path in theirs - {"manifest.jsonl"}:
        (folder / "two" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "two" / path).write_bytes((folder / "alone" / path).read_bytes())
    assert "0 done before" in run(*ENCODE, "-o", "two", "--shard", "1/2")[2]
    assert contents(folder / "two").keys() >= contents(folder / "one").keys()


def test_the_next_run_joins_what_others_left(folder, run):
    """One shard is done, another was killed when it had begun; then one process does it all."""
    run(*ENCODE, "-o", "out", "--shard", "1/2")
    Manifest(folder / "out", Shard(2, 3)).begin(begun(folder / "out", 1, 2))
    code, _, err = run(*ENCODE, "-o", "out")
    assert code == 0 and "failed" in err and "0 done before" not in err
    assert contents(folder / "out") == contents(folder / "alone")


def test_shards_of_folders_of_their_own_are_joined_when_these_are_put_together(folder, run):
    for number in (1, 2):
        assert run(*ENCODE, "-o", f"out{number}", "--shard", f"{number}/2")[0] == 0
        shutil.copytree(folder / f"out{number}", folder / "out", dirs_exist_ok=True)
    assert "0 files encoded, 7 done before" in run(*ENCODE, "-o", "out")[2]
    assert contents(folder / "out") == contents(folder / "alone")


def test_the_same_shards_again_end_with_the_same(folder, run):
    for _ in range(2):
        for number in (1, 2):
            assert run(*ENCODE, "-o", "out", "--shard", f"{number}/2")[0] == 0
    assert contents(folder / "out") == contents(folder / "alone")
    assert run(*ENCODE, "-o", "out", "--shard", "2/2", "-f")[0] == 0
    assert contents(folder / "out") == contents(folder / "alone")


def begun(out: Path, number: int, total: int) -> dict:
    """What a shard says of its run."""
    part = (out / f"manifest.{number}-of-{total}.jsonl").read_text().split("\n")[0]
    return json.loads(part)["run"]


@pytest.mark.parametrize("name", ["files", "plan", "codebooks", "fingerprint"])
def test_a_shard_that_sees_others_work_on_something_else_says_so_and_stops(
    folder, run, monkeypatch, name
):
    work = command.in_threads

    def meanwhile(*args: object) -> None:
        other = begun(folder / "out", 1, 2) | {name: 5}
        Manifest(folder / "out", Shard(2, 2), force=True).begin(other)
        work(*args)

    with monkeypatch.context() as patch:
        patch.setattr(command, "in_threads", meanwhile)
        code, _, err = run(*ENCODE, "-o", "out", "--shard", "1/2")
    assert code == 2 and err.count("\n") == 1, err
    assert f"[1/2] mimi-mlx: out/manifest.2-of-2.jsonl is of another run, with {name} 5" in err


@pytest.mark.parametrize("about", ["", "[]", "{}", '{"run": 1, "finished": true}', "dear diary"])
def test_a_part_of_somebody_else_is_left_alone(folder, run, about):
    part = folder / "alone/manifest.2-of-2.jsonl"
    part.write_text(about)
    for arguments in ((*ENCODE, "-o", "alone"), ("check", "alone")):
        code, _, err = run(*arguments)
        assert code == 2 and err.count("\n") == 1 and "no list of an earlier run" in err
    assert run(*ENCODE, "-o", "alone", "-f")[0] == 0 and part.read_text() == about


def test_what_a_stranger_says_is_short(folder, run):
    stranger = {"run": {"becomes": ".mimi", "codebooks": 999 * "8\x1b"}, "finished": False}
    (folder / "alone/manifest.2-of-2.jsonl").write_text(json.dumps(stranger))
    code, _, err = run(*ENCODE, "-o", "alone")
    assert code == 2 and err.count("\n") == 1 and len(err) < 400 and "\x1b" not in err


def test_other_codebooks_into_a_begun_folder_are_refused(folder, run):
    run(*ENCODE, "-o", "out", "--shard", "1/2")
    code, _, err = run(*ENCODE, "-o", "out", "--shard", "2/2", "--codebooks", 4)
    assert code == 2 and err.count("\n") == 1 and "with codebooks 8, not 4" in err


def test_shards_that_end_at_once_join_the_same_manifest(tmp_path):
    """Whichever reads the other's part before that is gone, or sees that it is."""
    (tmp_path / "a").touch()
    (tmp_path / "b").touch()
    run = dict.fromkeys(("becomes", "codebooks", "fingerprint"))
    for _ in range(30):
        parts = [Manifest(tmp_path, Shard(number, 2)) for number in (1, 2)]
        for part in parts:
            part.begin(run)
        at_once = threading.Barrier(2)

        def finish(part: Manifest, name: str, at_once: threading.Barrier = at_once) -> bool:
            at_once.wait(60)
            return part.finish([{"path": name, "source": name}], {"a", "b"})

        with ThreadPoolExecutor(2) as pool:
            assert any(pool.map(finish, parts, "ab"))
        assert set(contents(tmp_path)) == {"a", "b", "manifest.jsonl"}
        lines = (tmp_path / "manifest.jsonl").read_text().splitlines()
        assert [json.loads(line)["path"] for line in lines] == ["a", "b"]
        (tmp_path / "manifest.jsonl").unlink()


def test_a_part_that_comes_and_goes_is_read_or_is_not_there(tmp_path):
    """While another shard replaces it, or has joined it."""
    part, ended = tmp_path / "manifest.1-of-2.jsonl", threading.Event()

    def change() -> None:
        while not ended.is_set():
            (tmp_path / "new").write_text('{"run": {}, "finished": true}')
            (tmp_path / "new").replace(part)
            part.unlink()

    with ThreadPoolExecutor(1) as pool:
        changing = pool.submit(change)
        try:
            for _ in range(2000):
                read_part(part)
        finally:
            ended.set()
        changing.result()


@pytest.mark.parametrize("shard", ["9/8", "0/2", "1", "a/b", "1/2/3", "-1/2", "1/0", ""])
def test_what_is_no_shard_is_refused(tmp_path, run, shard):
    (tmp_path / "in").mkdir()
    code, _, err = run(*ENCODE, "-o", "out", f"--shard={shard}")
    assert code == 2 and err.count("\n") == 1 and "--shard is" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["MLX_RANK", "OMPI_COMM_WORLD_RANK"])
def test_a_shard_under_the_launcher_is_refused(tmp_path, run, monkeypatch, name):
    (tmp_path / "in").mkdir()
    monkeypatch.setenv(name, "0")
    code, _, err = run(*ENCODE, "-o", "out", "--shard", "1/2")
    assert code == 2 and err.count("\n") == 1 and "launcher" in err


@pytest.mark.parametrize("hosts", [None, ""])
def test_a_launcher_without_other_processes_is_told(tmp_path, run, monkeypatch, hosts):
    """Of a backend that is not here; and of one process alone, which MLX's ring cannot be."""
    (tmp_path / "in").mkdir()
    monkeypatch.setenv("MLX_RANK", "1")
    if hosts is not None:
        (tmp_path / "hosts").write_text(hosts)
        monkeypatch.setenv("MLX_HOSTFILE", "hosts")
    code, _, err = run(*ENCODE, "-o", "out")
    assert code == 2 and err.count("\n") == 1 and "as rank 1" in err, err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_rank_whose_neighbour_never_comes_can_be_ended(tmp_path, number):
    """MLX waits for it where Python may hear no signal; so the system's own answer is in place."""
    (tmp_path / "in").mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    hosts = [[f"127.0.0.1:{port}"], ["127.0.0.1:9"]]
    (tmp_path / "hosts").write_text(json.dumps(hosts))
    rank = subprocess.Popen(
        [sys.executable, "-m", "mimi_mlx", *map(str, ENCODE), "-o", "out"],
        cwd=tmp_path,
        env=os.environ | {"MLX_RANK": "0", "MLX_HOSTFILE": "hosts"},
    )
    while rank.poll() is None and not is_taken(port):
        time.sleep(0.05)
    rank.send_signal(number)
    try:
        assert rank.wait(30) == -number
    finally:
        rank.kill()


def is_taken(port: int) -> bool:
    with socket.socket() as other:
        try:
            other.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


@pytest.mark.parametrize("again", [False, True])
def test_a_rank_that_failed_waits_until_the_others_are_done(folder, run, monkeypatch, again):
    """The launcher would end them; also if all is listed before the other has begun."""
    (folder / "in/bad.wav").write_text("no sound")
    if again:
        assert run(*ENCODE, "-o", "out")[0] == 1
    waited: list[float] = []

    def start(rank: int) -> tuple[int, str]:
        group = SimpleNamespace(rank=lambda: rank, size=lambda: 2)
        monkeypatch.setattr(shards.mx.distributed, "init", lambda: group)
        monkeypatch.setenv("MLX_RANK", str(rank))
        code, _, err = run(*ENCODE, "-o", "out")
        return code, err

    def meanwhile(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 2:
            assert start(1)[0] == 0

    monkeypatch.setattr(command.time, "sleep", meanwhile)
    assert start(0)[0] == 1 and len(waited) == 2
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    assert run(*ENCODE, "-o", "bad")[0] == 1
    assert contents(folder / "out") == contents(folder / "bad")


def test_a_rank_that_failed_waits_for_nobody_who_is_done(folder, run, monkeypatch):
    """Though what the other made is gone, and so the manifest cannot be whole."""
    (folder / "in/bad.wav").write_text("no sound")
    assert run(*ENCODE, "-o", "out", "--shard", "2/2")[0] == 0
    for path in made(folder / "out"):
        path.unlink()
    part = folder / "out/manifest.2-of-2.jsonl"
    group = SimpleNamespace(rank=lambda: 0, size=lambda: 2)
    monkeypatch.setattr(shards.mx.distributed, "init", lambda: group)
    monkeypatch.setenv("MLX_RANK", "0")
    monkeypatch.setattr(command.time, "sleep", lambda _: pytest.fail("waits for ever"))
    code, _, err = run(*ENCODE, "-o", "out")
    assert code == 1 and "not listed yet" in err and part.exists()


@pytest.mark.slow
def test_mlx_launch_shares_the_work_and_a_bad_file_ends_no_other_rank(folder, run, speech):
    """The launcher ends all when one fails; so the one that has failed waits for the others."""
    audio.write(folder / "in/long.wav", np.tile(speech("dialogue"), 2), 24000)
    soundfile.write(folder / "in/nan.wav", np.full(2000, np.nan), 24000, "FLOAT")
    err = launched(folder, 2, *ENCODE, "-o", "out").communicate(timeout=120)[1]
    assert "[1/2] out: 1 file encoded" in err and "[2/2] out: 7 files encoded" in err, err
    assert "[2/2] mimi-mlx: in/nan.wav" in err and "[1/2] mimi-mlx" not in err
    assert "rank 1 exited with code 1" in err and "rank 0" not in err
    assert run(*ENCODE, "-o", "bad")[0] == 1
    assert contents(folder / "out") == contents(folder / "bad")


def ranks_of(launcher: subprocess.Popen) -> list[int]:
    """The processes that the launcher has started."""
    found = subprocess.run(["pgrep", "-P", str(launcher.pid)], capture_output=True, text=True)
    return [int(pid) for pid in found.stdout.split()]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("total", "what", "kills"),  # ten of them
    [(2, "encode", 3), (3, "encode", 3), (2, "decode", 2), (3, "decode", 2)],
)
def test_killed_at_random_moments_ranks_end_with_the_bytes_of_one_process(
    tmp_path, speech, run, total, what, kills
):
    chance = random.Random(total)
    fill(tmp_path / "in", speech("dialogue"), 66, 30000)
    command = ENCODE
    assert run(*command, "-o", "alone")[0] == 0
    if what == "decode":
        command = ("decode", "alone", *ENCODE[2:])
        assert run(*command, "-o", "sound")[0] == 0
    undisturbed = contents(tmp_path / ("alone" if what == "encode" else "sound"))
    out, whole, halfway = tmp_path / "out", 0, False
    for _ in range(kills):
        launcher = launched(tmp_path, total, *command, "-o", "out")
        until = whole + chance.randrange(1, 12)  # how far they come at least
        while launcher.poll() is None and len(made(out)) < until:
            time.sleep(0.01)
        time.sleep(chance.random() / 10)
        if ranks := ranks_of(launcher):
            os.kill(chance.choice(ranks), signal.SIGKILL)
        launcher.communicate(timeout=120)
        # What was under way may be left where no file can be without a name.
        there = contents(out).items()
        there = {name: data for name, data in there if name.endswith((".mimi", ".wav"))}
        assert there.items() <= undisturbed.items()
        assert len(made(out)) >= whole
        whole = len(made(out))
        halfway |= 0 < whole < 66
    assert halfway
    err = launched(tmp_path, total, *command, "-o", "out").communicate(timeout=120)[1]
    assert "exited" not in err, err
    left = contents(out).items()
    assert {k: v for k, v in left if not k.endswith(".mimi_mlx")} == undisturbed
    assert len(undisturbed) == 67


def made(out: Path) -> list[Path]:
    return [*out.rglob("*.mimi"), *out.rglob("*.wav")]
