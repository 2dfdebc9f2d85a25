"""Sound of every format that libsndfile writes is whole, and cut off it is not."""

import io
import random
import struct

import numpy as np
import pytest
import soundfile
from sounds import noise

from mimi_mlx import audio
from mimi_mlx.audio.containers import cut_off

# What libsndfile does not write, or writes as something else.
_NOT_WRITTEN = {("AIFF", "DWVW_12"), ("MP3", "MPEG_LAYER_I"), ("MP3", "MPEG_LAYER_II")}
_NOT_WRITTEN |= {("WAV", "MPEG_LAYER_III")}

KINDS = [
    (name, kind)
    for name in soundfile.available_formats()
    for kind in soundfile.available_subtypes(name)
    if name not in ("RAW", "SD2")  # no header; half of it in a second file
    and soundfile.check_format(name, kind)
    and (name, kind) not in _NOT_WRITTEN
]

# Which say how many bytes of sound there are, or notice it themselves.
NOTICED = {"AIFF", "AU", "CAF", "FLAC", "HTK", "MP3", "NIST", "OGG", "RF64", "SVX", "W64", "WAV"}
NOTICED |= {"WAVEX", "SDS"}


def written(name: str, kind: str, seconds: float = 0.5) -> bytes:
    rate = 8000 if name == "WVE" or kind.startswith(("GSM", "G72", "NMS")) else 24000
    file = io.BytesIO()
    samples = 0.4 * noise(int(seconds * rate))
    soundfile.write(file, samples, rate, kind, format=name)
    return file.getvalue()


def wav(size: int) -> bytes:
    """A WAV file whose header says another size of its 2000 bytes of sound."""
    data = bytearray(written("WAV", "PCM_16", 1000 / 24000))
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", size)
    return bytes(data)


def test_good_files_of_every_format_are_whole(tmp_path):
    for name, kind in KINDS:
        path = tmp_path / f"{name}.{kind}"
        path.write_bytes(written(name, kind))
        with path.open("rb") as file:
            assert cut_off(file) is None, path
        try:
            expected, rate = soundfile.read(path, frames=1 << 20, dtype="float32")
        except soundfile.LibsndfileError:
            continue
        found = audio.load(path)
        assert found.sample_rate == rate
        np.testing.assert_allclose(found.samples, expected, rtol=0, atol=1e-6)


def test_a_cut_file_is_named_in_every_container_that_says_its_length(tmp_path):
    silent = set()
    for name, kind in KINDS:
        path = tmp_path / f"{name}.{kind}"
        data = written(name, kind, 2)
        for size in (len(data) * 9 // 10, len(data) - 300):
            path.write_bytes(data[:size])
            try:
                audio.load(path)
            except ValueError as error:
                assert str(error).startswith(str(path)) and "\n" not in str(error)
            else:
                silent.add(name)
    assert not silent & NOTICED


def test_what_was_there_of_a_cut_file_comes_first(tmp_path):
    path = tmp_path / "a.wav"
    audio.write(path, noise(48000), 24000)
    path.write_bytes(path.read_bytes()[:50044])
    blocks = []
    with audio.FileReader(path) as source, pytest.raises(ValueError) as caught:
        blocks.extend(source)
    assert sum(map(len, blocks)) == 25000
    said = "ends after 25000 samples; it has 50000 of the 96000 bytes of sound that its header"
    assert said in str(caught.value)


@pytest.mark.parametrize("size", [0, 2**32 - 1, 2**32 - 37, 2**31, 0x7FFFF000, 2000, 1999, 100])
def test_a_size_that_nobody_knew_promises_nothing(size):
    assert cut_off(io.BytesIO(wav(size))) is None


@pytest.mark.parametrize("size", [2001, 4000, 2**31 - 2**17, 2**31 + 1, 2**32 - 2**17])
def test_a_size_that_is_not_there_is_a_promise(size):
    assert f"it has 2000 of the {size} bytes" in cut_off(io.BytesIO(wav(size)))


def test_an_ogg_file_ends_with_its_last_page():
    data = written("OGG", "VORBIS", 3)
    for size in range(len(data) - 200, len(data)):
        assert cut_off(io.BytesIO(data[:size])) == "its last page is missing"
    assert cut_off(io.BytesIO(data + b"TAG" + bytes(125))) is None
    assert cut_off(io.BytesIO(data + data)) is None


def test_damaged_headers_are_read_in_no_time():
    """Whatever they say, a few bytes are read, and the position is kept."""

    class Counting(io.BytesIO):
        taken = 0

        def read(self, size: int = -1) -> bytes:
            data = super().read(size)
            self.taken += len(data)
            return data

    rng = random.Random(0)
    for name, kind in (
        *(("WAV", "PCM_16"), ("RF64", "FLOAT"), ("AIFF", "PCM_16"), ("W64", "ULAW")),
        *(("AU", "ALAW"), ("NIST", "PCM_16"), ("OGG", "VORBIS"), ("CAF", "FLOAT")),
    ):
        whole = written(name, kind, 0.05)
        for _ in range(200):
            data = bytearray(whole)
            for _ in range(rng.choice([1, 2, 8])):
                at = rng.randrange(min(len(data), 200))
                data[at : at + 8] = rng.choice([b"\0", b"\xff", rng.randbytes(1)]) * 8
            file = Counting(data[: rng.choice([len(data), rng.randrange(len(data))])])
            file.seek(5)
            found = cut_off(file)
            assert found is None or "\n" not in found
            assert file.taken < 1 << 17 and file.tell() == 5


@pytest.mark.parametrize("rate", [1, 7, 999, 1000001, 2**31 - 1])
def test_a_rate_that_no_sound_has(tmp_path, rate):
    soundfile.write(tmp_path / "a.wav", noise(100), rate)
    with pytest.raises(ValueError, match=rf"a\.wav has {rate} samples a second; .*from 1000 to"):
        audio.load(tmp_path / "a.wav")
    for rates in ((rate, 24000), (24000, rate)):
        with pytest.raises(ValueError, match=rf"_rate is {rate}; a rate is from 1000 to 1000000"):
            audio.resample(noise(100), *rates)


@pytest.mark.parametrize("rate", [1000, 1000000])
def test_the_lowest_and_the_highest_rate(tmp_path, rate):
    soundfile.write(tmp_path / "a.wav", noise(100), rate)
    assert len(audio.read(tmp_path / "a.wav", 24000)) == -(-100 * 24000 // rate)
