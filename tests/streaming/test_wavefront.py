"""Two long steps at once give what one after the other gives, and leave all as it was."""

import contextlib
import threading

import mlx.core as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import FRAME

from mimi_mlx import Mimi
from mimi_mlx.model.codec import Codec
from mimi_mlx.model.ops import device, linux, wavefront

pytestmark = pytest.mark.skipif(device.is_gpu(), reason="a GPU takes one step at a time")

LONG = 16  # frames of a long step of one row


@pytest.fixture(scope="module")
def pcm(speech) -> np.ndarray:
    """Five long steps, three frames and a ragged one."""
    return speech("dialogue")[: (5 * LONG + 3) * FRAME + 700]


@contextlib.contextmanager
def idle_cores(number: int):
    """As if so many were idle; gives how many steps were made at once, time after time."""
    made, streams = [], wavefront.streams

    @contextlib.contextmanager
    def noted(most: int):
        with streams(most) as given:
            made.append(len(given))
            yield given

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wavefront, "_has_idle_core", lambda: number > 0)
        patch.setattr(wavefront, "streams", noted)
        yield made


def alone_and_together(call, *args):
    """What a call gives step by step, and two steps at a time."""
    with idle_cores(0) as alone:
        expected = call(*args)
    with idle_cores(1) as together:
        found = call(*args)
    assert set(alone) == {1} and 2 in together
    return np.array(expected), np.array(found)


def test_whole_clips(tiny, pcm):
    for _ in range(2):  # as it is, then compiled
        codes, found = alone_and_together(tiny.encode, pcm)
        np.testing.assert_array_equal(found, codes)
        waveform, found = alone_and_together(tiny.decode, codes)
        np.testing.assert_array_equal(found, waveform)


@pytest.mark.parametrize(("steps", "pairs"), [(4, 2), (8, 1)], ids=["as it is", "compiled"])
def test_the_second_step_is_on_the_second_stream(pcm, monkeypatch, steps, pairs):
    """A compiled one is traced for each stream, once."""
    seen, step = [], Codec.encode_step

    def noted(*args):
        seen.append(mx.default_stream(mx.cpu))
        return step(*args)

    monkeypatch.setattr(Codec, "encode_step", noted)
    with idle_cores(1):
        Mimi.from_pretrained("tiny").encode(np.resize(pcm, steps * LONG * FRAME))
    assert seen == [mx.default_stream(mx.cpu), wavefront._second()] * pairs


def test_a_last_step_without_a_partner_has_all_of_blas(tiny, pcm):
    with idle_cores(1) as made:
        tiny.encode(pcm[: 3 * LONG * FRAME])
    assert made == [2, 1]


@settings(max_examples=12, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 40 * FRAME), min_size=2, max_size=3),
    start=st.integers(0, 10 * FRAME),
)
def test_ragged_batches(tiny, pcm, lengths, start):
    rows = np.stack([np.roll(pcm, -start * i)[: max(lengths)] for i in range(len(lengths))])[
        :, None
    ]
    results = []
    for number in (0, 1):
        with idle_cores(number):
            results.append(np.array(tiny.encode(rows, 4, lengths=lengths)))
    np.testing.assert_array_equal(*results)


def test_long_pushes_with_rows_that_take_no_part(tiny, pcm):
    rows = np.stack([pcm, pcm[::-1], -pcm])[:, None]

    def push() -> np.ndarray:
        stream = tiny.encoder_stream(batch_size=3)
        parts = [stream.push(rows[..., : 12 * FRAME], mask=np.array([True, False, True]))]
        parts += [stream.push(rows[..., 12 * FRAME : 23 * FRAME]), stream.push(rows[..., -FRAME:])]
        return np.concatenate(parts, axis=-1)

    np.testing.assert_array_equal(*alone_and_together(push))


@pytest.mark.slow
def test_threads_take_turns(tiny, pcm):
    """One is on two streams, the others on their own; each gets what it would get alone."""
    expected, found = np.array(tiny.encode(pcm)), {}
    start = threading.Barrier(3)

    def encode(number: int) -> None:
        start.wait()
        found[number] = [np.array(tiny.encode(pcm)) for _ in range(3)]

    with idle_cores(1) as made:
        threads = [threading.Thread(target=encode, args=(i,)) for i in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert set(made) == {1, 2}
    for codes in found.values():
        np.testing.assert_array_equal(np.stack(codes), np.stack([expected] * 3))


@pytest.mark.skipif(not linux.blas_threads(), reason="needs OpenBLAS")
def test_threads_of_openblas_are_put_back_also_after_a_failure(tiny, pcm, monkeypatch):
    before = linux.blas_threads()
    seen = []

    def failing(*args):
        seen.append(linux.blas_threads())
        raise MemoryError

    linux._set_blas_threads(2)
    try:
        tiny.encode(pcm)
        assert linux.blas_threads() == 2
        model = Mimi.from_pretrained("tiny")
        monkeypatch.setattr(Codec, "encode_step", failing)
        with pytest.raises(MemoryError):
            model.encode(pcm)
        assert seen == [1] and linux.blas_threads() == 2
        with linux.one_blas_thread:
            assert linux.blas_threads() == 1
            with linux.one_blas_thread:  # as another thread would
                assert linux.blas_threads() == 1
            assert linux.blas_threads() == 1
        assert linux.blas_threads() == 2
    finally:
        linux._set_blas_threads(before)


@pytest.mark.skipif(not linux.blas_threads(), reason="needs OpenBLAS")
def test_who_gave_openblas_one_thread_has_other_use_for_the_cores(tiny, pcm):
    with linux.one_blas_thread, wavefront.streams(2) as streams:
        assert streams == (None,)


def test_a_process_on_one_core_and_one_step_use_one_stream(monkeypatch):
    monkeypatch.setattr(linux, "blas_threads", lambda: None)
    for cores, most, number in ((1, 2, 1), (2, 1, 1), (2, 2, 2), (8, 9, 2)):
        monkeypatch.setattr(wavefront, "cores", lambda cores=cores: cores)
        with wavefront.streams(most) as streams:
            assert len(streams) == number


def test_a_default_device_and_stream_are_as_before(tiny, pcm):
    before = mx.default_device(), mx.default_stream(mx.default_device())
    with idle_cores(1):
        tiny.encode(pcm)
    assert (mx.default_device(), mx.default_stream(mx.default_device())) == before
