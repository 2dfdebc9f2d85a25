"""transformers' documented interface, against recordings of transformers itself."""

import itertools
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
import recording

from mimi_mlx import MimiConfig, MimiFeatureExtractor, MimiModel
from mimi_mlx.compat import placement
from mimi_mlx.compat.features import MimiFeatures

HERE = Path(__file__).parents[1]

# The example of transformers' page on Mimi with its imports changed, as docs/coming-from.md has it.
EXAMPLE = """
import soundfile
from mimi_mlx import MimiFeatureExtractor, MimiModel

model = MimiModel.from_pretrained("tiny")                         # or "kyutai/mimi"
feature_extractor = MimiFeatureExtractor.from_pretrained("tiny")

audio_sample, rate = soundfile.read("tests/speech/kathleen-1.flac")
inputs = feature_extractor(raw_audio=audio_sample, sampling_rate=rate, return_tensors="mlx")

encoder_outputs = model.encode(inputs["input_values"], inputs["padding_mask"])
audio_values = model.decode(encoder_outputs.audio_codes, inputs["padding_mask"])[0]
# or the equivalent with a forward pass
audio_values = model(inputs["input_values"], inputs["padding_mask"]).audio_values
"""

CLOSE = 1e-4  # of the RMS: the promise for waveforms


@pytest.fixture(scope="module")
def model(tiny) -> MimiModel:
    return MimiModel(tiny)


@pytest.fixture(scope="module")
def reference() -> recording.Recording:
    return recording.load("compat_transformers")


@pytest.fixture(scope="module")
def recorded(reference) -> dict[str, np.ndarray]:
    return reference.arrays


@pytest.fixture(scope="module")
def sentence(reference) -> np.ndarray:
    return reference.clips["sentence"].read()  # [1, 1, T]


@pytest.fixture(scope="module")
def inputs(reference) -> MimiFeatures:
    """A batch of two clips of unequal, ragged lengths."""
    clips = [reference.clips[name].read()[0, 0] for name in ("longer", "shorter")]
    return MimiFeatureExtractor()(clips, sampling_rate=24000)


def assert_close(pcm: mx.array, expected: np.ndarray) -> None:
    pcm = np.asarray(pcm)
    assert pcm.shape == expected.shape
    assert np.sqrt(np.mean((pcm - expected) ** 2) / np.mean(expected**2)) < CLOSE


# Against the recordings


def test_the_pages_example_runs_with_its_imports_changed(monkeypatch, recorded, reference):
    monkeypatch.chdir(HERE.parent)
    names = {}
    exec(EXAMPLE, names)
    np.testing.assert_array_equal(names["encoder_outputs"].audio_codes, recorded["example codes"])
    assert names["audio_values"].shape == (1, 1, names["audio_sample"].size)
    stride = reference.about["stride"]
    assert_close(names["audio_values"][..., ::stride], recorded["example audio"])


def test_decoding_what_was_encoded_is_the_forward_pass(model, sentence, recorded):
    audio = model.decode(recorded["example codes"], sentence[0])[0]
    np.testing.assert_array_equal(audio, model(sentence).audio_values)


def test_a_padded_batch_equals_transformers(model, inputs, recorded):
    out = model(**inputs, num_quantizers=8)
    np.testing.assert_array_equal(out.audio_codes, recorded["batch codes"])
    assert_close(out.audio_values, recorded["batch audio"])
    two = model(inputs.input_values, audio_codes=out.audio_codes[:, :2])
    assert two.audio_codes.shape[1] == 2
    assert_close(two.audio_values, recorded["batch audio of 2 codebooks"])
    cut = model.decode(out.audio_codes, inputs.padding_mask[:, :5000])
    assert_close(cut.audio_values, recorded["batch audio cut at 5000"])


def test_the_mask_cuts_by_its_length_alone(model, inputs):
    values, mask = inputs["input_values"], inputs["padding_mask"]
    codes = model.encode(values).audio_codes
    np.testing.assert_array_equal(model.encode(values, np.zeros_like(mask)).audio_codes, codes)
    whole = model.decode(codes).audio_values
    assert whole.shape[-1] == codes.shape[-1] * 1920
    assert model.decode(codes, np.zeros((1, 99999))).audio_values.shape == whole.shape
    np.testing.assert_array_equal(model.decode(codes, 0 * mask)[0], whole[..., : mask.shape[-1]])
    np.testing.assert_array_equal(model(values, mask[:, :999]).audio_values, whole[..., :999])


