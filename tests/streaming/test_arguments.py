"""What is easy is taken; what is wrong is a ValueError in one line, whatever it is."""

import datetime
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from streams import FRAME

import mimi_mlx
from mimi_mlx import Mimi, MimiModel, MimiWorker, audio, codefile
from mimi_mlx.compat.moshi_mlx import Mimi as MoshiMimi
from mimi_mlx.compat.moshi_mlx import mimi_202407
from mimi_mlx.compat.rustymimi import Tokenizer, write_wav
from mimi_mlx.streaming import validation

NOISE = np.random.default_rng(0).uniform(-0.3, 0.3, 2 * FRAME + 7).astype(np.float32)
PACKAGE = mimi_mlx.__path__[0]


class Tensor:
    """Of another library: what torch's has for those who want an array."""

    def __init__(self, values: Any):
        self._values = np.asarray(values)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self._values.astype(dtype or self._values.dtype)


class Capsule:
    """Of another library that knows DLPack alone."""

    def __init__(self, values: Any):
        self._values = np.asarray(values)

    def __dlpack__(self, **named: Any) -> Any:
        return self._values.__dlpack__(**named)

    def __dlpack_device__(self) -> Any:
        return self._values.__dlpack_device__()


class Elsewhere:
    """A tensor whose numbers are not in this memory, as torch's that requires a gradient."""

    def __array__(self, *args: Any, **named: Any) -> np.ndarray:
        raise RuntimeError("Can't call numpy()\non this Tensor. Use tensor.detach().numpy()")


HOLDERS = [Tensor, Capsule, mx.array, np.ndarray.tolist]


@pytest.mark.parametrize("hold", HOLDERS)
def test_whatever_holds_numbers_is_taken(tiny, hold):
    codes = np.array(tiny.encode(NOISE, 8))
    rows = np.stack([NOISE, NOISE])[:, None]
    np.testing.assert_array_equal(tiny.encode(hold(NOISE), 8), codes)
    ends = hold(np.array([NOISE.size, FRAME]))
    np.testing.assert_array_equal(tiny.encode(hold(rows), 8, lengths=ends)[:1], codes)
    stream = tiny.encoder_stream(num_codebooks=8)
    np.testing.assert_array_equal(stream.push(hold(NOISE)), codes[..., :2])
    pcm = np.array(tiny.decode(codes))
    np.testing.assert_array_equal(
        tiny.decode(hold(codes), length=hold(np.array([5]))), pcm[..., :5]
    )
    np.testing.assert_array_equal(tiny.decode_latent(hold(codes)), tiny.decode_latent(codes))
    latent = np.array(tiny.encode_to_latent(hold(NOISE)))
    assert tiny.decode_from_latent(hold(latent)).shape == pcm.shape
    y, _ = tiny.encode_step(hold(NOISE), tiny.init_encoder_state(), 8)
    np.testing.assert_array_equal(y, codes)
    assert tiny.decode_step(hold(codes), tiny.init_decoder_state())[0].shape == pcm.shape
    pair = tiny.decoder_stream(2)
    frames = np.concatenate([codes, codes])[..., :1]
    said = np.array(pair.push(hold(frames), mask=hold(np.array([True, False]))))
    assert said[0].any() and not said[1].any()
    pair.reset(rows=hold(np.array([True, False])))
    pair.reset(rows=hold(np.array([1])))
    model = MimiModel(tiny)
    np.testing.assert_array_equal(model.encode(hold(NOISE)).audio_codes[:, :8], codes)
    mask = hold(np.ones((1, 100), np.int32))
    assert model.decode(hold(codes), mask).audio_values.shape == (1, 1, 100)
    assert model.get_audio_codes_mask(mask).shape == (1, 1)
    assert np.array(model.get_encoded_length(hold(np.array([1, 1921])))).tolist() == [1, 2]
    features = mimi_mlx.MimiFeatureExtractor()(hold(NOISE), sampling_rate=24000)
    np.testing.assert_array_equal(features.input_values[0, 0], NOISE)


@pytest.mark.parametrize("kind", [np.float64, np.float16, ">f4", np.longdouble])
def test_floats_of_any_size_become_float32(tiny, kind):
    given = NOISE.astype(kind)
    expected = tiny.encode(given.astype(np.float32), 8)
    np.testing.assert_array_equal(tiny.encode(given, 8), expected)
    np.testing.assert_array_equal(
        tiny.encoder_stream(num_codebooks=8).push(given), expected[..., :2]
    )
    of_mlx = tiny.encode(mx.array(NOISE).astype(mx.float16), 8)
    np.testing.assert_array_equal(of_mlx, tiny.encode(NOISE.astype(np.float16), 8))
    with pytest.raises(ValueError, match="NaN or infinite"):
        tiny.encode(np.full(5, 1e300))


