"""The loops of encode, decode and roundtrip: any cutting, in constant memory."""

import subprocess
import sys

import numpy as np
import pytest

from mimi_mlx import audio


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