def test_lengths_and_masks_of_codes(model, inputs, recorded):
    mask = inputs.padding_mask
    np.testing.assert_array_equal(model.get_audio_codes_mask(mask), recorded["frames right"])
    left = model.get_audio_codes_mask(mask[:, ::-1], padding_side="left")
    np.testing.assert_array_equal(left, recorded["frames left"])
    lengths, expected = recorded["lengths"], recorded["encoded lengths"]
    for made in (lengths, mx.array(lengths)):
        np.testing.assert_array_equal(model.get_encoded_length(made), expected)
    assert [model.get_encoded_length(int(n)) for n in lengths] == expected.tolist()


def test_a_view_is_as_good_as_an_array(model, sentence):
    backwards = sentence[..., ::-1]
    codes = model.encode(backwards).audio_codes
    np.testing.assert_array_equal(codes, model.encode(backwards.copy()).audio_codes)
    reversed_codes = np.array(codes)[..., ::-1]
    pcm = model.decode(reversed_codes, use_cache=True).audio_values
    assert_close(pcm, np.array(model.decode(reversed_codes.copy()).audio_values))


# Streaming


def pieces(x, cuts):
    edges = [0, *cuts, x.shape[-1]]
    return [x[..., a:b] for a, b in itertools.pairwise(edges)]


def test_a_stream_of_whole_frames_equals_transformers(model, sentence, recorded, reference):
    caches, codes = {}, []
    edges = np.cumsum(reference.about["pieces"]) * 1920
    for piece in pieces(sentence[..., : edges[-1]], edges[:-1]):
        out = model.encode(piece, num_quantizers=8, use_streaming=True, **caches)
        caches = {key: out[key] for key in ("encoder_past_key_values", "padding_cache")}
        codes.append(out.audio_codes)
    np.testing.assert_array_equal(mx.concatenate(codes, axis=-1), recorded["stream codes"])


@pytest.mark.parametrize("cuts", [(960, 1000, 9000), (5760, 40134), (1,), (1920, 3840, 40000)])
def test_any_cutting_gives_the_codes_of_the_whole_clip(model, sentence, cuts, recorded):
    cache, codes = None, []
    *firsts, last = pieces(sentence, cuts)
    for piece in firsts:
        out = model.encode(piece, None, None, cache, use_streaming=True)
        cache = out.encoder_past_key_values
        codes.append(out.audio_codes)
    end = model.encode(last, padding_cache=cache, use_streaming=False)
    assert end.keys() == ["audio_codes"]
    codes = mx.concatenate([*codes, end.audio_codes], axis=-1)
    np.testing.assert_array_equal(codes, recorded["example codes"])


def test_caches_have_the_names_of_5_24_and_of_5_23(model, sentence):
    """Given back under either, or under all; in the places that they have in both versions."""
    a, b = pieces(sentence, (5000,))
    first = model.encode(a, use_streaming=True)
    assert first.encoder_cache is first["encoder_cache"] is first["encoder_past_key_values"]
    assert first.encoder_cache is first.encoder_past_key_values is first[1]
    assert "encoder_cache" in first and "decoder_cache" not in first
    expected = model.encode(b, None, None, first[1]).audio_codes
    every = ["encoder_cache", "padding_cache", "encoder_past_key_values"]
    for names in (every[:1], every[:2], every[2:], every):
        out = model.encode(b, **{name: first[name] for name in names})
        np.testing.assert_array_equal(out.audio_codes, expected)
    heard = model.decode(expected[..., :2], use_cache=True)
    assert heard.decoder_cache is heard["decoder_cache"] is heard["decoder_past_key_values"]
    assert heard.decoder_cache is heard.decoder_past_key_values is heard[1]
    pcm = model.decode(expected[..., 2:], None, heard[1]).audio_values
    out = model.decode(expected[..., 2:], decoder_cache=heard.decoder_cache)
    np.testing.assert_array_equal(out.audio_values, pcm)
    both = model(b, encoder_cache=first.encoder_cache, decoder_cache=heard.decoder_cache)
    old = model(b, None, None, None, first.encoder_cache, heard.decoder_cache)
    np.testing.assert_array_equal(both.audio_values, old.audio_values)
    assert both.encoder_cache is both[2] and both.decoder_cache is both[3]
    other = model.encode(a, use_streaming=True).encoder_cache
    with pytest.raises(ValueError, match="encoder_past_key_values and encoder_cache are of d"):
        model.encode(b, encoder_past_key_values=first[1], encoder_cache=other)
    with pytest.raises(ValueError, match="decoder_cache is a EncoderStream; it must be"):
        model.decode(expected, decoder_cache=other)