@pytest.mark.parametrize("whole", [int, np.int64, np.uint8, np.array, mx.array])
def test_whole_numbers_of_any_type_are_numbers(tiny, whole):
    codes = tiny.encode(NOISE, whole(8), lengths=[np.int64(NOISE.size)])
    assert codes.shape == (1, 8, 3)
    assert tiny.decode(codes, length=whole(200)).shape == (1, 1, 200)
    assert tiny.encoder_stream(whole(2), whole(8)).batch_size == 2
    assert MimiModel(tiny).get_encoded_length(int(whole(200))) == 1
    MimiWorker(whole(3)).close()


def test_sound_at_the_scale_of_integers_is_warned_of_once(tiny):
    validation._say_integers.cache_clear()
    stream = tiny.encoder_stream()
    with pytest.warns(UserWarning, match=r"past 100; they are in \[-1, 1\].*32768") as caught:
        stream.push(NOISE * 32767)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stream.push(NOISE * -32767)
        tiny.encode(NOISE * 32767)
    validation._say_integers.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tiny.encode(NOISE * 20)  # much too loud, yet no integers


def test_what_decode_returns_can_be_written(tiny, tmp_path):
    pcm = tiny.decode(tiny.encode(NOISE, 8), length=NOISE.size)
    for given in (pcm, np.array(pcm), pcm[0], pcm[0, 0], Tensor(pcm), np.array(pcm)[0, 0].tolist()):
        audio.write(tmp_path / "x.wav", given, 24000)
        found = audio.load(tmp_path / "x.wav").samples
        np.testing.assert_allclose(found, np.array(pcm)[0, 0], atol=1e-4)


# Wrong values: of each kind, to each argument that does not take it

KINDS: dict[str, Any] = {
    "none": None,
    "true": True,
    "zero": 0,
    "minus": -3,
    "huge": 10**30,
    "fraction": 2.5,
    "nan": float("nan"),
    "infinite": float("inf"),
    "complex": 1j,
    "empty text": "",
    "text": "foo",
    "two lines": "a\nb",
    "bytes": b"\x00\x01",
    "empty list": [],
    "number in a list": [8],
    "text in a list": ["a"],
    "unequal rows": [[1, 2], [3]],
    "mixed": [True, 1],
    "nested": [[[[1]]]],
    "dict": {0: 1},
    "set": {7, 99},
    "object": object(),
    "type": int,
    "function": len,
    "date": datetime.date(2024, 1, 1),
    "integers": np.arange(6).reshape(2, 3),
    "many": np.arange(4000).reshape(40, 100),
    "flags": np.ones((3, 3), bool),
    "float array": np.array([0.5, 2.5]),
    "nan array": np.array([np.nan]),
    "no axes": np.array(0.5),
    "objects": np.array([None, {}], object),
    "dates": np.array(["2024-01-01"], "datetime64[D]"),
    "structure": np.zeros(2, [("a", "i4"), ("b", "f4")]),
    "of mlx": mx.array([-5]),
    "flags of mlx": mx.array([True, False, True]),
    "half of mlx": mx.zeros((2, 2), mx.bfloat16),
    "tensor": Tensor(["a"]),
    "tensor elsewhere": Elsewhere(),
    "dlpack": Capsule(np.array([-9])),
}
MAY_FIT = {  # of an argument, kinds that it takes
    "num_codebooks": {"none"},
    "lengths": {"none"},
    "length": {"none"},
    "batch_size": set(),
    "mask": {"none"},
    "rows": {"none", "zero", "empty list"},
    "only": {"none"},
    "device": {"none"},
    "revision": {"none", "text", "two lines"},
}


