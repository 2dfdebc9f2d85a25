"""A step's memory serves the next one."""

import platform
import subprocess
import sys

import mlx.core as mx
import pytest

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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another malloc than glibc's")
@pytest.mark.skipif(mx.is_available(mx.gpu), reason="a GPU's memory is not malloc's")
def test_a_second_clip_takes_no_new_pages():
    faults = int(subprocess.check_output([sys.executable, "-c", TWICE], text=True))
    assert faults < 5000, f"{faults}; some 100,000 where freed memory is given back"
