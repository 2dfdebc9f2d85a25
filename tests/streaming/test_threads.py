"""Threads, the end of threads, the lack of a compiler, and what memory is given back."""

import asyncio
import copy
import gc
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_map
from streams import FRAME, cut

from mimi_mlx import Mimi

K = 8


def in_a_thread(function: Callable, *args: Any) -> Any:
    """The call's result, from a thread that has then ended."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(function, *args).result()


@pytest.fixture(scope="module")
def pcm(speech) -> np.ndarray:
    return speech("dialogue")[: 20 * FRAME]


@pytest.fixture(scope="module")
def codes(tiny, pcm) -> np.ndarray:
    return np.array(tiny.encode(pcm, K))


def push_frames(mimi: Mimi, pcm: np.ndarray) -> np.ndarray:
    """Codes of a new stream, frame by frame, then what its decoder's stream makes of them."""
    stream = mimi.encoder_stream(num_codebooks=K)
    codes = [np.array(stream.push(piece)) for piece in cut(pcm, [FRAME] * 19)]
    decoder = mimi.decoder_stream()
    assert all(np.isfinite(np.array(decoder.push(frame))).all() for frame in codes)
    return np.concatenate(codes, axis=-1)


def test_load_in_one_push_in_another_use_in_a_third(pcm, codes):
    mimi = in_a_thread(Mimi.from_pretrained, "tiny")
    stream = in_a_thread(mimi.encoder_stream, 1, K)
    pieces = cut(pcm, [FRAME] * 9 + [3, 5000])
    frames = [in_a_thread(stream.push, piece) for piece in [*pieces, pcm[:0]]]
    frames.append(in_a_thread(stream.flush))
    heard = in_a_thread(lambda: np.array(mx.concatenate(frames, axis=-1) + 0))
    np.testing.assert_array_equal(heard, codes)
    decoder = in_a_thread(mimi.decoder_stream)
    samples = [in_a_thread(decoder.push, frame) for frame in [*frames, codes[..., :0]]]
    assert in_a_thread(lambda: (mx.concatenate(samples, axis=-1) * 2).shape) == (1, 1, 20 * FRAME)


def test_everything_a_stream_gives_can_be_used_in_another_thread(tiny, pcm, tmp_path):
    """Also its state, its clone, what it saved, a reset one and an empty output."""
    stream = tiny.encoder_stream(num_codebooks=K)
    stream.push(pcm[: 5 * FRAME])
    in_a_thread(lambda: mx.eval(tree_map(lambda leaf: leaf + leaf, stream.state)))
    in_a_thread(stream.save, tmp_path / "call.safetensors")
    loaded = in_a_thread(tiny.load_stream, tmp_path / "call.safetensors")
    clone = in_a_thread(stream.clone)
    expected = np.array(stream.push(pcm[5 * FRAME : 8 * FRAME]))
    np.testing.assert_array_equal(loaded.push(pcm[5 * FRAME : 8 * FRAME]), expected)
    np.testing.assert_array_equal(clone.push(pcm[5 * FRAME : 8 * FRAME]), expected)
    batch = in_a_thread(tiny.encoder_stream, 2, K)
    in_a_thread(batch.reset, [1])
    empty = in_a_thread(batch.push, np.zeros((2, 1, 0), np.float32))
    assert np.array(empty + 1).shape == (2, K, 0)
    mx.eval(tree_map(lambda leaf: leaf + leaf, batch.state))


def test_offline_in_threads(tiny, pcm, codes):
    heard = in_a_thread(tiny.encode, pcm, K)
    np.testing.assert_array_equal(heard + 0, codes)
    samples = in_a_thread(tiny.decode, heard)
    np.testing.assert_array_equal((samples * 2).shape, (1, 1, 20 * FRAME))
    ragged = in_a_thread(tiny.encode, np.stack([pcm, pcm])[:, None], K, [20 * FRAME, 3000])
    np.testing.assert_array_equal((ragged + 0)[:1], codes)


@pytest.mark.slow
def test_eight_threads_each_with_its_own_stream(pcm, codes):
    """All at once on a model that none has used, so that all compile its steps."""
    mimi = Mimi.from_pretrained("tiny")
    ready = threading.Barrier(8)

    def call(_):
        ready.wait()
        return push_frames(mimi, pcm)

    with ThreadPoolExecutor(8) as threads:
        for heard in threads.map(call, range(8)):
            np.testing.assert_array_equal(heard, codes)