def of_files(codes: np.ndarray, header: codefile.Header, folder: str) -> dict[str, Any]:
    """The same, of .mimi files."""
    path = f"{folder}/x.mimi"
    codefile.write(path, codes, header)
    return {
        "Header.num_codebooks": (codefile.Header, set()),
        "Header.frames": (lambda x: codefile.Header(8, frames=x), {"none", "zero"}),
        "Header.fingerprint": (lambda x: codefile.Header(8, fingerprint=x), {"none"}),
        "Header.metadata": (lambda x: codefile.Header(8, metadata=x), {"dict"}),
        "codefile.read": (codefile.read, set()),
        "codefile.read.num_codebooks": (lambda x: codefile.read(path, x), {"none"}),
        "codefile.write.file": (
            lambda x: codefile.write(x, codes, header),
            {"text", "two lines"},
        ),
        "codefile.write.codes": (lambda x: codefile.write(f"{path}2", x, header), {"none"}),
        "codefile.write.header": (lambda x: codefile.write(f"{path}2", codes, x), set()),
        "codefile.write.samples": (
            lambda x: codefile.write(f"{path}2", codes, header, x),
            {"none"},
        ),
        "Writer.file": (lambda x: codefile.Writer(x, header).close(), {"text", "two lines"}),
        "Writer.block_frames": (
            lambda x: codefile.Writer(f"{path}2", header, block_frames=x).close(),
            set(),
        ),
    }


