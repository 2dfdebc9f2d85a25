"""Batches of a folder in several threads: errors and signals end them all, and leave nothing."""

import argparse
import ctypes
import threading
from pathlib import Path

import numpy as np
import pytest

from mimi_mlx import audio
from mimi_mlx.cli import batch_encoder as clips
from mimi_mlx.cli import folder as bulk
from mimi_mlx.cli import progress as work
from mimi_mlx.cli import threads
from mimi_mlx.model.ops import linux as blas


def until_given_up(given_up: threading.Event):
    """A function of which one call waits for the others to be given up."""
    ready = threading.Event()

    def function(item: str) -> str:
        if item == "waits":
            ready.set()
            assert given_up.wait(60)
            raise clips.GivenUp
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
        threads.run(until_given_up(given_up), ["waits", "is done"], 2, given_up, note)
    assert given_up.is_set()
    assert not any("ThreadPool" in thread.name for thread in threading.enumerate())


def test_an_error_in_a_thread_comes_out_and_ends_the_others():
    given_up = threading.Event()
    with pytest.raises(OSError, match="No space left"):
        threads.run(until_given_up(given_up), ["waits", "fails"], 2, given_up, pytest.fail)


def test_results_are_noted_in_the_callers_thread_as_they_come():
    given_up, noted = threading.Event(), []

    def note(result: str) -> None:
        noted.append((result, threading.current_thread()))
        if len(noted) == 2:
            given_up.set()  # lets the first go on

    with pytest.raises(clips.GivenUp):
        threads.run(until_given_up(given_up), ["waits", "a", "b"], 2, given_up, note)
    here = threading.current_thread()
    assert noted == [("a", here), ("b", here)]


def test_one_job_or_one_item_needs_no_other_thread():
    for items, jobs in ((["a", "b"], 1), (["a"], 4)):
        called = []
        threads.run(
            lambda _: threading.current_thread(), items, jobs, threading.Event(), called.append
        )
        assert called == [threading.current_thread()] * len(items)


def test_openblas_computes_in_the_threads_that_call_it_and_then_as_before():
    library = ctypes.CDLL(None)
    if not hasattr(library, "openblas_set_num_threads"):
        pytest.skip("MLX's BLAS is not OpenBLAS")
    before = library.openblas_get_num_threads()
    inside = []
    with pytest.raises(RuntimeError), blas.one_blas_thread():
        inside.append(library.openblas_get_num_threads())
        raise RuntimeError
    assert inside == [1] and library.openblas_get_num_threads() == before
    threads.run(
        lambda _: library.openblas_get_num_threads(), "abc", 2, threading.Event(), inside.append
    )
    assert inside == [1] * 4 and library.openblas_get_num_threads() == before


@pytest.mark.parametrize("rows", [1, 2])
def test_a_batch_that_is_given_up_stops_between_two_steps(tiny, tmp_path, monkeypatch, rows):
    (tmp_path / "in").mkdir()
    for name in "ab":
        audio.write(tmp_path / "in" / f"{name}.wav", np.zeros(9000, np.float32), 24000)
    monkeypatch.setattr(work, "BLOCK", 1)
    args = argparse.Namespace(input=tmp_path / "in", mono=False, model="tiny")
    found = bulk.Tally(tmp_path / "out").survey([Path("a.wav"), Path("b.wav")], args, tiny, 8)
    given_up, asked = threading.Event(), []
    go_on = clips.Encoder._go_on

    def give_up_after_the_first_step(encoder: clips.Encoder) -> None:
        asked.append(encoder)
        go_on(encoder)
        if len(asked) == rows + 1:  # once for each clip, whether it is there, and for each step
            given_up.set()

    monkeypatch.setattr(clips.Encoder, "_go_on", give_up_after_the_first_step)
    with work.Progress("encode", None) as progress:
        encoder = clips.Encoder(tiny, 8, False, False, progress, given_up)
        with pytest.raises(clips.GivenUp):
            encoder.encode(found[:rows])
    assert len(asked) == rows + 2
    assert not list((tmp_path / "out").rglob("*"))
