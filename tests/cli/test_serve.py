"""``mimi-mlx serve``: how it begins and ends."""

import importlib.util
import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--host", "0.0.0.0"], "--host 0.0.0.0 lets other machines in, and they need a token"),
        (["--host", "::"], "they need a token"),
        (["--token", " "], "the token is empty"),
        (["--port", "65536"], "a port is from 0 to 65535"),
        (["--sessions", "0"], "--sessions is 0"),
        (["--codebooks", "17"], "num_codebooks is 17"),
        (["--host", "no such host", "--token", "t"], "cannot listen at no such host"),
    ],
)
def test_what_is_wrong_is_one_line(run, monkeypatch, args, says):
    monkeypatch.delenv("MIMI_MLX_TOKEN", raising=False)
    code, out, err = run("serve", "--model", "tiny", "--port", "0", *args)
    assert (code, out) == (2, "") and says in err.splitlines()[-1]


def test_a_port_that_is_taken_is_one_line(run):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        code, _, err = run("serve", "--model", "tiny", "--port", port)
    assert code == 2 and err.count("\n") == 1 and f"port {port}" in err and "0 is any" in err


def test_without_aiohttp_the_command_that_installs_it_is_said(run, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    code, _, err = run("serve", "--model", "tiny")
    assert code == 2 and err.count("\n") == 1 and "pip install '.[serve]'" in err


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_a_signal_ends_it(number, code, tmp_path):
    """Where other machines are let in, it says that nothing is encrypted."""
    command = [sys.executable, "-m", "mimi_mlx", "serve", "--model", "tiny", "--port", "0"]
    open_to_all = ["--host", "0.0.0.0", "--token", "secret"] if code else []
    with subprocess.Popen(
        [*command, *open_to_all], stdout=-1, stderr=-1, text=True, cwd=tmp_path
    ) as server:
        try:
            address = re.search(r"http://\S+", server.stdout.readline())[0]
            with urllib.request.urlopen(f"{address}/health") as answer:
                assert json.load(answer)["status"] == "ok"
            server.send_signal(number)
            assert server.wait(20) == code
        finally:
            server.kill()
        said = server.stderr.read()
    assert ("is not encrypted" in said) == bool(open_to_all) and "secret" not in said
