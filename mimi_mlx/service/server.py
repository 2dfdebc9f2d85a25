"""The service: its paths, and its life from the first request to the last farewell."""

import asyncio
import contextlib
import json
import logging
import mimetypes
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from socket import SO_RCVBUF, SO_SNDBUF, SOL_SOCKET

from aiohttp import web

from ..mimi import Mimi
from . import batch, web_page
from .clips import Clips
from .frames import Kind
from .guard import Guard
from .limits import BUFFER, FAREWELL, Fault, Limits
from .metrics import CONTENT_TYPE, Metrics
from .session import CodecSession, Gone

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": web_page.policy(),
    "Server": "mimi-mlx",
    "Referrer-Policy": "no-referrer",  # the page's address may have the token
    "X-Content-Type-Options": "nosniff",
}

_KEPT = "Allow", "Retry-After", "WWW-Authenticate"  # of an error

_FAILED = "the service failed"  # by a fault of its own, which is in its log

_log = logging.getLogger(__name__)
_rubbish = logging.getLogger(f"{__name__}.rubbish")  # what is no HTTP: of strangers, with traces
_rubbish.disabled = True

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Service:
    """One model for all who ask.

    Args:
        mimi: The model.
        name: What its codes say of it.
        codebooks: For who does not say how many.
        guard: Who may ask.
        limits: What each may cost.
    """

    def __init__(self, mimi: Mimi, name: str, codebooks: int, guard: Guard, limits: Limits):
        self._mimi, self._codebooks, self._guard, self._limits = mimi, codebooks, guard, limits
        self.encoder = batch.encoder(mimi, limits.sessions)
        self.decoder = batch.decoder(mimi, limits.sessions)
        self.metrics = Metrics()
        self.ending = asyncio.Event()
        workers = self.encoder.worker, self.decoder.worker
        self._clips = Clips(mimi, name, codebooks, *workers, limits, self.metrics)

    def app(self) -> web.Application:
        """All paths."""
        app = web.Application(middlewares=[self._answer])
        app.on_response_prepare.append(_add_headers)
        for kind in ("encode", "decode", "roundtrip"):
            app.router.add_get(f"/{kind}", self._session)
        app.router.add_post("/encode", self._clips.encode)
        app.router.add_post("/decode", self._clips.decode)
        app.router.add_post("/listen", self._clips.listen)
        app.router.add_get("/health", self._health)
        app.router.add_get("/metrics", self._figures)
        for path, file in web_page.FILES.items():
            app.router.add_get(path, _file(file))
        return app

    async def run(self) -> None:
        """Step for ever."""
        await asyncio.gather(self.encoder.run(), self.decoder.run())

    @web.middleware
    async def _answer(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """What goes wrong is one line of JSON."""
        try:
            self._guard.check(request)
            response = await handler(request)
        except web.HTTPException as error:
            self.metrics.refused[error.status] += 1
            headers = {name: error.headers[name] for name in _KEPT if name in error.headers}
            said = {"error": error.text}
            response = web.json_response(said, status=error.status, headers=headers)
        except ConnectionError:
            raise  # whoever has hung up gets no answer
        except Fault:  # while the answer was sent
            raise ConnectionResetError from None
        except Exception:
            _log.exception("%s %s", request.method, request.path)
            response = web.json_response({"error": _FAILED}, status=500)
        return response

    def runner(self) -> web.AppRunner:
        """Runs :meth:`app`: a connection that asks for nothing, or nothing more, is not kept."""
        return web.AppRunner(
            self.app(),
            access_log=None,
            logger=_rubbish,
            keepalive_timeout=self._limits.idle,
            shutdown_timeout=2 * FAREWELL,
        )

    def connection(self, runner: web.AppRunner) -> asyncio.Protocol:
        """For a new connection."""
        assert runner.server
        return _Door(runner.server, 2 * self._limits.sessions + self._limits.connections)

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "model": self._mimi.fingerprint})

    async def _figures(self, _: web.Request) -> web.Response:
        waiting = {"encoder": self.encoder.waiting, "decoder": self.decoder.waiting}
        steps = {"encoder": self.encoder.seconds, "decoder": self.decoder.seconds}
        text = self.metrics.text(waiting, steps)
        return web.Response(body=text.encode(), headers={"Content-Type": CONTENT_TYPE})

    async def _session(self, request: web.Request) -> web.StreamResponse:
        kind: Kind = request.path[1:]  # type: ignore[assignment]
        socket = web.WebSocketResponse(
            timeout=FAREWELL, max_msg_size=self._limits.message, compress=False, autoping=False
        )
        if not socket.can_prepare(request):
            raise web.HTTPUpgradeRequired(text=f"GET {request.path} is for WebSocket")
        await socket.prepare(request)
        batches = self.encoder, self.decoder
        session = CodecSession(socket, kind, self._mimi, batches, self._limits, self.metrics)
        self.metrics.begun[kind] += 1
        self.metrics.live[kind] += 1
        try:
            await session.run(self._codebooks, self.ending)
            code, message = 1000, ""
        except Fault as fault:
            code, message = fault.code, fault.message
            self.metrics.dropped[code] += 1
        except Gone:
            return socket
        except Exception:
            _log.exception("%s", request.path)
            code, message = 1011, _FAILED
        finally:
            self.metrics.live[kind] -= 1
        await _farewell(request, socket, code, message)
        return socket


