"""/metrics is Prometheus' text format, and counts what happened."""

import re
import urllib.request

import numpy as np
from serving import run, session

LINE = re.compile(r'([a-z_]+)\{((?:[a-z]+="[^"\n\\]*",?)+)\} (\d+(?:\.\d+)?)')
END = {"end": True}


def figures(url: str) -> dict[str, float]:
    """By name and labels; every line is one of the format's, each name's lines are together."""
    with urllib.request.urlopen(f"{url}/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        text = answer.read().decode()
    assert text.endswith("\n")
    found, name, types = {}, "", {}
    for line in text.splitlines():
        if line.startswith("# HELP "):
            _, _, name, help = line.split(" ", 3)
            assert name not in types and help
        elif line.startswith("# TYPE "):
            assert line.split()[2] == name
            types[name] = line.split()[3]
        else:
            whole, labels, value = LINE.fullmatch(line).groups()
            suffix = whole.removeprefix(name)
            assert suffix in (("_bucket", "_sum", "_count") if types[name] == "histogram" else "")
            assert (types[name] == "counter") == name.endswith("_total")
            found[f"{whole}{{{labels}}}"] = float(value)
    assert set(types.values()) == {"gauge", "counter", "histogram"}
    return found


def test_what_happens_is_counted(url):
    clip = np.zeros(3 * 1920, np.float32)
    before = figures(url)
    run(
        session(url, "encode", {}, [clip.tobytes(), END]),
        session(url, "roundtrip", {}, [clip.tobytes(), END]),
        session(url, "encode", {}, [(clip + np.nan).tobytes()]),
        session(url, "decode", {}, [bytes(2**20 + 1)]),
    )
    for _ in range(500):  # the one that was too long is closed before it is counted
        found = figures(url)
        more = {key: value - before.get(key, 0) for key, value in found.items()}
        if more.get('mimi_sessions_dropped_total{code="1009"}') == 1:
            break
    assert more['mimi_frames_total{kind="encode"}'] == 3
    assert more['mimi_frames_total{kind="roundtrip"}'] == 3
    assert more['mimi_sessions_total{kind="encode"}'] == 2
    assert found['mimi_sessions{kind="encode"}'] == 0
    assert found['mimi_frames_waiting{half="encoder"}'] == 0
    assert more['mimi_sessions_dropped_total{code="1007"}'] == 1
    assert more['mimi_sessions_dropped_total{code="1009"}'] == 1
    for half in ("encoder", "decoder"):
        buckets = [
            value
            for name, value in found.items()
            if name.startswith(f'mimi_step_seconds_bucket{{half="{half}"')
        ]
        count = found[f'mimi_step_seconds_count{{half="{half}"}}']
        assert buckets == sorted(buckets) and buckets[-1] == count
        assert count > before[f'mimi_step_seconds_count{{half="{half}"}}']
        assert found[f'mimi_step_seconds_sum{{half="{half}"}}'] > 0
