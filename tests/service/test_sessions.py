"""Sessions get what each would get alone, offline, whatever else goes through the same steps."""

import asyncio

import aiohttp
import numpy as np
import pytest
import serving
from serving import portions, run, session

from mimi_mlx import audio

END = {"end": True}


@pytest.fixture(scope="module")
def clip(speech):
    return speech("kathleen-1")[:12001]  # 6 frames and a ragged one


def ended(samples: int, frames: int, after: int) -> dict:
    return {"end": {"samples": samples, "frames": frames}, "after": after}


def test_all_kinds_at_once_get_what_each_would_get_alone(tiny, url, clip):
    """To the last bit, with numbers of codebooks of their own; each has its own clip."""
    counts, clips = [1, 8, 11], [clip[300 * i :] for i in range(3)]
    codes = [np.array(tiny.encode(x, n))[0] for x, n in zip(clips, counts, strict=True)]
    sessions = []
    for n, x, c in zip(counts, clips, codes, strict=True):
        options = {"codebooks": n}
        sent = c.T.astype("<u2").tobytes()
        sessions += [
            session(url, "encode", options, [*portions(x), END]),
            session(url, "decode", options, [sent[: 2 * n], sent[2 * n :], END]),
            session(url, "roundtrip", options, [*portions(x), END]),
        ]
    heard = run(*sessions)
    for i, (n, x, c) in enumerate(zip(counts, clips, codes, strict=True)):
        encode, decode, roundtrip = heard[3 * i : 3 * i + 3]
        frames = c.shape[1]
        pcm = np.array(tiny.decode(c))[0, 0]
        for found in (encode, roundtrip):
            np.testing.assert_array_equal(np.stack(found.codes, -1), c)
            assert found.said[-1] == ended(len(x), frames, frames)
        np.testing.assert_array_equal(decode.pcm, pcm)
        np.testing.assert_array_equal(roundtrip.pcm, pcm[: len(x)])
        assert decode.said[-1] == ended(len(pcm), frames, frames)
        assert {found.code for found in (encode, decode, roundtrip)} == {1000}
        assert encode.said[0] == {
            **{"model": tiny.fingerprint, "frame_rate": 12.5, "frame_samples": 1920},
            **{"rate": 24000, "format": "float32", "codebooks": n, "max_codebooks": 16},
            "after": 0,
        }


@pytest.mark.parametrize("kind", ["encode", "roundtrip"])
def test_another_number_of_codebooks_is_said_before_the_first_frame_that_has_it(
    tiny, url, clip, kind
):
    changes = [{"codebooks": 2}, clip[:5000].tobytes(), {"codebooks": 9}, {"codebooks": 5}]
    (heard,) = run(session(url, kind, {}, [*changes, clip[5000:].tobytes(), END]))
    assert [len(c) for c in heard.codes] == [2] * 2 + [5] * 5
    told = [(x["codebooks"], x["after"]) for x in heard.said if "codebooks" in x]
    assert told == [(8, 0), (2, 0), (5, 2)]
    codes = np.array(tiny.encode(clip, 9))[0]
    for i, found in enumerate(heard.codes):
        np.testing.assert_array_equal(found, codes[: len(found), i])
    if kind == "roundtrip":  # a decoder whose frames have so many
        stream = tiny.decoder_stream()
        two = np.array(stream.push(codes[:2, :2]))[0, 0]
        np.testing.assert_array_equal(heard.pcm[: len(two)], two)


def test_other_rates_and_int16_last_exactly_as_long(tiny, url, clip):
    """The tail of the resampler comes after the last frame, as a message of no codes."""
    sound = audio.resample(clip, 24000, 44100)
    ints = np.rint(sound * 32767).astype("<i2")
    options = {"rate": 44100, "format": "int16"}
    encode, roundtrip = run(
        session(url, "encode", options, [*portions(ints), END]),
        session(url, "roundtrip", options, [*portions(ints, 1), END]),
    )
    there = audio.resample(ints / np.float32(32768), 44100, 24000)
    codes = np.array(tiny.encode(there, 8))[0]
    decoded = np.array(tiny.decode(codes, length=len(there)))[0, 0]
    back = audio.resample(decoded, 24000, 44100, length=len(ints))
    for heard in (encode, roundtrip):
        np.testing.assert_array_equal(np.stack(heard.codes, -1), codes)
        assert heard.said[-1]["end"] == {"samples": len(ints), "frames": codes.shape[1]}
    assert len(roundtrip.pcm) == len(ints)
    assert np.abs(roundtrip.pcm - np.clip(back * 32768, -32768, 32767)).max() <= 1
    assert roundtrip.said[-2] == {"codebooks": 0, "after": codes.shape[1]}


def test_a_row_begins_anew_after_a_client_that_vanished(tiny, clip):
    """Also while a frame of that client waits for its step."""
    expected = np.array(tiny.encode(clip, 8))[0]

    async def vanish(url: str, frames: int) -> None:
        async with aiohttp.ClientSession() as http, http.ws_connect(f"{url}/encode") as socket:
            await socket.send_str("{}")
            await socket.send_bytes(clip[: frames * 1920].tobytes())
            await socket.receive()
            socket._response.connection.transport.abort()

    async def main(url: str) -> None:
        for frames in (1, 3, 6):
            await vanish(url, frames)
            heard = await serving.admitted(url, "encode", {}, [clip.tobytes(), END])
            np.testing.assert_array_equal(np.stack(heard.codes, -1), expected)

    with serving.service(tiny, sessions=1) as url:
        asyncio.run(asyncio.wait_for(main(url), 60))


def test_an_empty_session_ends_well(url):
    for heard in run(*(session(url, kind, {}, [END]) for kind in ("encode", "decode"))):
        assert heard.said[-1] == ended(0, 0, 0) and heard.code == 1000
