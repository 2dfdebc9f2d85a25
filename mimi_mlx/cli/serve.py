"""``mimi-mlx serve``: the codec behind WebSocket and HTTP."""

import argparse
import asyncio
import contextlib
import importlib.util
import os
import signal

from .. import extras
from ..checkpoint import hub
from ..mimi import Mimi
from ..model.ops import linux
from ..model.ops.device import cores
from ..streaming import validation
from . import options, signals
from .progress import warn

_TOKEN = "MIMI_MLX_TOKEN"
_ENDS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP

MORE = (
    "Live sessions are WebSockets at /encode, /decode and /roundtrip; those that have a frame go "
    "through the model together. Whole clips are posted to /encode and /decode; /metrics are "
    "for Prometheus; a page is at /. docs/serve.md specifies all of it. Ctrl-C ends it. Needs "
    f"aiohttp: {extras.install('serve')}."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    host = "where to listen (127.0.0.1: only this machine can reach it); others need a token"
    parser.add_argument("--host", default="127.0.0.1", help=host)
    parser.add_argument("--port", type=int, default=8788, help="0 is any free one (8788)")
    options.model(parser)
    sessions = "live sessions at once (64)"
    parser.add_argument("--sessions", type=int, default=64, metavar="N", help=sessions)
    options.num_codebooks(parser, help="of a session that does not say how many (8)")
    token = f"what clients must give; ${_TOKEN} does not show in a list of processes"
    parser.add_argument("--token", help=token)


def run(args: argparse.Namespace) -> int:
    """Serve until a signal ends it; the result is the exit code, 0 after Ctrl-C."""
    token = _check(args)
    if importlib.util.find_spec("aiohttp") is None:
        raise ValueError(f"serve needs aiohttp, which is missing. {extras.install('serve')}")
    from ..service.guard import is_loopback
    from ..service.limits import Limits
    from ..service.server import serve

    if not is_loopback(args.host):
        if not token:
            raise ValueError(
                f"--host {args.host} lets other machines in, and they need a token. Give --token "
                f"or ${_TOKEN}, or leave --host out."
            )
        warn("the link is not encrypted: who can listen in has the sound and the token")
    mimi = Mimi.from_pretrained(args.model)
    codebooks = validation.num_codebooks(args.num_codebooks, mimi.config)
    what, limits = (mimi, hub.shared_name(args.model)), Limits(sessions=args.sessions)

    def said(address: str) -> None:
        print(f"{args.model} is served at {address}", flush=True)

    serving = serve(*what, args.host, args.port, codebooks, token, limits, said)
    # Both halves compute at once: where there are few cores, each has but one anyway.
    with linux.one_blas_thread if cores() < 4 else contextlib.nullcontext():
        number = asyncio.run(_until_signal(serving))
    return 0 if number == signal.SIGINT else signals.code(number)


def _check(args: argparse.Namespace) -> str | None:
    """The token, if there is one.

    Raises:
        ValueError: An argument is out of its range.
    """
    if not 0 <= args.port < 1 << 16:
        raise ValueError(f"--port is {args.port}; a port is from 0 to 65535. Give one, or 0.")
    if not 1 <= args.sessions <= 4096:
        raise ValueError(f"--sessions is {args.sessions}; it is from 1 to 4096. Give one of these.")
    token = os.environ.get(_TOKEN) if args.token is None else args.token
    if token is not None and not token.strip():
        raise ValueError("the token is empty, which anybody knows. Give another, or none.")
    return token


async def _until_signal(serving) -> int:
    """Run it until one of these signals comes: which one."""
    loop, ended = asyncio.get_running_loop(), asyncio.Future[int]()

    def end(number: int) -> None:
        if not ended.done():
            ended.set_result(number)

    for number in _ENDS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, end, number)
    task = asyncio.ensure_future(serving)
    await asyncio.wait([task, ended], return_when=asyncio.FIRST_COMPLETED)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return ended.result()
