"""The page of listen in a browser: what is heard, the keys, the blind test, what a person sees."""

import re
from base64 import b64decode

import numpy as np
import pytest
from browser import Tab

from mimi_mlx import listening

RATE = 8000  # the lowest that browsers play: least work
NAME = "</script><b>a.wav"

# The page's own player on a context that renders at once: it starts, changes twice, and once as
# the blind test does, to what is heard.
PLAYED = """async ([first, second, blind]) => {
  const { buffers } = listen.player;
  const { length, sampleRate } = buffers[0];
  const context = new OfflineAudioContext(1, length, sampleRate);
  context.resume = () => {};
  const player = new Player(buffers, () => context);
  player.setLoop(false);
  player.play();
  player.choose(2, first);
  player.choose(1, second);
  player.choose(1, blind, true);
  const rendered = await context.startRendering();
  const all = [rendered, ...buffers].map((each) => each.getChannelData(0));
  return all.map((each) => btoa(String.fromCharCode(...new Uint8Array(each.buffer))));
}"""


def noise(seed: int, seconds: float) -> np.ndarray:
    """Samples that 16 bits hold."""
    whole = np.random.default_rng(seed).integers(-9000, 9000, int(seconds * RATE))
    return (whole / 32768).astype(np.float32)


def comparison(name: str, seconds: float = 1) -> listening.Comparison:
    draw = np.random.default_rng(0)
    versions = [
        listening.Version(
            label=f"{count} codebooks",
            model="tiny",
            samples=noise(count, seconds),
            codes=draw.integers(0, 2048, (count, int(seconds * 12.5) + 1)),
            codebook_size=2048,
            frame_rate=12.5,
            kbps=count * 0.1375,
            figures={"si_sdr_db": -np.inf, "log_mel_db": 1.5},
        )
        for count in (4, 8, 16)
    ]
    return listening.Comparison(name, RATE, noise(0, seconds), versions)


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> str:
    file = tmp_path_factory.mktemp("page") / "page.html"
    file.write_text(listening.page([comparison(NAME), comparison("b.wav", 2)]))
    return file.as_uri()


@pytest.fixture(scope="module")
def loaded(browser, url):
    with browser.tab(url, viewport={"width": 400, "height": 300}) as tab:  # quickly drawn
        yield tab


@pytest.fixture
def tab(loaded):
    """The page anew, in a tab that tests share: to open one takes long."""
    loaded.wait("listen.player !== null")
    yield loaded
    assert loaded.errors == []
    loaded.reload()


def chosen(tab: Tab) -> int:
    return tab.evaluate("Number(document.querySelector('[name=version]:checked').value)")


def test_a_change_is_a_fade_of_5_ms_between_two_sounds_at_the_same_sample(tab):
    made = tab.evaluate(PLAYED, [0.25, 0.5, 0.75])
    out, *versions = (np.frombuffer(b64decode(each), "<f4") for each in made)
    for found, seed in zip(versions, (0, 4, 8, 16), strict=True):
        # Chromium's full scale is 32767 upwards; no step of 16 bits is lost.
        np.testing.assert_allclose(found, noise(seed, 1), atol=0.4 / 32768)
    start, first, second, blind, ramp = (int(RATE * x) for x in (0.02, 0.25, 0.5, 0.75, 0.005))
    assert not out[:start].any()
    out = out[start:]
    heard = [x[: len(out)] for x in versions]
    first, second, blind = first - start, second - start, blind - start
    up = np.linspace(0, 1, ramp, endpoint=False)

    def fade(old, new, at):
        part = slice(at, at + ramp)
        np.testing.assert_allclose(out[part], (old * (1 - up) + new * up), atol=1e-6)

    np.testing.assert_allclose(out[:ramp], heard[0][:ramp] * up, atol=1e-6)
    np.testing.assert_array_equal(out[ramp:first], heard[0][ramp:first])
    fade(heard[0][first : first + ramp], heard[2][first : first + ramp], first)
    np.testing.assert_array_equal(out[first + ramp : second], heard[2][first + ramp : second])
    fade(heard[2][second : second + ramp], heard[1][second : second + ramp], second)
    np.testing.assert_array_equal(out[second + ramp : blind], heard[1][second + ramp : blind])
    silence = np.zeros(ramp)
    fade(heard[1][blind : blind + ramp], silence, blind)
    blind += ramp
    fade(silence, heard[1][blind : blind + ramp], blind)
    np.testing.assert_array_equal(out[blind + ramp :], heard[1][blind + ramp :])


