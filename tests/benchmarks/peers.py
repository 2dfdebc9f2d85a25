"""Each Mimi there is, behind the same calls, run as its own users run it.

pcm is numpy float32 ``[B, 1, T]``, codes are numpy integers ``[B, K, F]``. Nothing of mimi_mlx is
imported but by mimi_mlx itself: the OpenBLAS that it brings slows PyTorch down.
"""

import contextlib
import ctypes
import importlib
import importlib.metadata
import os
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

OPENBLAS = "libopenblas.so.0"


def cores() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def openblas() -> str | None:
    """The OpenBLAS whose functions all libraries of this process would call, if any."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "openblas_get_config"):
        return None
    library.openblas_get_config.restype = ctypes.c_char_p
    name = " ".join(library.openblas_get_config().decode().split()[:2])
    return f"{name} in front, threads: {library.openblas_get_num_threads()}"


def mlx_given() -> str:
    """What MLX computes with."""
    import mlx.core as mx

    device = mx.default_device().type.name
    given = f"mlx {importlib.metadata.version('mlx')} on the {device}"
    return f"{given}, {openblas() or 'its own BLAS'}" if device == "cpu" else given


class MimiMlx:
    """This package, which puts OpenBLAS in front of MLX's own BLAS by itself."""

    def __init__(self, hub: str, kyutai: str, codebooks: int):
        from mimi_mlx import Mimi

        self.codebooks = codebooks
        self.mimi = Mimi.from_pretrained(hub)
        self.given = mlx_given()
        self.reset()

    def reset(self):
        self.encoder = self.mimi.encoder_stream(num_codebooks=self.codebooks)
        self.decoder = self.mimi.decoder_stream()

    def encode(self, pcm):
        return np.array(self.mimi.encode(pcm, num_codebooks=self.codebooks))

    def decode(self, codes):
        return np.array(self.mimi.decode(codes))

    def encode_frame(self, pcm):
        return np.array(self.encoder.push(pcm))

    def decode_frame(self, codes):
        return np.array(self.decoder.push(codes))


def torch_set_up():
    """torch, without gradients and with a thread a core, and what it computes with."""
    import torch

    torch.set_grad_enabled(False)
    torch.set_num_threads(cores())
    backends = {"MKL": torch.backends.mkl, "oneDNN": torch.backends.mkldnn}
    own = [name for name, backend in backends.items() if backend.is_available()]
    given = [f"torch {torch.__version__} on the cpu", *own, f"threads: {torch.get_num_threads()}"]
    return torch, ", ".join(given)


class Transformers:
    """transformers on PyTorch's CPU: the reference. Its decoder does not stream."""

    def __init__(self, hub: str, kyutai: str, codebooks: int):
        from transformers import MimiModel

        self.codebooks = codebooks
        self.torch, self.given = torch_set_up()
        self.model = MimiModel.from_pretrained(hub).eval()
        self.reset()

    def reset(self):
        self.caches = {}

    def encode(self, pcm):
        pcm = self.torch.from_numpy(pcm)
        return self.model.encode(pcm, num_quantizers=self.codebooks).audio_codes.numpy()

    def decode(self, codes):
        return self.model.decode(self.torch.from_numpy(codes).long()).audio_values.numpy()

    def encode_frame(self, pcm):
        pcm, k = self.torch.from_numpy(pcm), self.codebooks
        out = self.model.encode(pcm, num_quantizers=k, use_streaming=True, **self.caches)
        self.caches = {
            "encoder_past_key_values": out.encoder_past_key_values,
            "padding_cache": out.padding_cache,
        }
        return out.audio_codes.numpy()

    decode_frame = None


class Moshi:
    """Kyutai's PyTorch package, on the CPU. Its first frame opens the stream."""

    def __init__(self, hub: str, kyutai: str, codebooks: int):
        from moshi.models.loaders import get_mimi

        self.torch, self.given = torch_set_up()
        self.mimi = get_mimi(kyutai, device="cpu", num_codebooks=codebooks)
        self.stream = contextlib.ExitStack()

    def reset(self):
        self.stream.close()

    def open_stream(self):
        if not self.mimi.is_streaming:
            self.stream.enter_context(self.mimi.streaming(1))

    def encode(self, pcm):
        return self.mimi.encode(self.torch.from_numpy(pcm)).numpy()

    def decode(self, codes):
        return self.mimi.decode(self.torch.from_numpy(codes).long()).numpy()

    def encode_frame(self, pcm):
        self.open_stream()
        return self.encode(pcm)

    def decode_frame(self, codes):
        self.open_stream()
        return self.decode(codes)


class Rustymimi:
    """Kyutai's Rust implementation, on the CPU."""

    given = "its own kernels and threads, on the cpu"

    def __init__(self, hub: str, kyutai: str, codebooks: int):
        import rustymimi

        self.tokenizer = rustymimi.Tokenizer(kyutai, num_codebooks=codebooks)

    def reset(self):
        self.tokenizer.reset()

    def encode(self, pcm):
        self.tokenizer.reset()
        return self.tokenizer.encode(pcm)

    def decode(self, codes):
        self.tokenizer.reset()
        return self.tokenizer.decode(codes.astype(np.uint32))

    def encode_frame(self, pcm):
        return self.tokenizer.encode_step(pcm)

    def decode_frame(self, codes):
        return self.tokenizer.decode_step(codes.astype(np.uint32))


class KyutaiMlx:
    """moshi_mlx's Mimi, and mlx-audio's, which descends from it.

    They are given the OpenBLAS that mimi_mlx has. Without it they are some 10 times slower.
    """

    def __init__(self, module: str, kyutai: str, codebooks: int):
        with contextlib.suppress(OSError):
            ctypes.CDLL(OPENBLAS, mode=ctypes.RTLD_GLOBAL)
        import mlx.core as mx

        source = importlib.import_module(module)
        self.mx, self.mimi = mx, source.Mimi(source.mimi_202407(codebooks))
        self.mimi.load_pytorch_weights(kyutai)
        mx.eval(self.mimi.parameters())
        self.given = mlx_given()

    def reset(self):
        self.mimi.reset_state()

    def encode(self, pcm):
        return np.array(self.mimi.encode(self.mx.array(pcm)))

    def decode(self, codes):
        return np.array(self.mimi.decode(self.mx.array(codes)))

    def encode_frame(self, pcm):
        return np.array(self.mimi.encode_step(self.mx.array(pcm)))

    def decode_frame(self, codes):
        return np.array(self.mimi.decode_step(self.mx.array(codes)))


class Peer(NamedTuple):
    """An implementation: its package, how it is made of weights, and whether it takes batches."""

    package: str
    make: Callable
    batches: bool


PEERS = {
    "mimi_mlx": Peer("mimi_mlx", MimiMlx, True),
    "transformers": Peer("transformers", Transformers, True),
    "moshi": Peer("moshi", Moshi, True),
    "rustymimi": Peer("rustymimi", Rustymimi, False),
    "moshi_mlx": Peer(
        "moshi_mlx", lambda _, kyutai, k: KyutaiMlx("moshi_mlx.models.mimi", kyutai, k), False
    ),
    "mlx-audio": Peer(
        "mlx_audio",
        lambda _, kyutai, k: KyutaiMlx("mlx_audio.codec.models.mimi.mimi", kyutai, k),
        False,
    ),
}
