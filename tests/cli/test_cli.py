"""The command line, through main() with the embedded model: files, lengths, output, endings."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from paths import SPEECH
from safetensors import safe_open

from mimi_mlx import audio, cli
from mimi_mlx.cli import progress as work
from mimi_mlx.codefile import arrays as codes_io
from mimi_mlx.tiny import FOLDER as TINY

CLIP = SPEECH / "kathleen-1.flac"  # 40134 samples: 21 frames, the last one ragged


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
    codes = codes_io.read(tmp_path / f"a{suffix}").codes
    np.testing.assert_array_equal(codes, np.array(tiny.encode(clip, num_codebooks=4)))
    assert codes.dtype == np.int32 and codes.shape == (1, 4, 21)
    code, out, err = run("decode", f"a{suffix}", "-o", "a.wav", "--model", "tiny")
    assert (code, out) == (0, "") and "21 frames of 4 codes, 0.55 kbps" in err
    length = len(clip) if suffix == ".safetensors" else 21 * 1920
    back = audio.read(tmp_path / "a.wav", 24000)
    np.testing.assert_allclose(back, np.array(tiny.decode(codes, length))[0, 0], atol=1e-4)


def test_work_is_done_in_blocks_and_equals_the_whole(run, tiny, speech, tmp_path, monkeypatch):
    monkeypatch.setattr(work, "BLOCK", 6)
    clip = speech("kathleen-1")
    codes = np.array(tiny.encode(clip, num_codebooks=8))
    pcm = np.array(tiny.decode(codes, len(clip)))[0, 0]
    run("encode", CLIP, "-o", "a.npy", "--model", "tiny")
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), codes)
    run("roundtrip", CLIP, "-o", "a.wav", "--model", "tiny")
    np.testing.assert_allclose(audio.read(tmp_path / "a.wav", 24000), pcm, atol=1e-4)


def test_safetensors_say_where_the_codes_come_from(run, tiny, tmp_path):
    source = 70001
    audio.write(tmp_path / "in.wav", np.zeros(source, np.float32), 44100)
    run("encode", "in.wav", "-o", "a.safetensors", "--model", "tiny")
    with safe_open(tmp_path / "a.safetensors", "numpy") as file:
        assert file.get_tensor("codes").dtype == np.int32
        known = file.metadata()
    assert known == {
        "samples": str(-(-source * 24000 // 44100)),
        "sample_rate": "24000",
        "source_rate": "44100",
        "source_samples": str(source),
        "num_codebooks": "8",
        "fingerprint": tiny.fingerprint,
        "model": "tiny",
    }


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


def test_decode_refuses_another_models_codes(run, tmp_path):
    codes = codes_io.CodedClip(np.zeros((1, 8, 2), np.int32), fingerprint="0" * 16, model="other")
    codes_io.write(tmp_path / "a.safetensors", codes)
    code, _, err = run("decode", "a.safetensors", "-o", "a.wav", "--model", "tiny")
    assert code == 2 and "--model other" in err
    assert not (tmp_path / "a.wav").exists()


def test_info_of_a_model(run, tiny):
    code, out, err = run("info", "tiny")
    assert (code, err) == (0, "")
    lines = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in out.splitlines())
    assert lines["layout"] == "hub" and lines["fingerprint"] == tiny.fingerprint
    assert lines["parameters"].startswith("3,631,569 in 158 tensors")
    assert lines["codebooks"].startswith("16, 1 of them semantic, of 2048 entries of 32")
    assert lines["frames"] == "12.5 a second, 1920 samples each"
    assert "1.1 kbps with 8, 2.2 kbps with all 16" in lines["bitrate"]
    assert {"model", "files", "size", "audio", "device", "BLAS", "versions"} <= lines.keys()


def test_info_of_codes_and_of_sound(run, tmp_path):
    run("encode", CLIP, "-o", "a.safetensors", "--model", "tiny")
    run("encode", CLIP, "-o", "a.npy", "--model", "tiny")
    out = run("info", "a.safetensors")[1]
    assert "[1, 8, 21]" in out and "1.6723 (40134 at 24000 Hz)" in out and "1.1 kbps" in out
    assert "tiny, fingerprint" in out
    out = run("info", "a.npy")[1]
    assert "[1, 8, 21]" in out and "1.68, in whole frames" in out
    out = run("info", CLIP)[1]
    assert "40134 samples, channels: 1" in out and "1.6723" in out and "FLAC" in out


def test_demo_writes_a_sound_and_a_table_and_says_what_it_is(run, tmp_path):
    code, out, err = run("demo")
    assert (code, err) == (0, "")
    assert "not kyutai/mimi" in out
    rows = [line.split() for line in out.splitlines() if re.match(r" +\d", line)]
    assert [row[:2] for row in rows] == [
        ["1", "0.138"],
        ["4", "0.550"],
        ["8", "1.100"],
        ["16", "2.200"],
    ]
    distances = [float(row[3]) for row in rows]
    assert distances[0] > distances[1] and max(distances) < 7
    clip = audio.read(TINY / "speech.flac", 24000)
    assert audio.read(tmp_path / "demo.wav", 24000).shape == clip.shape
    assert run("demo")[0] == 2  # demo.wav exists


def test_ctrl_c_leaves_nothing(run, tmp_path, monkeypatch):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored
    monkeypatch.setattr(work.Progress, "advance", lambda *a: signal.raise_signal(signal.SIGINT))
    code, _, err = run("roundtrip", CLIP, "-o", "a.wav", "--model", "tiny")
    assert (code, err) == (130, "mimi-mlx: interrupted\n")
    assert not list(tmp_path.iterdir())


def test_a_failure_is_one_line_and_exit_code_1_and_leaves_nothing(run, tmp_path, monkeypatch):
    def full(*args: object) -> None:
        raise OSError(28, "No space\nleft on device")

    monkeypatch.setattr(soundfile.SoundFile, "write", full)
    command = ["roundtrip", CLIP, "-o", "a.wav", "--model", "tiny"]
    code, _, err = run(*command)
    assert code == 1 and err.count("\n") == 1
    assert err.startswith("mimi-mlx: OSError: [Errno 28] No space left on device")
    assert not list(tmp_path.iterdir())
    code, _, err = run(*command, "--debug")
    assert code == 1 and err.startswith("Traceback") and "writer.py" in err


def command(*args: str, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "mimi_mlx", *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_as_a_module_and_into_a_closed_pipe():
    helped = command("--help")
    broken = command("info", "tiny")
    broken.stdout.close()
    assert broken.wait(60) == 141
    assert broken.stderr.read() == ""
    out, err = helped.communicate(timeout=60)
    assert helped.returncode == 0 and err == ""
    assert all(name in out for name in ("roundtrip", "encode", "decode", "info", "demo"))


def test_help_and_usage_import_nothing_heavy():
    heavy = ["soundfile", "soxr", "tqdm", "huggingface_hub", "mimi_mlx.cli.info"]
    script = (
        "import sys, json; from mimi_mlx.cli import _parser; _parser()\n"
        f"print(json.dumps([name for name in {heavy} if name in sys.modules]))"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(out.stdout) == []


def test_every_package_is_installed():
    root = Path(cli.__file__).parent
    listed = (SPEECH.parents[1] / "pyproject.toml").read_text()
    for package in root.glob("*/__init__.py"):
        assert f'"mimi_mlx.{package.parent.name}"' in listed
