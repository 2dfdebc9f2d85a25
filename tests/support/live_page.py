"""What the service's page says and hears: its socket's messages, and the samples that it plays."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from browser import Browser, Tab, chromium

QUANTUM = 128  # samples that Web Audio plays at once

# What a page connects to its destination is connected to the tap too, from its first sample on.
_BEFORE = """
window.tapped = [];
const tap = `registerProcessor("tap", class extends AudioWorkletProcessor {
  process([[samples]]) {
    this.port.postMessage(samples ? samples.slice() : new Float32Array(128));
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
AudioNode.prototype.connect = function (to, ...rest) {
  if (to instanceof AudioDestinationNode) {
    const tap = new AudioWorkletNode(this.context, "tap", { numberOfOutputs: 0 });
    tap.port.onmessage = ({ data }) => tapped.push(data);
    connect.call(this, tap);
  }
  return connect.call(this, to, ...rest);
};
"""


@contextmanager
def microphone(clip: np.ndarray, rate: int, folder: Path) -> Iterator[Browser]:
    """A Chromium whose microphone hears a clip ``[T]`` once, and is allowed."""
    path = folder / "microphone.wav"
    soundfile.write(path, clip, rate, subtype="PCM_16")
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

    def played(self) -> np.ndarray:
        """All that was played ``[T]``, silence and holes as well."""
        return np.array(self.tab.evaluate("tapped.flatMap((each) => [...each])"), np.float32)


@contextmanager
def live_page(browser: Browser, url: str, **options: Any) -> Iterator[LivePage]:
    """The page with a tap in it, which the page's policy would not let in."""
    with browser.tab(url, before=_BEFORE, bypass_csp=True, **options) as tab:
        yield LivePage(tab)


def followed(played: np.ndarray, given: np.ndarray) -> tuple[int, int]:
    """How much of ``given [T]`` was played, in order and bit for bit, and how often it jumped.

    A hole (silence before it starts, and where a frame came too late) costs nothing. A jump is a
    quantum that is neither what comes next nor a hole.
    """
    at = heard = jumps = 0
    for quantum in played[: len(played) // QUANTUM * QUANTUM].reshape(-1, QUANTUM):
        wanted = given[at : at + QUANTUM]
        same = int(np.argmin(np.append(quantum[: len(wanted)] == wanted, False)))
        if same < QUANTUM and quantum[same:].any():
            jumps += 1
            same = 0
            at = _found(quantum, given, at)
            same = QUANTUM if np.array_equal(given[at : at + QUANTUM], quantum) else 0
        at += same
        heard += same
    return heard, jumps


def _found(quantum: np.ndarray, given: np.ndarray, at: int) -> int:
    """Where ``given`` goes on with a quantum; ``at`` if it nowhere does."""
    for start in at + np.flatnonzero(given[at : len(given) - QUANTUM] == quantum[0]):
        if np.array_equal(given[start : start + QUANTUM], quantum):
            return int(start)
    return at


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
