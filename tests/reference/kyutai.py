"""The Hub's layout of weights written as Kyutai's own, to test that both load alike."""

import re

import numpy as np

Tensors = dict[str, np.ndarray]

# From the Hub's names to Kyutai's, in order.
RENAMES = [
    (r"^(encoder|decoder)\.layers\.", r"\1.model."),
    (r"^(decoder\.model\.(2|5|8|11))\.conv\.", r"\1.convtr.convtr."),  # the transposed ones
    (r"^(encoder|decoder)(\.model\..*?)\.conv\.", r"\1\2.conv.conv."),
    (r"^downsample\.conv\.", "downsample.conv.conv.conv."),
    (r"^upsample\.conv\.", "upsample.convtr.convtr.convtr."),
    (r"_transformer\.layers\.", "_transformer.transformer.layers."),
    (r"\.input_layernorm\.", ".norm1."),
    (r"\.post_attention_layernorm\.", ".norm2."),
    (r"\.mlp\.fc([12])\.", r".linear\1."),
    (r"\.self_attn_layer_scale\.", ".layer_scale_1."),
    (r"\.mlp_layer_scale\.", ".layer_scale_2."),
    (r"\.o_proj\.weight$", ".out_proj.weight"),
    (r"\.semantic_residual_vector_quantizer\.", ".rvq_first."),
    (r"\.acoustic_residual_vector_quantizer\.", ".rvq_rest."),
    (r"\.layers\.(\d+)\.codebook\.", r".vq.layers.\1._codebook."),
    (r"_codebook\.embed_sum$", "_codebook.embedding_sum"),
    (r"_codebook\.initialized$", "_codebook._initialized"),
]


def to_kyutai(hub: Tensors, heads: int) -> Tensors:
    """The same weights as Kyutai publishes them: one matrix for q, k and v, rotation in pairs."""
    hub, fused = dict(hub), {}
    for name in [name for name in hub if name.endswith("q_proj.weight")]:
        base = name.removesuffix("q_proj.weight")
        q, k, v = (hub.pop(f"{base}{x}_proj.weight") for x in "qkv")
        rows = [interleaved(q, heads), interleaved(k, heads), v]
        fused[f"{base}in_proj_weight"] = np.concatenate(rows)
    out = {}
    for name, tensor in (hub | fused).items():
        for pattern, replacement in RENAMES:
            name = re.sub(pattern, replacement, name)
        out[name] = tensor
    return out


def interleaved(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of each head from (first half, second half) to pairs of one of each."""
    first, second = np.split(weight.reshape(heads, -1, weight.shape[1]), 2, axis=1)
    return np.stack([first, second], axis=2).reshape(weight.shape)
