"""One frame in one UDP packet (docs/live-protocol.md)."""

import struct
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...codefile import bitpack
from ...codefile.header import is_sealed, sealed

MAGIC = b"\xffM"
VERSION = 1
SEQUENCES = 1 << 32  # after the last sequence number comes 0

# Magic, version, codebooks, fingerprint, stream, sequence. The codes follow, then the CRC.
_FORMAT = "<2sBB4sII"
_HEAD = struct.calcsize(_FORMAT)
_CRC = 4


class Packet(NamedTuple):
    """A good packet."""

    stream: int  # drawn at random when a sender starts, from 0 to 2 ** 32 - 1
    sequence: int  # the frame's number in its stream, modulo 2 ** 32
    codes: np.ndarray  # int32 [K]


class Refusal(NamedTuple):
    """Why a packet of this protocol cannot be used."""

    kind: str  # in a word, the same for all packets of the kind
    reason: str  # what the sender does, and the remedy


@dataclass(frozen=True)
class PacketFormat:
    """What both ends of a link must have alike."""

    num_codebooks: int  # 1 to 255
    codebook_size: int  # codes are from 0 to this less 1
    fingerprint: str  # of the model: 16 hexadecimal digits, of which a packet holds the first 8

    @property
    def size(self) -> int:
        """Bytes of a packet, without IP and UDP: 31 for 8 codes of 11 bits."""
        return _HEAD + bitpack.frame_bytes(self.num_codebooks, self._bits) + _CRC

    def pack(self, stream: int, sequence: int, codes: np.ndarray) -> bytes:
        """The packet of one frame of codes ``[K]``, each from 0 to ``codebook_size`` - 1."""
        head = struct.pack(
            _FORMAT, MAGIC, VERSION, self.num_codebooks, self._mark, stream, sequence
        )
        return sealed(head + bitpack.pack(codes[:, None], self._bits))

    def unpack(self, data: bytes) -> Packet | Refusal | None:
        """What a datagram says; None if it is none of this protocol's, or damaged."""
        if len(data) < _HEAD + _CRC or not data.startswith(MAGIC) or not is_sealed(data):
            return None
        _, version, count, mark, stream, sequence = struct.unpack(_FORMAT, data[:_HEAD])
        if version != VERSION:
            return Refusal(
                "version",
                f"sends version {version} of the protocol, this is version {VERSION}. Install the "
                "same mimi_mlx on both machines.",
            )
        if mark != self._mark:
            return Refusal(
                "model",
                f"sends codes of another model (fingerprint {mark.hex()}..., here "
                f"{self.fingerprint}). Start both ends with the same --model, and "
                "the same version for tiny.",
            )
        if count != self.num_codebooks:
            return Refusal(
                "codebooks",
                f"sends {count} codebooks, here it is {self.num_codebooks}. Start both ends with "
                "the same --num-codebooks.",
            )
        if len(data) != self.size:
            return None
        codes = bitpack.unpack(data[_HEAD:-_CRC], 1, self._bits, count)[:, 0]
        # Codes that the model does not have would fail in the decoder.
        return Packet(stream, sequence, codes) if codes.max() < self.codebook_size else None

    @property
    def _bits(self) -> int:
        return (self.codebook_size - 1).bit_length()

    @property
    def _mark(self) -> bytes:
        return bytes.fromhex(self.fingerprint)[:4]
