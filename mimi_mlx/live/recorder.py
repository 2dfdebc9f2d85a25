"""What a live run leaves on disk: its codes, and its sound."""

import contextlib
from pathlib import Path

import numpy as np
import soundfile

from .. import codefile
from ..audio.writer import FORMATS
from ..mimi import Mimi

# Frames in a block: a kill loses less than a second.
_BLOCK_FRAMES = 12


class Recorder:
    """Writes codes to a .mimi file and decoded frames to a sound file, as they come.

    After a kill the codes are there but for the last second; the sound file may be damaged.

    Args:
        source_rate: Of the sound that is encoded, in Hz, if it is known.
    """

    def __init__(
        self,
        mimi: Mimi,
        num_codebooks: int,
        codes: str | Path | None = None,
        sound: str | Path | None = None,
        source_rate: int | None = None,
    ):
        self._samples = 0
        self._sound = self._codes = None
        with contextlib.ExitStack() as stack:
            if sound:
                name = FORMATS[Path(sound).suffix.lower()]
                self._sound = stack.enter_context(
                    soundfile.SoundFile(sound, "w", mimi.sample_rate, channels=1, format=name)
                )
            if codes:
                header = codefile.Header.for_model(mimi, num_codebooks, source_rate)
                self._codes = writer = codefile.Writer(codes, header, block_frames=_BLOCK_FRAMES)
                stack.callback(lambda: writer.close(self._samples))
            self._open = stack.pop_all()

    def add_codes(self, codes: np.ndarray, samples: int) -> None:
        """Add a frame's codes ``[K]``, which stand for so many samples."""
        if self._codes:
            self._codes.write(codes[:, None])
            self._samples += samples

    def add_sound(self, pcm: np.ndarray) -> None:
        """Add samples ``[T]``; what is past [-1, 1] is clipped."""
        if self._sound:
            self._sound.write(np.clip(pcm, -1.0, 1.0))

    def close(self) -> None:
        """Finish the files."""
        self._open.close()
