"""The README.md of a converted or exported folder: what the Hub shows of it."""

import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .. import extras
from ..model.config import MimiConfig

_SNIPPETS = {
    None: "codes = mimi.encode(pcm)  # int32 [1, {num_quantizers}, 13]\npcm = mimi.decode(codes)",
    "encoder": "codes = mimi.encode(pcm)  # int32 [1, {num_quantizers}, 13]",
    "decoder": "codes = np.zeros((1, {num_quantizers}, 13), int)  # yours\n"
    "pcm = mimi.decode(codes)",
}

USE = """\
## Use

```bash
{install}  # of mimi_mlx, where its source is
```

```python
import numpy as np
from mimi_mlx import Mimi

mimi = Mimi.from_pretrained("{name}")
pcm = np.zeros(24000, np.float32)  # your speech: 24 kHz, one channel, in [-1, 1]
{snippet}
```
"""
"""The part of a card on how a model is loaded: of ``install``, ``name`` and ``snippet``."""

_CARD = """\
---
{front}
---

# {title}

Mimi, the streaming neural audio codec of Kyutai, for MLX, converted from `{source}`{commit} by \
mimi_mlx {version}.

- Precision: {precision}. Codebooks, distances, norms and residual streams are float32.
- {num_quantizers} codebooks; fingerprint {fingerprint}.{half}
- Licence: {licence}

{use}"""


_LOADED = {
    "hub": """\
from transformers import AutoFeatureExtractor, MimiModel  # 5 or later: 4 ignores the window

model = MimiModel.from_pretrained("{name}")
feature_extractor = AutoFeatureExtractor.from_pretrained("{name}")""",
    "kyutai": """\
from moshi.models.loaders import get_mimi

mimi = get_mimi("{name}/{file}", device="cpu", num_codebooks={books})

import rustymimi

tokenizer = rustymimi.Tokenizer("{name}/{file}", num_codebooks={books})""",
}

_EXPORTED_CARD = """\
---
{front}
---

# {title}

Mimi, the streaming neural audio codec of Kyutai, for PyTorch, exported from `{source}`{commit} by \
mimi_mlx {version}.{trained}

- float32. Layer scales are in the projections before them, and each codebook entry's usage is one.
- {num_quantizers} codebooks.
- Licence: {licence}

## Use

```python
{snippet}
```
"""


def text(config: dict[str, Any], name: str) -> str:
    """The card of a converted folder with this config.json; ``name`` is how it is loaded."""
    about = config["mimi_mlx"]
    return _CARD.format(
        **config,
        **about,
        **_origin(about["source"], about["revision"], "mlx"),
        title=name.rpartition("/")[2],
        precision=_precision(config),
        half=f" The {about['only']} alone." if about["only"] else "",
        use=USE.format(
            install=extras.install(), name=name, snippet=_SNIPPETS[about["only"]].format(**config)
        ),
    )


def exported(
    source: str, revision: str | None, is_trained: bool, config: MimiConfig, file: Path, layout: str
) -> str:
    """The card of an exported folder, with the weights in ``file``, in a layout's names."""
    return _EXPORTED_CARD.format(
        **_origin(source, revision, {"hub": "transformers", "kyutai": "moshi"}[layout]),
        title=file.parent.name,
        source=source,
        version=version("mimi_mlx"),
        trained=" Its decoder was trained on other sound before." if is_trained else "",
        num_quantizers=config.num_quantizers,
        snippet=_LOADED[layout].format(
            name=file.parent, file=file.name, books=min(8, config.num_quantizers)
        ),
    )


def _origin(source: str, revision: str | None, library: str) -> dict[str, Any]:
    """What a card says of where its weights are from: front matter, commit and licence."""
    from huggingface_hub import ModelCardData

    base = re.fullmatch(r"(?:hf://)?([\w.-]+/[\w.-]+)(?:/.*\.safetensors)?", source)
    origin = base[1] if base and revision else None  # with a commit: from the Hub
    is_kyutais = origin is not None and origin.startswith("kyutai/")
    front = ModelCardData(
        base_model=origin,
        library_name=library,
        license="cc-by-4.0" if is_kyutais else None,
        pipeline_tag="audio-to-audio",
        tags=[*(["mlx"] if library == "mlx" else []), "mimi", "audio", "codec"],
    )
    return {
        "front": front,
        "commit": f" at {revision}" if revision else "",
        "licence": "CC-BY 4.0, as Kyutai's weights." if is_kyutais else "that of the source.",
    }


def _precision(config: dict[str, Any]) -> str:
    quantised = config.get("quantization")
    if not quantised:
        return f"convolutions and transformer linears {config['torch_dtype']}"
    return (
        f"transformer linears {quantised['bits']} bit and the convolutions that are matmuls "
        f"{quantised['convolution_bits']} bit in groups of {quantised['group_size']}, the other "
        f"convolutions {config['torch_dtype']}"
    )