def arguments(tiny: Mimi, folder: str) -> dict[str, tuple[Callable[[Any], Any], set[str]]]:
    """Every public argument that can be wrong: a call with it, and the kinds that are right."""
    encoder, decoder = tiny.encoder_stream(2), tiny.decoder_stream(2)
    pair, codes = np.zeros((2, 1, FRAME), np.float32), np.zeros((2, 8, 1), np.int32)
    model, extract = MimiModel(tiny), mimi_mlx.MimiFeatureExtractor()
    moshi, rusty = MoshiMimi(mimi_202407(16)), Tokenizer("tiny")
    moshi.load_pytorch_weights("tiny")
    floats, whole = {"float array"}, {"integers", "many", "number in a list", "zero"}
    state = tiny.init_encoder_state(2)
    of = MAY_FIT
    return {
        "Mimi.codec": (Mimi, set()),
        "Mimi.device": (lambda x: Mimi(tiny.codec, x), of["device"]),
        "from_pretrained.name": (lambda x: Mimi.from_pretrained(x), set()),
        "from_pretrained.only": (lambda x: Mimi.from_pretrained("tiny", only=x), of["only"]),
        "from_pretrained.device": (lambda x: Mimi.from_pretrained("tiny", device=x), of["device"]),
        "from_pretrained.revision": (lambda x: Mimi.from_pretrained("tiny", revision=x), {"none"}),
        "init_encoder_state": (tiny.init_encoder_state, set()),
        "init_decoder_state": (tiny.init_decoder_state, set()),
        "encode_step.pcm": (lambda x: tiny.encode_step(x, state), set()),
        "encode_step.state": (lambda x: tiny.encode_step(pair, x), set()),
        "encode_step.K": (lambda x: tiny.encode_step(pair, state, x), of["num_codebooks"]),
        "decode_step.codes": (lambda x: tiny.decode_step(x, tiny.init_decoder_state(9)), set()),
        "decode_step.state": (lambda x: tiny.decode_step(codes, x), set()),
        "encode.pcm": (tiny.encode, floats),
        "encode.K": (lambda x: tiny.encode(pair, x), of["num_codebooks"]),
        "encode.lengths": (lambda x: tiny.encode(pair, lengths=x), of["lengths"]),
        "decode.codes": (tiny.decode, {"integers"}),
        "decode.length": (lambda x: tiny.decode(codes, x), of["length"]),
        "encode_to_latent": (tiny.encode_to_latent, floats | {"nan array"}),
        "decode_latent": (tiny.decode_latent, {"integers"}),
        "decode_from_latent": (tiny.decode_from_latent, set()),
        "encoder_stream.batch_size": (tiny.encoder_stream, set()),
        "encoder_stream.K": (lambda x: tiny.encoder_stream(1, x), of["num_codebooks"]),
        "decoder_stream.batch_size": (tiny.decoder_stream, set()),
        "load_stream": (tiny.load_stream, set()),
        "encoder.push": (encoder.push, set()),
        "encoder.push.mask": (lambda x: encoder.push(pair, x), of["mask"]),
        "encoder.reset": (encoder.reset, of["rows"]),
        "encoder.save": (lambda x: encoder.save(x), {"text", "two lines"}),
        "decoder.push": (decoder.push, set()),
        "decoder.push.mask": (lambda x: decoder.push(codes, x), of["mask"]),
        "decoder.reset": (decoder.reset, of["rows"]),
        "MimiWorker": (lambda x: MimiWorker(x).close(), {"huge"}),
        "MimiModel": (MimiModel, set()),
        "model.encode": (model.encode, floats),
        "model.encode.K": (lambda x: model.encode(pair, None, x), of["num_codebooks"]),
        "model.encode.cache": (lambda x: model.encode(pair, None, 8, x), {"none"}),
        "model.decode": (model.decode, {"integers"}),
        "model.decode.mask": (
            lambda x: model.decode(codes, x),
            {k for k in KINDS if "array" in k or "mlx" in k}
            | {
                "none",
                "empty list",
                "number in a list",
                "nested",
                "mixed",
                "integers",
                "many",
                "flags",
                "dlpack",
            },
        ),
        "model.decode.cache": (lambda x: model.decode(codes, None, x), {"none"}),
        "model.forward": (model, floats),
        "get_encoded_length": (
            model.get_encoded_length,
            whole | {"huge", "mixed", "nested"},
        ),
        "get_audio_codes_mask": (
            model.get_audio_codes_mask,
            {
                "integers",
                "many",
                "flags",
                "half of mlx",
            },
        ),
        "padding_side": (
            lambda x: model.get_audio_codes_mask(np.ones((1, 5)), x),  # type: ignore[arg-type]
            set(),
        ),
        "extract.raw_audio": (lambda x: extract(x, sampling_rate=24000), floats | {"nan array"}),
        "extract.sampling_rate": (lambda x: extract(NOISE, sampling_rate=x), {"none"}),
        "extract.padding": (
            lambda x: extract(NOISE, padding=x, sampling_rate=24000),
            {"none", "true"},
        ),
        "extract.max_length": (
            lambda x: extract(NOISE, truncation=True, max_length=x, sampling_rate=24000),
            {"huge"},
        ),
        "extract.return_tensors": (
            lambda x: extract(NOISE, return_tensors=x, sampling_rate=24000),
            {"none"},
        ),
        "MimiFeatureExtractor.from_pretrained": (
            mimi_mlx.MimiFeatureExtractor.from_pretrained,
            set(),
        ),
        "moshi.encode_step": (moshi.encode_step, floats | {"empty list"}),
        "moshi.decode_step": (moshi.decode_step, {"integers"}),
        "Tokenizer.path": (Tokenizer, set()),
        "Tokenizer.num_codebooks": (lambda x: Tokenizer("tiny", num_codebooks=x), {"none"}),
        "Tokenizer.dtype": (lambda x: Tokenizer("tiny", dtype=x), set()),
        "Tokenizer.encode": (rusty.encode, floats),
        "Tokenizer.decode": (rusty.decode, set()),
        "write.path": (lambda x: audio.write(x, NOISE, 24000), set()),
        "write.samples": (
            lambda x: audio.write(f"{folder}/x.wav", x, 24000),
            floats | {"empty list"},
        ),
        "write.rate": (lambda x: audio.write(f"{folder}/x.wav", NOISE, x), set()),
        "write_wav": (lambda x: write_wav(f"{folder}/x.wav", x, 24000), floats | {"empty list"}),
        **of_files(np.zeros((1, 8, 2), np.int32), codefile.Header(8), folder),
        "config": (mimi_mlx.MimiConfig.from_dict, {"dict"}),
        "config.hidden_size": (lambda x: mimi_mlx.MimiConfig(hidden_size=x), set()),
        "extractor.padding_side": (
            lambda x: mimi_mlx.MimiFeatureExtractor(padding_side=x),
            set(),
        ),
        "load.path": (audio.load, set()),
        "read.rate": (lambda x: audio.read(f"{folder}/in.wav", x), set()),
        "resample.samples": (
            lambda x: audio.resample(x, 8000, 24000),
            floats | {"empty list", "nan array"},
        ),
        "resample.length": (lambda x: audio.resample(NOISE, 8000, 24000, x), {"none", "zero"}),
    }


@pytest.mark.filterwarnings("ignore:no sampling_rate given")
def test_wrong_values_of_every_kind_are_refused_in_one_line(tiny, tmp_path, monkeypatch):
    """By this package's own check, not by whatever fails inside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    audio.write("in.wav", NOISE, 24000)
    odd = []
    for name, (call, fitting) in arguments(tiny, str(tmp_path)).items():
        for kind, value in KINDS.items():
            try:
                call(value)
                if kind not in fitting:
                    odd.append(f"{name} takes {kind}")
            except ValueError as error:
                where = traceback.extract_tb(error.__traceback__)[-1].filename
                if kind in fitting:
                    odd.append(f"{name} refuses {kind}: {error}")
                elif "\n" in str(error).replace("a\nb", "") or not where.startswith(PACKAGE):
                    odd.append(f"{name}, {kind}: {error} ({where})")
            except Exception as error:
                odd.append(f"{name}, {kind}: {type(error).__name__}: {error}")
    assert not odd, "\n".join(odd)
