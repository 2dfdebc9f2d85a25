"""Sound files: exact lengths, honest levels, one-line errors, nothing half-written."""

import numpy as np
import pytest
import soundfile

from mimi_mlx import audio

RATES = [8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000, 96000, 12345]


def sine(frequency: float, rate: int, samples: int) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(samples) / rate)).astype(np.float32)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("samples", [1, 2, 3, 1001, 44100])
def test_resampling_has_exact_lengths_both_ways(rate, samples):
    there = audio.resample(np.ones(samples, np.float32), rate, 24000)
    assert len(there) == -(-samples * 24000 // rate) >= 1
    assert there.dtype == np.float32
    back = audio.resample(there, 24000, rate, samples)
    assert len(back) == samples and back.dtype == np.float32


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_resampling_keeps_the_signal_and_its_place(rate):
    there = audio.resample(sine(440, rate, rate), rate, 24000)
    middle = slice(2000, -2000)
    np.testing.assert_allclose(there[middle], sine(440, 24000, 24000)[middle], atol=1e-4)
    back = audio.resample(there, 24000, rate, rate)
    np.testing.assert_allclose(back[middle], sine(440, rate, rate)[middle], atol=1e-4)


def test_resampling_removes_what_the_lower_rate_cannot_hold():
    high = audio.resample(sine(15000, 48000, 48000), 48000, 24000)
    assert np.abs(high[2000:-2000]).max() < 1e-4


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
