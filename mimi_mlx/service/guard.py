"""Who may ask: nobody's web page but the service's own, and where there is a token, who has it."""

import hmac
import ipaddress
from urllib.parse import SplitResult, urlsplit

from aiohttp import web

_OPEN = {"/health"}  # and the page, whose files hold no secret


def is_loopback(host: str) -> bool:
    """Whether what listens at a host is reached from this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Guard:
    """Lets a request pass, or raises what it is answered with.

    Args:
        token: That a client must know. None is none, and then only this machine may ask.
        page: The paths of the page's files, which anybody may read.
    """

    def __init__(self, token: str | None, page: set[str]):
        self._token = token
        self._open = _OPEN | page

    def check(self, request: web.Request) -> None:
        """Refuse what a browser sends for a foreign page, and who does not know the token.

        A page that had its name point to this machine once it was loaded ("DNS rebinding") is of
        the same origin, but does not name this host.

        Raises:
            web.HTTPException: The answer, 401 or 403.
        """
        if not self._token and not is_loopback(_split(f"//{request.host}").hostname or ""):
            raise web.HTTPForbidden(text="the host is not this machine's; open it as localhost")
        origin = request.headers.get("Origin")
        if origin is not None and _split(origin).netloc.lower() != request.host.lower():
            raise web.HTTPForbidden(text="the page is another origin's; only this service's may")
        if self._token and request.path not in self._open and not self._knows(request):
            raise web.HTTPUnauthorized(
                text="the token is missing or wrong; give Authorization: Bearer TOKEN, or ?token=",
                headers={"WWW-Authenticate": "Bearer"},
            )

    def _knows(self, request: web.Request) -> bool:
        said = request.headers.get("Authorization", "")
        given = said[7:] if said[:7].lower() == "bearer " else request.query.get("token", "")
        assert self._token
        return hmac.compare_digest(_bytes(given), _bytes(self._token))


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")
