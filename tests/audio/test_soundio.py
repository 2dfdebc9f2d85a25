"""Sound in and out in blocks: any cutting, exact lengths, the bytes of files, bounded memory."""

import io
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from mimi_mlx import audio
from mimi_mlx.audio import reader as soundin
from mimi_mlx.audio import writer as soundout


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1.2, 1.2, samples).astype(np.float32)


@pytest.mark.parametrize(("source", "rate"), [(44100, 24000), (8000, 24000), (24000, 48000)])
def test_resampling_does_not_depend_on_the_cutting(source, rate):
    samples = noise(30001)
    whole = audio.resample(samples, source, rate)
    for size in (1 << 16, 1920, 441, 7):
        resampler = soundin.Resampler(source, rate)
        parts = [resampler.push(samples[i : i + size]) for i in range(0, len(samples), size)]
        given = sum(map(len, parts))
        np.testing.assert_array_equal(np.concatenate([*parts, resampler.flush()]), whole)
        assert len(whole) / rate - given / rate < 0.15, "it comes late"


def test_pieces_are_the_same_however_the_blocks_were_cut():
    whole = np.arange(2 * 1001).reshape(2, 1001)
    expected = [whole[:, i : i + 60] for i in range(0, 1001, 60)]
    for sizes in ([1001], [1] * 1001, [0, 59, 2, 500, 440], [60] * 16 + [41]):
        blocks = np.split(whole, np.cumsum(sizes)[:-1], axis=1)
        pieces = list(soundin.pieces(blocks, 60))
        assert len(pieces) == len(expected)
        for piece, wanted in zip(pieces, expected, strict=True):
            np.testing.assert_array_equal(piece, wanted)


def test_a_piece_does_not_wait_for_what_follows():
    def live():
        yield np.zeros(130)
        raise AssertionError("waited")

    pieces = soundin.pieces(live(), 60)
    assert len(next(pieces)) == len(next(pieces)) == 60


def test_samples_in_a_pipe_are_those_of_a_file():
    samples = np.concatenate([noise(100000), [1, -1, 1e-9, -1e-9, 0]]).astype(np.float32)
    file, pipe = io.BytesIO(), io.BytesIO()
    soundfile.write(file, samples, 24000, format="WAV", subtype="PCM_16")
    soundout.PipeWriter(pipe, "s16le", 24000).write(samples)
    assert pipe.getvalue() == file.getvalue()[44:]
    wav = io.BytesIO()
    soundout.PipeWriter(wav, None, 24000).write(samples)
    head, expected = wav.getvalue()[:44], bytearray(file.getvalue()[:44])
    expected[4:8] = expected[40:44] = b"\xff" * 4
    assert head == expected
    for kind, wide in (("s16le", "int16"), ("f32le", "float32")):
        data = soundfile.read(io.BytesIO(file.getvalue()), dtype=wide)[0].tobytes()
        reader = soundin.RawReader(io.BytesIO(data), kind, 24000)
        there = soundfile.read(io.BytesIO(file.getvalue()), dtype="float32")[0]
        np.testing.assert_array_equal(np.concatenate(list(reader)), there)
        assert reader.given == len(samples)


def test_samples_that_come_in_halves_are_whole():
    class Dribble(io.BytesIO):
        def read(self, size: int = -1) -> bytes:
            return super().read(3)

    data = noise(50).astype("<f4")
    reader = soundin.RawReader(Dribble(data.tobytes()), "f32le", 24000)
    np.testing.assert_array_equal(np.concatenate(list(reader)), data)


@pytest.mark.parametrize("name", ["cut.flac", "cut.mp3"])
def test_a_sound_file_that_is_cut_off_is_named(tmp_path, name):
    path = tmp_path / name
    audio.write(path, noise(48000), 24000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=rf"{name} (ends after \d+ of|cannot be read)"):
        audio.load(path)


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