def test_asyncio_to_thread(tiny, pcm, codes):
    async def call() -> np.ndarray:
        stream = tiny.encoder_stream(num_codebooks=K)
        frames = [await asyncio.to_thread(stream.push, p) for p in cut(pcm, [FRAME] * 19)]
        return np.concatenate([np.array(frame) for frame in frames], axis=-1)

    async def calls() -> list[np.ndarray]:
        return await asyncio.gather(*(call() for _ in range(4)))

    for heard in asyncio.run(calls()):
        np.testing.assert_array_equal(heard, codes)


def test_a_lazy_array_of_another_thread_is_refused_with_the_remedy(tiny, pcm):
    lazy = in_a_thread(lambda: mx.array(pcm) * 0.5)
    with pytest.raises(ValueError, match=r"pcm cannot be computed in this thread .*mx\.eval"):
        tiny.encoder_stream().push(lazy)


@pytest.mark.slow
def test_each_thread_has_the_step_of_the_model_it_uses(pcm, codes):
    """MLX finds a compiled function by its address, which the next model's may have, too."""
    with ThreadPoolExecutor(1) as thread:
        for scale in (1.0, 0.5, 1.0, 0.25):
            mimi = Mimi.from_pretrained("tiny")
            first = mimi.codec.encoder.layers[0].conv
            first.weight = first.weight * scale
            mx.eval(mimi.codec.parameters())
            expected = codes if scale == 1 else np.array(mimi.encode(pcm, K))
            heard = thread.submit(push_frames, mimi, pcm).result()
            np.testing.assert_array_equal(heard, expected)
            np.testing.assert_array_equal(push_frames(mimi, pcm), expected)


def test_a_model_and_its_streams_are_given_back_at_once(pcm):
    """Without a collection, and also by a thread that lives on after it has pushed."""
    gc.collect()
    with ThreadPoolExecutor(1) as thread:
        before = mx.get_active_memory()
        mimi = Mimi.from_pretrained("tiny")
        loaded = mx.get_active_memory()
        assert loaded - before > 10e6
        stream = mimi.encoder_stream(64)
        stream.push(np.zeros((64, 1, FRAME), np.float32), mask=[True] * 64)
        assert mx.get_active_memory() - loaded > 4e6
        del stream
        push_frames(mimi, pcm)
        thread.submit(push_frames, mimi, pcm).result()
        assert mx.get_active_memory() - loaded < 1e5, "a stream that is gone"
        del mimi
        assert mx.get_active_memory() - before < 1000


def test_a_deep_copy_of_a_used_model_is_a_model(pcm, codes):
    mimi = Mimi.from_pretrained("tiny")
    push_frames(mimi, pcm)
    np.testing.assert_array_equal(push_frames(copy.deepcopy(mimi), pcm), codes)


ENDS = """
import asyncio, threading
import numpy as np
from mimi_mlx import Mimi
def use():
    mimi = Mimi.from_pretrained("tiny")
    stream = mimi.encoder_stream()
    mimi.decode(stream.push(np.zeros(1920, np.float32)))
    mimi.encode(np.zeros(3 * 1920, np.float32))
"""


@pytest.mark.parametrize(
    "end",
    [
        "threading.Thread(target=use).start()",
        pytest.param("asyncio.run(asyncio.to_thread(use))", marks=pytest.mark.slow),
        pytest.param(
            "thread = threading.Thread(target=use); thread.start(); thread.join()",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_interpreter_ends_right_after_a_thread(end):
    """What MLX keeps in a thread must not need Python when both end at once."""
    for _ in range(3):
        run = subprocess.run([sys.executable, "-c", ENDS + end], capture_output=True, text=True)
        assert run.returncode == 0, run.stderr


UNCOMPILED = """
import warnings
import numpy as np
from mimi_mlx import Mimi
mimi = Mimi.from_pretrained("tiny")
pcm = np.random.default_rng(0).uniform(-0.3, 0.3, 4 * 1920).astype(np.float32)
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    codes = []
    for _ in range(2):
        stream = mimi.encoder_stream()
        codes.append([np.array(stream.push(frame)) for frame in pcm.reshape(4, -1)])
        mimi.decoder_stream().push(codes[-1][0])
assert np.array_equal(np.concatenate(codes[1], -1), mimi.encode(pcm))
print([str(warning.message) for warning in said if "compile" in str(warning.message)])
"""


@pytest.mark.skipif(mx.is_available(mx.gpu), reason="a GPU's kernels need no C++ compiler")
def test_without_a_compiler_steps_run_eagerly_and_say_so_once(tmp_path):
    for tool in ("sh", "env"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    run = subprocess.run(
        [sys.executable, "-c", UNCOMPILED],
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    expected = "no C++ compiler (g++) found: steps run uncompiled and slower"
    assert run.stdout == f"{[expected]}\n", run.stderr
