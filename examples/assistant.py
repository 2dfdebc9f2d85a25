"""A voice assistant's loop: microphone, encode, a model's step on the codes, decode, speaker.

    python examples/assistant.py [--input clip.wav] [--output answer.wav]   # no microphone
    python examples/assistant.py --mic                             # pip install '.[mic,aec]'

It listens while it speaks, and with --mic it does not hear itself. When somebody speaks over it,
the decoder begins anew and the voice stops until they pause; the encoder listens on, and the model
goes on unheard. The model is any ``step(codes) -> codes``: "echo" says what it heard 2 s ago,
"moshi" is moshi_mlx's LmGen (see assistant_models.py).
"""

import argparse
import contextlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from assistant_models import MODELS, Step

from mimi_mlx import Mimi, MimiWorker, audio
from mimi_mlx.live import Duplex, DuplexFrame
from mimi_mlx.tiny import SPEECH

NUM_CODEBOOKS = 8
LOUD = 0.02  # RMS of a frame of speech, -34 dBFS
PAUSE = 5  # quiet frames after which somebody has finished: 0.4 s


class Assistant:
    """Hears a frame and says a frame, in the one thread where it was made."""

    def __init__(self, mimi: Mimi, step: Step):
        self.encoder = mimi.encoder_stream(num_codebooks=NUM_CODEBOOKS)
        self.decoder = mimi.decoder_stream()
        self.step, self.silence = step, np.zeros(mimi.frame_size, np.float32)
        self.decoder.clone().push(self.encoder.clone().push(self.silence))  # compiles both steps
        self.speaking, self.interruptions = False, 0
        self.hush = 0  # quiet frames still to wait for, after an interruption
        self.seconds: dict[str, list[float]] = {"encode": [], "model": [], "decode": []}

    def hear(self, frame: DuplexFrame) -> np.ndarray:
        """One frame from the microphone to one for the speaker, ``[frame_size]``."""
        codes = self.timed("encode", self.encoder.push, frame.pcm)
        answer = self.timed("model", self.step, codes)
        if frame.interrupted:
            self.decoder.reset()  # what it says next does not follow from what it said
            self.interruptions += 1
        if frame.interrupted or (self.hush and frame.speech > 0.5):
            self.hush = PAUSE
        elif self.hush:
            self.hush -= 1
        said = self.silence
        if answer is not None and not self.hush:
            said = self.timed("decode", self.decoder.push, answer)[0, 0]
        self.speaking = loud(said)
        return said

    def timed(self, part: str, call: Callable, x: np.ndarray) -> Any:
        start = time.perf_counter()
        y = call(x)
        self.seconds[part].append(time.perf_counter() - start)
        return y if y is None else np.array(y)


def loud(pcm: np.ndarray) -> bool:
    return float(np.sqrt(np.mean(np.square(pcm)))) > LOUD


def live(assistant: Assistant, worker: MimiWorker) -> None:
    """Microphone to speaker until Ctrl-C, without headphones. Only the worker computes."""
    with Duplex() as duplex:
        for frame in duplex.frames():
            if (said := worker.submit(assistant.hear, frame).result()).any():
                duplex.say(said)


def recorded(assistant: Assistant, worker: MimiWorker, clip: np.ndarray) -> np.ndarray:
    """What it says while it hears a clip of whole frames, ``[T]`` to ``[T]``."""
    said = []
    for pcm in clip.reshape(-1, len(assistant.silence)):
        speech = loud(pcm)
        frame = DuplexFrame(pcm, speech, speech and assistant.speaking and not assistant.hush)
        said.append(worker.submit(assistant.hear, frame).result())
    return np.concatenate(said)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mic", action="store_true", help="instead of --input; until Ctrl-C")
    parser.add_argument("--input", default=SPEECH)
    parser.add_argument("--output", help="a sound file: what is said while --input is heard")
    parser.add_argument("--codec", default="tiny", help='such as "kyutai/mimi"')
    parser.add_argument("--model", choices=MODELS, default="echo")
    args = parser.parse_args()
    with MimiWorker() as worker:
        mimi = worker.submit(Mimi.from_pretrained, args.codec).result()
        step = worker.submit(MODELS[args.model]).result()
        assistant = worker.submit(Assistant, mimi, step).result()
        if args.mic:
            with contextlib.suppress(KeyboardInterrupt):
                live(assistant, worker)
        else:
            size = mimi.frame_size
            clip = audio.read(args.input, mimi.sample_rate, mono=True)
            clip = np.pad(clip, (0, 38 * size - len(clip) % size))  # and 3 s of silence
            said = recorded(assistant, worker, clip)
            if args.output:
                audio.write(args.output, said, mimi.sample_rate)
    print(f"{assistant.interruptions} interruptions; of the 80 ms of a frame, at the median:")
    for part, times in assistant.seconds.items():
        print(f"  {part} {1000 * np.median(times or [0]):.1f} ms, {len(times)} frames")


if __name__ == "__main__":
    main()
