"""At home in a process with others: no work at import, no global setting, memory comes back."""

import json
import multiprocessing
import subprocess
import sys
import textwrap
import threading

import mlx.core as mx
import numpy as np
import pytest
from children import codes_of_silence

from mimi_mlx import Mimi

# What takes long to import or brings much along: for the commands and the Hub, not for the codec.
HEAVY = {
    *("huggingface_hub", "soundfile", "soxr", "tqdm", "torch", "transformers", "sounddevice"),
    *("matplotlib", "scipy", "safetensors.torch", "mlx.optimizers", "mlx.nn.losses.torch"),
    *(
        "asyncio",
        "multiprocessing",
        "http",
        "ssl",
        "urllib.request",
        "email",
        "sqlite3",
        "unittest",
    ),
    *("argparse", "importlib.metadata", "cffi", "requests", "httpx", "yaml"),
}

# What Python and MLX have of settings that are everyone's.
SNAPSHOT = """
import gc, json, locale, logging, os, random, signal, sys, threading, warnings
import mlx.core as mx, mlx.nn, mlx.utils, numpy as np

def limit(name):
    '''A limit of MLX's, which only setting it tells.'''
    was = getattr(mx, name)(1 << 30)
    getattr(mx, name)(was)
    return was

def snapshot():
    return {
        "device": repr(mx.default_device()),
        "streams": repr(mx.default_stream(mx.default_device())) + repr(mx.default_stream(mx.cpu)),
        "random": [np.array(key).tolist() for key in mx.random.state],
        "limits": [limit(f"set_{kind}_limit") for kind in ("cache", "memory", "wired")],
        "printed": repr(mx.array(1 / 3)),
        "numpy": [str(np.random.get_state()), np.geterr(), np.get_printoptions()["precision"]],
        "python": [str(random.getstate()), sys.getrecursionlimit(), sys.getswitchinterval()],
        "environment": dict(os.environ) | {"folder": os.getcwd(), "path": str(sys.path)},
        "hooks": repr([sys.excepthook, threading.excepthook, sys.getprofile(), sys.gettrace()]),
        "signals": repr([signal.getsignal(number) for number in signal.valid_signals()]),
        "warnings": repr(warnings.filters),
        "logging": repr([logging.root.level, logging.root.handlers]),
        "collector": repr([gc.isenabled(), gc.get_threshold(), gc.callbacks]),
        "threads": threading.active_count(),
        "locale": locale.setlocale(locale.LC_ALL),
    }

def changed(before):
    now = snapshot()
    return {key: [before[key], now[key]] for key in before if before[key] != now[key]}
"""

USE = """
import numpy as np

def use(mimi):
    '''Everything that a program does with a model, briefly.'''
    pcm = np.random.default_rng(0).normal(0, 0.1, 2 * 1920 + 7).astype(np.float32)
    codes = mimi.encode(pcm, 8)
    mimi.decode(codes)
    mimi.encode(np.stack([pcm, pcm])[:, None], lengths=[pcm.size, 1000])
    mx.eval(mimi.decode_from_latent(mimi.encode_to_latent(pcm)))
    encoder, decoder = mimi.encoder_stream(num_codebooks=8), mimi.decoder_stream()
    for start in (0, 1920):
        decoder.push(encoder.push(pcm[start : start + 1920]))
    encoder.clone().flush()
    encoder.reset()
    return np.array(codes)
"""


def run(*code: str) -> list:
    """Each line that a fresh interpreter prints when it runs ``code``, read as JSON."""
    source = "".join(textwrap.dedent(part) for part in code)
    strict = ["-W", "error", "-W", "ignore:mlx.core was imported before mimi_mlx"]  # on purpose
    command = [sys.executable, *strict, "-c", source]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_import_brings_nothing_heavy():
    """Beyond MLX and NumPy: the package itself, safetensors, and small modules of Python's."""
    (found,) = run("""
        import sys, json, mlx.core, mlx.nn, mlx.utils, numpy
        before = set(sys.modules)
        from mimi_mlx import Mimi
        print(json.dumps(sorted(set(sys.modules) - before)))
    """)
    new = set(found)
    assert "mimi_mlx.mimi" in new
    assert not new & HEAVY
    roots = {name.partition(".")[0] for name in new}
    assert roots - sys.stdlib_module_names <= {"mimi_mlx", "numpy", "safetensors"}


def test_import_does_nothing_but_define():
    found = run(
        SNAPSHOT,
        """
        before = snapshot()
        held, files = mx.get_active_memory(), sorted(os.listdir("/dev/fd"))
        from mimi_mlx import Mimi
        after = sorted(os.listdir("/dev/fd"))
        for found in changed(before), mx.get_active_memory() - held, files == after:
            print(json.dumps(found))
        """,
    )
    assert found == [{}, 0, True]


def test_no_global_setting_is_changed():
    found = run(
        SNAPSHOT,
        USE,
        """
        from mimi_mlx import Mimi
        before = snapshot()
        mimi = Mimi.from_pretrained("tiny")
        print(json.dumps(changed(before)))
        use(mimi)
        print(json.dumps(changed(before)))
        use(Mimi.from_pretrained("tiny", device=mx.cpu))
        print(json.dumps(changed(before)))
        """,
    )
    assert found == [{}, {}, {}]


