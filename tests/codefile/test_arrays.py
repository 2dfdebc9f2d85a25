"""Codes in .npz, .safetensors and .npy: what the files say comes back."""

import random
import struct
import tracemalloc
import zipfile
from pathlib import Path

import fuzz_stream
import numpy as np
import pytest
from mimi_files import MARK, some_codes
from safetensors import safe_open
from safetensors.numpy import save

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


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".npy"])
@pytest.mark.parametrize("code", [2**32 + 5, 2**16, -(2**32) + 5, -2])
def test_codes_are_no_smaller_for_being_cast(tmp_path, suffix, code):
    codes = some_codes(8, 5).astype(np.int64)
    codes[3, 2] = code
    saved(tmp_path / f"a{suffix}", codes)
    with pytest.raises(ValueError, match=rf"a{suffix} has {code}; a code is from 0 to 65535"):
        arrays.read(tmp_path / f"a{suffix}")


def saved(path: Path, codes: np.ndarray) -> None:
    """As others write codes: any array, of any type."""
    if path.suffix == ".safetensors":
        path.write_bytes(save({"codes": codes}))
    else:
        {".npy": np.save, ".npz": lambda to, codes: np.savez(to, codes=codes)}[path.suffix](
            path, codes
        )


def header_of(shape: object, dtype: object = "<i4", fill: int = 0) -> bytes:
    """The beginning of a .npy file that promises this."""
    text = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape!r}, }}{' ' * fill}\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


@pytest.mark.parametrize(
    "head",
    [
        *(header_of(shape) for shape in [(8, 26), (8, 10**12), (10**30, 8), (-8, -25), (8, -1)]),
        *(header_of(shape) for shape in [(0, 10**30), (1,) * 99, (2.0, 3), "(8, 25)", None]),
        *(header_of((8, 25), dtype) for dtype in ["<U999999999", "O", "<i3", "", [("a", "<i4")]]),
        *(header_of((8, 25), fill=60000), b"\x93NUMPY\x03\x00" + header_of((8, 25))[8:]),
        *(b"\x93NUMPY", b"\x93NUMPY\x01\x00\xff\xff", b""),
    ],
)
def test_an_array_that_is_not_as_it_promises(tmp_path, head):
    data = head + bytes(8 * 25 * 4)
    (tmp_path / "a.npy").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("codes.npy", data)
    for name in ("a.npy", "a.npz"):
        tracemalloc.start()
        with pytest.raises(ValueError, match=rf"{name} (cannot be read as|has)") as caught:
            arrays.read(tmp_path / name)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
        tracemalloc.stop()
        assert "\n" not in str(caught.value)


def test_what_is_packed_small_is_not_unpacked_without_end(tmp_path, monkeypatch):
    """Zeros, a thousandth of their size; and a directory that makes little of it."""
    monkeypatch.setattr(arrays, "LARGEST", 1 << 20)
    path = tmp_path / "a.npz"
    np.savez_compressed(path, codes=np.zeros((8, 1 << 17), np.int32))
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"a\.npz .*unpacks to \d+ bytes; .* at most 1048576\)"):
        arrays.read(path)
    data = path.read_bytes()
    at = data.rindex(b"PK\x01\x02") + 24
    path.write_bytes(data[:at] + struct.pack("<I", 1000) + data[at + 4 :])
    with pytest.raises(ValueError, match=r"a\.npz cannot be read as \.npz"):
        arrays.read(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("dtype", "shape", "size"),
    [
        *((dtype, [8, 4], 32) for dtype in ("F8_E4M3", "F8_E5M2", "F8_E8M0", "BOOL")),
        *(("BF16", [8, 4], 64), ("F4", [8, 4], 16), ("C64", [8, 4], 256)),
        *(("I32", shape, 4) for shape in ([1] * 100, [1] * 100000, [], [1])),
        *(("I32", shape, 0) for shape in ([0, 2**63], [8, 0], [0])),
    ],
)
def test_tensors_that_numpy_has_not(tmp_path, dtype, shape, size):
    header = {"codes": {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}}
    (tmp_path / "a.safetensors").write_bytes(fuzz_stream.joined(header, bytes(size)))
    with pytest.raises(ValueError, match=rf"a\.safetensors has {dtype} \[.* are integers"):
        arrays.read(tmp_path / "a.safetensors")


def test_what_zip_has_and_numpy_never_writes(tmp_path):
    for way in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with zipfile.ZipFile(tmp_path / "a.npz", "w", way) as archive:
            archive.writestr("codes.npy", header_of((8, 25)) + bytes(8 * 25 * 4))
        with pytest.raises(ValueError, match=r"a\.npz cannot be read as \.npz"):
            arrays.read(tmp_path / "a.npz")


@pytest.mark.parametrize("dtype", ["<i8", ">i8", ">u2", "<i4", "u8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_codes_of_any_type_and_order(tmp_path, dtype, order):
    codes = some_codes(8, 5)
    for suffix in (".npy", ".npz"):
        saved(tmp_path / f"a{suffix}", np.asarray(codes, dtype, order=order))
        np.testing.assert_array_equal(arrays.read(tmp_path / f"a{suffix}").codes, codes[None])


def test_codes_that_are_all_the_same_are_codes(tmp_path):
    """An hour of them takes a thousandth of what it unpacks to."""
    codes = np.full((32, 45000), 7, np.int64)
    np.savez_compressed(tmp_path / "a.npz", codes=codes)
    np.testing.assert_array_equal(arrays.read(tmp_path / "a.npz").codes, codes[None])


@pytest.mark.filterwarnings("ignore")  # of a header that Python 2 may have written
def test_some_damaged_arrays(tmp_path):
    """Bytes changed, cut off or put in: one line, or codes."""
    rng = random.Random(0)
    for suffix in (".npy", ".npz", ".safetensors"):
        path = tmp_path / f"a{suffix}"
        saved(path, some_codes(8, 5).astype(np.int64))
        whole = path.read_bytes()
        for _ in range(150):
            data = bytearray(whole)
            at = rng.randrange(rng.choice([128, len(data)]))
            way = rng.randrange(3)
            if way == 0:
                data[at] ^= 1 << rng.randrange(8)
            elif way == 1:
                del data[at:]
            else:
                data[at:at] = rng.randbytes(rng.choice([1, 8]))
            path.write_bytes(data)
            try:
                found = arrays.read(path)
            except ValueError as error:
                assert str(error).startswith(str(path)) and "\n" not in str(error)
            else:
                assert found.codes.min() >= -1 and found.codes.max() < 2**16
