"""A small Hugging Face Hub on this machine: what huggingface_hub asks for, and nothing more."""

import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"

Repositories = dict[str, dict[str, bytes]]


@contextlib.contextmanager
def serving(
    repositories: Repositories,
    gated: str = "",
    damaged: str = "",
    drips: str = "none",
    drop: int = 1,
    listing: Callable[[], Iterable[bytes]] | None = None,
) -> Iterator[tuple[str, list[str]]]:
    """Serve repositories of files: the address, and the list of files fetched so far.

    Args:
        repositories: Their files by name.
        gated: One whose terms nobody has accepted.
        damaged: A file that comes with another first byte.
        drips: What is asked for by a path with this in it comes bit by bit, 20 times a second.
        drop: Bytes of each bit.
        listing: Blocks of what is answered instead of the names of files.
    """
    fetched: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = unquote(self.path.partition("?")[0]).strip("/").split("/")
            if parts[:2] == ["api", "models"]:
                self._model("/".join(parts[2:4]), parts[4:])
            elif parts[2:3] == ["resolve"]:
                self._file("/".join(parts[:2]), "/".join(parts[4:]))
            else:
                self._answer(404, {})

        do_HEAD = do_GET

        def _model(self, name: str, rest: list[str]) -> None:
            if name not in repositories:
                return self._answer(401, {"X-Error-Code": "RepoNotFound"})
            if rest and rest != ["revision", "main"]:
                return self._answer(404, {"X-Error-Code": "RevisionNotFound"})
            if listing:
                return self._blocks(listing())
            siblings = [{"rfilename": file} for file in repositories[name]]
            body = json.dumps({"id": name, "sha": COMMIT, "siblings": siblings}).encode()
            return self._answer(200, {"Content-Type": "application/json"}, body)

        def _file(self, name: str, file: str) -> None:
            if name not in repositories:
                return self._answer(401, {"X-Error-Code": "RepoNotFound"})
            if name == gated:
                return self._answer(403, {"X-Error-Code": "GatedRepo"})
            body = repositories[name][file]
            if self.command == "GET":
                fetched.append(f"{name}/{file}")
            etag = hashlib.sha256(body).hexdigest()
            if file == damaged:
                body = bytes([body[0] ^ 1]) + body[1:]
            return self._answer(200, {"X-Repo-Commit": COMMIT, "ETag": f'"{etag}"'}, body)

        def _answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                slow = drips in self.path
                size = drop if slow else len(body) or 1
                self._send((body[i : i + size] for i in range(0, len(body), size)), slow)

        def _blocks(self, blocks: Iterable[bytes]) -> None:
            self.send_response(200)  # until the connection closes: HTTP/1.0
            self.end_headers()
            self._send(blocks, False)

        def _send(self, blocks: Iterable[bytes], slow: bool) -> None:
            with contextlib.suppress(ConnectionError):  # the other side has had enough
                for block in blocks:
                    self.wfile.write(block)
                    time.sleep(0.05 * slow)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", fetched
    finally:
        server.shutdown()
        server.block_on_close = False  # for one that drips
        server.server_close()
