"""encode, decode and roundtrip: the model's codes and sound, exact lengths, constant memory."""

import re
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from paths import SPEECH

from mimi_mlx import audio, codefile
from mimi_mlx.audio.reader import FileReader
from mimi_mlx.cli import transcode
from mimi_mlx.codefile import arrays

CLIP = SPEECH / "kathleen-1.flac"  # 40134 samples: 21 frames, the last one ragged
TINY = ("--model", "tiny")


def test_roundtrip_is_decode_of_encode_at_exactly_the_same_length(run, tiny, speech, tmp_path):
    code, out, err = run("roundtrip", CLIP, "-o", "out.wav", "--model", "tiny")
    assert (code, out) == (0, "")
    assert re.fullmatch(
        r"out\.wav: 1\.67 s, 21 frames of 8 codes, 1\.1 kbps, [\d.]+ times as fast as real time\n",
        err,
    )
    clip = speech("kathleen-1")
    expected = np.array(tiny.decode(tiny.encode(clip, num_codebooks=8), length=len(clip)))[0, 0]
    np.testing.assert_allclose(audio.read(tmp_path / "out.wav", 24000), expected, atol=1e-4)
    assert soundfile.info(tmp_path / "out.wav").subtype == "PCM_16"
    assert [path.name for path in tmp_path.iterdir()] == ["out.wav"]


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
def test_roundtrip_has_the_inputs_rate_and_length(run, speech, tmp_path, rate):
    samples = audio.resample(speech("kathleen-1"), 24000, rate)[:-7]
    audio.write(tmp_path / "in.flac", samples, rate)
    assert run("roundtrip", "in.flac", "-o", "out.flac", "--model", "tiny")[0] == 0
    about = soundfile.info(tmp_path / "out.flac")
    assert (about.frames, about.samplerate) == (len(samples), rate)


@pytest.mark.parametrize("suffix", [".safetensors", ".npy"])
def test_encode_writes_the_models_codes_and_decode_reads_them(run, tiny, speech, tmp_path, suffix):
    clip = speech("kathleen-1")
    code, out, _ = run("encode", CLIP, "-o", f"a{suffix}", "--model", "tiny", "--num-codebooks", 4)
    assert (code, out) == (0, "")
    codes = arrays.read(tmp_path / f"a{suffix}").codes
    np.testing.assert_array_equal(codes, np.array(tiny.encode(clip, num_codebooks=4)))
    assert codes.dtype == np.int32 and codes.shape == (1, 4, 21)
    code, out, err = run("decode", f"a{suffix}", "-o", "a.wav", "--model", "tiny")
    assert (code, out) == (0, "") and "21 frames of 4 codes, 0.55 kbps" in err
    length = len(clip) if suffix == ".safetensors" else 21 * 1920
    back = audio.read(tmp_path / "a.wav", 24000)
    np.testing.assert_allclose(back, np.array(tiny.decode(codes, length))[0, 0], atol=1e-4)


class Parts(list):
    """Takes sound, or codes, and their end."""

    write = list.append

    def close(self, samples: int, last: np.ndarray) -> None:
        self.samples = samples
        self.append(last)


def test_work_is_done_in_blocks_and_equals_the_whole(tiny, speech):
    clip = speech("kathleen-1")
    codes = np.array(tiny.encode(clip, num_codebooks=8))
    pcm = np.array(tiny.decode(codes, len(clip)))[0, 0]
    done, found, sound = [], Parts(), Parts()
    with FileReader(CLIP) as source:
        assert transcode.encode(tiny, source, 8, 6, found, done.append) == 21
    np.testing.assert_array_equal(np.concatenate(found, axis=2), codes)
    assert [part.shape[2] for part in found] == [6, 6, 6, 2, 1] and found.samples == 40134
    assert sum(done) == pytest.approx(40134 / 24000) and len(done) == 4
    with FileReader(CLIP) as source:
        assert transcode.roundtrip(tiny, source, 8, 6, sound, done.append) == 21
    np.testing.assert_allclose(np.concatenate(sound), pcm, atol=1e-4)
    assert len(done) == 8


def test_one_frame_of_one_code_is_no_plural(run, tmp_path):
    audio.write(tmp_path / "a.wav", np.zeros(1920, np.float32), 24000)
    out = run("encode", "a.wav", "-o", "a.mimi", *TINY, "--codebooks", 1)[2]
    out += run("info", "a.mimi")[1] + run("decode", "a.mimi", "-o", "b.wav", *TINY)[2]
    assert out.count("1 frame ") + out.count("1 frame\n") == 3, out
    assert "1 codebook, 1 frame" in out and "1 frame of 1 code," in out


