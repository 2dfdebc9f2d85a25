"""A step's memory serves the next one, and a BLAS that came too late is told of."""

import os
import platform
import subprocess
import sys

import mlx.core as mx
import pytest

from mimi_mlx.model.ops import linux

TWICE = """
import resource
import numpy as np
from mimi_mlx import Mimi

mimi = Mimi.from_pretrained("tiny")
clip = np.zeros(40 * 24000, np.float32)
mimi.encode(clip)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
mimi.encode(clip)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another malloc than glibc's")
@pytest.mark.skipif(mx.is_available(mx.gpu), reason="a GPU's memory is not malloc's")
def test_a_second_clip_takes_no_new_pages():
    faults = int(subprocess.check_output([sys.executable, "-c", TWICE], text=True))
    assert faults < 5000, f"{faults}; some 100,000 where freed memory is given back"


MODELS = "from mimi_mlx import Mimi; [Mimi.from_pretrained('tiny') for _ in range(2)]"


def warned(code: str, **environment: str) -> str:
    """What a new interpreter says on stderr."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.skipif(not any(linux._installed()), reason="OpenBLAS is not installed")
@pytest.mark.skipif(mx.is_available(mx.gpu), reason="a GPU needs no BLAS")
@pytest.mark.slow
def test_a_blas_that_came_too_late_is_told_of_once():
    said = warned(f"import mlx.core; {MODELS}")
    assert said.count("UserWarning") == 1
    assert "Import mimi_mlx first, or start Python with LD_PRELOAD=libopenblas.so" in said
    preload = said.partition("LD_PRELOAD=")[2].split()[0]
    assert not warned(f"import mlx.core; {MODELS}", LD_PRELOAD=preload), "the remedy is one"
    assert not warned(MODELS), "in the right order"
    assert not warned("import mlx.core; from mimi_mlx import *"), "without a model"
    no_openblas = "from mimi_mlx.model.ops import linux; linux._NAMES = ('libno.so',)"
    assert not warned(f"import mlx.core; {no_openblas}; {MODELS}"), "where there is none"
