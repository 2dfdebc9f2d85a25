"""Whole clips by POST: the files that the command line makes, or a line of what is wrong."""

import contextlib
import http.client
import io
import json
import re
import socket
import tempfile

import numpy as np
import pytest
import serving
import soundfile
from serving import run, session

from mimi_mlx import codefile
from mimi_mlx.tiny import SPEECH


@pytest.fixture(scope="module")
def url(tiny):
    with serving.service(tiny, body=2**20, clip_seconds=2.0, upload=3.0) as url:
        yield url


def post(url: str, path: str, body: bytes) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    with contextlib.suppress(ConnectionError):  # refused before it was read
        connection.request("POST", path, body)
    answer = connection.getresponse()
    return answer.status, answer.read()


def sound(samples: np.ndarray, rate: int = 24000, **named: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, **{"format": "WAV", "subtype": "FLOAT", **named})
    return file.getvalue()


def test_a_clip_goes_there_and_back(tiny, url):
    samples, _ = soundfile.read(SPEECH, 30001, dtype="float32")
    status, made = post(url, "/encode?codebooks=5", sound(samples))
    assert status == 200
    clip = codefile.read(io.BytesIO(made))
    codes = np.array(tiny.encode(samples, 5))
    np.testing.assert_array_equal(clip.codes, codes)
    assert (clip.samples, clip.damage) == (len(samples), None)
    assert clip.header.metadata == {"model": "tiny"}
    expected = np.array(tiny.decode(codes, length=len(samples)))[0, 0]
    for format in ("wav", "flac"):
        status, made = post(url, f"/decode?format={format}", made)
        found, rate = soundfile.read(io.BytesIO(made), dtype="float32")
        assert (status, rate, len(found)) == (200, 24000, len(samples))
        np.testing.assert_allclose(found, np.clip(expected, -1, 1), atol=2**-15)
        made = codefile.writer.pack(codes, clip.header, len(samples))
    status, made = post(url, "/decode?codebooks=2", made)
    assert len(soundfile.read(io.BytesIO(made))[0]) == len(samples)


SILENCE = np.zeros(4800, np.float32)


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("/encode", b"", 400, "0 bytes"),
        ("/encode", b"rubbish" * 100, 400, "cannot be read as sound"),
        ("/encode", sound(np.stack([SILENCE] * 2, 1)), 400, r"2 channels.*\?mono=1"),
        ("/encode", sound(np.full(4800, np.nan)), 400, "NaN"),
        ("/encode", sound(SILENCE)[:-100], 400, "cut off"),
        ("/encode?codebooks=17", sound(SILENCE), 400, "codebooks is from 1 to 16"),
        ("/encode?codebooks=many", sound(SILENCE), 400, "codebooks is from 1 to 16"),
        ("/encode", bytes(2**20 + 1), 413, "at most 1048576 bytes"),
        ("/encode", sound(np.zeros(24000 * 3), format="FLAC", subtype="PCM_16"), 413, "2 sec"),
        ("/decode", b"rubbish" * 100, 400, "begins with"),
        ("/decode?format=mp3", b"", 400, "format is one of wav, flac"),
        ("/listen-to-this", b"", 404, "Not Found"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(url, path, body, status, says):
    found, said = post(url, path, body)
    error = json.loads(said)["error"]
    assert found == status and "\n" not in error
    assert re.search(says, error), error
    assert tempfile.gettempdir() not in error and "Traceback" not in error


def test_codes_of_another_model_or_cut_off_are_not_decoded(url):
    for header, cut in ((codefile.Header(8, fingerprint="0123456789abcdef"), 0), (None, 30)):
        header = header or codefile.Header(8)
        made = codefile.writer.pack(np.zeros((8, 40), np.int32), header, None)
        assert post(url, "/decode", made[: len(made) - cut])[0] == 400


def test_mono_is_asked_for(url):
    assert post(url, "/encode?mono=1", sound(np.stack([SILENCE] * 2, 1)))[0] == 200


def test_a_body_that_is_not_encoded_as_it_says_or_breaks_off_is_no_fault(url, caplog):
    host, port = url.removeprefix("http://").split(":")
    for header in (b"Content-Encoding: gzip\r\nContent-Length: 4", b"Transfer-Encoding: chunked"):
        with socket.create_connection((host, int(port)), timeout=20) as client:
            client.sendall(
                b"POST /encode HTTP/1.1\r\nHost: localhost\r\n%b\r\n\r\nwxyz\r\n" % header
            )
            assert b" 400 " in client.recv(1000)
    with socket.create_connection((host, int(port)), timeout=20) as client:
        client.sendall(b"POST /encode HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx")
    assert post(url, "/encode", sound(SILENCE))[0] == 200
    assert caplog.messages == []


def test_a_slow_upload_is_ended_and_holds_up_nobody(url):
    host, port = url.removeprefix("http://").split(":")
    with contextlib.ExitStack() as slow:
        for _ in range(4):
            client = slow.enter_context(socket.create_connection((host, int(port)), timeout=20))
            client.sendall(
                b"POST /encode HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx"
            )
        (heard,) = run(session(url, "encode", {}, [bytes(4 * 1920), {"end": True}]))
        assert len(heard.codes) == 1
        assert post(url, "/encode", sound(SILENCE))[0] == 503
        assert b" 408 " in client.recv(1000)
    assert post(url, "/encode", sound(SILENCE))[0] == 200
