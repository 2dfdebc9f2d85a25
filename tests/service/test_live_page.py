"""The page in a real browser whose microphone plays a clip: what it captures and what it plays."""

import re

import numpy as np
import pytest
from live_page import QUANTUM, LivePage, fidelity, first, followed, live_page, spoken

from mimi_mlx import Mimi, audio


@pytest.fixture
def page(browser, url):
    with live_page(browser, url, viewport={"width": 400, "height": 300}) as page:  # quickly drawn
        yield page


def offline(mimi: Mimi, sent: np.ndarray, counts: list[int]) -> tuple[list, np.ndarray]:
    """The codes of each frame, as many as asked for, and the samples of all."""
    whole = np.array(mimi.encode(sent[: len(counts) * mimi.frame_size]))
    state = mimi.init_decoder_state()
    codes, pcm = [], []
    for i, count in enumerate(counts):
        codes.append(whole[0, :count, i])
        frame, state = mimi.decode_step(whole[:, :count, i : i + 1], state)
        pcm.append(np.array(frame).reshape(-1))
    return codes, np.concatenate(pcm)


def check_played(played: np.ndarray, given: np.ndarray) -> None:
    """All that was played is what was given, but for a fade of a quantum where some is left out.

    That, and a hole, may be: other work may keep the browser from its own.
    """
    found = followed(played, given)
    assert found.strange <= found.skips <= 3
    assert found.heard >= np.count_nonzero(played) - QUANTUM * found.strange
    assert found.heard >= len(given) / 4


def choose(page: LivePage, codebooks: int) -> None:
    """Move the slider there, as keys do."""
    page.tab.fill("#codebooks", str(codebooks))


def test_the_page_plays_the_offline_round_trip_of_what_it_hears(tiny, page):
    """To the last bit, with a slider that moves meanwhile; and it hears the clip."""
    page.tab.click("#play")
    page.wait(4)
    choose(page, 3)
    page.wait(11)
    assert page.text("#codebooks-shown") == "3"
    assert page.text("#kbps") == "0.41 kbps"
    page.tab.click("#play")
    (played, _), sent = page.tapped(), np.concatenate(page.sent)

    counts = [len(codes) for codes, _ in page.frames]
    change = counts.index(3)
    assert counts == [8] * change + [3] * (len(counts) - change) and change >= 4
    codes, pcm = offline(tiny, sent, counts)
    for (found, _), wanted in zip(page.frames, codes, strict=True):
        np.testing.assert_array_equal(found, wanted)
    given = np.concatenate([samples for _, samples in page.frames])
    np.testing.assert_array_equal(given, pcm)

    check_played(played, given)
    assert fidelity(sent, spoken()) > 50


@pytest.mark.slow
def test_the_delay_is_that_of_what_is_played(tiny, page):
    """In the one clock that counts what is captured and what is played."""
    page.tab.click("#play")
    page.wait(40)
    shown = float(re.search(r"Counted: (\d+) ms", page.text("#delay-parts"))[1])
    page.tab.click("#play")
    played, heard = page.tapped()
    given = np.concatenate([samples for _, samples in page.frames])
    sent = np.concatenate(page.sent)
    start = 8 * tiny.frame_size  # of what was sent: the tap may miss the first samples
    captured = first(sent[start : start + QUANTUM], heard, 0) - start
    delays = [delay - captured for delay in followed(played, given).delays]
    assert min(abs(delay / 24 - shown) for delay in delays) < 1, delays
    assert 80 < shown < 5000


@pytest.mark.slow
def test_another_microphone_goes_on_where_the_first_was(tiny, page):
    page.tab.click("#play")
    page.wait(5)
    devices = page.tab.evaluate("Array.from(document.querySelector('#device').options).length")
    assert devices > 2
    page.tab.run(page.tab.page.select_option("#device", index=devices - 1))
    page.wait(25)
    assert page.tab.is_hidden("#problem")
    page.tab.click("#play")
    counts = [len(codes) for codes, _ in page.frames]
    codes, _ = offline(tiny, np.concatenate(page.sent), counts)
    np.testing.assert_array_equal([c for c, _ in page.frames], codes)


# As browsers do that join no microphone to a context of another rate than its own.
FIXED_RATE = """
const create = AudioContext.prototype.createMediaStreamSource;
AudioContext.prototype.createMediaStreamSource = function (stream) {
  if (this.sampleRate === 24000) throw new DOMException("other rates", "NotSupportedError");
  return create.call(this, stream);
};
"""


@pytest.mark.slow
def test_where_a_browser_does_not_convert_the_service_does(tiny, browser, url):
    with live_page(browser, url, before=FIXED_RATE) as page:
        page.tab.click("#play")
        page.wait(25)
        page.tab.click("#play")
        (played, _), sent = page.tapped(), np.concatenate(page.sent)
    rate = round(len(page.sent[0]) * tiny.frame_rate)
    assert rate in (44100, 48000)
    offline = np.array(tiny.encode(audio.resample(sent, rate, 24000), 8))[0]
    sure = len(page.frames) - 2  # those that do not depend on how the resampler ends
    np.testing.assert_array_equal(
        np.stack([c for c, _ in page.frames[:sure]], 1), offline[:, :sure]
    )
    check_played(played, np.concatenate([samples for _, samples in page.frames]))
    assert fidelity(audio.resample(sent, rate, 24000), spoken()) > 30


# Frames of ones, twos, ... come one each 15 quanta; then a stall of 10 frames, which come at once.
STALL = """async () => {
  const { JitterBuffer } = await import("/jitter-buffer.js");
  const buffer = new JitterBuffer(1920);
  const told = [];
  let frame = 0;
  let late = 0;
  for (let quantum = 0; quantum < 15 * 200; quantum++) {
    if (quantum % 15 === 0) {
      const stalls = frame + late >= 20 && frame + late < 30;
      if (stalls) late++;
      else for (; late >= 0; late--) buffer.push(new Float32Array(1920).fill(++frame));
      if (!stalls) late = 0;
    }
    const out = new Float32Array(128);
    const count = buffer.pull(out);
    told.push([count, out[0], buffer.level, buffer.underruns, buffer.dropped, buffer.target]);
  }
  return told;
}"""


@pytest.mark.slow
def test_a_stall_makes_one_hole_and_no_lasting_delay(page):
    told = np.array(page.tab.evaluate(STALL))
    count, sample, level, underruns, dropped, target = told.T
    assert not count[:7].any() and (count[8:300] == 128).all()  # half a frame, then sound
    assert underruns[299] == 0 and dropped[299] == 0 and level[8:300].min() >= 960 - 128
    assert underruns[-1] == 1 and level.max() > 10 * 1920
    after = 15 * 60
    assert target[after] == 1920 and dropped[after] > 8 * 1920  # half a frame more is held
    assert level[after : after + 200].max() <= 2 * 1920 + 128
    assert target[-1] == 960 and level[-200:].max() <= 1.5 * 1920 + 128  # and in the end as before
    assert (np.diff(sample[count == 128]) >= 0).all()  # in order
