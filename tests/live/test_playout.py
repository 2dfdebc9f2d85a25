"""The queue before the speaker."""

import numpy as np

from mimi_mlx.live.devices.playout import Playout


def test_a_queue_that_runs_dry_fades_and_counts_once():
    queue, out = Playout(10000, 100), np.empty(480, np.float32)
    queue.pull(out, 0.0)
    assert queue.underruns == 0 and not out.any()  # nothing was expected yet
    assert not queue.push(np.ones(1000, np.float32), 240)
    heard = []
    for _ in range(6):
        queue.pull(out, 0.0)
        heard.append(out.copy())
    heard = np.concatenate(heard)
    assert queue.underruns == 1 and queue.dry
    assert not heard[:240].any()  # the margin
    assert (heard[400:1240] == 1).all() and not heard[1400:].any()
    assert np.abs(np.diff(heard)).max() < 0.03  # in and out without a click
    assert queue.push(np.ones(1000, np.float32), 240)  # late
    queue.expecting = False
    for _ in range(6):
        queue.pull(out, 0.0)
    assert queue.underruns == 1
