"""The README.md of a converted folder: what the Hub shows of it."""

import re
from typing import Any

from .. import extras

_SNIPPETS = {
    None: "codes = mimi.encode(pcm)  # int32 [1, {num_quantizers}, 13]\npcm = mimi.decode(codes)",
    "encoder": "codes = mimi.encode(pcm)  # int32 [1, {num_quantizers}, 13]",
    "decoder": "codes = np.zeros((1, {num_quantizers}, 13), int)  # yours\n"
    "pcm = mimi.decode(codes)",
}

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


def text(config: dict[str, Any], name: str) -> str:
    """The card of a folder with this config.json; ``name`` is how it is loaded."""
    from huggingface_hub import ModelCardData

    about = config["mimi_mlx"]
    base = re.fullmatch(r"(?:hf://)?([\w.-]+/[\w.-]+)(?:/.*\.safetensors)?", about["source"])
    origin = base[1] if base and about["revision"] else None  # with a commit: from the Hub
    is_kyutais = origin is not None and origin.startswith("kyutai/")
    front = ModelCardData(
        base_model=origin,
        library_name="mlx",
        license="cc-by-4.0" if is_kyutais else None,
        pipeline_tag="audio-to-audio",
        tags=["mlx", "mimi", "audio", "codec"],
    )
    return _CARD.format(
        **config,
        **about,
        front=front,
        title=name.rpartition("/")[2],
        commit=f" at {about['revision']}" if about["revision"] else "",
        precision=_precision(config),
        half=f" The {about['only']} alone." if about["only"] else "",
        licence="CC-BY 4.0, as Kyutai's weights." if is_kyutais else "that of the source.",
        name=name,
        install=extras.install(),
        snippet=_SNIPPETS[about["only"]].format(**config),
    )


def _precision(config: dict[str, Any]) -> str:
    quantised = config.get("quantization")
    if not quantised:
        return f"convolutions and transformer linears {config['torch_dtype']}"
    return (
        f"transformer linears {quantised['bits']} bit and the convolutions that are matmuls "
        f"{quantised['convolution_bits']} bit in groups of {quantised['group_size']}, the other "
        f"convolutions {config['torch_dtype']}"
    )
