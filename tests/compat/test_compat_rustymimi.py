"""rustymimi's call shapes, on the embedded model."""

import gc
import threading
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
import soundfile
from rusty import PIECES, noise, pieces, poll, some_codes

import mimi_mlx
from mimi_mlx.compat import rustymimi
from mimi_mlx.compat.rustymimi import StreamTokenizer, Tokenizer


@pytest.fixture
def tokenizer() -> Tokenizer:
    return Tokenizer("tiny")


@pytest.fixture
def stream() -> StreamTokenizer:
    return StreamTokenizer("tiny")


# Ours: whole clips and steps


@pytest.mark.parametrize("rows", [1, 2])
def test_whole_clips_are_those_of_mimi(tiny, tokenizer, rows):
    pcm = noise(rows, 1, 5000)
    codes = tokenizer.encode(pcm)
    assert codes.shape == (rows, 8, 3) and codes.dtype == np.uint32
    assert codes.flags.c_contiguous and codes.flags.writeable
    np.testing.assert_array_equal(codes, tiny.encode(pcm, 8))
    decoded = tokenizer.decode(codes)
    assert decoded.shape == (rows, 1, 5760) and decoded.dtype == np.float32
    assert decoded.flags.c_contiguous and decoded.flags.writeable
    np.testing.assert_array_equal(decoded, tiny.decode(codes.astype(np.int32)))


@pytest.mark.parametrize("rows", [1, 2])
def test_steps_are_the_clip_in_pieces(tokenizer, rows):
    pcm = noise(rows, 1, sum(PIECES))
    expected = tokenizer.encode(pcm)
    found = [tokenizer.encode_step(piece) for piece in pieces(pcm, PIECES)]
    assert [0 if codes is None else codes.shape[2] for codes in found] == list(PIECES.values())
    found = [codes for codes in found if codes is not None]
    assert all(codes.dtype == np.uint32 for codes in found)
    codes = np.concatenate(found, axis=-1)
    np.testing.assert_array_equal(codes, expected[..., : codes.shape[2]])

    pcm = tokenizer.decode(codes)
    assert tokenizer.decode_step(codes[..., :0]) is None
    decoded = [tokenizer.decode_step(piece) for piece in pieces(codes, (1, 1, 3, 3))]
    np.testing.assert_allclose(np.concatenate(decoded, axis=-1), pcm, atol=2e-5 * np.std(pcm))


def test_whole_clips_leave_the_steps_alone(tokenizer):
    pcm = noise(1, 1, 4 * 1920)
    expected = tokenizer.encode(pcm)
    found = []
    for piece in pieces(pcm, [1920] * 4):
        found.append(tokenizer.encode_step(piece))
        tokenizer.decode(tokenizer.encode(noise(1, 1, 3000)))
    np.testing.assert_array_equal(np.concatenate(found, axis=-1), expected)


def test_reset_forgets_everything(tokenizer):
    pcm, codes = noise(2, 1, 1920), some_codes(2, 8, 1)
    expected = tokenizer.encode(pcm), tokenizer.decode(codes)
    for _ in range(2):
        tokenizer.encode_step(noise(1, 1, 2500))
        tokenizer.decode_step(some_codes(1, 8, 2))
        with pytest.raises(ValueError, match="pcm has 2 rows; this stream has 1"):
            tokenizer.encode_step(pcm)
        tokenizer.reset()
        np.testing.assert_array_equal(tokenizer.encode_step(pcm), expected[0])
        np.testing.assert_allclose(tokenizer.decode_step(codes), expected[1], atol=1e-5)
        tokenizer.reset()


def test_one_half_is_reset_alone(tokenizer):
    pcm, codes = noise(1, 1, 3840), some_codes(1, 8, 2)
    whole, second = tokenizer.encode(pcm), tokenizer.decode(codes[..., 1:])
    first = tokenizer.encode_step(pcm[..., :1920])
    tokenizer.decode_step(codes[..., :1])
    tokenizer.reset("decoder")
    rest = tokenizer.encode_step(pcm[..., 1920:])
    np.testing.assert_array_equal(np.concatenate([first, rest], axis=-1), whole)
    np.testing.assert_allclose(tokenizer.decode_step(codes[..., 1:]), second, atol=1e-5)
    with pytest.raises(ValueError, match="half is 'both'"):
        tokenizer.reset("both")


@pytest.mark.slow
def test_a_clip_longer_than_rustymimis(tokenizer):
    """Past 8192 positions of 25 Hz, 5 min 27 s, with the codes of a stream that begins later."""
    unit, late = 60 * 1920, 68  # frames: a piece, and the last pieces
    pcm = np.tile(noise(1, 1, unit), late + 4)
    assert pcm.shape[-1] > 8192 * 960 + 2 * unit
    found = [tokenizer.encode_step(piece) for piece in pieces(pcm, [unit] * (late + 4))]
    tokenizer.reset()
    again = [tokenizer.encode_step(piece) for piece in pieces(pcm[..., : 4 * unit], [unit] * 4)]
    np.testing.assert_array_equal(np.stack(found[late + 1 :]), np.stack(again[1:]))


