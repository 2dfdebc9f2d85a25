"""What a long run must show."""

FRAMES_AN_HOUR = 45000


# Streams that began elsewhere count other positions, whose rotations round otherwise.
TOLERANCE = 1e-5


def assert_nothing_drifted(seen: dict) -> None:
    assert seen["codes_equal"]
    assert seen["waveform_error"] <= TOLERANCE
    assert seen["memory_growth_mb"] < 1
    for half in ("encode_ms", "decode_ms"):
        # the fastest tenth: other programs of this machine slow the rest
        assert seen[half]["last"]["p10"] < 1.5 * seen[half]["first"]["p10"]
