"""Clones and saved streams go on exactly; a saved stream that does not fit is refused by name."""

import os
import re
import shutil

import fuzz_stream
import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten
from models import model, unpacked_tiny
from safetensors.numpy import save
from streams import FRAME

from mimi_mlx import Mimi
from mimi_mlx.checkpoint import precision
from mimi_mlx.checkpoint.hub import find
from mimi_mlx.streaming import saved

K = 8


@pytest.fixture
def encoder(tiny, speech):
    """Two rows, past the window, in the middle of a frame."""
    stream = tiny.encoder_stream(2, K)
    stream.push(both(speech)[..., : 20 * FRAME + 700])
    return stream


@pytest.fixture
def decoder(tiny, speech):
    """Two rows, past the window, at K codebooks."""
    stream = tiny.decoder_stream(2)
    stream.push(tiny.encode(both(speech)[..., : 20 * FRAME], K))
    return stream


def both(speech) -> np.ndarray:
    return np.stack([speech(name)[: 30 * FRAME] for name in ("kathleen-2", "kerstin-3")])[:, None]


def rest(stream, speech) -> np.ndarray:
    """What the stream gives for the rest of the clips."""
    codes = [stream.push(both(speech)[..., 20 * FRAME + 700 : -100]), stream.flush()]
    return np.concatenate([np.array(c) for c in codes], -1)


def test_a_clone_goes_on_from_here_and_leaves_the_other(encoder, decoder, tiny, speech):
    twin, second = encoder.clone(), encoder.clone()
    expected = rest(encoder, speech)
    np.testing.assert_array_equal(rest(twin, speech), expected)
    twin.reset()
    np.testing.assert_array_equal(rest(second, speech), expected)
    codes = tiny.encode(both(speech)[..., 20 * FRAME :], K)
    twin = decoder.clone()
    np.testing.assert_array_equal(twin.push(codes), decoder.push(codes))


def test_a_saved_encoder_goes_on_exactly(encoder, tiny, speech, tmp_path):
    path = tmp_path / "call.safetensors"
    encoder.save(path)
    other = tiny.load_stream(path)
    expected = rest(encoder, speech)
    np.testing.assert_array_equal(rest(other, speech), expected)
    np.testing.assert_array_equal(rest(tiny.load_stream(str(path)), speech), expected)
    assert os.listdir(tmp_path) == ["call.safetensors"]


def test_a_saved_decoder_goes_on_exactly(decoder, tiny, speech, tmp_path):
    path = tmp_path / "call"  # any name will do
    decoder.save(path)
    codes = tiny.encode(both(speech)[..., 20 * FRAME :], K)
    loaded = tiny.load_stream(path)
    np.testing.assert_array_equal(loaded.push(codes), decoder.push(codes))
    with pytest.raises(ValueError, match="began with 8"):
        loaded.push(codes[:, :4])


def test_a_decoder_that_has_not_begun(tiny, speech, tmp_path):
    path = tmp_path / "new.safetensors"
    tiny.decoder_stream().save(path)
    codes = tiny.encode(speech("kathleen-1")[: 3 * FRAME], 5)
    np.testing.assert_array_equal(tiny.load_stream(path).push(codes), tiny.decode(codes))


def test_a_flushed_encoder_stays_flushed(encoder, tiny, tmp_path):
    encoder.flush()
    encoder.save(tmp_path / "ended.safetensors")
    loaded = tiny.load_stream(tmp_path / "ended.safetensors")
    with pytest.raises(ValueError, match=r"push after flush.*reset\(\)"):
        loaded.push(np.zeros((2, 1, 5), np.float32))


def test_a_state_of_other_arrays_is_refused(encoder, tiny, tmp_path):
    """As of a model with these codebooks and another number of layers."""
    path = tmp_path / "call.safetensors"
    encoder.save(path)
    tensors, facts = mx.load(str(path), return_metadata=True)
    mx.eval(tensors)
    name = "state.1.0.0"  # keys and values of the first layer
    leaf = tensors[name]
    for change in ({name: leaf[:, :1]}, {name: leaf.astype(mx.float16)}, {"state.1.0.9": leaf}):
        changed = {name: np.array(leaf) for name, leaf in {**tensors, **change}.items()}
        path.write_bytes(fuzz_stream.sealed(facts, changed))
        with pytest.raises(ValueError, match=r"call.safetensors holds a state of other arrays"):
            tiny.load_stream(path)


def test_another_models_stream_is_refused(encoder, tiny, tiny_tensors, tmp_path):
    encoder.save(tmp_path / "call.safetensors")
    name = "quantizer.acoustic_residual_vector_quantizer.layers.14.codebook.embed_sum"
    tiny_tensors[name] = tiny_tensors[name] * np.float32(1.01)
    other = model(tiny_tensors, tiny.config, tmp_path)
    message = f"fingerprint {tiny.fingerprint}; this model's is {other.fingerprint}"
    with pytest.raises(ValueError, match=message):
        other.load_stream(tmp_path / "call.safetensors")


def test_a_stream_goes_on_in_the_model_in_another_precision(encoder, tiny, tmp_path):
    """States are float32 whatever the weights are, so that a reduced model can take them over."""
    encoder.save(tmp_path / "call.safetensors")
    half = unpacked_tiny()
    precision.reduce(half, precision.Recipe("float16"))
    stream = Mimi(half).load_stream(tmp_path / "call.safetensors")
    for (_, mine), (_, its) in zip(
        tree_flatten(stream.state), tree_flatten(encoder.state), strict=True
    ):
        assert mine.dtype == its.dtype
        assert mx.array_equal(mine, its)


