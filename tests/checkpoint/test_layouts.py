"""Both published layouts, flat or inside a larger checkpoint, give the same model."""

import mlx.core as mx
import numpy as np
import pytest
from kyutai import Tensors, to_kyutai
from models import model, parameters

FOREIGN = {"text_emb.weight": np.ones((3, 2), np.float32), "depth.norm": np.ones(5, np.float32)}


@pytest.fixture
def kyutai(tiny, tiny_tensors) -> Tensors:
    return to_kyutai(tiny_tensors, tiny.config.num_attention_heads)


def test_kyutai_names_are_those_published(kyutai, tiny, tiny_tensors):
    fused = 2 * tiny.config.num_hidden_layers  # of each three tensors, one is left
    assert len(kyutai) == len(tiny_tensors) - 2 * fused
    assert not kyutai.keys() & tiny_tensors.keys()
    assert kyutai.keys() >= {
        "encoder.model.1.block.1.conv.conv.weight",
        "encoder.model.3.conv.conv.bias",
        "encoder_transformer.transformer.layers.0.self_attn.in_proj_weight",
        "encoder_transformer.transformer.layers.0.layer_scale_1.scale",
        "downsample.conv.conv.conv.weight",
        "quantizer.rvq_first.input_proj.weight",
        "quantizer.rvq_rest.vq.layers.14._codebook.embedding_sum",
        "quantizer.rvq_rest.vq.layers.14._codebook._initialized",
        "upsample.convtr.convtr.convtr.weight",
        "decoder_transformer.transformer.layers.1.linear2.weight",
        "decoder_transformer.transformer.layers.1.norm2.bias",
        "decoder.model.2.convtr.convtr.weight",
        "decoder.model.14.conv.conv.weight",
    }


@pytest.mark.parametrize("layout", ["hub", "kyutai"])
@pytest.mark.parametrize("prefix", ["", "codec_model.", "audio_encoder."])
def test_layouts_give_equal_parameters(tiny, tiny_tensors, kyutai, tmp_path, layout, prefix):
    tensors = tiny_tensors if layout == "hub" else kyutai
    tensors = {prefix + name: tensor for name, tensor in tensors.items()}
    mimi = model(tensors | (FOREIGN if prefix else {}), tiny.config, tmp_path)
    expected, found = parameters(tiny), parameters(mimi)
    assert expected.keys() == found.keys()
    assert not [name for name in expected if not mx.array_equal(expected[name], found[name])]


def test_kyutai_layout_gives_the_same_codes(tiny, kyutai, speech, tmp_path):
    mimi = model(kyutai, tiny.config, tmp_path)
    pcm = speech("kathleen-1")
    assert mx.array_equal(mimi.encode(pcm), tiny.encode(pcm))