def test_decoding_in_pieces_gives_the_waveform_of_the_whole(model, recorded):
    codes = recorded["example codes"]
    out, audio = model.decode(codes[..., :1], use_cache=True), []
    for piece in pieces(codes[..., 1:], (4, 4, 5, 17)):
        audio.append(out.audio_values)
        out = model.decode(piece, decoder_past_key_values=out.decoder_past_key_values)
    audio = mx.concatenate([*audio, out.audio_values], axis=-1)
    assert_close(audio, np.array(model.decode(codes).audio_values))


def test_a_call_leaves_the_caches_that_it_was_given_as_they_were(model, sentence):
    a, b, c = pieces(sentence, (5000, 12000))
    first = model.encode(a, use_streaming=True)
    again = [model.encode(b, padding_cache=first.padding_cache) for _ in range(2)]
    np.testing.assert_array_equal(again[0].audio_codes, again[1].audio_codes)
    ends = [model.encode(c, padding_cache=out.padding_cache) for out in again]
    np.testing.assert_array_equal(ends[0].audio_codes, ends[1].audio_codes)
    codes = again[0].audio_codes
    heard = model.decode(codes[..., :2], use_cache=True).decoder_past_key_values
    said = [model.decode(codes[..., 2:], None, heard).audio_values for _ in range(2)]
    np.testing.assert_array_equal(*said)


