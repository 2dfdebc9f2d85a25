"""Sound in: files of any rate and channels, bare samples, and what is no sound, in one line."""

import io

import numpy as np
import pytest
import soundfile
from sounds import noise, sine

from mimi_mlx import audio
from mimi_mlx.audio.reader import RawReader
from mimi_mlx.audio.wav import read_header


def test_another_rate_is_resampled_and_stereo_only_mixed_when_asked(tmp_path):
    left = sine(440, 48000, 48001)
    soundfile.write(tmp_path / "a.wav", np.stack([left, 0 * left], axis=1), 48000)
    with pytest.raises(ValueError, match=r"a\.wav has 2 channels; .* --mono"):
        audio.read(tmp_path / "a.wav", 24000)
    mono = audio.read(tmp_path / "a.wav", 24000, mono=True)
    assert mono.shape == (24001,)
    np.testing.assert_allclose(mono[2000:22000], sine(440, 24000, 24001)[2000:22000] / 2, atol=1e-4)


def test_input_that_is_no_sound_is_one_line(tmp_path):
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("hello, I am no sound" * 20)
    (tmp_path / "headerless.raw").write_bytes(bytes(100))
    soundfile.write(tmp_path / "zero.wav", np.zeros(0, np.float32), 24000)
    soundfile.write(tmp_path / "nan.wav", np.array([0, np.nan], np.float32), 24000, "FLOAT")
    soundfile.write(tmp_path / "inf.wav", np.array([0, np.inf], np.float32), 24000, "FLOAT")
    for name, rule in {
        "missing.wav": "is no file",
        ".": "is no file",
        "empty.wav": "0 bytes",
        "text.wav": "cannot be read as sound",
        "headerless.raw": "cannot be read as sound",
        "zero.wav": "0 samples",
        "nan.wav": "NaN",
        "inf.wav": "infinite",
    }.items():
        with pytest.raises(ValueError, match=rule) as caught:
            audio.load(tmp_path / name)
        assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


def test_samples_that_come_in_halves_are_whole():
    class Dribble(io.BytesIO):
        def read(self, size: int = -1) -> bytes:
            return super().read(3)

    data = noise(50).astype("<f4")
    reader = RawReader(Dribble(data.tobytes()), "f32le", 24000)
    np.testing.assert_array_equal(np.concatenate(list(reader)), data)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"])
@pytest.mark.parametrize("container", ["WAV", "WAVEX", "RF64"])
@pytest.mark.parametrize("channels", [1, 2])
def test_wav_from_a_pipe_is_wav_from_a_file(tmp_path, subtype, container, channels):
    samples = np.stack([noise(5000), noise(5000)[::-1]], axis=1)[:, :channels]
    path = tmp_path / "a.wav"
    soundfile.write(path, samples, 24000, subtype, format=container)
    expected = audio.load(path, mono=True).samples
    with path.open("rb", buffering=0) as pipe:
        begin, found = read_header(pipe)
        if subtype == "ULAW":
            assert found is None and path.read_bytes().startswith(begin)
            return
        assert (found.sample_rate, found.channels) == (24000, channels)
        assert found.size == len(path.read_bytes()) - len(begin)
        reader = RawReader(pipe, found.kind, 24000, channels, True, found.size)
        np.testing.assert_array_equal(np.concatenate(list(reader)), expected)
        assert reader.damage is None and reader.samples == 5000


def test_a_header_that_is_cut_anywhere_is_none(tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(10), 24000, format="WAVEX")
    data = (tmp_path / "a.wav").read_bytes()
    end = data.index(b"data") + 8
    for size in range(end):
        assert read_header(io.BytesIO(data[:size])) == (data[:size], None)
    assert read_header(io.BytesIO(data))[1] is not None


@pytest.mark.parametrize("name", ["cut.flac", "cut.mp3"])
def test_a_sound_file_that_is_cut_off_is_named(tmp_path, name):
    path = tmp_path / name
    audio.write(path, noise(48000), 24000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=rf"{name} (ends after \d+ samples|cannot be read)"):
        audio.load(path)
