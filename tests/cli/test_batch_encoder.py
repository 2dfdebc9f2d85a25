"""Batches of a folder in several threads: errors and signals end them all, and leave nothing."""

import argparse
import ctypes
import threading
from pathlib import Path

import numpy as np
import pytest

from mimi_mlx import audio
from mimi_mlx.cli.batch_encoder import BatchEncoder, GivenUp, in_threads
from mimi_mlx.cli.folder import FolderReport
from mimi_mlx.cli.progress import Progress
from mimi_mlx.model.ops import linux


def until_given_up(given_up: threading.Event):
    """A function of which one call waits for the others to be given up."""
    ready = threading.Event()

    def function(item: str) -> str:
        if item == "waits":
            ready.set()
            assert given_up.wait(60)
            raise GivenUp
        assert ready.wait(60)
        if item == "fails":
            raise OSError(28, "No space left on device")
        return item

    return function


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit, BrokenPipeError])
def test_what_ends_the_main_thread_ends_the_others(end):
    given_up = threading.Event()

    def note(result: str) -> None:
        raise end

    with pytest.raises(end):
        in_threads(until_given_up(given_up), ["waits", "is done"], 2, given_up, note)
    assert given_up.is_set()
    assert not any("ThreadPool" in thread.name for thread in threading.enumerate())


def test_an_error_in_a_thread_comes_out_and_ends_the_others():
    given_up = threading.Event()
    with pytest.raises(OSError, match="No space left"):
        in_threads(until_given_up(given_up), ["waits", "fails"], 2, given_up, pytest.fail)


def test_results_are_noted_in_the_callers_thread_as_they_come():
    given_up, noted = threading.Event(), []

    def note(result: str) -> None:
        noted.append((result, threading.current_thread()))
        if len(noted) == 2:
            given_up.set()  # lets the first go on

    with pytest.raises(GivenUp):
        in_threads(until_given_up(given_up), ["waits", "a", "b"], 2, given_up, note)
    here = threading.current_thread()
    assert noted == [("a", here), ("b", here)]


def test_one_job_or_one_item_needs_no_other_thread():
    for items, jobs in ((["a", "b"], 1), (["a"], 4)):
        called = []
        in_threads(
            lambda _: threading.current_thread(), items, jobs, threading.Event(), called.append
        )
        assert called == [threading.current_thread()] * len(items)


def test_openblas_computes_in_the_threads_that_call_it_and_then_as_before():
    library = ctypes.CDLL(None)
    if not hasattr(library, "openblas_set_num_threads"):
        pytest.skip("MLX's BLAS is not OpenBLAS")
    before = library.openblas_get_num_threads()
    inside = []
    with pytest.raises(RuntimeError), linux.one_blas_thread:
        inside.append(library.openblas_get_num_threads())
        raise RuntimeError
    assert inside == [1] and library.openblas_get_num_threads() == before
    in_threads(
        lambda _: library.openblas_get_num_threads(), "abc", 2, threading.Event(), inside.append
    )
    assert inside == [1] * 4 and library.openblas_get_num_threads() == before


class GivenUpAfter(threading.Event):
    """Is set from the given question on."""

    def __init__(self, questions: int):
        super().__init__()
        self.questions, self.asked = questions, 0

    def is_set(self) -> bool:
        self.asked += 1
        return self.asked > self.questions


@pytest.mark.parametrize("rows", [1, 2])
def test_a_batch_that_is_given_up_stops_between_two_steps(tiny, tmp_path, rows):
    (tmp_path / "in").mkdir()
    for name in "ab":
        audio.write(tmp_path / "in" / f"{name}.wav", np.zeros(9000, np.float32), 24000)
    args = argparse.Namespace(input=tmp_path / "in", mono=False, model="tiny")
    report = FolderReport(tmp_path / "in", tmp_path / "out")
    found = report.survey([Path("a.wav"), Path("b.wav")], args, tiny, 8)
    # It is asked once for each clip, whether it is there, and for each step.
    given_up = GivenUpAfter(rows + 1)
    with Progress("encode", None) as progress:
        encoder = BatchEncoder(tiny, 8, False, False, progress, given_up, at_once=1)
        with pytest.raises(GivenUp):
            encoder.encode(found[:rows])
    assert given_up.asked == rows + 2
    assert not list((tmp_path / "out").rglob("*"))
