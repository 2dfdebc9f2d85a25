"""The header of a .mimi file: what it says of its codes, and its bytes (docs/mimi-format.md)."""

import json
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..arrays import whole
from ..model.config import shown
from ..tiny import EARLIER
from .bitpack import frame_bytes

if TYPE_CHECKING:
    from ..mimi import Mimi

MAGIC = b"MIMI\r\n\x1a\n"
VERSION = 1
SIZE = 64
MAX_METADATA = 1 << 16  # bytes of JSON

# Magic; version, codebooks, bits; flags, sample rate, frame size; frames, samples; source rate,
# bytes of metadata; fingerprint; the metadata's CRC. The header's own CRC follows.
_FORMAT = "<8sHBBIIIQQII8sI"
_COUNTS = slice(24, 40)  # frames and samples: written again when they are known
_UNKNOWN = 2**64 - 1
_MUST_KNOW = 0xFFFF  # the flags that a reader may not ignore; version 1 has no flags

# Name: the least, the most, whether it may be unknown.
_RANGES = {
    "num_codebooks": (1, 255, False),
    "bits_per_code": (1, 16, False),
    "sample_rate": (1, 2**32 - 1, False),
    "frame_size": (1, 2**20, False),
    "frames": (0, _UNKNOWN - 1, True),
    "samples": (0, _UNKNOWN - 1, True),
    "source_rate": (1, 2**32 - 1, True),
}