def test_keys_choose_play_and_seek(tab):
    assert tab.inner_text("h1") == NAME
    assert chosen(tab) == 0 and "8 codebooks" in tab.inner_text("#decoded-caption")
    tab.press("3")
    assert chosen(tab) == 3 and tab.inner_text("#said") == "16 codebooks, 2.2 kbps"
    tab.press("9")  # there is none
    assert chosen(tab) == 3
    tab.press("ArrowRight")
    assert tab.evaluate("listen.position") == 0.5
    assert tab.inner_text("#frame").startswith("Frame 7 of 13: ")
    tab.press("ArrowLeft")
    tab.press("ArrowLeft")
    assert tab.evaluate("listen.position") == 0
    width = tab.evaluate("document.querySelector('#codes').clientWidth")
    for picture, share, moment in (("#decoded", 0.5, 0.5), ("#codes", 8 / 13, 8 * 0.08)):
        tab.click(picture, position={"x": share * width, "y": 20})
        assert tab.evaluate("listen.position") == pytest.approx(moment, abs=0.01)
    tab.press(" ")
    assert tab.get_attribute("#play", "aria-label") == "Pause"
    tab.wait("listen.position > 0.1")
    tab.press("0")
    tab.wait("listen.player.heard === 0")
    tab.press(" ")
    assert tab.get_attribute("#play", "aria-label") == "Play" and chosen(tab) == 0
    assert "16 codebooks" in tab.inner_text("#decoded-caption")  # still seen
    tab.press("l")  # without a loop it ends at the end
    tab.evaluate("listen.seek(0.95)")
    tab.press(" ")
    tab.wait("!listen.player.playing")
    assert tab.evaluate("listen.position") == 1
    tab.select_option("#clips", "1")
    tab.wait("listen.player?.duration === 2")
    assert tab.inner_text("h1") == "b.wav" and tab.evaluate("listen.position") == 0


def test_ten_rounds_of_the_blind_test_are_counted_and_tell_nothing_before(tab):
    """X is A in every other round, and A is always said: 5 are right."""
    tab.evaluate("(() => { let draws = 0; Math.random = () => (draws++ % 2 ? 0.9 : 0.1); })()")
    tab.select_option('[data-abx="first"]', "2")
    assert tab.is_disabled('[data-abx="start"]')  # both are the same
    tab.select_option('[data-abx="first"]', "1")
    tab.click('[data-abx="start"]')
    texts = set()
    for number in range(10):
        tab.press("x")
        assert tab.evaluate("listen.player.heard") == (2 if number % 2 else 1)
        text = tab.inner_text("main")
        texts.add(re.sub(r"[\d.]+ / 1\.0 s", "", text.replace(f"Round {number + 1} of", "")))
        if number == 4:
            tab.press("3")  # would choose a version
            assert tab.evaluate("listen.player.heard") == 1
            free = tab.evaluate("listen.player.take.free")
            tab.press("a")  # which X is: that nothing changes must not be heard
            assert tab.evaluate("listen.player.take.free") > free
            tab.press("b")
            assert tab.evaluate("listen.player.heard") == 2
            tab.press(" ")
            assert not tab.evaluate("listen.player.playing")
        tab.click('[data-abx="is-A"]')
    assert len(texts) == 1 and "kbps" not in texts.pop()
    assert tab.inner_text('[data-abx="score"]') == "5 of 10 right"
    assert "62\u00a0% of tests" in tab.inner_text('[data-abx="verdict"]')
    result = tab.input_value('[data-abx="text"]')
    assert result.count(": right") == result.count(": wrong") == 5
    assert "A: 4 codebooks\nB: 8 codebooks" in result
    tab.click('[data-abx="copy"]')
    assert tab.inner_text('[data-abx="copied"]') == "Copied."
    assert chosen(tab) == tab.evaluate("listen.player.heard") == 0


CHANCES = {0: 1, 5: 638 / 1024, 8: 56 / 1024, 9: 11 / 1024, 10: 1 / 1024}

SCORED = """score => {
  const test = new Abx();
  const other = { A: "B", B: "A" };
  test.answers = test.secrets.map((x, i) => (i < score ? x : other[x]));
  return [test.score, test.chance];
}"""


@pytest.mark.slow
def test_the_chance_of_a_score_is_that_of_guessing(tab):
    for score, chance in CHANCES.items():
        assert tab.evaluate(SCORED, score) == pytest.approx([score, chance])


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_a_window_of_any_width_has_all_and_louder_is_evenly_further_from_its_ground(
    browser, url, width, scheme
):
    viewport = {"width": width, "height": 800}
    with browser.tab(url, viewport=viewport, color_scheme=scheme) as tab:
        tab.wait("listen.player !== null")
        assert tab.evaluate("document.documentElement.scrollWidth") == width
        pixels = np.array(tab.evaluate("colours(dark.matches)"), "<u4")
    ramp = pixels.view(np.uint8).reshape(256, 4)[::15, :3] / 255
    linear = np.where(ramp > 0.04045, ((ramp + 0.055) / 1.055) ** 2.4, ramp / 12.92)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    steps = np.diff(np.cbrt(luminance)) * (1 if scheme == "dark" else -1)  # as CIE's lightness
    assert steps.min() > 0.5 * steps.mean() and steps.max() < 2 * steps.mean()
