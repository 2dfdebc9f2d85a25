"""What the page says where something is missing, and that a file opens the listening page."""

import re
from contextlib import ExitStack

import numpy as np
import pytest
import soundfile
from browser import Tab
from serving import service

from mimi_mlx.service.limits import Limits
from mimi_mlx.tiny import SPEECH

pytestmark = pytest.mark.slow


def is_live(tab: Tab) -> None:
    tab.wait("document.querySelector('#kbps').textContent.endsWith('kbps')")


def problem(tab: Tab, place: str = "#problem") -> str:
    tab.wait(f"!document.querySelector('{place}').hidden")
    assert tab.is_visible(place)
    assert tab.get_attribute("#play", "aria-label") == "Start"
    return tab.text_content(place)


def refuses(name: str) -> str:
    error = f"new DOMException('', '{name}')"
    return f"navigator.mediaDevices.getUserMedia = async () => {{ throw {error} }}"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("NotAllowedError", "did not allow"),
        ("NotFoundError", "no microphone"),
        ("NotReadableError", "another program"),
    ],
)
def test_who_gives_no_microphone_is_told_why(browser, url, name, says):
    with browser.tab(url, before=refuses(name)) as tab:
        tab.click("#play")
        assert says in problem(tab)
        assert tab.is_enabled("#play")


def test_a_page_from_elsewhere_without_encryption_says_how_to_get_a_microphone(browser, url):
    before = """
      Object.defineProperty(Navigator.prototype, "mediaDevices", { value: undefined });
      Object.defineProperty(window, "isSecureContext", { value: false });
    """
    with browser.tab(url, before=before) as tab:
        assert "https" in problem(tab) and "ssh -L" in problem(tab)
        assert tab.is_disabled("#play") and tab.is_enabled("#file")


ASKS = """
const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
const asked = new Promise((resolve) => (window.allow = resolve));
navigator.mediaDevices.getUserMedia = async (what) => (await asked, window.got = await open(what));
"""


def test_what_is_stopped_before_it_began_stays_so(browser, url):
    with browser.tab(url, before=ASKS) as tab:
        tab.click("#play")
        tab.click("#play")
        tab.evaluate("allow()")
        tab.wait("window.got?.getTracks().every(({ readyState }) => readyState === 'ended')")
        tab.wait_for_timeout(200)
        assert tab.get_attribute("#play", "aria-label") == "Start"
        assert not [each for each in tab.requests if each.startswith("ws:")]


def test_the_next_one_is_told_that_all_sessions_are_taken(tiny, browser):
    with (
        service(tiny, sessions=1) as url,
        browser.tab(url) as first,
        browser.tab(url) as second,
    ):
        first.click("#play")
        is_live(first)
        second.click("#play")
        assert problem(second) == "All sessions are taken; try again later."
        first.click("#play")
        first.wait("document.querySelector('#state').textContent === 'Press, and speak.'")
        second.click("#play")
        is_live(second)
        assert second.is_hidden("#problem")


def test_the_end_of_the_service_is_told(tiny, browser):
    with ExitStack() as stack, browser.tab(stack.enter_context(service(tiny))) as tab:
        tab.click("#play")
        is_live(tab)
        stack.close()
        assert problem(tab) == "The server ends."
        assert tab.errors == []
        tab.click("#play")
        tab.wait("document.querySelector('#problem').textContent.includes('not answer')")
        tab.errors.clear()  # the browser tells of a refused connection itself


def test_the_token_comes_with_the_address_of_the_page(tiny, browser):
    with service(tiny, token="good one") as url:
        for end in ("", "#token=wrong"):
            with browser.tab(url + "/" + end) as tab:
                tab.click("#play")
                assert "#token=TOKEN" in problem(tab)
                tab.errors.clear()
                tab.evaluate("location.hash = 'token=good%20one'")
                tab.click("#play")
                is_live(tab)
        for end in ("?token=good%20one", "#token=good%20one"):
            with browser.tab(url + "/" + end) as tab:
                tab.click("#play")
                is_live(tab)


def test_a_file_opens_the_listening_page(browser, url, tmp_path):
    with browser.tab(url) as tab:
        tab.set_input_files("#file", SPEECH)
        tab.wait("document.querySelector('#view').open", 60)
        inside = tab.page.frames[1]
        for said in ("listen.player !== null", "listen.player.position > 0.1"):
            while not tab.run(inside.evaluate(said)):
                tab.wait_for_timeout(50)
            tab.run(inside.click("#play"))
        assert tab.run(inside.inner_text("h1")) == "speech.flac"
        tab.press("Escape")
        tab.wait("!document.querySelector('#view').open")
        assert tab.get_attribute("#view-save", "download") == "speech.html"


DROP = """
const dataTransfer = new DataTransfer();
dataTransfer.items.add(new File(["no sound"], "b.txt"));
const drop = new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true });
document.body.dispatchEvent(drop);
"""


def test_a_file_that_cannot_be_compared_is_told_in_one_line(browser, url, tmp_path):
    text, silent, long = (tmp_path / name for name in ("a.txt", "silent.wav", "long.wav"))
    text.write_text("no sound")
    soundfile.write(silent, np.zeros(8000), 8000)
    soundfile.write(long, np.zeros(8000 * 61), 8000)
    with browser.tab(url) as tab:
        for file, says in ((text, "cannot be read"), (silent, "silent"), (long, "up to 60 s")):
            tab.set_input_files("#file", file)
            tab.wait("document.querySelector('#file-state').textContent === ''")
            said = problem(tab, "#file-problem")
            assert file.name in said and says in said and str(tmp_path) not in said
        tab.evaluate(DROP)
        tab.wait("document.querySelector('#file-problem').textContent.startsWith('b.txt')")
        tab.errors.clear()  # the browser tells of answers that are no success itself


def test_the_page_says_the_limits_of_the_service(browser, url):
    with browser.tab(url) as tab:
        assert int(tab.get_attribute("#file", "data-bytes")) == Limits().body
        assert f"Up to {Limits().compared_seconds:g} s" in tab.text_content("#drop")


COLOURS = """(() => {
  const canvas = document.querySelector("#picture");
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return new Set(new Uint32Array(data.buffer)).size;
})()"""


def test_codes_are_drawn_in_colours_of_their_own(browser, url):
    with browser.tab(url) as tab:
        tab.click("#play")
        is_live(tab)
        tab.wait_for_timeout(400)
        assert tab.evaluate(COLOURS) > 20


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_and_all_is_reached_by_keys(browser, url, width):
    with browser.tab(url, viewport={"width": width, "height": 800}) as tab:
        tab.click("#play")
        is_live(tab)
        tab.click("summary")
        assert tab.evaluate("document.documentElement.scrollWidth") == width
        tab.evaluate("document.activeElement.blur()")
        reached = set()
        for _ in range(12):
            tab.press("Tab")
            reached.add(tab.evaluate("document.activeElement.id || document.activeElement.tagName"))
        assert {"play", "codebooks", "device", "SUMMARY", "file"} <= reached
        roles = (("button", "Stop"), ("slider", "Codebooks"), ("combobox", "Microphone"))
        for role, name in (*roles, ("meter", "In"), ("meter", "Out")):
            found = tab.page.get_by_role(role, name=re.compile(name))
            assert tab.run(found.count()) == 1, name
        tab.focus("#codebooks")
        tab.press("ArrowLeft")
        tab.wait("document.querySelector('#kbps').textContent === '0.96 kbps'")