@dataclass(frozen=True)
class Header:
    """What a .mimi file says of its codes; None is unknown.

    Raises:
        ValueError: A number is out of its range, or the fingerprint is not 16 hexadecimal digits.
    """

    num_codebooks: int
    """1 to 255."""
    bits_per_code: int = 11
    """1 to 16."""
    sample_rate: int = 24000
    """The model's, in Hz."""
    frame_size: int = 1920
    """Samples a frame."""
    frames: int | None = None
    """Of the whole file; known once it is closed."""
    samples: int | None = None
    """Of the clip, at ``sample_rate``; the last frame may be only partly filled."""
    source_rate: int | None = None
    """The rate in Hz of what was encoded, before it was resampled."""
    fingerprint: str | None = None
    """That of the model which made the codes; another model's codes mean something else."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Whatever JSON can hold, in at most 64 KiB."""

    def __post_init__(self):
        for name, (least, most, optional) in _RANGES.items():
            value = getattr(self, name)
            if value is None and optional:
                continue
            if (number := whole(value)) is None or not least <= number <= most:
                raise ValueError(
                    f"{name} is {shown(value)}; in a .mimi file it is a whole number from {least} "
                    f"to {most}. Give one."
                )
        mark = self.fingerprint
        is_one = isinstance(mark, str) and re.fullmatch("[0-9a-f]{16}", mark) and mark != "0" * 16
        if mark is not None and not is_one:
            raise ValueError(
                f"fingerprint is {shown(mark)}; it is 16 hexadecimal digits, lower case and not "
                "all 0. Give Mimi.fingerprint, or None."
            )
        if not isinstance(self.metadata, Mapping):
            raise ValueError(
                f"metadata is {shown(self.metadata)}; it is a dict that JSON can hold. Give one."
            )

    @classmethod
    def for_model(
        cls,
        mimi: "Mimi",
        num_codebooks: int | None = None,
        source_rate: int | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> "Header":
        """The header of a file with a model's codes; ``num_codebooks`` None means all."""
        count = mimi.num_codebooks if num_codebooks is None else num_codebooks
        kind = count, mimi.config.bits_per_code, mimi.sample_rate, mimi.frame_size
        mark = mimi.fingerprint
        return cls(*kind, source_rate=source_rate, fingerprint=mark, metadata=metadata or {})

    @property
    def frame_bytes(self) -> int:
        """Bytes that one frame takes: 11 for 8 codes of 11 bits."""
        return frame_bytes(self.num_codebooks, self.bits_per_code)

    def may_be_of(self, mimi: "Mimi") -> bool:
        """Whether a model made these codes, or their maker is unknown."""
        return self.fingerprint in (None, mimi.fingerprint)

    def check_model(self, mimi: "Mimi", force: bool = False) -> None:
        """A model can decode these codes; ``force`` lets one with another fingerprint pass.

        Raises:
            ValueError: It cannot: it has other frames, or another fingerprint. That of codes
                whose maker is unknown passes.
        """
        ours, theirs = (self.frame_size, self.sample_rate), (mimi.frame_size, mimi.sample_rate)
        if ours != theirs:
            raise ValueError(
                f"the codes are of frames of {ours[0]} samples at {ours[1]} Hz; this model's have "
                f"{theirs[0]} at {theirs[1]} Hz. Load the model that made them."
            )
        if not force and not self.may_be_of(mimi):
            earlier = ", the tiny of an earlier version" * (self.fingerprint in EARLIER)
            raise ValueError(
                f"the codes were made by the model with fingerprint {self.fingerprint}{earlier}; "
                f"this model's is {mimi.fingerprint}, and to it they mean something else. Load the "
                "model that made them, or force it."
            )


def pack(header: Header) -> bytes:
    """The 64 bytes of a header, then its metadata.

    Raises:
        ValueError: The metadata cannot be JSON, or is too long.
    """
    metadata = _pack_metadata(header.metadata)
    counts = (_UNKNOWN if n is None else n for n in (header.frames, header.samples))
    kind = header.num_codebooks, header.bits_per_code, 0, header.sample_rate, header.frame_size
    mark = bytes.fromhex(header.fingerprint or "0" * 16)
    about = header.source_rate or 0, len(metadata), mark, zlib.crc32(metadata)
    return sealed(struct.pack(_FORMAT, MAGIC, VERSION, *kind, *counts, *about)) + metadata


def unpack(head: bytes) -> tuple[Header, int, int] | None:
    """What 64 bytes that begin with the magic say, or None if they are damaged.

    The metadata is still to come: its size and its CRC follow the header.

    Raises:
        ValueError: They are not damaged, but of another version, or out of range.
    """
    if not is_sealed(head):
        return None
    _, version, codebooks, bits, flags, rate, size, *counts, source, length, mark, crc = (
        struct.unpack(_FORMAT, head[:-4])
    )
    if version != VERSION or flags & _MUST_KNOW:
        raise ValueError(
            f"version {version} with flags {flags:#x}; this mimi_mlx reads version {VERSION} "
            "without flags. Install a later one."
        )
    if length > MAX_METADATA:
        raise ValueError(f"{length} bytes of metadata; at most {MAX_METADATA} fit. Write it anew.")
    frames, samples = (None if n == _UNKNOWN else n for n in counts)
    maker = mark.hex() if any(mark) else None
    header = Header(codebooks, bits, rate, size, frames, samples, source or None, maker)
    return header, length, crc


def with_counts(head: bytes, frames: int | None, samples: int | None) -> bytes:
    """The 64 bytes of a header with other counts; all else in them stays, known or not."""
    counts = struct.pack("<QQ", *(_UNKNOWN if n is None else n for n in (frames, samples)))
    return sealed(head[: _COUNTS.start] + counts + head[_COUNTS.stop : -4])


def identity(head: bytes) -> int:
    """What ties a header to its first block: its CRC as it was before the counts were known."""
    return seal(with_counts(head, None, None))


def with_metadata(header: Header, data: bytes, crc: int) -> Header | None:
    """The header with the metadata that followed it, or None if that is damaged."""
    if zlib.crc32(data) != crc:
        return None
    try:
        metadata = json.loads(data) if data else {}
    except (ValueError, RecursionError):
        return None
    return replace(header, metadata=metadata) if isinstance(metadata, dict) else None


def _pack_metadata(metadata: Mapping[str, Any]) -> bytes:
    try:
        data = json.dumps(dict(metadata), allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"metadata is not JSON ({error}); it is an object of names and values. Give a dict of "
            "strings, numbers, lists and the like."
        ) from error
    if len(data) > MAX_METADATA:
        raise ValueError(
            f"metadata takes {len(data)} bytes as JSON; at most {MAX_METADATA} fit. Shorten it."
        )
    return data if metadata else b""


def sealed(data: bytes) -> bytes:
    """Bytes with their CRC after them."""
    return data + struct.pack("<I", zlib.crc32(data))


def is_sealed(data: bytes) -> bool:
    """Whether bytes end in the CRC of those before it."""
    return zlib.crc32(data[:-4]) == seal(data)


def seal(data: bytes) -> int:
    """The CRC that sealed bytes end in."""
    return int.from_bytes(data[-4:], "little")
