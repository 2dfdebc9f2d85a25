"""What is trained on: the files of a folder, their codes on disk, and random segments."""

import os
import shutil

import numpy as np
import pytest
import soundfile
from sounds import noise

from mimi_mlx import Mimi, MimiConfig, audio
from mimi_mlx.training import clips, sounds
from mimi_mlx.training.segments import Segments

CONFIG = MimiConfig()


def test_a_folder_is_searched_inside_and_in_order(sound, tmp_path):
    shutil.copytree(sound, tmp_path / "b" / "c")
    shutil.copy(sound / "0.wav", tmp_path / "a.WAV")
    shutil.copy(sound / "0.wav", tmp_path / "._a.wav")
    (tmp_path / "notes.txt").write_text("no sound")
    found = sounds.index(tmp_path, CONFIG, 4, False)
    names = [file.path.relative_to(tmp_path).as_posix() for file in found]
    assert names == ["a.WAV", *(f"b/c/{i}.wav" for i in range(5))]
    assert [file.frames for file in found] == [12, 12, 13, 14, 15, 16]


def test_what_cannot_be_trained_on_is_passed_over_or_refused(tmp_path):
    with pytest.raises(ValueError, match="has no sound files"):
        sounds.index(tmp_path, CONFIG, 4, False)
    with pytest.raises(ValueError, match="is no folder; the sound"):
        sounds.index(tmp_path / "gone", CONFIG, 4, False)
    audio.write(tmp_path / "short.wav", noise(4 * 1920), 24000)
    with pytest.raises(ValueError, match=r"1 sound files, all shorter than a segment \(0.38 s\)"):
        sounds.index(tmp_path, CONFIG, 4, False)
    audio.write(tmp_path / "long.wav", noise(4 * 1920 + 1440), 24000)
    soundfile.write(tmp_path / "stereo.wav", np.zeros((20000, 2)), 24000)
    with pytest.warns(UserWarning) as said:
        found = sounds.index(tmp_path, CONFIG, 4, False)
    assert [file.path.name for file in found] == ["long.wav"]
    assert "stereo.wav has 2 channels" in str(said[0].message)
    assert "1 of 2 sound files" in str(said[1].message)


def test_some_are_held_out(sound):
    files = sounds.index(sound, CONFIG, 4, False)
    trained, held_out = sounds.held_out(files, 0.4, 7)
    assert len(held_out) == 2 and sorted(trained + held_out) == files
    assert sounds.held_out(files, 0.4, 7) == (trained, held_out)
    assert len(sounds.held_out(files, 0.01, 0)[1]) == 1
    for share in (0, 0.95, 1, float("nan")):
        with pytest.raises(ValueError, match="leaves nothing on one side"):
            sounds.held_out(files, share, 0)


def test_codes_are_the_encoders_of_what_is_the_target(small, coded):
    mimi = Mimi.from_pretrained(small)
    for variant in range(clips.VARIANTS):
        codes, samples = clips.read(coded[1], 0, coded[1].frames, variant, 1920)
        assert codes.dtype == np.int32 and samples.shape == (coded[1].frames * 1920,)
        np.testing.assert_array_equal(np.array(mimi.encode(samples, 3))[0], codes)
    loud, quiet = (clips.read(coded[1], 3, 2, variant, 1920)[1] for variant in (0, 1))
    np.testing.assert_allclose(quiet[:-480], 10**-0.5 * loud[480:], rtol=1e-5)


def test_codes_are_made_once_for_the_same_sound(small, sound, coded, tmp_path, monkeypatch):
    mimi, made = Mimi.from_pretrained(small, only="encoder"), []
    monkeypatch.setattr(
        clips, "_write", lambda target, *_: made.append(shutil.copy(coded[0].file, target))
    )
    folder = shutil.copytree(sound, tmp_path / "sound")

    def prepare(books: int) -> int:
        made.clear()
        files = sounds.index(folder, CONFIG, 4, False)[:2]
        clips.prepare(files, mimi, books, False, tmp_path / "coded", lambda file: None)
        return len(made)

    assert [prepare(3), prepare(3), prepare(2), prepare(3)] == [2, 0, 2, 0]
    os.utime(folder / "0.wav", ns=(1, 1))
    assert prepare(3) == 1


def test_silent_and_damaged_files_are_passed_over(small, tmp_path):
    mimi = Mimi.from_pretrained(small, only="encoder")
    audio.write(tmp_path / "a.wav", np.zeros(20000, np.float32), 24000)
    files = sounds.index(tmp_path, CONFIG, 4, False)
    with (
        pytest.warns(UserWarning, match="is silent"),
        pytest.raises(ValueError, match="none of 1 sound files can be trained on"),
    ):
        clips.prepare(files, mimi, 3, False, tmp_path / "coded", lambda file: None)


def test_segments_are_drawn_from_everywhere_and_the_same_for_a_seed(coded):
    segments = Segments(coded, 4, 64, 3, 1920)
    first, again = segments.batch(5), Segments(coded, 4, 64, 3, 1920).batch(5)
    assert all(np.array_equal(np.array(a), np.array(b)) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(np.array(first.codes), np.array(segments.batch(6).codes))
    assert first.context.shape == (64, 3, 4) and first.target.shape == (64, 4 * 1920)
    assert 0 < np.array(first.begins).sum() < 40
    rows = {row.tobytes() for row in np.array(first.target)}
    assert len(rows) > 40


def test_all_of_a_short_clip_is_trained_on(coded):
    """Where it has too little before a segment, its end is before that."""
    clip = coded[0]
    assert clip.frames == 12
    codes, samples = clips.read(clip, 0, 12, 0, 1920)
    segments = Segments([clip._replace(gains=(1.0,) * 4)], 8, 200, 0, 1920)
    found = set()
    for context, row, begins, target in zip(*map(np.array, segments.batch(0)), strict=True):
        for start in range(5):
            if np.array_equal(target, samples[start * 1920 :][: 8 * 1920]):
                found.add(start)
                np.testing.assert_array_equal(row, codes[:, start : start + 8])
                before = np.take(codes, range(start - 8, start), axis=1, mode="wrap")
                np.testing.assert_array_equal(context, before)
                assert begins == (start == 0)
    assert found == set(range(5))