def test_the_forward_pass_goes_on_with_both_streams_and_loses_nothing(model, sentence, recorded):
    nothing = mx.zeros((1, 1, 0))
    encoder = model.encode(nothing, use_streaming=True).encoder_past_key_values
    decoder = model.decode(mx.zeros((1, 16, 0), mx.int32), use_cache=True).decoder_past_key_values
    audio = []
    for piece in pieces(sentence, (1900, 1950, 30000)):
        out = model(piece, encoder_past_key_values=encoder, decoder_past_key_values=decoder)
        encoder, decoder = out.encoder_past_key_values, out.decoder_past_key_values
        audio.append(out.audio_values)
    codes = recorded["example codes"][..., : sentence.shape[-1] // 1920]
    assert_close(mx.concatenate(audio, axis=-1), np.array(model.decode(codes).audio_values))


# Outputs, configuration


def test_outputs_by_name_key_and_position(model, sentence):
    out = model.encode(sentence[..., :4000], num_quantizers=2, use_streaming=True)
    assert out.audio_codes is out[0] is out["audio_codes"]
    assert out.audio_codes.shape == (1, 2, 2) and out.audio_codes.dtype == mx.int32
    assert list(out) == ["audio_codes", "encoder_past_key_values", "padding_cache"]
    assert out.to_tuple() == out[:] and len(out) == 3
    offline = model.encode(sentence[..., :4000], return_dict=False)
    assert isinstance(offline, tuple) and len(offline) == 1
    forward = model(sentence[..., :4000], return_dict=False)
    assert [part.shape for part in forward] == [(1, 16, 3), (1, 1, 4000)]
    (audio,) = model.decode(forward[0], return_dict=False)
    assert audio.shape == (1, 1, 5760)
    with pytest.raises(KeyError):
        out["audio_values"]


def test_config_has_the_documented_names_and_defaults(model):
    config = MimiConfig()
    assert (config.audio_channels, config.num_codebooks, config.encodec_frame_rate) == (1, 32, 25)
    assert (config.frame_rate, config.frame_size, config.head_dim) == (12.5, 1920, 64)
    assert MimiConfig(hidden_size=256).head_dim == 32
    assert model.config.num_codebooks == model.config.num_quantizers == 16
    assert MimiModel.from_pretrained("tiny", only="decoder").config == model.config


class Named:
    """torch's names of devices and types, without torch."""

    def __init__(self, said: str, **fields: str):
        self.__dict__.update(fields, said=said)

    def __repr__(self) -> str:
        return self.said


@pytest.mark.parametrize("of_torch", [Named("torch.float32"), "float32", "auto", None])
def test_what_changes_nothing_returns_the_model(tiny, of_torch):
    device = tiny.runner.device
    model = MimiModel.from_pretrained("tiny", dtype=of_torch, device=device)
    assert model.eval() is model.train(False) is model.to() is model
    assert model.to(of_torch) is model.to(dtype=of_torch) is model
    for float32 in (mx.float32, np.float32, np.dtype("float32")):
        assert model.to(float32) is model.to(device, float32) is model
    here = [device, getattr(mx, device), Named(f"device(type='{device}')", type=device)]
    theirs = "cuda" if mx.cuda.is_available() else "mps"
    for word in [*here, *([theirs] if device == "gpu" else [])]:
        assert model.to(word) is model.to(device=word) is model


@pytest.mark.parametrize(
    ("has_cuda", "word", "other"), [(True, "cuda", "mps"), (False, "mps", "cuda")]
)
def test_a_gpu_has_the_name_that_torch_gives_it(monkeypatch, has_cuda, word, other):
    monkeypatch.setattr(placement, "has_cuda", lambda: has_cuda)
    for named in (word, Named(f"{word}:0", type=word)):
        placement.check(named, None, runs_on="gpu")
    with pytest.raises(ValueError, match=f"device is '{other}'; this model runs on the gpu"):
        placement.check(other, None, runs_on="gpu")


def test_what_would_change_something_is_one_line(model):
    other = "cpu" if model.mimi.runner.device == "gpu" else "gpu"
    calls = {
        "device is 'xla'; this model runs on the": lambda: model.to("xla"),
        f"device is '{other}'; this model runs on the": lambda: model.to(other),
        r"device is xla:0; .* Give from_pretrained device=": lambda: model.to(
            Named("xla:0", type="xla")
        ),
        "dtype is 'float16'; what flows .* is float32": lambda: model.to("float16"),
        "dtype is torch.bfloat16": lambda: model.to(dtype=Named("torch.bfloat16")),
        "dtype is mlx.core.float16": lambda: model.to(mx.float16),
        r"dtype is 'float16'; .*mimi-mlx convert": lambda: MimiModel.from_pretrained(
            "tiny", dtype="float16"
        ),
        r"train\(True\); this model only infers": lambda: model.train(),
        "revision is 'main', but tiny is on this disk": lambda: MimiModel.from_pretrained(
            "tiny", revision="main"
        ),
    }
    for message, call in calls.items():
        with pytest.raises(ValueError, match=message) as error:
            call()
        assert "\n" not in str(error.value)


def test_wrong_calls_are_refused(model, sentence):
    first = model.encode(sentence[..., :2000], num_quantizers=8, use_streaming=True)
    other = model.encode(sentence[..., :2000], use_streaming=True)
    codes = mx.zeros((1, 8, 2), mx.int32)
    heard = model.decode(codes, use_cache=True).decoder_past_key_values
    go_on = {"encoder_past_key_values": first.encoder_past_key_values}
    calls = {
        "num_codebooks is 17": lambda: model.encode(sentence, num_quantizers=17),
        "num_codebooks is 0": lambda: model.encode(sentence, num_quantizers=0, use_streaming=True),
        "Give num_quantizers=8": lambda: model.encode(sentence, **go_on),
        "different calls": lambda: model.encode(sentence, padding_cache=other[1], **go_on),
        "padding_cache is a int": lambda: model.encode(sentence, padding_cache=3),
        "must be the DecoderStream": lambda: model.decode(codes, None, first.padding_cache),
        "2 rows": lambda: model.encode(np.concatenate([sentence] * 2), None, 8, **go_on),
        "began with 8": lambda: model.decode(codes[:, :4], None, heard),
        "no axes": lambda: model.decode(codes, 3),
        "has 2048": lambda: model.decode(codes + 2048),
        "NaN": lambda: model.encode(sentence * np.float32("nan")),
        "input_length is -1": lambda: model.get_encoded_length(-1),
        "input_length is 1.5": lambda: model.get_encoded_length(1.5),
        r"must be \[B, T\]": lambda: model.get_audio_codes_mask(np.ones(5)),
        "padding_side is 'up'": lambda: model.get_audio_codes_mask(np.ones((1, 5)), "up"),
        "mimi is a MimiConfig; it must be a Mimi": lambda: MimiModel(MimiConfig()),
    }
    for message, call in calls.items():
        with pytest.raises(ValueError, match=message) as error:
            call()
        assert "\n" not in str(error.value)