async def _farewell(
    request: web.Request, socket: web.WebSocketResponse, code: int, message: str
) -> None:
    """Say why, and hang up on who does not hear it."""

    async def say() -> None:
        if message:
            await socket.send_str(json.dumps({"error": message}))
        await socket.close(code=code, message=message.encode()[:123])

    saying, transport = asyncio.ensure_future(say()), request.transport
    try:
        await asyncio.wait([saying], timeout=2 * FAREWELL)
    finally:
        saying.cancel()
        await asyncio.gather(saying, return_exceptions=True)
        if transport:
            transport.abort()


class _Door(asyncio.Protocol):
    """Lets a connection in, unless there are ``most`` already."""

    def __init__(self, server: web.Server, most: int):
        self._server, self._most = server, most

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        if len(self._server.connections) >= self._most:
            transport.abort()
            return
        protocol = self._server()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)


@contextlib.asynccontextmanager
async def listening(service: Service, host: str, port: int) -> AsyncIterator[tuple[str, int]]:
    """Where the service listens, for as long as this lasts; port 0 is any.

    Raises:
        ValueError: It cannot listen there.
    """
    runner = service.runner()
    await runner.setup()
    loop = asyncio.get_running_loop()
    try:
        try:
            server = await loop.create_server(
                lambda: service.connection(runner), host, port, start_serving=False
            )
            for each in server.sockets:  # what they accept has the same
                for buffer in (SO_RCVBUF, SO_SNDBUF):
                    each.setsockopt(SOL_SOCKET, buffer, BUFFER)
            await server.start_serving()
        except OSError as error:
            raise ValueError(
                f"cannot listen at {host}, port {port} ({error.strerror or error}). Give another "
                "--host or --port; 0 is any free one."
            ) from error
        try:
            yield server.sockets[0].getsockname()[:2]
        finally:
            server.close()
    finally:
        service.ending.set()
        await runner.cleanup()
        service.encoder.worker.cancel()
        service.decoder.worker.cancel()


async def serve(
    mimi: Mimi,
    name: str,
    host: str,
    port: int,
    codebooks: int,
    token: str | None,
    limits: Limits,
    said: Callable[[str], None],
) -> None:
    """Serve until this is cancelled.

    Args:
        mimi: The model.
        name: What its codes say of it.
        host: Where to listen.
        port: 0 is any.
        codebooks: For who does not say how many.
        token: That clients must know; None is none.
        limits: What each may cost.
        said: Is told the service's address once it listens.

    Raises:
        ValueError: It cannot listen there.
    """
    guard = Guard(token, {*web_page.FILES})
    service = Service(mimi, name, codebooks, guard, limits)
    async with listening(service, host, port) as (address, port):
        await asyncio.gather(service.encoder.warm(), service.decoder.warm())
        said(f"http://{f'[{address}]' if ':' in address else address}:{port}")
        await service.run()


def _file(path: Path) -> _Handler:
    """Answers with a file of the page."""
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    if kind.startswith("text/"):
        kind += "; charset=utf-8"

    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=path.read_bytes(), headers={"Content-Type": kind})

    return handler
