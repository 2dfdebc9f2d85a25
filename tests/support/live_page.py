"""What the service's page says and hears: its socket's messages, and the samples that it plays."""

import json
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
from browser import Browser, Tab, chromium

from mimi_mlx.tiny import SPEECH

QUANTUM = 128  # samples that Web Audio plays at once

# What a page connects to its destination goes to a tap too, and beside it the microphone.
_BEFORE = """
window.tapped = [];
const tap = `registerProcessor("tap", class extends AudioWorkletProcessor {
  some = [];
  process(inputs) {
    const both = new Float32Array(256);
    inputs.forEach(([samples], i) => samples && both.set(samples, 128 * i));
    if (this.some.push(both) === 8) this.port.postMessage(this.some.splice(0));
    return true;
  }
});`;
const url = URL.createObjectURL(new Blob([tap], { type: "text/javascript" }));
const addModule = AudioWorklet.prototype.addModule;
AudioWorklet.prototype.addModule = async function (name) {
  await addModule.call(this, name);
  await addModule.call(this, url);
};
const connect = AudioNode.prototype.connect;
let microphone;
AudioNode.prototype.connect = function (to, ...rest) {
  if (this instanceof MediaStreamAudioSourceNode) microphone = this;
  if (to instanceof AudioDestinationNode) {
    const ends = { numberOfInputs: 2, numberOfOutputs: 0 };
    const tap = new AudioWorkletNode(this.context, "tap", ends);
    tap.port.onmessage = ({ data }) => tapped.push(...data);
    connect.call(this, tap, 0, 0);
    connect.call(microphone, tap, 0, 1);
  }
  return connect.call(this, to, ...rest);
};
"""
_TAPPED = "tapped.map((each) => btoa(String.fromCharCode(...new Uint8Array(each.buffer))))"


def spoken() -> np.ndarray:
    """What the microphone hears: ``[T]`` at 24 kHz, to -7 dB of full scale."""
    return 3 * soundfile.read(SPEECH, dtype="float32")[0]


@contextmanager
def microphone(folder: Path) -> Iterator[Browser]:
    """A Chromium whose microphone hears that once, and is allowed."""
    path = folder / "microphone.wav"
    soundfile.write(path, spoken(), 24000, subtype="PCM_16")
    with chromium(
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={path}%noloop",
    ) as browser:
        yield browser


class LivePage:
    """The page in a tab, live on request.

    Attributes:
        tab: Where it is.
        sent: Samples that the page captured and sent, message by message.
        frames: Of each frame that came back, its codes ``[K]`` and its samples.
    """

    def __init__(self, tab: Tab):
        self.tab = tab
        self.sent: list[np.ndarray] = []
        self.frames: list[tuple[np.ndarray, np.ndarray]] = []
        self.codebooks = 0
        tab.page.on("websocket", self._opened)

    def _opened(self, socket: Any) -> None:
        socket.on("framesent", self._on_sent)
        socket.on("framereceived", self._on_received)

    def _on_sent(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            self.sent.append(np.frombuffer(message, "<f4"))

    def _on_received(self, message: str | bytes) -> None:
        if isinstance(message, str):
            self.codebooks = json.loads(message).get("codebooks", self.codebooks)
        else:
            at = 2 * self.codebooks
            codes, samples = np.frombuffer(message[:at], "<u2"), np.frombuffer(message[at:], "<f4")
            self.frames.append((codes, samples))

    def wait(self, frames: int) -> None:
        """Until that many frames came back."""
        for _ in range(600):
            if len(self.frames) >= frames:
                return
            self.tab.wait_for_timeout(100)
        raise AssertionError(f"{len(self.frames)} of {frames} frames; {self.text('#problem')}")

    def text(self, selector: str) -> str:
        return self.tab.text_content(selector)

    def tapped(self) -> tuple[np.ndarray, np.ndarray]:
        """All that was played and what the microphone heard meanwhile, both ``[T]``.

        Silence and holes are in it.
        """
        data = b"".join(map(b64decode, self.tab.evaluate(_TAPPED)))
        both = np.frombuffer(data, "<f4").reshape(-1, 2, QUANTUM).swapaxes(0, 1)
        return both[0].reshape(-1), both[1].reshape(-1)


@contextmanager
def live_page(
    browser: Browser, url: str, *, before: str = "", **options: Any
) -> Iterator[LivePage]:
    """The page with a tap in it, which the page's policy would not let in."""
    with browser.tab(url, before=_BEFORE + before, bypass_csp=True, **options) as tab:
        yield LivePage(tab)


class Followed(NamedTuple):
    """How what was given was played."""

    heard: int  # samples that were played, in order and bit for bit
    skips: int  # how often some were left out
    strange: int  # quanta that are neither from what was given nor a hole
    delays: set[int]  # samples between the place of a sample in what was given and in what played


def followed(played: np.ndarray, given: np.ndarray) -> Followed:
    """How ``given [T]`` was played: before it starts and where a frame is late there is a hole."""
    at = heard = skips = strange = 0
    delays = set()
    quanta = played[: len(played) // QUANTUM * QUANTUM].reshape(-1, QUANTUM)
    for place, quantum in enumerate(quanta):
        wanted = given[at : at + QUANTUM]
        same = int(np.argmin(np.append(quantum[: len(wanted)] == wanted, False)))
        if same < QUANTUM and quantum[same:].any():
            found = first(quantum, given, at)
            skips, strange = skips + (found is not None), strange + (found is None)
            at, same = (at, 0) if found is None else (found, QUANTUM)
        if same == QUANTUM:
            delays.add(place * QUANTUM - at)
        at += same
        heard += same
    return Followed(heard, skips, strange, delays)


def first(quantum: np.ndarray, given: np.ndarray, at: int) -> int | None:
    """Where ``given`` goes on with a quantum, from ``at`` on."""
    for start in at + np.flatnonzero(given[at : len(given) - QUANTUM] == quantum[0]):
        if np.array_equal(given[start : start + QUANTUM], quantum):
            return int(start)
    return None


def fidelity(captured: np.ndarray, clip: np.ndarray, size: int = 4800, taps: int = 65) -> float:
    """The SNR in dB of the best part of ``size`` samples, after the filter that fits it best.

    A browser's resampler delays by a fraction of a sample, and a microphone that plays a file may
    stumble: so each part is aligned for itself, and has a filter of its own.
    """
    best, half = -np.inf, taps // 2
    whole = 1 << (len(clip) + 2 * size).bit_length()
    clip = np.pad(clip.astype(float), (size, whole - len(clip) - size))
    spectrum = np.fft.rfft(clip)
    for start in range(0, len(captured) - size + 1, size):
        part = captured[start : start + size].astype(float)
        product = spectrum * np.conj(np.fft.rfft(part, whole))
        at = half + int(np.argmax(np.fft.irfft(product)[half : -size - half]))
        near = np.lib.stride_tricks.sliding_window_view(clip[at - half : at + size + half], taps)
        rest = part - near @ np.linalg.solve(near.T @ near + 1e-12 * np.eye(taps), near.T @ part)
        best = max(best, 10 * np.log10((part @ part) / (rest @ rest + 1e-12)))
    return float(best)
