"""Codes in .npz, .safetensors and .npy: what the files say comes back."""

import numpy as np
import pytest
from mimi_files import MARK, some_codes
from safetensors import safe_open

from mimi_mlx import audio
from mimi_mlx.codefile import CodeFile, Header, arrays


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_what_is_known_of_the_codes_comes_back(tmp_path, suffix):
    metadata = {"model": "tiny", "source_samples": 80268}
    header = Header(
        8, frames=21, samples=40134, source_rate=48000, fingerprint=MARK, metadata=metadata
    )
    clip = CodeFile(some_codes(8, 21)[None], 40134, header, None)
    arrays.write(tmp_path / f"a{suffix}", clip)
    back = arrays.read(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(back.codes, clip.codes)
    assert back[1:] == clip[1:]


def test_bare_codes_are_whole_frames_of_the_usual_length(tmp_path):
    codes = some_codes(8, 5)
    np.save(tmp_path / "a.npy", codes)
    back = arrays.read(tmp_path / "a.npy", num_codebooks=3)
    np.testing.assert_array_equal(back.codes, codes[None, :3])
    assert back[1:] == (5 * 1920, Header(8, frames=5), None)
    with pytest.raises(ValueError, match=r"num_codebooks is 9; .*a\.npy holds 8"):
        arrays.read(tmp_path / "a.npy", num_codebooks=9)


@pytest.mark.parametrize(
    ("facts", "rule"),
    [
        ({"fingerprint": "xyz"}, "16 hexadecimal digits"),
        ({"sample_rate": 0}, "sample_rate is 0"),
        ({"source_samples": -1}, "'-1' for source_samples"),
    ],
)
def test_facts_that_cannot_be_are_named(tmp_path, facts, rule):
    np.savez(tmp_path / "a.npz", codes=some_codes(8, 5), **facts)
    with pytest.raises(ValueError, match=rf"a\.npz .*{rule}"):
        arrays.read(tmp_path / "a.npz")


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