def test_stereo_is_mixed_down_only_when_asked(run, speech, tmp_path):
    clip = speech("kathleen-1")
    soundfile.write(tmp_path / "in.wav", np.stack([clip, clip], axis=1), 24000)
    code, _, err = run("roundtrip", "in.wav", "-o", "a.wav", "--model", "tiny")
    assert code == 2 and "2 channels" in err and "--mono" in err
    assert not (tmp_path / "a.wav").exists()
    assert run("encode", "in.wav", "-o", "a.npy", "--model", "tiny", "--mono")[0] == 0
    assert run("encode", CLIP, "-o", "b.npy", "--model", "tiny")[0] == 0
    agree = np.load(tmp_path / "a.npy") == np.load(tmp_path / "b.npy")
    assert agree.mean() > 0.95  # 16 bits again


def test_nothing_is_overwritten_unasked(run, tmp_path):
    (tmp_path / "a.npy").write_text("precious")
    code, _, err = run("encode", CLIP, "-o", "a.npy", "--model", "tiny")
    assert code == 2 and "a.npy exists" in err and "-f" in err
    assert (tmp_path / "a.npy").read_text() == "precious"
    assert run("encode", CLIP, "-o", "a.npy", "--model", "tiny", "-f")[0] == 0
    assert np.load(tmp_path / "a.npy").shape == (1, 8, 21)


def test_an_error_in_the_middle_leaves_no_file(run, tmp_path, speech):
    clip = np.concatenate([speech("kathleen-1"), [np.nan]]).astype(np.float32)
    soundfile.write(tmp_path / "nan.wav", clip, 24000, "FLOAT")
    for command, output in (("encode", "a.mimi"), ("encode", "a.npz"), ("roundtrip", "a.wav")):
        code, _, err = run(command, "nan.wav", "-o", output, *TINY)
        assert code == 2 and "NaN" in err
        assert [path.name for path in tmp_path.iterdir()] == ["nan.wav"]


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
def test_of_a_cut_sound_file_what_is_there_is_kept(run, tmp_path, speech, suffix):
    audio.write(tmp_path / f"cut{suffix}", np.tile(speech("kathleen-1"), 2), 24000)
    data = (tmp_path / f"cut{suffix}").read_bytes()
    (tmp_path / f"cut{suffix}").write_bytes(data[: len(data) // 2])
    for command, output in (("encode", "a.mimi"), ("encode", "a.npz"), ("roundtrip", "a.wav")):
        code, _, err = run(command, f"cut{suffix}", "-o", output, *TINY)
        assert code == 1 and err.count("\n") == 2 and (tmp_path / output).exists(), err
        assert err.splitlines()[1].startswith(f"mimi-mlx: cut{suffix} ends after ")
    given = int(re.search(r"after (\d+) samples", err)[1])
    assert 20000 < given < 70000
    assert audio.load(tmp_path / "a.wav").samples.shape == (given,)
    assert codefile.read(tmp_path / "a.mimi").samples == given
    code, out, err = run("info", f"cut{suffix}")
    assert code == 1 and f"{given} samples" in out and "damage" in out and err == ""
    with pytest.raises(ValueError, match=r"cut off|cannot be read"):
        audio.load(tmp_path / f"cut{suffix}")


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length(tmp_path, speech):
    """120 s more would take 12 MB for each copy of the samples, and more for what a step makes."""
    clip = speech("dialogue")[:240000]
    script = (
        "import resource, sys\nfrom mimi_mlx import cli\n"
        "assert cli.main(sys.argv[1:] + ['--model', 'tiny', '--codebooks', '1']) == 0\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // "
        "(2**20 if sys.platform == 'darwin' else 2**10))"
    )
    peaks = []
    for times in (7, 19):  # 70 s is more than is done at once
        audio.write(tmp_path / f"{times}.wav", np.tile(clip, times), 24000)
        for args in (
            ("encode", f"{times}.wav", "-o", f"{times}.mimi"),
            ("decode", f"{times}.mimi", "-o", f"{times}.flac"),
        ):
            command = [sys.executable, "-c", script, *args]
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
            peaks.append(int(done.stdout))
    (encode, decode), (long_encode, long_decode) = peaks[:2], peaks[2:]
    assert long_encode < encode + 10 and long_decode < decode + 10, peaks
