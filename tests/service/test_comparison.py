"""The listening page that the service makes of a file."""

import numpy as np
import soundfile

from mimi_mlx import MimiWorker, audio, listening
from mimi_mlx.audio.reader import FileReader
from mimi_mlx.evaluation import quality
from mimi_mlx.service.comparison import Comparer
from mimi_mlx.service.limits import Limits


def test_short_steps_make_the_page_that_listen_makes(tiny, speech, tmp_path, monkeypatch):
    monkeypatch.setattr(quality, "row_of", lambda *args: {})  # the figures take long
    clip = np.stack([speech("kathleen-1")[:16001]] * 2, axis=1)
    soundfile.write(tmp_path / "a.wav", clip, 24000, subtype="FLOAT")
    seconds: list[float] = []
    with MimiWorker() as encoder, MimiWorker() as decoder:
        comparer = Comparer(tiny, "tiny", encoder, decoder, Limits())
        with FileReader(tmp_path / "a.wav", mono=True) as source:
            source.name = "a.wav"
            made = comparer.page(source, seconds.append)
    sound = audio.Sound(clip[:, 0], 24000)
    name = "a.wav, mixed down to mono"
    compared = listening.compare({"tiny": tiny}, name, sound, (1, 4, 8, 16))
    assert made == listening.page([compared])
    assert len(seconds) == 5 * 2  # encoded once, decoded four times, each in two steps
