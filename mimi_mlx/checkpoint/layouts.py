"""What each published layout calls its tensors.

A checkpoint's names become the Hub's (kyutai/mimi's, as transformers saves them), and those become
Kyutai's again. What is missing, misshapen or left over ends in one error that names it.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import mlx.core as mx

from ..model.config import MimiConfig, shown

Tensors = dict[str, mx.array]

SECTIONS = {"codec_config": "codec_model.", "audio_encoder_config": "audio_encoder."}
"""Where config.json describes the Mimi inside a larger checkpoint, and what its tensors begin with:
Sesame's CSM, Hugging Face's Moshi."""

# What relatives of Mimi, with other decoders and without its codes, call their tensors.
_FOREIGN = {
    "pocket-tts": r"(flow_lm|mimi)\.",
    "the Qwen3-TTS tokenizer": r"(decoder\.pre_transformer|encoder\.encoder)\.",
}

# Parts of Kyutai's names, and of the Hub's for the same tensors: each is replaced, in this order,
# whichever way. Convolutions are apart: _CONVOLUTION.
_KYUTAI = [
    ("encoder.model.", "encoder.layers."),
    ("decoder.model.", "decoder.layers."),
    ("_transformer.transformer.layers.", "_transformer.layers."),
    (".norm1.", ".input_layernorm."),
    (".norm2.", ".post_attention_layernorm."),
    (".linear1.", ".mlp.fc1."),
    (".linear2.", ".mlp.fc2."),
    (".layer_scale_1.", ".self_attn_layer_scale."),
    (".layer_scale_2.", ".mlp_layer_scale."),
    (".self_attn.out_proj.", ".self_attn.o_proj."),
    ("quantizer.rvq_first.vq.layers.", "quantizer.semantic_residual_vector_quantizer.layers."),
    ("quantizer.rvq_rest.vq.layers.", "quantizer.acoustic_residual_vector_quantizer.layers."),
    ("quantizer.rvq_first.", "quantizer.semantic_residual_vector_quantizer."),
    ("quantizer.rvq_rest.", "quantizer.acoustic_residual_vector_quantizer."),
    ("._codebook.embedding_sum", ".codebook.embed_sum"),
    ("._codebook._initialized", ".codebook.initialized"),
    ("._codebook.", ".codebook."),
]

# The Hub's ``.conv.`` is Kyutai's ``.conv.conv.``, or ``.convtr.convtr.`` if it is a transposed
# one; three times so in the resampling between SEANet and the transformers.
_CONVOLUTION = re.compile(r"(\.conv|\.convtr)\1+\.")


def layout_of(names: Collection[str]) -> tuple[str, str]:
    """Whose names a checkpoint's tensors have, and what those of the Mimi inside it begin with."""
    prefix = next((p for p in SECTIONS.values() if any(n.startswith(p) for n in names)), "")
    is_kyutais = any(n.startswith(prefix) and ".vq.layers." in n for n in names)
    return "kyutai" if is_kyutais else "hub", prefix


def hub_names(tensors: Tensors, config: MimiConfig, paths: Iterable[Path]) -> Tensors:
    """The Mimi among the ``tensors`` of files, under the Hub's names.

    Raises:
        ValueError: There is none.
    """
    layout, prefix = layout_of(tensors)
    tensors = {k.removeprefix(prefix): x for k, x in tensors.items() if k.startswith(prefix)}
    for relative, pattern in _FOREIGN.items():
        if any(re.match(pattern, name) for name in tensors):
            raise ValueError(
                f"{listed(paths)} holds {relative}, whose decoder is another and which has no "
                "codes of Mimi's. Give Mimi's own weights, such as kyutai/mimi."
            )
    if layout == "kyutai":
        tensors = _from_kyutai(tensors, config)
    if not any("_residual_vector_quantizer.layers." in name for name in tensors):
        raise ValueError(
            f"{listed(paths)} holds no Mimi: none of its {len(tensors)} tensors is a codebook. "
            "Give kyutai/mimi's model.safetensors, or a tokenizer-*.safetensors of Kyutai's."
        )
    return tensors


