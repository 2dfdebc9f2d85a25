"""Each Mimi there is, behind the same six calls. Used by compare.py, one in each process.

pcm is numpy float32 ``[1, 1, T]``, codes are numpy integers ``[1, K, F]``.
"""

import importlib

import numpy as np


class MimiMlx:
    """This package."""

    def __init__(self, hub: str, kyutai: str, codebooks: int):
        from mimi_mlx import Mimi

        self.codebooks = codebooks
        self.mimi = Mimi.from_pretrained(hub)
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


class Transformers:
    """transformers on PyTorch's CPU: the reference. Its decoder does not stream."""

    def __init__(self, hub: str, kyutai: str, codebooks: int):
        import torch
        from transformers import MimiModel

        self.torch, self.codebooks = torch, codebooks
        torch.set_grad_enabled(False)
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
    """Kyutai's PyTorch package, on the CPU."""

    def __init__(self, hub: str, kyutai: str, codebooks: int):
        import torch
        from moshi.models.loaders import get_mimi

        self.torch = torch
        torch.set_grad_enabled(False)
        self.whole = get_mimi(kyutai, device="cpu", num_codebooks=codebooks)
        self.live = get_mimi(kyutai, device="cpu", num_codebooks=codebooks)
        self.live.streaming_forever(1)

    def reset(self):
        self.live.reset_streaming()

    def encode(self, pcm):
        return self.whole.encode(self.torch.from_numpy(pcm)).numpy()

    def decode(self, codes):
        return self.whole.decode(self.torch.from_numpy(codes).long()).numpy()

    def encode_frame(self, pcm):
        return self.live.encode(self.torch.from_numpy(pcm)).numpy()

    def decode_frame(self, codes):
        return self.live.decode(self.torch.from_numpy(codes).long()).numpy()


class Rustymimi:
    """Kyutai's Rust implementation, on the CPU."""

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
    """moshi_mlx's Mimi, and mlx-audio's, which descends from it."""

    def __init__(self, module: str, kyutai: str, codebooks: int):
        import mlx.core as mx

        source = importlib.import_module(module)
        self.mx, self.mimi = mx, source.Mimi(source.mimi_202407(codebooks))
        self.mimi.load_pytorch_weights(kyutai)
        mx.eval(self.mimi.parameters())

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


# What to import to see whether a peer is installed, and how to make it.
PEERS = {
    "mimi_mlx": ("mimi_mlx", MimiMlx),
    "transformers": ("transformers", Transformers),
    "moshi": ("moshi", Moshi),
    "rustymimi": ("rustymimi", Rustymimi),
    "moshi_mlx": (
        "moshi_mlx",
        lambda _, kyutai, k: KyutaiMlx("moshi_mlx.models.mimi", kyutai, k),
    ),
    "mlx-audio": (
        "mlx_audio",
        lambda _, kyutai, k: KyutaiMlx("mlx_audio.codec.models.mimi.mimi", kyutai, k),
    ),
}
