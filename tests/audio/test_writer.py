"""Sound out: exact lengths, honest levels, the bytes of files in a pipe, nothing half-written."""

import io

import numpy as np
import pytest
import soundfile
from sounds import noise, sine

from mimi_mlx import audio
from mimi_mlx.audio.reader import RawReader
from mimi_mlx.audio.writer import PipeWriter


@pytest.mark.parametrize("suffix", sorted(audio.FORMATS))
def test_written_files_read_back(suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    samples = sine(440, 24000, 30001)
    audio.write(path, samples, 24000)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    back = audio.read(path, 24000)
    assert back.dtype == np.float32 and back.shape == (30001,)
    lossy = suffix in (".mp3", ".ogg")
    np.testing.assert_allclose(back[5000:25000], samples[5000:25000], atol=0.1 if lossy else 1e-4)


def test_what_is_too_loud_is_clipped_not_wrapped(tmp_path):
    audio.write(tmp_path / "a.wav", np.array([1.5, -1.5, 0.5], np.float32), 24000)
    assert soundfile.info(tmp_path / "a.wav").subtype == "PCM_16"
    back = audio.read(tmp_path / "a.wav", 24000)
    np.testing.assert_allclose(back, [1, -1, 0.5], atol=1e-4)


def test_upper_case_extensions_are_known(tmp_path):
    audio.write(tmp_path / "A.WAV", sine(440, 24000, 100), 24000)
    assert len(audio.read(tmp_path / "A.WAV", 24000)) == 100


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.mp3"
    path.write_bytes(b"precious")
    with pytest.raises(ValueError, match="12345 Hz"):  # no MP3 has this rate
        audio.write(path, sine(440, 12345, 100), 12345)
    assert path.read_bytes() == b"precious" and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(ValueError, match=r"'\.m4a'"):
        audio.write(tmp_path / "a.m4a", sine(440, 24000, 100), 24000)


def test_a_link_is_written_through(tmp_path):
    (tmp_path / "link.wav").symlink_to(tmp_path / "real.wav")
    audio.write(tmp_path / "link.wav", sine(440, 24000, 100), 24000)
    assert (tmp_path / "link.wav").is_symlink()
    assert len(audio.read(tmp_path / "real.wav", 24000)) == 100


def test_samples_in_a_pipe_are_those_of_a_file():
    samples = np.concatenate([noise(100000), [1, -1, 1e-9, -1e-9, 0]]).astype(np.float32)
    file, pipe = io.BytesIO(), io.BytesIO()
    soundfile.write(file, samples, 24000, format="WAV", subtype="PCM_16")
    PipeWriter(pipe, "s16le", 24000).write(samples)
    assert pipe.getvalue() == file.getvalue()[44:]
    wav = io.BytesIO()
    PipeWriter(wav, None, 24000).write(samples)
    head, expected = wav.getvalue()[:44], bytearray(file.getvalue()[:44])
    expected[4:8] = expected[40:44] = b"\xff" * 4
    assert head == expected
    for kind, wide in (("s16le", "int16"), ("f32le", "float32")):
        data = soundfile.read(io.BytesIO(file.getvalue()), dtype=wide)[0].tobytes()
        reader = RawReader(io.BytesIO(data), kind, 24000)
        there = soundfile.read(io.BytesIO(file.getvalue()), dtype="float32")[0]
        np.testing.assert_array_equal(np.concatenate(list(reader)), there)
        assert reader.given == len(samples)