def test_a_snapshot_shows_what_is_changed():
    """The test of the tests above."""
    (found,) = run(
        SNAPSHOT,
        """
        before = snapshot()
        mx.random.seed(1), random.random(), np.random.rand(), mx.set_cache_limit(12345)
        mx.set_default_stream(mx.new_stream(mx.cpu))
        os.environ["A"], sys.excepthook = "b", print
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        print(json.dumps(sorted(changed(before))), flush=True)
        os._exit(0)
        """,
    )
    changed = ["environment", "hooks", "limits", "numpy", "python", "random", "streams", "threads"]
    assert found == changed


def test_not_even_for_a_moment(monkeypatch):
    """``mx.stream(...)`` switches the device of every thread: only for a device not the default."""

    def refuse(*_):
        raise AssertionError("a global setting of MLX's")

    for name in ("stream", "set_default_device", "set_default_stream", "disable_compile"):
        monkeypatch.setattr(mx, name, refuse)
    names: dict = {"mx": mx}
    exec(USE, names)
    names["use"](Mimi.from_pretrained("tiny"))
    names["use"](Mimi.from_pretrained("tiny", device=mx.default_device().type))


def test_a_model_is_unloaded():
    """After use offline and in streams, in this thread and in another."""
    found = run(
        USE,
        """
        import gc, threading
        import mlx.core as mx
        from mimi_mlx import Mimi

        mx.eval(mx.zeros(1))
        held = mx.get_active_memory()
        mimi = Mimi.from_pretrained("tiny")
        loaded = mx.get_active_memory() - held
        use(mimi)
        thread = threading.Thread(target=use, args=(mimi,))
        thread.start()
        thread.join()
        del mimi, thread
        gc.collect()
        print(loaded)
        print(mx.get_active_memory() - held)
        """,
    )
    assert found[0] > 10e6
    assert found[1] == 0


@pytest.mark.slow
def test_no_growth_when_loaded_used_and_dropped():
    """Each model takes 14 MB, so that 2 % of it, left over each time, would show."""
    found = run(
        "loads = 100",
        """
        import gc, json
        import mlx.core as mx, numpy as np
        from mimi_mlx import Mimi
        from mimi_mlx.evaluation.soak import resident_bytes

        frame = np.zeros(1920, np.float32)
        for count in range(loads):
            mimi = Mimi.from_pretrained("tiny")
            mimi.decoder_stream().push(mimi.encoder_stream().push(frame))
            mimi.decode(mimi.encode(frame))
            del mimi
            gc.collect()
            if count >= 10:
                print(json.dumps([resident_bytes(), mx.get_active_memory()]))
        """,
    )
    resident, held = np.array(found).T
    # Medians, because free memory is given back to the system now and then.
    half = len(resident) // 2
    assert np.median(resident[half:]) - np.median(resident[:half]) < half * 0.3e6
    assert set(held) == {0}


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_children_of_a_process_that_uses_a_model(tiny, method):
    """A forked child could not: it has MLX's memory without MLX's threads, and waits for ever."""
    expected = np.array(tiny.encode(np.zeros(1920, np.float32)))
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=codes_of_silence, args=(queue,))
    child.start()
    np.testing.assert_array_equal(queue.get(timeout=60), expected)
    child.join()
    assert child.exitcode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a system's libraries forbid it")
def test_a_fork_after_import_alone():
    found = run("""
        import json, os, warnings
        import numpy as np
        from mimi_mlx import Mimi

        warnings.simplefilter("ignore")  # OpenBLAS has threads, and is ready for this
        if os.fork() == 0:
            codes = Mimi.from_pretrained("tiny").encode(np.zeros(1920, np.float32))
            print(json.dumps(codes.shape), flush=True)
            os._exit(0)
        os.wait()
        """)
    assert found == [[1, 16, 1]]


LENGTH = 200  # tokens


def test_beside_a_language_model_in_another_thread(tiny, speech):
    """Each gives what it gives alone, the language model's random choices included."""
    generate = pytest.importorskip("mlx_lm.generate")
    llama = pytest.importorskip("mlx_lm.models.llama")
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128}
    sizes |= {"num_attention_heads": 4, "vocab_size": 200, "rms_norm_eps": 1e-5}
    model = llama.Model(llama.ModelArgs(model_type="llama", **sizes))
    mx.eval(model.parameters())

    started, enough = threading.Event(), threading.Event()
    alone, beside = [], []

    def speak(found: list[int]) -> None:
        mx.random.seed(0)
        sampler = mx.random.categorical
        for token, _ in generate.generate_step(
            mx.array([1]), model, max_tokens=-1, sampler=sampler
        ):
            found.append(int(token))
            started.set()
            if len(found) >= LENGTH and enough.is_set():
                return

    enough.set()
    speak(alone)
    assert len(set(alone)) > 50
    started.clear(), enough.clear()
    pcm = speech("kathleen-1")
    expected = np.array(tiny.encode(pcm))
    thread = threading.Thread(target=speak, args=(beside,))
    thread.start()
    assert started.wait(60)
    encoder, decoder, codes = tiny.encoder_stream(), tiny.decoder_stream(), []
    for start in range(0, pcm.size, 1920):
        codes.append(encoder.push(pcm[start : start + 1920]))
        decoder.push(codes[-1])
    enough.set()
    thread.join()
    assert beside[:LENGTH] == alone
    np.testing.assert_array_equal(np.concatenate([*codes, encoder.flush()], axis=-1), expected)