def test_a_flipped_bit_is_noticed(encoder, tiny, tmp_path):
    """Wherever it is, in the header or in the state."""
    path = tmp_path / "call.safetensors"
    encoder.save(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for at in [*rng.integers(0, 3000, 60), *rng.integers(0, len(whole), 60)]:
        data = bytearray(whole)
        data[at] ^= 1 << rng.integers(8)
        path.write_bytes(data)
        with pytest.raises(ValueError, match=re.escape(str(path))):
            tiny.load_stream(path)


def test_every_field_is_needed_and_checked(encoder, decoder, tiny, tmp_path):
    path = tmp_path / "call.safetensors"
    odd = {
        "format": ["mimi_mlx"],
        "version": ["0", "3", ""],
        "half": ["", "both"],
        "fingerprint": ["x", "0" * 17],
        "batch_size": ["0", "-2", "1", "1000000000", "9" * 99, "2.0", "\u0662", " 2", "nan"],
        "num_codebooks": ["-1", "17", "8.0", "9" * 99],
        "flushed": ["2", "yes", ""],
        "crc32": ["", "0" * 9],
    }
    for stream in (encoder, decoder):
        stream.save(path)
        _, facts, tensors = fuzz_stream.read(path)
        assert facts.keys() == odd.keys()
        for name, values in odd.items():
            without = {key: fact for key, fact in facts.items() if key != name}
            for said in [without, *({**facts, name: value} for value in values)]:
                crc = {"crc32": saved.checksum(said, tensors)} if name != "crc32" else {}
                path.write_bytes(save(tensors, said | crc))
                with pytest.raises(ValueError, match=re.escape(str(path))):
                    tiny.load_stream(path)
        path.write_bytes(fuzz_stream.sealed(facts | {"more": "1"}, tensors))
        with pytest.raises(ValueError, match="'more' that no stream has"):
            tiny.load_stream(path)


@pytest.mark.parametrize(
    ("half", "facts"),
    [
        ("encoder", {"num_codebooks": "0"}),
        ("encoder", {"flushed": "1"}),  # with samples that wait
        ("encoder", {"half": "decoder"}),
        ("decoder", {"flushed": "1"}),
        ("decoder", {"half": "encoder"}),
    ],
)
def test_facts_that_contradict_the_state(half, facts, request, tiny, tmp_path):
    path = tmp_path / "call.safetensors"
    request.getfixturevalue(half).save(path)
    base = fuzz_stream.read(path)
    path.write_bytes(fuzz_stream.sealed(base.facts | facts, base.tensors))
    with pytest.raises(ValueError, match=re.escape(str(path))):
        tiny.load_stream(path)


def test_values_that_no_stream_has(encoder, tiny, tmp_path):
    path = tmp_path / "call.safetensors"
    encoder.save(path)
    _, facts, tensors = fuzz_stream.read(path)
    whole_frame = np.zeros((2, 1, FRAME), np.float32)
    for name, value, rule in (
        ("state.1.1", np.array([0, -1], np.int32), r"\[0, -1\] positions .* 0 to 31"),
        ("state.1.1", np.array([32, 0], np.int32), r"\[32, 0\] positions"),
        ("state.0.0", np.full((2, 6, 1), np.nan, np.float32), r"NaN .* 'state.0.0'"),
        ("pending", np.full((2, 1, 5), np.inf, np.float32), r"infinite .* 'pending'"),
        ("pending", whole_frame, r"'pending'.* 1920\].* 1919\]"),
        ("pending", whole_frame[0], r"'pending'"),
    ):
        path.write_bytes(fuzz_stream.sealed(facts, tensors | {name: value}))
        with pytest.raises(ValueError, match=rf"call\.safetensors .*{rule}"):
            tiny.load_stream(path)


def test_a_stream_of_the_half_that_is_not_loaded(encoder, tmp_path):
    encoder.save(tmp_path / "call.safetensors")
    only = Mimi.from_pretrained("tiny", only="decoder")
    with pytest.raises(ValueError, match="stream of the encoder, which this model was loaded"):
        only.load_stream(tmp_path / "call.safetensors")


def test_some_attacks(tmp_path):
    fuzzer = fuzz_stream.Fuzzer(tmp_path)
    for seed in (*fuzz_stream.FOUND, *range(300)):
        fuzzer.attack(seed)


def test_files_that_are_no_saved_stream(encoder, tiny, tmp_path):
    path = tmp_path / "call.safetensors"
    with pytest.raises(ValueError, match="cannot be read as a saved stream"):
        tiny.load_stream(path)
    encoder.save(path)
    whole = path.read_bytes()
    for length in (0, 7, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="cannot be read as a saved stream"):
            tiny.load_stream(path)
    shutil.copy(find("tiny").files[0], path)
    with pytest.raises(ValueError, match=r"a saved stream says 'mimi_mlx.stream' '2'"):
        tiny.load_stream(path)


def test_a_save_that_fails_leaves_the_file_that_was_there(encoder, tmp_path, monkeypatch):
    path = tmp_path / "call.safetensors"
    path.write_bytes(b"before")

    def fail(file, tensors, facts):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(mx, "save_safetensors", fail)
    with pytest.raises(OSError, match="disk full"):
        encoder.save(path)
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["call.safetensors"]
