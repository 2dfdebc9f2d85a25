"""Which rows begin anew, and what a stream says of itself."""

import mlx.core as mx
import numpy as np
import pytest


@pytest.mark.parametrize("form", [list, tuple, np.array, mx.array])
@pytest.mark.parametrize("half", ["encoder", "decoder"])
def test_rows_are_numbers_or_a_mask(tiny, form, half):
    """What a stream's rows give afterwards tells which of them began anew."""
    codes = np.random.default_rng(0).integers(0, 2048, (3, 8, 2))
    pcm = np.array(tiny.decode(codes))
    x = pcm if half == "encoder" else codes

    def after(rows: object) -> np.ndarray:
        stream = tiny.encoder_stream(3) if half == "encoder" else tiny.decoder_stream(3)
        stream.push(x)
        stream.reset(rows=rows)
        return np.array(stream.push(x))

    kept, begun = after(form([False] * 3)), after(form([True] * 3))
    assert (kept != begun).any(axis=(1, 2)).all()

    def anew(rows: object) -> list[int]:
        found = after(rows)
        as_before, as_new = ((found == each).all(axis=(1, 2)) for each in (kept, begun))
        assert (as_before ^ as_new).all()
        return np.flatnonzero(as_new).tolist()

    assert anew(form([True, False, False])) == [0]
    assert anew(form([False, True, True])) == [1, 2]
    assert anew(form([1])) == anew(1) == anew(np.int64(1)) == [1]
    assert anew(form([0, 2])) == anew(form([2, 0, 0])) == [0, 2]
    assert anew(form([1, 0, 0])) == [0, 1], (
        "integers are row numbers, even where they could be a mask"
    )
    assert anew([]) == []


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([True], "rows is a mask of 1 booleans; this stream has 3 rows. Give one boolean for each"),
        (np.ones(4, bool), "rows is a mask of 4 booleans"),
        ([True, 1, 0], r"row True does not exist; this stream has rows 0 to 2\. Give numbers in"),
        ([0, False], "row False does not exist"),
        (True, "row True does not exist"),
        (np.ones((1, 3), bool), r"row \[True, True, True\] does not exist"),
        ([0.0, 1.0, 0.0], "row 0.0 does not exist"),
        ("012", "row '012' does not exist"),
        (3, "row 3 does not exist"),
    ],
)
def test_rows_that_may_mean_two_things_are_refused(tiny, rows, message):
    for stream in (tiny.encoder_stream(3), tiny.decoder_stream(3)):
        with pytest.raises(ValueError, match=message):
            stream.reset(rows=rows)


def test_streams_say_what_one_wants_to_know(tiny):
    encoder, decoder = tiny.encoder_stream(2, 8), tiny.decoder_stream(2)
    assert (decoder.num_codebooks, decoder.pending) == (0, 0)
    codes = encoder.push(np.zeros((2, 1, 5000), np.float32))
    decoder.push(codes)
    assert (encoder.batch_size, encoder.num_codebooks, encoder.pending) == (2, 8, 1160)
    assert (decoder.batch_size, decoder.num_codebooks, decoder.pending) == (2, 8, 0)
    assert (
        repr(encoder) == "EncoderStream(batch_size=2, num_codebooks=8, pending=1160, heard 0.21 s)"
    )
    assert repr(decoder) == "DecoderStream(batch_size=2, num_codebooks=8, said 0.16 s)"
    encoder.flush()
    assert repr(encoder).endswith("pending=0, heard 0.24 s, flushed)")
    decoder.reset(0)
    assert repr(decoder).endswith("said 0.00 to 0.16 s)")
    with pytest.raises(AttributeError):
        encoder.batch_size = 3
