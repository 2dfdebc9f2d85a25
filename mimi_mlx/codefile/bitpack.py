"""Codes packed into whole bytes a frame, least significant bit first."""

import numpy as np


def frame_bytes(num_codebooks: int, bits_per_code: int) -> int:
    """Bytes of one packed frame: 11 for 8 codes of 11 bits."""
    return -(-num_codebooks * bits_per_code // 8)


def pack(codes: np.ndarray, bits_per_code: int) -> bytes:
    """Pack codes ``[K, F]``, each from 0 to ``2 ** bits_per_code - 1``, frame after frame.

    A frame's codes follow each other without a gap, from the lowest bit of its first byte on;
    what is left of its last byte is 0.
    """
    count, frames = codes.shape
    words = np.ascontiguousarray(codes.T, "<u2").view(np.uint8).reshape(frames, count, 2)
    bits = np.unpackbits(words, axis=2, count=bits_per_code, bitorder="little")  # [F, K, bits]
    bits = bits.reshape(frames, count * bits_per_code)
    return np.packbits(bits, axis=1, bitorder="little").tobytes()


def unpack(data: bytes, frames: int, bits_per_code: int, num_codebooks: int) -> np.ndarray:
    """The first ``num_codebooks`` codes of each packed frame: int32 ``[K, F]``."""
    bits = num_codebooks * bits_per_code
    packed = np.frombuffer(data, np.uint8).reshape(frames, -1)
    words = np.zeros((frames, num_codebooks, 16), np.uint8)
    words[:, :, :bits_per_code] = np.unpackbits(
        packed, axis=1, count=bits, bitorder="little"
    ).reshape(frames, num_codebooks, bits_per_code)
    codes = np.packbits(words, axis=2, bitorder="little").view("<u2")[..., 0]  # [F, K]
    return np.ascontiguousarray(codes.T, np.int32)
