"""The page in a real browser whose microphone plays a clip: what it captures and what it plays."""

import numpy as np
import pytest
from live_page import LivePage, fidelity, followed, live_page, microphone
from serving import service

from mimi_mlx import Mimi, audio
from mimi_mlx.tiny import SPEECH


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    return 3 * audio.load(SPEECH).samples  # to -7 dB of full scale


@pytest.fixture(scope="module")
def browser(clip, tmp_path_factory):
    with microphone(clip, 24000, tmp_path_factory.mktemp("microphone")) as browser:
        yield browser


@pytest.fixture
def page(tiny, browser):
    with service(tiny) as url, live_page(browser, url) as page:
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


def choose(page: LivePage, codebooks: int) -> None:
    """Move the slider there, as keys do."""
    page.tab.fill("#codebooks", str(codebooks))


def test_the_page_plays_the_offline_round_trip_of_what_it_hears(tiny, page, clip):
    """To the last bit, with a slider that moves meanwhile; and it hears the clip."""
    page.tab.click("#play")
    page.wait(5)
    choose(page, 3)
    page.wait(15)
    assert page.text("#codebooks-shown") == "3"
    assert page.text("#kbps") == "0.41 kbps"
    page.tab.click("#play")
    played, sent = page.played(), np.concatenate(page.sent)

    counts = [len(codes) for codes, _ in page.frames]
    change = counts.index(3)
    assert counts == [8] * change + [3] * (len(counts) - change) and change >= 5
    codes, pcm = offline(tiny, sent, counts)
    for (found, _), wanted in zip(page.frames, codes, strict=True):
        np.testing.assert_array_equal(found, wanted)
    given = np.concatenate([samples for _, samples in page.frames])
    np.testing.assert_array_equal(given, pcm)

    heard, jumps = followed(played, given)
    assert heard >= max(tiny.frame_size, np.count_nonzero(played))  # all that was no hole
    assert jumps == 0
    assert fidelity(sent, clip) > 50
