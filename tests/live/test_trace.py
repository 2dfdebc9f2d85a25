"""The trace of a run."""

import json

from mimi_mlx.live.trace import Trace


def test_a_trace_can_be_read_at_any_time(tmp_path):
    trace = Trace(tmp_path / "trace.json", lambda: 5.0)
    trace.span("encode", 5.0, 5.004)
    trace.flush()
    trace.counters("queue", {"ms": 12.5})  # not handed over: lost in a kill
    text = (tmp_path / "trace.json").read_text()
    events = json.loads(text + "]")  # viewers close the array themselves
    assert events[-1] == {
        **{"pid": 1, "tid": 2, "name": "encode", "ph": "X", "ts": 0, "dur": 4000},
    }
    trace.instant("underrun")
    trace.close()
    names = [event["name"] for event in json.loads((tmp_path / "trace.json").read_text())]
    assert names == ["thread_name", "thread_name", "encode", "queue", "underrun"]
