"""Codes of every format through decode and info: fewer codebooks, other models, damage."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from paths import SPEECH
from paths import TINY as TINY_FOLDER

from mimi_mlx import audio, codefile
from mimi_mlx.checkpoint import convert
from mimi_mlx.codefile import CodeFile, Header, arrays

EARLIER = Path(__file__).parents[1] / "codefile" / "earlier_tiny.mimi"  # 21 frames of 4 codes
CLIP = SPEECH / "kathleen-1.flac"  # 40134 samples: 21 frames, the last one ragged
TINY = ("--model", "tiny")


@pytest.fixture(scope="module")
def codes(tiny, speech) -> np.ndarray:
    """Codes ``[1, 8, 21]`` of the clip."""
    return np.array(tiny.encode(speech("kathleen-1"), num_codebooks=8))


@pytest.fixture
def blocks(codes, tmp_path, tiny) -> bytes:
    """They are in blocks.mimi in blocks of 5 frames: its bytes."""
    header = Header.for_model(tiny, 8)
    with codefile.Writer(tmp_path / "blocks.mimi", header, block_frames=5) as writer:
        writer.write(codes)
        writer.close(40134)
    return (tmp_path / "blocks.mimi").read_bytes()


def test_a_mimi_file_is_11_bytes_a_frame_and_says_all(run, codes, tmp_path, tiny):
    assert run("encode", CLIP, "-o", "a.mimi", *TINY)[0] == 0
    found = codefile.read(tmp_path / "a.mimi")
    np.testing.assert_array_equal(found.codes, codes)
    assert found.damage is None and found.samples == 40134 == found.header.samples
    assert found.header.metadata == {"model": "tiny"} and found.header.source_rate == 24000
    assert (tmp_path / "a.mimi").stat().st_size == 64 + 16 + 28 + 21 * 11 + 28
    code, out, _ = run("info", "a.mimi")
    assert code == 0 and "[1, 8, 21]" in out and "1.6723 (40134 at 24000 Hz)" in out
    assert "1.1 kbps" in out and f"tiny, fingerprint {tiny.fingerprint}" in out


@pytest.mark.parametrize("suffix", [".mimi", ".safetensors", ".npz", ".npy"])
def test_decode_reads_fewer_codebooks_than_there_are(run, codes, tmp_path, tiny, suffix):
    if suffix == ".mimi":
        codefile.write(tmp_path / "b.mimi", codes, Header.for_model(tiny, 8), 40134)
    else:
        arrays.write(tmp_path / f"b{suffix}", CodeFile(codes, 40134, Header(8), None))
    code, _, err = run("decode", f"b{suffix}", "-o", "b.wav", "--codebooks", 2, *TINY)
    assert code == 0 and "21 frames of 2 codes" in err
    length = 21 * 1920 if suffix == ".npy" else 40134
    expected = np.array(tiny.decode(codes[:, :2], length))[0, 0]
    there = audio.load(tmp_path / "b.wav").samples
    np.testing.assert_allclose(there, expected, atol=1e-4)
    for count in (0, 9):
        code, _, err = run("decode", f"b{suffix}", "-o", "c.wav", "--codebooks", count, *TINY)
        assert code == 2 and f"num_codebooks is {count}" in err and "holds 8" in err
        assert "Choose 1 to 8." in err


def test_npz_that_holds_no_codes_is_one_line(run, tmp_path):
    np.savez(tmp_path / "other.npz", weight=np.zeros(3))
    np.savez(tmp_path / "pickle.npz", codes=np.array([{}], object))
    np.savez(tmp_path / "word.npz", codes=np.zeros((1, 8, 5), np.int32), samples="many")
    np.savez(tmp_path / "float.npz", codes=np.zeros((1, 8, 5)))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "other.npz").read_bytes()[:-30])
    with (tmp_path / "array.npz").open("wb") as file:
        np.save(file, np.zeros((8, 5), np.int32))
    for name, rule in {
        "other": "no array named codes",
        "pickle": "cannot be read as .npz",
        "word": "has 'many' for samples",
        "float": "float64 [1, 8, 5]",
        "cut": "cannot be read as .npz",
        "array": "cannot be read as .npz",
        "missing": "is no file",
    }.items():
        code, _, err = run("decode", f"{name}.npz", "-o", "a.wav", *TINY)
        assert code == 2 and f"{name}.npz" in err and rule in err and err.count("\n") == 1, err


def test_decode_refuses_another_models_codes(run, tmp_path):
    header = Header(8, fingerprint="0123456789abcdef", metadata={"model": "some/other"})
    clip = CodeFile(np.zeros((1, 8, 2), np.int32), 3840, header, None)
    arrays.write(tmp_path / "a.safetensors", clip)
    code, _, err = run("decode", "a.safetensors", "-o", "a.wav", "--model", "tiny")
    assert code == 2 and "--model some/other" in err
    assert not (tmp_path / "a.wav").exists()


def test_another_models_codes_are_refused_unless_forced(run, codes, tmp_path, tiny):
    header = Header(8, fingerprint="0123456789abcdef", metadata={"model": "some/other"})
    codefile.write(tmp_path / "other.mimi", codes, header)
    code, _, err = run("decode", "other.mimi", "-o", "b.wav", *TINY)
    assert code == 2 and "--model some/other" in err and "--force-model" in err
    assert not (tmp_path / "b.wav").exists()
    assert run("decode", "other.mimi", "-o", "b.wav", "--force-model", *TINY)[0] == 0
    assert len(audio.load(tmp_path / "b.wav").samples) == 21 * 1920
    header = Header(8, sample_rate=16000, fingerprint=tiny.fingerprint)
    codefile.write(tmp_path / "rate.mimi", codes, header)
    code, _, err = run("decode", "rate.mimi", "-o", "c.wav", "--force-model", *TINY)
    assert code == 2 and "16000 Hz" in err


def test_codes_of_an_earlier_tiny_are_refused_by_name(run, tmp_path, tiny):
    shutil.copy(EARLIER, tmp_path / "a.mimi")
    code, _, err = run("decode", "a.mimi", "-o", "a.wav")
    assert code == 2 and "the tiny of an earlier version (fingerprint 64f4dcbbc16f7626)" in err
    assert "tiny changed with this one" in err and not (tmp_path / "a.wav").exists()
    with pytest.raises(ValueError, match="64f4dcbbc16f7626, the tiny of an earlier version; this"):
        codefile.read(EARLIER).header.check_model(tiny)


def test_of_a_damaged_file_every_good_frame_is_decoded(run, codes, blocks, tmp_path, tiny):
    data = bytearray(blocks)
    start = data.index(b"\xffBLK", data.index(b"\xffBLK") + 1)  # the second block, frames 5 to 9
    data[start + 40] ^= 1
    (tmp_path / "hole.mimi").write_bytes(data)
    (tmp_path / "cut.mimi").write_bytes(data[: data.index(b"\xffEND") - 1])
    good = {"hole": [*range(5), *range(10, 21)], "cut": [*range(5), *range(10, 20)]}
    for name, frames in good.items():
        code, _, err = run("decode", f"{name}.mimi", "-o", f"{name}.wav", *TINY, "--skip-lost")
        assert code == 1 and err.splitlines()[1].startswith(f"mimi-mlx: {name}.mimi is damaged: ")
        length = len(frames) * 1920 - (21 * 1920 - 40134 if name == "hole" else 0)
        expected = np.array(tiny.decode(codes[..., frames], length))[0, 0]
        there = audio.load(tmp_path / f"{name}.wav").samples
        np.testing.assert_allclose(there, expected, atol=1e-4)
        code, out, err = run("info", f"{name}.mimi")
        assert code == 1 and err == "" and "damage" in out and f"{len(frames)} frames" in out


def test_silence_is_in_place_of_what_is_lost(run, codes, blocks, tmp_path, tiny):
    """So that what follows stays where it was; nothing clicks at its edges."""
    data = bytearray(blocks)
    starts = [m.start() for m in re.finditer(b"\xffBLK", blocks)]
    for start in (starts[0], starts[2]):  # frames 0 to 4 and 10 to 14
        data[start + 40] ^= 1
    (tmp_path / "hole.mimi").write_bytes(data)
    (tmp_path / "cut.mimi").write_bytes(data[: data.index(b"\xffEND") - 1])  # frame 20 is gone
    good = [*range(5, 10), *range(15, 21)]
    clear = np.zeros(21 * 1920, bool)  # neither lost nor faded
    clear[5 * 1920 + 120 : 10 * 1920 - 120] = clear[15 * 1920 + 120 :] = True
    lost = np.repeat([frame not in good for frame in range(21)], 1920)[:40134]
    whole = np.array(tiny.decode(codes[..., good]))[0, 0]
    expected = np.zeros(21 * 1920, np.float32)
    expected[~np.repeat([frame not in good for frame in range(21)], 1920)] = whole
    for name, end, seconds in (("hole", 40134, "0.80"), ("cut", 20 * 1920 - 120, "0.88")):
        code, _, err = run("decode", f"{name}.mimi", "-o", f"{name}.wav", *TINY)
        assert code == 1 and f"{name}.wav: 1.67 s" in err and f"{seconds} s that was lost is" in err
        there = audio.load(tmp_path / f"{name}.wav").samples
        assert there.shape == (40134,) and not there[lost].any()
        np.testing.assert_allclose(there[:end][clear[:end]], expected[:end][clear[:end]], atol=1e-4)
        edges = [5 * 1920, 10 * 1920 - 1, 15 * 1920]
        np.testing.assert_allclose(there[edges], 0, atol=1e-4)
    run("decode", "cut.mimi", "-o", "all.wav", *TINY)
    assert not audio.load(tmp_path / "all.wav").samples[20 * 1920 :].any()


def test_what_a_file_claims_is_no_silence_without_end(run, codes, tmp_path, tiny):
    writer = codefile.Writer(tmp_path / "a.mimi", Header.for_model(tiny, 8), block_frames=5)
    writer.write(codes[..., :5])
    writer.frames = 10**12  # the next block claims to be there
    writer.write(codes[..., 5:10])
    writer.close()
    code, _, err = run("decode", "a.mimi", "-o", "a.wav", *TINY)
    assert code == 1 and "s that was lost is left out" in err and "silent" not in err
    assert audio.load(tmp_path / "a.wav").samples.shape == (10 * 1920,)


def test_a_damaged_file_without_a_good_frame_is_a_failure_and_leaves_nothing(run, blocks, tmp_path):
    (tmp_path / "cut.mimi").write_bytes(blocks[: blocks.index(b"\xffBLK") + 40])
    (tmp_path / "blocks.mimi").unlink()
    code, out, err = run("decode", "cut.mimi", "-o", "a.wav", *TINY)
    assert (code, out) == (1, "") and err.count("\n") == 1
    assert err.startswith("mimi-mlx: cut.mimi is damaged: ") and "nothing to decode" in err
    assert [path.name for path in tmp_path.iterdir()] == ["cut.mimi"]
    assert run("info", "cut.mimi")[0] == 1


def test_mimi_files_with_nothing_in_them_are_one_line(run, tmp_path, tiny):
    (tmp_path / "empty.mimi").touch()
    (tmp_path / "text.mimi").write_text("no codes " * 20)
    with codefile.Writer(tmp_path / "none.mimi", Header.for_model(tiny, 8)):
        pass
    for name, rule in {
        "empty": "0 bytes",
        "text": "MIMI",
        "none": "the codes have no frames",
        "missing": "cannot be opened",
    }.items():
        code, _, err = run("decode", f"{name}.mimi", "-o", "a.wav", *TINY)
        assert code == 2 and rule in err and err.count("\n") == 1, err
        assert not (tmp_path / "a.wav").exists()


def test_decode_uses_the_model_that_the_file_names_when_it_is_here(run, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody is there
    wanted = convert.Wanted(str(TINY_FOLDER), only="decoder")
    convert.convert(wanted, tmp_path / "mine")
    shutil.copytree(TINY_FOLDER, tmp_path / "sub/mine")
    for model, name in {"tiny": "tiny", tmp_path / "sub/mine": "mine"}.items():
        assert run("encode", CLIP, "-o", "a.mimi", "-f", "--model", model)[0] == 0
        assert codefile.read(tmp_path / "a.mimi").header.metadata == {"model": name}
        code, _, err = run("decode", "a.mimi", "-o", "a.wav", "-f")
        assert code == 0, err
        assert run("decode", "a.mimi", "-o", "b.wav", "-f", *TINY)[0] == 0
        assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


@pytest.mark.parametrize(
    ("named", "remedy"),
    [
        ("some/other", "Give --model some/other."),
        ("my folder", "Give --model and where it is."),
        ("../sub/mine", "Give --model and where it is."),
        ("/etc", "Give --model and where it is."),
        ([1], "Give --model and where it is."),
        *((name, "Give --model and where it is.") for name in ("..", ".", "~", "a\0", "no model")),
    ],
)
def test_decode_asks_for_a_model_that_is_not_here(run, tmp_path, codes, named, remedy):
    header = Header(8, fingerprint="0123456789abcdef", metadata={"model": named})
    codefile.write(tmp_path / "a.mimi", codes, header)
    (tmp_path / "no model").mkdir()
    code, _, err = run("decode", "a.mimi", "-o", "a.wav")
    assert code == 2 and "which is not here" in err and remedy in err, err


def test_a_folder_of_codes_names_no_path(run, tmp_path):
    (tmp_path / "in").mkdir()
    shutil.copy(CLIP, tmp_path / "in")
    shutil.copytree(TINY_FOLDER, tmp_path / "sub/mine")
    assert run("encode", "in", "-o", "out", "--model", tmp_path / "sub/mine")[0] == 0
    assert codefile.read(tmp_path / "out/kathleen-1.mimi").header.metadata == {"model": "mine"}
