"""What a live run leaves on disk: its codes, and its sound."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import soundfile

from .. import codefile
from ..atomic import growing
from ..audio.writer import FORMATS, told
from ..files import PIPE, stdout
from ..mimi import Mimi

# Frames in a block: a kill loses less than a second.
_BLOCK_FRAMES = 12


class Recorder:
    """Writes codes to a .mimi file and decoded frames to a sound file, as they come.

    A file takes its name with its first frame, in place of one that there was; without a frame the
    old one stays. After a kill the codes are there but for the last second; the sound file may be
    damaged.

    Args:
        codes: A path, or "-": stdout.
        source_rate: Of the sound that is encoded, in Hz, if it is known.
        metadata: What the .mimi file says of itself.
    """

    def __init__(
        self,
        mimi: Mimi,
        num_codebooks: int,
        codes: str | Path | None = None,
        sound: str | Path | None = None,
        source_rate: int | None = None,
        metadata: Mapping[str, Any] | None = None,
    ):
        self._samples = 0
        self._sound = self._codes = None
        with contextlib.ExitStack() as stack:
            if sound:
                file, self._keep_sound = stack.enter_context(growing(sound))
                name = FORMATS[Path(sound).suffix.lower()]
                ends = file.fileno(), "w", mimi.sample_rate
                self._sound_file = sound, file, mimi.sample_rate
                stack.enter_context(told(*self._sound_file))
                self._sound = stack.enter_context(
                    soundfile.SoundFile(*ends, channels=1, format=name, closefd=False)
                )
            if codes:
                is_pipe = str(codes) == PIPE
                new = _pipe() if is_pipe else growing(codes)
                codes_file, self._keep_codes = stack.enter_context(new)
                header = codefile.Header.for_model(mimi, num_codebooks, source_rate, metadata)
                block = 1 if is_pipe else _BLOCK_FRAMES
                writer = codefile.Writer(
                    codes_file, header, block_frames=block, rewrite_header=not is_pipe
                )
                self._codes = writer
                stack.callback(lambda: writer.close(self._samples))
            self._open = stack.pop_all()

    def add_codes(self, codes: np.ndarray, samples: int) -> None:
        """Add a frame's codes ``[K]``, which stand for so many samples."""
        if self._codes:
            self._samples += samples
            self._codes.write(codes[:, None])
            if self._codes.frames == 1:
                self._codes.flush()  # what takes the name has something in it
                self._keep_codes()

    def add_sound(self, pcm: np.ndarray) -> None:
        """Add samples ``[T]``; what is past [-1, 1] is clipped."""
        if self._sound:
            with told(*self._sound_file):
                self._sound.write(np.clip(pcm, -1.0, 1.0))
            self._keep_sound()

    def close(self) -> None:
        """Finish the files."""
        self._open.close()


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[IO[bytes], Callable[[], None]]]:
    """Stdout, as :func:`growing` has a file."""
    with stdout() as pipe:
        yield pipe, lambda: None
