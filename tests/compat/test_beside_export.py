"""What export writes, loaded by those whose layouts these are, beside the weights it came from."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import seeded
from kyutai import to_kyutai
from paths import TINY
from safetensors.numpy import load_file, save_file

from mimi_mlx.checkpoint.export import FILES, export
from mimi_mlx.model.config import MimiConfig

# Of the waveform's RMS: folding a layer scale rounds once more. In mimi_mlx not a bit is another.
CLOSE = 2e-6

CODEBOOKS = 16  # that both sizes have

SIZES = ["tiny", pytest.param("full", marks=pytest.mark.slow)]

Model = Callable[[np.ndarray], tuple[Any, Any]]
"""A clip ``[T]`` to its codes and their waveform."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """For each size a folder of its own with published weights, which are gone at the end."""
    made = tmp_path_factory.mktemp("exported")

    def folder(size: str) -> Path:
        if (made / size).exists():
            return made / size
        (made / size / "hub").mkdir(parents=True)
        config = json.loads((TINY / "config.json").read_text()) if size == "tiny" else seeded.FULL
        tensors = (
            load_file(TINY / FILES["hub"])
            if size == "tiny"
            else seeded.tensors(seeded.FULL, seeded.SEED, seeded.SCALES)
        )
        (made / size / "hub" / "config.json").write_text(json.dumps(config))
        save_file(tensors, made / size / "hub" / FILES["hub"], {"format": "pt"})
        save_file(to_kyutai(tensors, config["num_attention_heads"]), made / size / FILES["kyutai"])
        return made / size

    yield folder
    shutil.rmtree(made)


def same(theirs: Model, ours: Model, clip: np.ndarray) -> None:
    """Two models have the same codes, and waveforms within CLOSE."""
    (codes, pcm), (found, heard) = (
        [np.asarray(x) for x in model(clip)] for model in (theirs, ours)
    )
    assert codes.shape == (1, CODEBOOKS, len(clip) // 1920) and pcm.std() > 1e-3
    np.testing.assert_array_equal(found, codes)
    assert np.sqrt(np.square(heard - pcm).mean() / np.square(pcm).mean()) <= CLOSE


@pytest.fixture
def clip(speech) -> np.ndarray:
    return speech("kathleen-1")[6000 : 6000 + 14 * 1920]


@pytest.mark.parametrize("size", SIZES)
def test_transformers_loads_it(folder, clip, size):
    torch, transformers = (pytest.importorskip(name) for name in ("torch", "transformers"))

    def load(path: Path) -> Model:
        model, said = transformers.MimiModel.from_pretrained(path, output_loading_info=True)
        assert not any(said.values()), said

        def model_of(clip: np.ndarray) -> tuple[Any, Any]:
            with torch.no_grad():
                codes = model.encode(torch.tensor(clip)[None, None], num_quantizers=CODEBOOKS)[0]
                return codes, model.decode(codes)[0]

        return model_of

    where = folder(size)
    export(str(where / "hub"), where / "out")
    same(load(where / "hub"), load(where / "out"), clip)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(where / "out")
    assert extractor(clip, sampling_rate=24000)["input_values"][0].shape == (1, len(clip))
    shutil.rmtree(where / "out")


@pytest.mark.parametrize("size", SIZES)
def test_moshi_loads_it(folder, clip, size, monkeypatch):
    monkeypatch.setenv("NO_TORCH_COMPILE", "1")  # for minutes
    torch, loaders = (pytest.importorskip(name) for name in ("torch", "moshi.models.loaders"))

    def load(path: Path) -> Model:
        sizes = moshis(MimiConfig.from_dict(json.loads((where / "hub/config.json").read_text())))
        model = loaders.get_mimi(path, sizes, num_codebooks=CODEBOOKS)

        def model_of(clip: np.ndarray) -> tuple[Any, Any]:
            with torch.no_grad():
                codes = model.encode(torch.tensor(clip)[None, None])
                return codes, model.decode(codes)

        return model_of

    where = folder(size)
    made = export(str(where / "hub"), where / "out", "kyutai")
    same(load(where / FILES["kyutai"]), load(made.file), clip)
    shutil.rmtree(where / "out")


def moshis(config: MimiConfig) -> dict[str, Any] | None:
    """moshi's words for sizes; None are kyutai/mimi's."""
    if config == MimiConfig():
        return None
    loaders = pytest.importorskip("moshi.models.loaders")
    hidden = config.hidden_size
    ends = {"input_dimension": hidden, "output_dimension": hidden}
    return {
        **loaders._mimi_config,
        "seanet": {
            **loaders._seanet_kwargs,
            **{"dimension": hidden, "n_filters": config.num_filters},
        },
        "quantizer": {
            **{"dimension": config.codebook_dim, "n_q": config.num_quantizers},
            **{"bins": config.codebook_size, **ends},
        },
        "transformer": {
            **loaders._transformer_kwargs,
            **{"d_model": hidden, "input_dimension": hidden, "output_dimensions": [hidden]},
            **{"num_heads": config.num_attention_heads, "num_layers": config.num_hidden_layers},
            **{"dim_feedforward": config.intermediate_size, "context": config.sliding_window},
        },
    }


@pytest.mark.slow
def test_rustymimi_loads_it(folder, clip):
    """Of kyutai/mimi's sizes, which are all that it knows."""
    rustymimi = pytest.importorskip("rustymimi")

    def load(path: Path) -> Model:
        model = rustymimi.Tokenizer(str(path), num_codebooks=CODEBOOKS)

        def model_of(clip: np.ndarray) -> tuple[Any, Any]:
            codes = model.encode(clip[None, None])
            return codes, model.decode(codes)

        return model_of

    where = folder("full")
    made = export(str(where / "hub"), where / "out", "kyutai")
    same(load(where / FILES["kyutai"]), load(made.file), clip)
    shutil.rmtree(where / "out")
