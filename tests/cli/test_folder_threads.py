"""Work in several threads: errors and signals end them all, and leave nothing."""

import ctypes
import threading

import pytest

from mimi_mlx.cli import threads
from mimi_mlx.cli.batches import GivenUp
from mimi_mlx.cli.threads import in_threads
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


def test_however_many_items_there_are_it_waits_for_few(monkeypatch):
    """Each wait takes as long as there are to wait for."""
    wait, most, noted = threads.wait, [], []

    def counting(waiting: set, *how: object) -> object:
        most.append(len(waiting))
        return wait(waiting, *how)

    monkeypatch.setattr(threads, "wait", counting)
    in_threads(abs, range(500), 3, threading.Event(), noted.append)
    assert sorted(noted) == [*range(500)] and max(most) <= 6


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