@pytest.mark.parametrize("kind", [Tokenizer, StreamTokenizer])
def test_arguments_are_rustymimis(kind):
    kind("tiny", num_codebooks=16, dtype="f32", max_seq_len=1)
    kind(Path(mimi_mlx.__file__).parent / "tiny")
    with pytest.raises(ValueError, match="num_codebooks is 17; this model has 1 to 16"):
        kind("tiny", num_codebooks=17)
    with pytest.raises(ValueError, match="dtype is 'bf16'"):
        kind("tiny", dtype="bf16")
    with pytest.raises(ValueError, match="'/nowhere' is no folder or file"):
        kind("/nowhere")
    with pytest.raises(TypeError):
        kind("tiny", 8)


def test_wrong_input_is_refused(tokenizer):
    for encode in tokenizer.encode, tokenizer.encode_step:
        with pytest.raises(ValueError, match="pcm is int16"):
            encode(noise(1, 1, 1920).astype(np.int16))
        with pytest.raises(ValueError, match="one channel"):
            encode(noise(1, 2, 1920))
    for decode in tokenizer.decode, tokenizer.decode_step:
        with pytest.raises(ValueError, match=r"codes has 16 codebooks; .* num_codebooks=16"):
            decode(some_codes(1, 16, 1))
        with pytest.raises(ValueError, match="from 0 to 2047"):
            decode(some_codes(1, 8, 1) + np.uint32(2048))
    with pytest.raises(ValueError, match="pcm is empty"):
        tokenizer.encode(noise(1, 1, 0))


# Ours: the stream on its thread


def test_pieces_come_back_in_order(tokenizer, stream):
    pcm = noise(sum(PIECES))
    expected = tokenizer.encode(pcm[None, None])[0]
    assert stream.get_encoded() is None and stream.get_decoded() is None
    for piece in pieces(pcm, PIECES):
        assert stream.encode(piece) is None
    found = [poll(stream.get_encoded) for frames in PIECES.values() if frames]
    assert [codes.shape for codes in found] == [(8, frames) for frames in PIECES.values() if frames]
    assert {codes.dtype for codes in found} == {np.dtype(np.uint32)}
    codes = np.concatenate(found, axis=-1)
    np.testing.assert_array_equal(codes, expected[:, : codes.shape[1]])

    for frame in codes.T:
        assert stream.decode(frame[None]) is None
    decoded = [poll(stream.get_decoded) for _ in codes.T]
    assert {(pcm.shape, pcm.dtype) for pcm in decoded} == {((1920,), np.dtype(np.float32))}
    expected = tokenizer.decode(codes[None])[0, 0]
    np.testing.assert_allclose(np.concatenate(decoded), expected, atol=2e-5 * np.std(expected))
    assert stream.get_encoded() is None and stream.get_decoded() is None


def test_arrays_may_be_used_again(tokenizer, stream):
    pcm, codes = noise(4 * 1920), some_codes(4, 8)
    buffer, frame = np.empty(1920, np.float32), np.empty((1, 8), np.int32)
    for i in range(4):
        buffer[:], frame[:] = pcm[i * 1920 :][:1920], codes[i]
        stream.encode(buffer)
        stream.decode(frame)
        buffer[:], frame[:] = 0, 0
    found = np.concatenate([poll(stream.get_encoded) for _ in range(4)], axis=-1)
    np.testing.assert_array_equal(found, tokenizer.encode(pcm[None, None])[0])
    found = np.concatenate([poll(stream.get_decoded) for _ in range(4)])
    np.testing.assert_allclose(found, tokenizer.decode(codes.T[None])[0, 0], atol=1e-5)


class Gate(threading.Event):
    """Until it is set, every step waits; ``passed`` names those that went on, in order."""

    def __init__(self):
        super().__init__()
        self.passed: list[str] = []


@pytest.fixture
def gate(monkeypatch) -> Gate:
    gate = Gate()
    for name in ("encode_step", "decode_step"):
        step = getattr(Tokenizer, name)

        def waiting(self, piece, name=name, step=step):
            assert gate.wait(60)
            gate.passed.append(name)
            return step(self, piece)

        monkeypatch.setattr(Tokenizer, name, waiting)
    return gate


def test_no_method_waits(gate, stream):
    """While the codec is busy, each returns; otherwise this test would end in 60 s, failing."""
    for _ in range(200):
        stream.encode(noise(1920))
        stream.decode(some_codes(1, 8))
        assert stream.get_encoded() is None and stream.get_decoded() is None
    stream.reset()
    stream.encode(noise(1920))
    gate.set()
    assert poll(stream.get_encoded).shape == (8, 1)


