"""Sound in: files of any rate and channels, bare samples, and what is no sound, in one line."""

import io

import numpy as np
import pytest
import soundfile
from sounds import noise, sine

from mimi_mlx import audio
from mimi_mlx.audio.reader import RawReader


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


@pytest.mark.parametrize("name", ["cut.flac", "cut.mp3"])
def test_a_sound_file_that_is_cut_off_is_named(tmp_path, name):
    path = tmp_path / name
    audio.write(path, noise(48000), 24000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=rf"{name} (ends after \d+ samples|cannot be read)"):
        audio.load(path)
