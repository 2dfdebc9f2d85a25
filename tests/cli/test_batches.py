"""Batches of a folder: they are given up between two steps."""

import argparse
import threading

import numpy as np
import pytest

from mimi_mlx import audio
from mimi_mlx.cli.batches import BatchRunner, Clip, GivenUp
from mimi_mlx.cli.folder_encoder import FolderEncoder
from mimi_mlx.cli.progress import Progress


class GivenUpAfter(threading.Event):
    """Is set from the given question on."""

    def __init__(self, questions: int):
        super().__init__()
        self.questions, self.asked = questions, 0

    def is_set(self) -> bool:
        self.asked += 1
        return self.asked > self.questions


@pytest.mark.parametrize("rows", [1, 2])
def test_a_batch_that_is_given_up_stops_between_two_steps(tmp_path, rows):
    (tmp_path / "in").mkdir()
    for name in "ab":
        audio.write(tmp_path / "in" / f"{name}.wav", np.zeros(9000, np.float32), 24000)
    work = FolderEncoder(argparse.Namespace(num_codebooks=8, mono=False, model="tiny"))
    found = [
        Clip(tmp_path / "in" / f"{name}.wav", tmp_path / "out" / f"{name}.mimi", *survey)
        for name in "ab"
        for survey in [work.survey(tmp_path / "in" / f"{name}.wav")]
    ]
    # It is asked once for each clip, whether it is there, and for each step.
    given_up = GivenUpAfter(rows + 1)
    with Progress("encode", None) as progress:
        runner = BatchRunner(work, False, False, progress, given_up, at_once=1)
        with pytest.raises(GivenUp):
            runner.run(found[:rows])
    assert given_up.asked == rows + 2
    assert not list((tmp_path / "out").rglob("*"))