def test_reset_drops_what_waits_and_what_was_not_fetched(gate, tokenizer, stream):
    first, second = noise(2, 2500)
    gate.set()
    expected = tokenizer.encode(second[None, None, :1920])[0]
    stream.encode(first)
    stream.decode(some_codes(1, 8))
    poll(stream.get_decoded)  # so both are done
    gate.clear()
    for _ in range(3):
        stream.encode(first)
    stream.reset()
    stream.encode(second)
    gate.set()
    np.testing.assert_array_equal(poll(stream.get_encoded), expected)
    assert stream.get_encoded() is None


def test_barge_in(gate, tokenizer, stream):
    """The decoder begins anew at once; the encoder loses nothing."""
    pcm, codes = noise(3 * 1920), some_codes(9, 8)
    gate.set()
    expected = tokenizer.encode(pcm[None, None])[0], tokenizer.decode(codes[-1:, :, None])[0, 0]
    gate.clear()
    stream.encode(pcm[:3000])
    for frame in codes[:-1]:
        stream.decode(frame[None])
    gate.passed.clear()
    stream.reset("decoder")
    stream.encode(pcm[3000:])
    stream.decode(codes[-1:])
    gate.set()
    found = [poll(stream.get_encoded), poll(stream.get_encoded)]
    np.testing.assert_array_equal(np.concatenate(found, axis=-1), expected[0])
    np.testing.assert_allclose(poll(stream.get_decoded), expected[1], atol=1e-5)
    assert stream.get_decoded() is None
    assert gate.passed == ["encode_step", "encode_step", "decode_step"]  # no old frame between


def test_wrong_pieces_are_refused_and_the_next_one_works(tokenizer, stream):
    pcm = noise(1920)
    for wrong, why in (
        (pcm[None], r"pcm_data has shape \(1, 1920\)"),
        (pcm.astype(np.int16), "pcm is int16"),
        (np.where(np.arange(1920) == 7, np.float32(np.nan), pcm), "NaN"),
    ):
        with pytest.raises(ValueError, match=why):
            stream.encode(wrong)
    for shape in (8,), (8, 1), (1, 16), (3, 8), (0, 8), (1, 8, 1):
        with pytest.raises(ValueError, match=r"it must be \[1, 8\], one frame"):
            stream.decode(some_codes(*shape))
    with pytest.raises(ValueError, match="from 0 to 2047"):
        stream.decode(some_codes(1, 8) + np.uint32(2048))
    with pytest.raises(ValueError, match="half is 'all'"):
        stream.reset("all")
    stream.encode(pcm)
    np.testing.assert_array_equal(poll(stream.get_encoded), tokenizer.encode(pcm[None, None])[0])
    stream.decode(some_codes(1, 8))
    assert poll(stream.get_decoded).shape == (1920,)


def test_what_goes_wrong_on_the_thread_is_raised_where_results_are_fetched(monkeypatch):
    def fail(*_):
        raise MemoryError("too little")

    with monkeypatch.context() as patched:
        patched.setattr(Tokenizer, "encode_step", fail)
        stream = StreamTokenizer("tiny")
        stream.encode(noise(1920))
        with pytest.raises(MemoryError, match="too little"):
            poll(stream.get_encoded)
    stream.decode(some_codes(1, 8))
    assert poll(stream.get_decoded).shape == (1920,)


def test_the_thread_and_the_memory_end_with_the_object():
    gc.collect()
    before, held = threading.active_count(), mx.get_active_memory()
    stream = StreamTokenizer("tiny")
    for _ in range(100):
        stream.encode(noise(1920))
    poll(stream.get_encoded)
    assert threading.active_count() == before + 1
    assert mx.get_active_memory() > held + 10e6
    del stream
    assert threading.active_count() == before
    assert mx.get_active_memory() <= held


def test_write_wav(tmp_path):
    pcm = np.array([0, 0.5, -0.5, 1, -1, 1.5, -2, 0.1], np.float32)
    rustymimi.write_wav(tmp_path / "ours.wav", pcm, sample_rate=24000)
    assert soundfile.info(tmp_path / "ours.wav").subtype == "PCM_16"
    found, rate = soundfile.read(tmp_path / "ours.wav", dtype="int16")
    assert rate == 24000
    theirs = pytest.importorskip("rustymimi")
    theirs.write_wav(str(tmp_path / "theirs.wav"), pcm, sample_rate=24000)
    expected, _ = soundfile.read(tmp_path / "theirs.wav", dtype="int16")
    assert np.abs(found.astype(int) - expected).max() <= 1  # it cuts where libsndfile rounds
