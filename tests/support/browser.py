"""A browser for tests of pages: Chromium without a window, and all that goes wrong in it.

Playwright's own synchronous interface leaves its event loop running in the thread, where no other
test could then use asyncio. Here the loop is our own and runs only while something is asked of it.
"""

import asyncio
import contextlib
import functools
import inspect
import shutil
import time
from collections.abc import Awaitable, Iterator
from typing import Any

import pytest

FLAGS = (
    "--no-sandbox",  # which root has not
    "--autoplay-policy=no-user-gesture-required",
    "--disable-gpu",
    "--mute-audio",
)


class Browser:
    """A Chromium that runs; its tabs share nothing with each other."""

    def __init__(self, loop: asyncio.AbstractEventLoop, chromium: Any):
        self.run, self._chromium = loop.run_until_complete, chromium

    @contextlib.contextmanager
    def tab(self, url: str, *, before: str = "", **options: Any) -> Iterator["Tab"]:
        """A tab at a page. At its end, nothing went wrong in it, and it asked nobody else.

        Args:
            url: http:// or file://.
            before: JavaScript that runs before the page's own.
            options: Of Playwright's ``new_context``: ``viewport``, ``color_scheme``, ...
        """
        context = self.run(self._chromium.new_context(**options))
        try:
            tab = self.run(self._tab(context))
            if before:
                tab.add_init_script(before)
            tab.goto(url)
            yield tab
            tab.evaluate("0")  # what happened since the last call is told
            assert tab.errors == []
            home = url if url.startswith("file:") else "/".join(url.split("/")[:3])
            inside = (home, home.replace("http", "ws", 1), "blob:", "data:")
            assert [each for each in tab.requests if not each.startswith(inside)] == []
        finally:
            self.run(context.close())

    async def _tab(self, context: Any) -> "Tab":
        return Tab(self.run, await context.new_page())  # where the loop runs, as handlers need it


class Tab:
    """A page of the browser: what Playwright's asynchronous ``Page`` can, in plain calls.

    Attributes:
        page: Playwright's.
        errors: What its console said of errors and warnings, and what its scripts raised.
        requests: Addresses that it asked for, those of sockets too.
    """

    def __init__(self, run: Any, page: Any):
        self._run, self.page = run, page
        self.errors: list[str] = []
        self.requests: list[str] = []
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("websocket", lambda socket: self.requests.append(socket.url))

    def _said(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(f"{message.text} ({message.location})")

    def run(self, awaitable: Awaitable) -> Any:
        """What something of Playwright's gives: ``tab.run(tab.page.keyboard.down("a"))``."""
        return self._run(awaitable)

    def __getattr__(self, name: str) -> Any:
        """``tab.click("#play")`` is what ``await page.click("#play")`` gives."""
        found = getattr(self.page, name)
        if not inspect.iscoroutinefunction(found):
            return found
        return functools.wraps(found)(lambda *args, **named: self._run(found(*args, **named)))

    def press(self, key: str) -> None:
        """A key, wherever the focus is."""
        self._run(self.page.keyboard.press(key))

    def wait(self, expression: str, seconds: float = 20) -> Any:
        """What JavaScript gives once it is true, of whatever policy the page is."""
        end = time.monotonic() + seconds
        while not (found := self.evaluate(expression)):
            assert time.monotonic() < end, f"{expression} is {found} after {seconds} s"
            self._run(asyncio.sleep(0.02))
        return found


@contextlib.contextmanager
def chromium(*flags: str) -> Iterator[Browser]:
    """A Chromium that runs inside, with these flags more; where there is none the test is skipped.

    For a microphone that plays a file: ``--use-fake-device-for-media-stream``,
    ``--use-fake-ui-for-media-stream`` and ``--use-file-for-fake-audio-capture=clip.wav``.
    """
    playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("chromium is not installed")
    loop = asyncio.new_event_loop()
    run = loop.run_until_complete
    try:
        driver = run(playwright.async_playwright().start())
        try:
            options = {"executable_path": path, "args": [*FLAGS, *flags]}
            found = run(driver.chromium.launch(**options))
            yield Browser(loop, found)
            run(found.close())
        finally:
            run(driver.stop())
    finally:
        loop.close()
