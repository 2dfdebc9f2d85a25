"""What a run leaves on disk, and what it leaves alone."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mimi_mlx import codefile
from mimi_mlx.live import recorder
from mimi_mlx.live.recorder import Recorder


@pytest.fixture(params=["unnamed", "named"])
def files(request, tmp_path, monkeypatch) -> tuple[Path, Path]:
    """Recordings of an earlier run; new files have no name, as on Linux, or a secret one."""
    if request.param == "named":
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    for path in (tmp_path / "a.mimi", tmp_path / "a.wav"):
        path.write_bytes(b"old")
    return tmp_path / "a.mimi", tmp_path / "a.wav"


def test_a_run_without_a_frame_leaves_old_recordings(tiny, files):
    Recorder(tiny, 8, *files).close()
    assert [path.read_bytes() for path in files] == [b"old", b"old"]
    assert sorted(files[0].parent.iterdir()) == sorted(files)


def test_a_recording_grows_under_its_name_from_its_first_frame_on(tiny, files):
    codes = np.arange(8 * 30).reshape(8, 30)
    run, (mimi, wav) = Recorder(tiny, 8, *files), files
    assert mimi.read_bytes() == wav.read_bytes() == b"old"
    for n in range(30):
        run.add_codes(codes[:, n], 1920)
        run.add_sound(np.full(1920, n / 100, np.float32))
        found = codefile.read(mimi).codes[0]  # as a kill would leave it
        assert found.shape[1] > max(0, n - 12)
        np.testing.assert_array_equal(found, codes[:, : found.shape[1]])
        assert wav.stat().st_size > 3000
    assert sorted(mimi.parent.iterdir()) == sorted(files)
    run.close()
    found = codefile.read(mimi)
    assert found.damage is None and found.samples == 30 * 1920
    np.testing.assert_array_equal(found.codes[0], codes)
    assert soundfile.info(wav).frames == 30 * 1920


def test_a_recording_that_was_removed_does_not_come_back(tiny, files):
    run = Recorder(tiny, 8, files[0])
    run.add_codes(np.zeros(8, int), 1920)
    files[0].unlink()
    run.add_codes(np.zeros(8, int), 1920)
    run.close()
    assert not files[0].exists()


def test_a_reader_that_leaves_is_named_as_that_at_the_end_too(tiny, monkeypatch):
    class Pipe(io.BytesIO):
        def write(self, data):
            if self.tell() > 300:
                raise BrokenPipeError
            return super().write(data)

    monkeypatch.setattr(recorder, "stdout", Pipe)
    run = Recorder(tiny, 8, "-")
    with pytest.raises(BrokenPipeError):
        for _ in range(30):
            run.add_codes(np.zeros(8, int), 1920)
    with pytest.raises(BrokenPipeError):
        run.close()