class Source:
    """Tensors to take from by name and shape; what goes wrong is gathered into one error."""

    def __init__(self, tensors: Tensors, only: str | None):
        self._tensors = dict(tensors)
        self._wrong: dict[str, list[str]] = {"missing": [], "misshapen": []}
        unused = {None: "$^", "encoder": "decoder|upsample", "decoder": "encoder|downsample"}[only]
        self._dropped = re.compile(rf"{unused}|.*\.codebook\.initialized$")

    def take(self, name: str, *shape: int, dtype: mx.Dtype | None = None) -> mx.array:
        """A tensor that must be there and have this shape and type; any floating one by default.

        Of the default the result is float32.
        """
        tensor = self._tensors.pop(name, None)
        if tensor is None:
            self._wrong["missing"].append(name)
        elif tensor.shape != shape:
            said = f"{name} {shown(list(tensor.shape))} instead of {list(shape)}"
            self._wrong["misshapen"].append(said)
        elif not mx.issubdtype(tensor.dtype, dtype or mx.floating):
            must = dtype or "floating point"
            self._wrong["misshapen"].append(f"{name} is {tensor.dtype} instead of {must}")
        else:
            return tensor.astype(dtype or mx.float32)
        return mx.zeros(shape, dtype or mx.float32)

    def finish(self, paths: Iterable[Path]) -> None:
        """Nothing was missing or misshapen, and nothing is left.

        Raises:
            ValueError: Something was, or is.
        """
        left = [name for name in self._tensors if not self._dropped.match(name)]
        found = []
        for kind, names in {**self._wrong, "unknown": left}.items():
            if names:
                found.append(f"{len(names)} {kind} ({some(sorted(names))})")
        if found:
            raise ValueError(
                f"{listed(paths)} does not fit its configuration: {'; '.join(found)}. "
                "Give the config.json that belongs to these weights."
            )


def check_layers(names: Iterable[str], config: MimiConfig, paths: Iterable[Path]) -> None:
    """The tensors have as many layers as ``config`` says, before a network is made of so many.

    Raises:
        ValueError: They have fewer.
    """
    found = [re.match(r"(?:en|de)coder_transformer\.layers\.(\d+)\.", name) for name in names]
    layers = len({match[1] for match in found if match})
    if layers < config.num_hidden_layers:
        raise ValueError(
            f"{listed(paths)} does not fit its configuration: num_hidden_layers is "
            f"{config.num_hidden_layers}, and its tensors are of {layers} layers. "
            "Give the config.json that belongs to these weights."
        )


def listed(paths: Iterable[Path]) -> str:
    """Files as an error names them."""
    first, *more = map(str, paths)
    return f"{first} and {len(more)} more" if more else first


def some(names: Sequence[str]) -> str:
    """The first of a stranger's names, in printable form, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    plain = (name if len(name) <= 100 and name.isprintable() else shown(name) for name in names[:3])
    return ", ".join(plain) + more


def kyutai_names(tensors: Tensors, config: MimiConfig, transposed: Collection[str]) -> Tensors:
    """Tensors under the Hub's names under Kyutai's, with q, k and v in one matrix.

    Args:
        transposed: The modules that are transposed convolutions, by their names.
    """
    renamed: Tensors = {}
    for name, tensor in tensors.items():
        base, is_query, _ = name.partition("q_proj.weight")
        if is_query:
            k, v = tensors[f"{base}k_proj.weight"], tensors[f"{base}v_proj.weight"]
            tensor = mx.concatenate([_interleaved(tensor, config), _interleaved(k, config), v])
            name = f"{base}in_proj_weight"
        elif name.endswith(("k_proj.weight", "v_proj.weight")):
            continue
        module, is_convolution, last = name.partition(".conv.")
        if is_convolution:
            times = 3 if module in ("downsample", "upsample") else 2
            word = ".convtr" if module in transposed else ".conv"
            name = f"{module}{times * word}.{last}"
        for theirs, hubs in _KYUTAI:
            name = name.replace(hubs, theirs)
        renamed[name] = tensor
    return renamed


def _from_kyutai(tensors: Tensors, config: MimiConfig) -> Tensors:
    renamed: Tensors = {}
    fused = (3 * config.num_attention_heads * config.head_dim, config.hidden_size)
    for name, tensor in tensors.items():
        for theirs, hubs in _KYUTAI:
            name = name.replace(theirs, hubs)
        name = _CONVOLUTION.sub(".conv.", name)
        if name.endswith(".self_attn.in_proj_weight") and tensor.shape == fused:
            q, k, v = mx.split(tensor, 3)
            weights = _half_split(q, config), _half_split(k, config), v
            base = name.removesuffix("in_proj_weight")
            renamed |= {f"{base}{x}_proj.weight": w for x, w in zip("qkv", weights, strict=True)}
        else:
            renamed[name] = tensor
    return renamed


def _half_split(weight: mx.array, config: MimiConfig) -> mx.array:
    """Rows of a query or key projection, from interleaved pairs to one half after the other."""
    pairs = weight.reshape(config.num_attention_heads, -1, 2, weight.shape[-1])
    return pairs.swapaxes(1, 2).reshape(weight.shape)


def _interleaved(weight: mx.array, config: MimiConfig) -> mx.array:
    """The inverse of :func:`_half_split`."""
    halves = weight.reshape(config.num_attention_heads, 2, -1, weight.shape[-1])
    return halves.swapaxes(1, 2).reshape(weight.shape)
